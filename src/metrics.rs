//! Metrics in Prometheus' text format (Prometheus, "Exposition formats"). Their names and labels are fixed by
//! `packaging/prometheus/` and docs/monitoring.md. What is not known at the moment is left out: a number that is old
//! would be worse than none.

use crate::printable::Printable;
use std::fmt::{self, Write as _};

/// What is known at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metrics {
    /// The name of the instance, as a label on each metric; none where there is only one.
    pub database: Option<String>,
    /// A daemon is running.
    pub up: bool,
    /// When it started, in seconds since 1970, as all moments here.
    pub start_time: Option<f64>,
    /// It reaches its database.
    pub database_connected: bool,
    /// How often it had to connect again.
    pub reconnects: Option<i64>,
    /// Links written since the start.
    pub links_written: Option<i64>,
    /// When it last wrote one; 0 where it has written none.
    pub last_write: Option<f64>,
    /// Changes that wait, and the age of the oldest in seconds.
    pub backlog: Option<(i64, f64)>,
    /// Users and issues that are set aside.
    pub set_aside: Option<i64>,
    /// Users by the state of their tokens.
    pub users: Option<Users>,
    /// Files in the spool.
    pub files: Option<Files>,
    /// Triggers in order, and how many there should be.
    pub triggers: Option<(i64, i64)>,
    /// Seconds between audits.
    pub audit_interval: f64,
    /// When the last audit ended (0: none yet), and what it found.
    pub audit: Option<(f64, i64)>,
}

/// Users by the state of their tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// Those with a usable token.
    pub with_token: u64,
    /// Of these, sealed.
    pub sealed: u64,
    /// Of these, in plaintext.
    pub plaintext: u64,
    /// Those whose value is no usable token.
    pub unusable: usize,
    /// Those who share their token.
    pub duplicated: usize,
}

/// Files in the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Those that will be taken.
    pub waiting: usize,
    /// Those that were rejected.
    pub rejected: usize,
    /// Those that are not taken.
    pub not_taken: usize,
}

/// A metric: its name, what it is, and its type.
type Kind = (&'static str, &'static str, &'static str);

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page { text: String::new(), label: self.label() };
        page.one(("up", "Whether a relinkd is running.", "gauge"), Some(flag(self.up)));
        page.one(("start_time_seconds", "When the daemon started.", "gauge"), self.start_time);
        page.one(
            ("database_connected", "Whether the database is reached.", "gauge"),
            Some(flag(self.database_connected)),
        );
        page.one(
            ("reconnects_total", "How often the daemon had to connect again.", "counter"),
            self.reconnects,
        );
        page.one(("links_written_total", "Links written since the start.", "counter"), self.links_written);
        page.one(
            ("last_write_timestamp_seconds", "When a link was last written; 0: not yet.", "gauge"),
            self.last_write,
        );
        page.one(
            ("backlog_changes", "Changes that are not yet wholly in links.", "gauge"),
            self.backlog.map(|it| it.0),
        );
        page.one(
            ("backlog_oldest_seconds", "How long the oldest of them has waited.", "gauge"),
            self.backlog.map(|it| it.1),
        );
        page.one(("set_aside", "Users and issues whose links cannot be written.", "gauge"), self.set_aside);
        if let Some(users) = &self.users {
            page.one(("users_with_token", "Users with a usable token.", "gauge"), Some(users.with_token));
            page.several(
                ("users", "Users by the state of their tokens.", "gauge"),
                &[
                    ("sealed", users.sealed),
                    ("plaintext", users.plaintext),
                    ("unusable", users.unusable as u64),
                    ("duplicated", users.duplicated as u64),
                ],
            );
        }
        if let Some(files) = &self.files {
            page.several(
                ("spool_files", "Files in the spool.", "gauge"),
                &[
                    ("waiting", files.waiting as u64),
                    ("rejected", files.rejected as u64),
                    ("not_taken", files.not_taken as u64),
                ],
            );
        }
        page.one(("triggers_sound", "Triggers that are in order.", "gauge"), self.triggers.map(|it| it.0));
        page.one(
            ("triggers_wanted", "How many triggers there should be.", "gauge"),
            self.triggers.map(|it| it.1),
        );
        page.one(
            ("audit_last_timestamp_seconds", "When the last audit ended; 0: none yet.", "gauge"),
            self.audit.map(|it| it.0),
        );
        page.one(("audit_found", "What the last audit found to mend.", "gauge"), self.audit.map(|it| it.1));
        page.one(("audit_interval_seconds", "The time between audits.", "gauge"), Some(self.audit_interval));
        f.write_str(&page.text)
    }
}

impl Metrics {
    /// The label that tells instances apart, as `name="value"`.
    fn label(&self) -> Option<String> {
        let name = Printable::text(self.database.as_deref()?).to_string();
        Some(format!("database=\"{}\"", name.replace('\\', r"\\").replace('"', "\\\"")))
    }
}

fn flag(is: bool) -> u8 {
    u8::from(is)
}

struct Page {
    text: String,
    label: Option<String>,
}

impl Page {
    fn one(&mut self, kind: Kind, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.head(kind);
            self.sample(kind, None, value);
        }
    }

    fn several(&mut self, kind: Kind, states: &[(&str, u64)]) {
        self.head(kind);
        for (state, value) in states {
            self.sample(kind, Some(state), value);
        }
    }

    fn head(&mut self, (name, help, of): Kind) {
        let _ = write!(self.text, "# HELP relinkd_{name} {help}\n# TYPE relinkd_{name} {of}\n");
    }

    fn sample(&mut self, (name, ..): Kind, state: Option<&str>, value: impl fmt::Display) {
        let state = state.map(|state| format!("state=\"{state}\""));
        let labels: Vec<&str> = self.label.as_deref().into_iter().chain(state.as_deref()).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "relinkd_{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = Metrics { up: true, audit_interval: 3600.0, ..Metrics::default() }.to_string();
        assert_eq!(
            text,
            "# HELP relinkd_up Whether a relinkd is running.\n# TYPE relinkd_up gauge\nrelinkd_up 1\n\
             # HELP relinkd_database_connected Whether the database is reached.\n\
             # TYPE relinkd_database_connected gauge\nrelinkd_database_connected 0\n\
             # HELP relinkd_audit_interval_seconds The time between audits.\n\
             # TYPE relinkd_audit_interval_seconds gauge\nrelinkd_audit_interval_seconds 3600\n"
        );
    }

    #[test]
    fn an_instance_has_a_label_of_its_own() {
        let metrics = Metrics {
            database: Some("a\"b\\c\n".to_owned()),
            users: Some(Users { unusable: 3, ..Users::default() }),
            ..Metrics::default()
        };
        let text = metrics.to_string();
        assert!(text.contains("relinkd_up{database=\"a\\\"b\\\\c\\\\n\"} 0\n"), "{text}");
        assert!(text.contains(",state=\"unusable\"} 3\n"), "{text}");
    }
}
