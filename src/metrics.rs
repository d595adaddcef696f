//! Metrics in Prometheus' text format (Prometheus, "Exposition formats"). Their names and labels are fixed by
//! `packaging/prometheus/` and docs/monitoring.md. What is not known at the moment is left out: a number that is old
//! would be worse than none.

use crate::printable::Printable;
use std::fmt;

/// Declares each metric: its name without `relinkd_`, the type of what is known, its kind, and what it is.
macro_rules! metrics {
    ($($name:ident: $type:ty, $kind:ident, $help:literal;)*) => {
        /// What is known at a moment. Moments are in seconds since 1970.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub(crate) struct Metrics {
            /// The name of the instance, as a label on each metric; none where there is only one.
            pub database: Option<String>,
            $(#[doc = $help] pub $name: $type,)*
        }

        impl fmt::Display for Metrics {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let label = self.label();
                $(write(f, label.as_deref(), (stringify!($name), stringify!($kind), $help), &self.$name)?;)*
                Ok(())
            }
        }
    };
}

metrics! {
    up: bool, gauge, "Whether a relinkd is running.";
    start_time_seconds: Option<f64>, gauge, "When the daemon started.";
    database_connected: bool, gauge, "Whether the database is reached.";
    reconnects_total: Option<i64>, counter, "How often the daemon had to connect again.";
    links_written_total: Option<i64>, counter, "Links written since the start.";
    last_write_timestamp_seconds: Option<f64>, gauge, "When a link was last written; 0: not yet.";
    backlog_changes: Option<i64>, gauge, "Changes that are not yet wholly in links.";
    backlog_oldest_seconds: Option<f64>, gauge, "How long the oldest of them has waited.";
    set_aside: Option<i64>, gauge, "Users and issues whose links cannot be written.";
    users_with_token: Option<u64>, gauge, "Users with a usable token.";
    users: Option<States<4>>, gauge, "Users by the state of their tokens.";
    spool_files: Option<States<3>>, gauge, "Files in the spool.";
    triggers_sound: Option<i64>, gauge, "Triggers that are in order.";
    triggers_wanted: Option<i64>, gauge, "How many triggers there should be.";
    audit_last_timestamp_seconds: Option<f64>, gauge, "When the last audit ended; 0: none yet.";
    audit_found: Option<i64>, gauge, "What the last audit found to mend.";
    audit_interval_seconds: f64, gauge, "The time between audits.";
}

/// How many there are in each state.
pub(crate) type States<const N: usize> = [(&'static str, u64); N];

impl Metrics {
    /// The label that tells instances apart, as `name="value"`.
    fn label(&self) -> Option<String> {
        let name = Printable::text(self.database.as_deref()?).to_string();
        Some(format!("database=\"{}\"", name.replace('\\', r"\\").replace('"', "\\\"")))
    }
}

/// A number, or one for each state; none where it is not known.
trait Samples {
    fn samples(&self) -> Vec<(Option<&'static str>, String)>;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Samples for $type {
            fn samples(&self) -> Vec<(Option<&'static str>, String)> {
                vec![(None, self.to_string())]
            }
        })*
    };
}

numbers!(f64, i64, u64);

impl Samples for bool {
    fn samples(&self) -> Vec<(Option<&'static str>, String)> {
        u64::from(*self).samples()
    }
}

impl<const N: usize> Samples for States<N> {
    fn samples(&self) -> Vec<(Option<&'static str>, String)> {
        self.iter().map(|(state, number)| (Some(*state), number.to_string())).collect()
    }
}

impl<T: Samples> Samples for Option<T> {
    fn samples(&self) -> Vec<(Option<&'static str>, String)> {
        self.as_ref().map_or_else(Vec::new, Samples::samples)
    }
}

fn write(
    f: &mut fmt::Formatter<'_>,
    label: Option<&str>,
    (name, kind, help): (&str, &str, &str),
    value: &impl Samples,
) -> fmt::Result {
    let samples = value.samples();
    if !samples.is_empty() {
        write!(f, "# HELP relinkd_{name} {help}\n# TYPE relinkd_{name} {kind}\n")?;
    }
    for (state, number) in samples {
        let state = state.map(|state| format!("state=\"{state}\""));
        let labels: Vec<&str> = label.into_iter().chain(state.as_deref()).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(f, "relinkd_{name}{labels} {number}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = Metrics { up: true, audit_interval_seconds: 3600.0, ..Metrics::default() }.to_string();
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
            users: Some([("sealed", 0), ("plaintext", 0), ("unusable", 3), ("duplicated", 0)]),
            ..Metrics::default()
        };
        let text = metrics.to_string();
        assert!(text.contains("relinkd_up{database=\"a\\\"b\\\\c\\\\n\"} 0\n"), "{text}");
        assert!(text.contains(",state=\"unusable\"} 3\n"), "{text}");
    }
}
