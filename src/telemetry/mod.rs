//! The one log sink: lines to standard error, with a priority for the journal where systemd reads them.
//!
//! Set once at start. Prose in lower case, fields after it as `name=value`; levels map to syslog's (sd-daemon(3)).
//! Message and values are made harmless here, and shortened: the journal shows no line with a control character.

mod journal;

pub(crate) use journal::tell;

use crate::printable::Printable;
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsFd;

/// The longest message, and the longest value, in characters.
const LONGEST: usize = 2_000;

struct Sink {
    journal: bool,
}

/// Starts logging at this level. Later calls change the level only.
pub(crate) fn init(level: LevelFilter) {
    let _ = log::set_boxed_logger(Box::new(Sink { journal: journal_reads_stderr() }));
    log::set_max_level(level);
}

fn journal_reads_stderr() -> bool {
    journal_reads(std::io::stderr())
}

/// Whether this is the journal's stream: `JOURNAL_STREAM` holds its device and inode (systemd.exec(5)).
pub(crate) fn journal_reads(output: impl AsFd) -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(output) = nix::sys::stat::fstat(output) else { return false };
    stream == format!("{}:{}", output.st_dev, output.st_ino)
}

/// Says that the program has a bug, and where; a panic's own message may quote a value, and is not printed.
pub(crate) fn panicked(place: &str) {
    let prefix = if journal_reads_stderr() { "<2>" } else { "" };
    let _ = writeln!(
        std::io::stderr().lock(),
        "{prefix}relinkd: a bug: it panicked{place}; please report this line"
    );
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Warn || metadata.target().starts_with("relinkd")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(record, self.journal);
        // A log that cannot be written has nobody to be told.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(record: &Record, journal: bool) -> String {
    let mut line = String::new();
    let _ = if journal {
        write!(line, "<{}>", priority(record.level()))
    } else {
        write!(line, "{:<5} ", record.level().as_str().to_lowercase())
    };
    let _ = write!(line, "{}", Printable::of(record.args()).shortened(LONGEST));
    let _ = record.key_values().visit(&mut Fields(&mut line));
    line.push('\n');
    line
}

struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let value = Printable::of(value).shortened(LONGEST);
        if value.as_str().is_empty() {
            return Ok(());
        }
        if value.as_str().contains(|c: char| c.is_whitespace() || c == '"') {
            let _ = write!(self.0, " {key}=\"{}\"", value.as_str().replace('"', "\\\""));
        } else {
            let _ = write!(self.0, " {key}={value}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(journal: bool) -> String {
        let fields: [(&str, Value); 4] = [
            ("telegram_id", Value::from(5)),
            ("by", Value::from("")),
            ("reason", Value::from("two \"words\"")),
            ("file", Value::from("a\n<0>b\u{202e}")),
        ];
        line(
            &Record::builder()
                .level(Level::Warn)
                .target("relinkd::x")
                .args(format_args!("one\ntwo\u{1b}[31m"))
                .key_values(&fields)
                .build(),
            journal,
        )
    }

    #[test]
    fn a_record_is_one_line_with_its_fields() {
        assert_eq!(
            written(false),
            "warn  one\\ntwo\\x1b[31m telegram_id=5 reason=\"two \\\"words\\\"\" file=a\\n<0>b\\u{202e}\n"
        );
    }

    #[test]
    fn the_journal_gets_a_priority() {
        assert!(written(true).starts_with("<4>one\\ntwo"));
    }
}
