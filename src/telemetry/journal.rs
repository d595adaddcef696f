//! What becomes of tokens, as entries of the journal with fields of their own (systemd, "Native Journal Protocol"), so that
//! `journalctl RELINKD_TELEGRAM_ID=413129274` finds them. Never a token.
//!
//! A command's entries go there too. Where there is no journal, the log has a line.

use super::journal_reads_stderr;
use crate::db::history::{Action, Entry, Via};
use crate::printable::Printable;
use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Names the kind of entry (`journalctl MESSAGE_ID=…`, systemd.journal-fields(7)).
const MESSAGE_ID: &str = "f1b5a7c0d4e94c1f8a3b62e07d915c48";
/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// What the bot did to more users than this at once is told in one line: journald drops what comes too fast, whatever of
/// the unit it is. The history has each.
const MANY: usize = 8;

/// Tells of what was done, once it is certain.
pub(crate) fn tell(entries: &[Entry]) {
    let (each, many) = gathered(entries);
    for (action, users) in many {
        log::info!(action = action.name(), via = Via::Bot.name(), users;
            "the tokens of {users} users were {}; `relinkd history` has each", action.name());
    }
    if each.is_empty() {
        return;
    }
    let journal = connect(Path::new(SOCKET));
    // The journal reads standard error as well: there it would stand twice.
    let log_too = !journal_reads_stderr();
    for entry in each {
        let told = journal.as_ref().is_some_and(|journal| journal.send(fields(entry).as_bytes()).is_ok());
        if log_too || !told {
            log(entry);
        }
    }
}

/// What is told one by one, and what of the bot's in one line.
fn gathered(entries: &[Entry]) -> (Vec<&Entry>, Vec<(Action, usize)>) {
    let of = |action| entries.iter().filter(move |it| it.via == Via::Bot && it.action == action).count();
    let actions = [Action::Set, Action::Removed, Action::Sealed];
    let many: Vec<(Action, usize)> =
        actions.map(|action| (action, of(action))).into_iter().filter(|(_, users)| *users > MANY).collect();
    let is_gathered = |it: &&Entry| it.via == Via::Bot && many.iter().any(|(action, _)| *action == it.action);
    (entries.iter().filter(|it| !is_gathered(it)).collect(), many)
}

/// A socket that does not make the sender wait.
fn connect(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

fn log(entry: &Entry) {
    log::info!(
        telegram_id = entry.telegram_id,
        action = entry.action.name(),
        via = entry.via.name(),
        by = entry.by.as_deref().unwrap_or_default(),
        file = entry.file.as_deref().unwrap_or_default();
        "{}", message(entry)
    );
}

/// `the token of user 413129274 was set by anna (spool, tokens.toml)`
fn message(entry: &Entry) -> String {
    let Entry { telegram_id, action, via, by, file } = entry;
    let mut text = format!("the token of user {telegram_id} was {}", action.name());
    if let Some(by) = by {
        let _ = write!(text, " by {by}");
    }
    let _ = write!(text, " ({}", via.name());
    if let Some(file) = file {
        let _ = write!(text, ", {file}");
    }
    text + ")"
}

/// The entry as journald takes it: a field a line, `NAME=value`. A value is one line, for it is printable.
fn fields(entry: &Entry) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}={}", Printable::text(value));
    };
    field("MESSAGE", &message(entry));
    field("MESSAGE_ID", MESSAGE_ID);
    field("PRIORITY", "6");
    field("SYSLOG_IDENTIFIER", "relinkd");
    field("RELINKD_TELEGRAM_ID", &entry.telegram_id.to_string());
    field("RELINKD_ACTION", entry.action.name());
    field("RELINKD_VIA", entry.via.name());
    if let Some(by) = &entry.by {
        field("RELINKD_BY", by);
    }
    if let Some(file) = &entry.file {
        field("RELINKD_FILE", file);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::history::{Action, Via};

    fn entry() -> Entry {
        Entry {
            by: Some("anna".to_owned()),
            file: Some("a\nPRIORITY=0\u{202e}.toml".to_owned()),
            ..Entry::new(413_129_274, Action::Set, Via::Spool)
        }
    }

    #[test]
    fn an_entry_has_its_fields_and_no_name_adds_one() {
        assert_eq!(
            fields(&entry()),
            "MESSAGE=the token of user 413129274 was set by anna (spool, a\\nPRIORITY=0\\u{202e}.toml)\n\
             MESSAGE_ID=f1b5a7c0d4e94c1f8a3b62e07d915c48\nPRIORITY=6\nSYSLOG_IDENTIFIER=relinkd\n\
             RELINKD_TELEGRAM_ID=413129274\nRELINKD_ACTION=set\nRELINKD_VIA=spool\nRELINKD_BY=anna\n\
             RELINKD_FILE=a\\nPRIORITY=0\\u{202e}.toml\n"
        );
        let bots = fields(&Entry::new(-5, Action::Sealed, Via::Bot));
        assert!(bots.contains("MESSAGE=the token of user -5 was sealed (bot)\n"), "{bots}");
        assert!(!bots.contains("RELINKD_BY") && !bots.contains("RELINKD_FILE"), "{bots}");
    }

    #[test]
    fn what_the_bot_did_to_many_is_one_line_and_what_people_did_one_each() {
        let entries = |via, action, users| (1..=users).map(move |user| Entry::new(user, action, via));
        let few: Vec<Entry> = entries(Via::Bot, Action::Sealed, 8).collect();
        assert_eq!(gathered(&few), (few.iter().collect(), vec![]));
        let mut all: Vec<Entry> = entries(Via::Bot, Action::Sealed, 9).collect();
        all.extend(entries(Via::Spool, Action::Set, 50));
        all.extend(entries(Via::Bot, Action::Removed, 1));
        let (each, many) = gathered(&all);
        assert_eq!((each.len(), many), (51, vec![(Action::Sealed, 9)]));
    }

    /// A daemon must not stand still because journald does.
    #[test]
    fn a_journal_that_reads_nothing_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let deaf = UnixDatagram::bind(&path).unwrap();
        let journal = connect(&path).unwrap();
        let text = fields(&entry());
        let sent = (0..100_000).take_while(|_| journal.send(text.as_bytes()).is_ok()).count();
        assert!(sent < 100_000, "its buffer never filled");
        let mut first = [0; 1000];
        let length = deaf.recv(&mut first).unwrap();
        assert_eq!(&first[..length], text.as_bytes());
        assert!(connect(&directory.path().join("none")).is_none());
    }
}
