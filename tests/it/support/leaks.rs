//! No token leaves by the back door: looks for tokens, and pieces of them, in whatever was captured.

/// This many consecutive characters of a token are a leak; the mask shows four.
const PIECE: usize = 8;

/// Fails where a text holds one of the tokens or eight consecutive characters of one, naming the text
/// and the line. `texts` are pairs of what it is and what it says.
pub(crate) fn assert_no_leak<'t>(tokens: &[&str], texts: impl IntoIterator<Item = (&'t str, &'t str)>) {
    for (what, text) in texts {
        for token in tokens {
            if let Some(line) = text.lines().find(|line| leaks(token, line)) {
                panic!("the token {token} leaks into {what}: {line}");
            }
        }
    }
}

fn leaks(token: &str, line: &str) -> bool {
    assert!(token.is_ascii() && token.len() >= 4, "too short a token to look for: {token}");
    let piece = PIECE.min(token.len());
    (0..=token.len() - piece).any(|start| line.contains(&token[start..start + piece]))
}
