//! Figures: what a row measured, against which goal; and the results of a run, as they stand in results.json.

use crate::lab::Lab;
use crate::machine::Machine;
use crate::options::Sizes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    /// How well it is met: 1 is just met, more is better.
    pub(crate) fn score(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(goal) => value / goal,
            Self::AtMost(goal) => goal / value.max(f64::MIN_POSITIVE),
        }
    }

    /// Whether it is met.
    pub(crate) fn is_met(self, value: f64) -> bool {
        self.score(value) >= 1.0
    }
}

/// One figure of one program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The row it belongs to.
    pub(crate) row: String,
    /// What was measured, for people; the same for all programs.
    pub(crate) what: String,
    /// Which program: `relinkd`, `baseline`, or the yardstick's name.
    pub(crate) subject: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
    /// The value of each round, where there were rounds.
    pub(crate) rounds: Vec<f64>,
    pub(crate) goal: Option<Goal>,
}

/// How a latency is spread: the value at each percentile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) row: String,
    pub(crate) what: String,
    pub(crate) subject: String,
    pub(crate) unit: String,
    /// Pairs of percentile and value.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What one row writes down.
pub(crate) struct Sheet {
    row: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) spreads: Vec<Spread>,
}

/// The percentiles that a spread keeps.
const PERCENTILES: [f64; 14] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.99, 100.0];

impl Sheet {
    pub(crate) fn new(row: &str) -> Self {
        Self { row: row.to_owned(), figures: Vec::new(), spreads: Vec::new() }
    }

    /// The median of the rounds.
    pub(crate) fn add(&mut self, subject: &str, what: &str, unit: &str, rounds: &[f64], goal: Option<Goal>) {
        let value = median(rounds);
        eprintln!("   {subject}: {what}: {value:.3} {unit}");
        self.figures.push(Figure {
            row: self.row.clone(),
            what: what.to_owned(),
            subject: subject.to_owned(),
            unit: unit.to_owned(),
            value,
            rounds: rounds.to_vec(),
            goal,
        });
    }

    /// How these samples are spread.
    pub(crate) fn spread(&mut self, subject: &str, what: &str, unit: &str, samples: &[f64]) {
        let points = PERCENTILES.map(|percent| (percent, percentile(samples, percent))).to_vec();
        let (row, what) = (self.row.clone(), what.to_owned());
        self.spreads.push(Spread { row, what, subject: subject.to_owned(), unit: unit.to_owned(), points });
    }
}

/// All that a run found, as it stands in results.json.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) version: u32,
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) programs: BTreeMap<String, String>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) sizes: Sizes,
    pub(crate) figures: Vec<Figure>,
    pub(crate) spreads: Vec<Spread>,
    /// Rows that did not run to their end.
    pub(crate) failed: Vec<String>,
}

impl Results {
    pub(crate) fn new(lab: &Lab) -> Self {
        Self {
            version: 1,
            quick: lab.options.quick,
            machine: Machine::here(lab),
            programs: lab.subjects.iter().map(|s| (s.name.to_owned(), s.version())).collect(),
            settings: lab.settings(),
            sizes: lab.sizes.clone(),
            figures: Vec::new(),
            spreads: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Takes a row's sheet.
    pub(crate) fn add(&mut self, sheet: Sheet, failed: bool) {
        if failed {
            self.failed.push(sheet.row);
        }
        self.figures.extend(sheet.figures);
        self.spreads.extend(sheet.spreads);
    }

    /// Takes the rows of a later run on the same machine; its other rows stay.
    pub(crate) fn renew(&mut self, later: Self) {
        let same = |results: &Self| {
            (results.machine.cpu.clone(), results.machine.postgres.clone(), results.programs.clone())
        };
        assert_eq!(same(self), same(&later), "another machine's figures, or another program's");
        let is_renewed = |row: &str| later.figures.iter().any(|figure| figure.row == row);
        self.figures.retain(|figure| !is_renewed(&figure.row));
        self.spreads.retain(|spread| !is_renewed(&spread.row));
        self.failed.retain(|row| !is_renewed(row));
        self.quick |= later.quick;
        self.figures.extend(later.figures);
        self.spreads.extend(later.spreads);
        self.failed.extend(later.failed);
    }

    /// Writes `results.json`; after each row, so that a run that is cut short has said something.
    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("results.json"), serde_json::to_string_pretty(self).unwrap() + "\n")
            .unwrap();
    }

    pub(crate) fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value below which this many percent lie, by the nearest rank; for an even number of values the median is the
/// lower of the two in the middle.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank within a list of samples"
)]
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Each round's value as a part of the yardstick's in the same round.
pub(crate) fn ratios(values: &[f64], yardstick: &[f64]) -> Vec<f64> {
    values.iter().zip(yardstick).map(|(value, yard)| value / yard).collect()
}
