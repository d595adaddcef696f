//! The known word that a misspelt one was meant to be.

/// The word of `known` that `written` is at most two slips away from (a letter more, less, other, or two swapped), in a
/// word long enough that this is no accident.
pub(super) fn nearest(written: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let lower = written.to_ascii_lowercase();
    if lower.len() > 40 {
        return None;
    }
    known
        .into_iter()
        .map(|word| (slips(&lower, word), word))
        .filter(|(slips, word)| *slips <= if word.len() < 6 { 1 } else { 2 })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

/// The optimal string alignment distance.
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut cost =
                (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 5] = ["tokenless", "token_pattern", "url", "file", "plaintext"];

    #[test]
    fn finds_what_was_meant() {
        let cases = [
            ("tokenles", Some("tokenless")),
            ("Tokenless", Some("tokenless")),
            ("tokneless", Some("tokenless")),
            ("token-pattern", Some("token_pattern")),
            ("ulr", Some("url")),
            ("uri", Some("url")),
            ("fil", Some("file")),
            ("plain_text", Some("plaintext")),
            ("token", None),
            ("password", None),
            ("u", None),
            ("", None),
        ];
        for (written, meant) in cases {
            assert_eq!(nearest(written, WORDS), meant, "{written}");
        }
    }
}
