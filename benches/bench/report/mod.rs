//! What becomes of results: a table for the terminal, plots, and docs/performance.md.

mod page;
mod svg;

use crate::figure::{Figure, Goal, Results};
use std::fs;
use std::path::Path;

/// A line of the table: a figure of relinkd's (or of a yardstick), and the baseline's beside it.
pub(crate) struct Line<'a> {
    pub(crate) figure: &'a Figure,
    pub(crate) baseline: Option<&'a Figure>,
}

impl Line<'_> {
    /// Whose figure it is, where that is not relinkd's.
    pub(crate) fn what(&self) -> String {
        match self.figure.subject.as_str() {
            "relinkd" => self.figure.what.clone(),
            other => format!("{} ({other})", self.figure.what),
        }
    }

    pub(crate) fn goal(&self) -> String {
        match self.figure.goal {
            None => String::new(),
            Some(Goal::AtLeast(goal)) => format!("≥ {}", number(goal)),
            Some(Goal::AtMost(goal)) => format!("≤ {}", number(goal)),
        }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.figure.goal {
            None => "",
            Some(goal) if goal.is_met(self.figure.value) => "met",
            Some(_) => "missed",
        }
    }

    pub(crate) fn values(&self) -> (String, String) {
        let baseline = self.baseline.map_or_else(String::new, |figure| number(figure.value));
        (number(self.figure.value), baseline)
    }

    /// The least and the greatest round.
    pub(crate) fn range(&self) -> String {
        let rounds = &self.figure.rounds;
        let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if rounds.len() < 2 { String::new() } else { format!("{} – {}", number(least), number(most)) }
    }
}

/// All lines, in the order in which they were measured.
pub(crate) fn lines(results: &Results) -> Vec<Line<'_>> {
    let baseline_of = |figure: &Figure| {
        let is_its = |other: &&Figure| other.subject == "baseline" && other.what == figure.what;
        results.figures.iter().find(is_its).filter(|_| figure.subject == "relinkd")
    };
    let shown = results.figures.iter().filter(|figure| figure.subject != "baseline");
    shown.map(|figure| Line { figure, baseline: baseline_of(figure) }).collect()
}

/// The table for a terminal.
pub(crate) fn table(results: &Results) -> String {
    let head = ["", "measured", "", "goal", "", "baseline", "rounds"].map(str::to_owned);
    let mut cells = vec![head];
    for line in lines(results) {
        let (value, baseline) = line.values();
        let verdict = line.verdict().to_owned();
        cells.push([
            line.what(),
            value,
            line.figure.unit.clone(),
            line.goal(),
            verdict,
            baseline,
            line.range(),
        ]);
    }
    let widths: [usize; 7] =
        std::array::from_fn(|i| cells.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &cells {
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = if i == 1 || i == 5 { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            text += &cell;
            text += "  ";
        }
        text = text.trim_end().to_owned() + "\n";
    }
    for row in &results.failed {
        text += &format!("FAILED: {row}, see above\n");
    }
    if results.quick {
        text += "A quick run: it shows that the rows run; its figures mean nothing.\n";
    }
    text
}

/// Writes the plots: one of all goals, and one for each spread.
pub(crate) fn plots(results: &Results, directory: &Path) -> Vec<String> {
    fs::create_dir_all(directory).unwrap();
    let mut written = Vec::new();
    let mut write = |name: String, text: String| {
        fs::write(directory.join(&name), text).unwrap();
        written.push(name);
    };
    if results.figures.iter().any(|figure| figure.goal.is_some()) {
        write("goals.svg".to_owned(), svg::goals(results));
    }
    let mut titles: Vec<(&str, &str)> = Vec::new();
    for spread in &results.spreads {
        if !titles.contains(&(&spread.row, &spread.what)) {
            titles.push((&spread.row, &spread.what));
        }
    }
    for (number, (row, what)) in titles.iter().enumerate() {
        let same_row = titles[..number].iter().filter(|(other, _)| other == row).count();
        let suffix = if same_row == 0 { String::new() } else { format!("-{}", same_row + 1) };
        write(format!("{row}{suffix}.svg"), svg::spread(results, what));
    }
    written
}

/// Writes the measured part of docs/performance.md, and its plots into docs/performance/.
pub(crate) fn document(results: &Results) {
    assert!(!results.quick, "figures of a quick run mean nothing, and do not go into the documentation");
    let plots = plots(results, Path::new("docs/performance"));
    let page = Path::new("docs/performance.md");
    let text = fs::read_to_string(page).unwrap();
    fs::write(page, page::renew(&text, results, &plots)).unwrap();
    for (readme, words) in [("README.md", page::ENGLISH), ("README.ru.md", page::RUSSIAN)] {
        let text = fs::read_to_string(readme).unwrap();
        fs::write(readme, page::renew_readme(&text, results, words)).unwrap();
    }
}

/// Three digits that count, no more.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        grouped(value)
    } else if magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A large number, with commas.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
