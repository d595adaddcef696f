//! Tables for people: columns as wide as their widest cell.

use super::output;
use crate::printable::Printable;
use std::fmt::Display;

/// A table with a heading.
pub(super) struct Table<const N: usize> {
    rows: Vec<[Printable; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with only its heading.
    pub(super) fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(Printable::text)] }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [&dyn Display; N]) {
        self.rows.push(cells.map(Printable::of));
    }

    /// Whether there is nothing under the heading.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// Writes the table to standard output.
    pub(super) fn print(&self) {
        let widths: [usize; N] = std::array::from_fn(|column| {
            self.rows.iter().map(|row| row[column].as_str().chars().count()).max().unwrap_or(0)
        });
        for row in &self.rows {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            output::line(cells.join("  ").trim_end());
        }
    }
}
