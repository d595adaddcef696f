//! The drop file's grammar: bytes to assignments, or to every fault there is in them.
//!
//! ```toml
//! [[assignment]]
//! telegram_id = 413129274
//! token = "7812-5733-8392-7092"
//!
//! [[assignment]]
//! telegram_id = 500100200
//! remove = true
//! ```
//!
//! or, for a single user, the same two keys at the top level. The syntax is TOML, read with recovery, so that one
//! bad line does not hide the faults of the others. A fault names a place and a rule, and repeats nothing of the file:
//! the TOML parser's own messages quote it, so only their positions are used. What only the database knows (is there
//! such a user, does another one hold the token) is not judged here; its faults have their kinds here all the same.

mod fault;
mod mistakes;
mod spreadsheet;
mod wipe;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use fault::{Fault, FaultKind, Key, reason};
pub(crate) use spreadsheet::{Columns, parse as parse_spreadsheet};

use crate::place::{LineIndex, Place};
use crate::token::{Token, TokenRule};
use wipe::wipe;

/// The largest drop file, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

const USER: &str = Key::User.name();
const TOKEN: &str = Key::Token.name();
const REMOVE: &str = Key::Remove.name();
const LIST: &str = Key::List.name();

/// One user's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Whose token it is. Any 64-bit number: only the database knows which of them are users.
    pub telegram_id: i64,
    /// The user's token from now on; none where the user has none from now on.
    pub token: Option<Token>,
}

/// What the database holds against what a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody has this `telegram_id`.
    UnknownUser(i64),
    /// These others would hold the same token after the whole file.
    TokenHeld(Token, Vec<i64>),
}

/// What a file names, each with the place where it stands first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// The users: the database may not know them.
    pub users: HashMap<i64, Place>,
    /// The tokens that are to be set: other users may hold them.
    pub tokens: HashMap<Token, Place>,
}

impl Named {
    /// The faults that a file has by itself, and those that follow from what the database holds against it; sorted by
    /// place.
    pub(crate) fn faults(&self, own: Vec<Fault>, refusals: &[Refusal]) -> Vec<Fault> {
        let mut faults = own;
        faults.extend(refusals.iter().map(|refusal| match refusal {
            Refusal::UnknownUser(user) => Fault::new(self.users[user], FaultKind::UnknownUser),
            Refusal::TokenHeld(token, _) => Fault::new(self.tokens[token], FaultKind::TokenHeld),
        }));
        faults.sort_by_key(|fault| fault.place);
        faults
    }
}

/// A file that is in order, as far as the file itself tells.
#[derive(Debug)]
pub(crate) struct DropFile {
    /// In the order of the file. There is at least one; no user and no token stands in two of them.
    pub assignments: Vec<Assignment>,
    /// What they name.
    pub named: Named,
}

/// A file that is not in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Faulty {
    /// Every fault, sorted by place. Of a line that is not TOML that is all that is said, and of a file that is too
    /// large or in another encoding or format as well.
    pub faults: Vec<Fault>,
    /// What is named, as far as it can be told. No token of a file with a line that is not TOML, since that line may be
    /// the one that takes a token from its holder.
    pub named: Named,
}

impl Faulty {
    /// A file of which nothing but this is known.
    pub(crate) fn wholly(fault: Fault) -> Self {
        Self { faults: vec![fault], named: Named::default() }
    }
}

/// Reads a drop file.
///
/// # Errors
/// Every fault of the file.
pub(crate) fn parse(bytes: &[u8], rule: &TokenRule) -> Result<DropFile, Faulty> {
    if bytes.len() > MAX_BYTES {
        return Err(Faulty::wholly(Fault::of_file(FaultKind::TooLarge)));
    }
    let text = mistakes::decode(bytes).map_err(Faulty::wholly)?;
    let (document, errors) = DeTable::parse_recoverable(text);
    let document = document.into_inner();
    let mut reader = Reader::new(text, rule);
    if !errors.is_empty()
        && let Some((offset, kind)) = mistakes::other_format(text)
    {
        wipe(DeValue::Table(document));
        return Err(Faulty::wholly(Fault::new(reader.lines.place(offset), kind)));
    }
    let mut line = 0..0;
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        // One fault for a line; noise may have half a million errors on one.
        if !line.contains(&offset) {
            line = mistakes::line_at(text, offset);
            let (offset, kind) = mistakes::in_line(text, &line, offset);
            reader.fault(offset, kind);
        }
    }
    reader.document(&document);
    wipe(DeValue::Table(document));
    reader.finish()
}

/// It has come to nothing, by a fault that is noted.
struct Refused;

/// What has been read of a file so far, and all that is wrong with it.
struct Reader<'f> {
    lines: LineIndex<'f>,
    rule: &'f TokenRule,
    named: Named,
    assignments: Vec<Assignment>,
    faults: Vec<Fault>,
}

impl<'f> Reader<'f> {
    fn new(text: &'f str, rule: &'f TokenRule) -> Self {
        Self {
            lines: LineIndex::of(text),
            rule,
            named: Named::default(),
            assignments: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, offset: usize, kind: FaultKind) {
        self.faults.push(Fault::new(self.lines.place(offset), kind));
    }

    /// As [`Reader::fault`], for what comes to nothing by it.
    fn refuse<T>(&mut self, offset: usize, kind: FaultKind) -> Result<T, Refused> {
        self.fault(offset, kind);
        Err(Refused)
    }

    fn document(&mut self, document: &DeTable<'_>) {
        self.unknown_keys(document, &[USER, TOKEN, REMOVE, LIST]);
        let single = [USER, TOKEN, REMOVE]
            .into_iter()
            .filter_map(|key| document.get_key_value(key))
            .map(|(key, _)| key.span().start)
            .min();
        let list = document.get(LIST);
        if let Some(at) = single {
            if list.is_some() {
                self.fault(at, FaultKind::MixedForms);
            }
            self.assignment(document, at);
        }
        match list {
            Some(list) => self.list(list),
            None if single.is_none() => self.fault(0, FaultKind::NoAssignment),
            None => {}
        }
    }

    fn list(&mut self, list: &Spanned<DeValue<'_>>) {
        let wrong = FaultKind::WrongType(Key::List);
        let Some(items) = list.get_ref().as_array() else { return self.fault(list.span().start, wrong) };
        if items.is_empty() {
            self.fault(list.span().start, FaultKind::NoAssignment);
        }
        for item in items {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => {
                    self.unknown_keys(table, &[USER, TOKEN, REMOVE]);
                    self.assignment(table, at);
                }
                None => self.fault(at, wrong),
            }
        }
    }

    fn unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str]) {
        for (key, _) in table {
            if !known.contains(&key.get_ref().as_ref()) {
                self.fault(key.span().start, FaultKind::UnknownKey);
            }
        }
    }

    /// Reads one user's keys; `at` is cited for what is missing. Both parts are looked at, whatever the other is like.
    fn assignment(&mut self, table: &DeTable<'_>, at: usize) {
        let user = self.user(table, at);
        let token = self.change(table, at);
        self.push(user, token);
    }

    fn push(&mut self, user: Result<i64, Refused>, token: Result<Option<Token>, Refused>) {
        if let (Ok(telegram_id), Ok(token)) = (user, token) {
            self.assignments.push(Assignment { telegram_id, token });
        }
    }

    fn user(&mut self, table: &DeTable<'_>, at: usize) -> Result<i64, Refused> {
        let Some(value) = table.get(USER) else { return self.refuse(at, FaultKind::NoUser) };
        let at = value.span().start;
        let Some(number) = value.get_ref().as_integer() else {
            return self.refuse(at, FaultKind::WrongType(Key::User));
        };
        // It has to fit the column: a `bigint`.
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(telegram_id) => Ok(self.named(at, telegram_id)),
            Err(_) => self.refuse(at, FaultKind::OutOfRange),
        }
    }

    /// A user stands here.
    fn named(&mut self, at: usize, telegram_id: i64) -> i64 {
        let place = self.lines.place(at);
        let first = *self.named.users.entry(telegram_id).or_insert(place);
        if first != place {
            self.fault(at, FaultKind::UserTwice(first));
        }
        telegram_id
    }

    fn change(&mut self, table: &DeTable<'_>, at: usize) -> Result<Option<Token>, Refused> {
        match (table.get(TOKEN), table.get_key_value(REMOVE)) {
            (None, None) => self.refuse(at, FaultKind::NoChange),
            (Some(token), None) => self.token(token).map(Some),
            (None, Some((_, remove))) => self.remove(remove).map(|()| None),
            (Some(token), Some((key, remove))) => {
                let both = self.refuse(key.span().start, FaultKind::BothChanges);
                let _ = (self.token(token), self.remove(remove));
                both
            }
        }
    }

    fn token(&mut self, value: &Spanned<DeValue<'_>>) -> Result<Token, Refused> {
        let at = value.span().start;
        match value.get_ref().as_str() {
            Some(text) => self.admitted(at, text),
            None => self.refuse(at, FaultKind::WrongType(Key::Token)),
        }
    }

    /// A text stands here that is to be a token.
    fn admitted(&mut self, at: usize, text: &str) -> Result<Token, Refused> {
        let token = match self.rule.admit(text) {
            Ok(token) => token,
            Err(fault) => return self.refuse(at, FaultKind::BadToken(fault)),
        };
        let place = self.lines.place(at);
        let first = *self.named.tokens.entry(token.clone()).or_insert(place);
        if first != place {
            self.fault(at, FaultKind::TokenTwice(first));
        }
        Ok(token)
    }

    fn remove(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), Refused> {
        let at = value.span().start;
        match value.get_ref().as_bool() {
            Some(true) => Ok(()),
            Some(false) => self.refuse(at, FaultKind::RemoveFalse),
            None => self.refuse(at, FaultKind::WrongType(Key::Remove)),
        }
    }

    /// The outcome. Beside a line that is not TOML, what recovery made of that line is no fault of its own, nor is what
    /// may only be missing because of it.
    fn finish(mut self) -> Result<DropFile, Faulty> {
        if self.faults.is_empty() {
            return Ok(DropFile { assignments: self.assignments, named: self.named });
        }
        let syntax = |fault: &Fault| fault.kind.is_syntax();
        // Stable, and the faults of TOML came first: of a line's they are, too, for the deduplication.
        self.faults.sort_by_key(|fault| (fault.place.line, !syntax(fault), fault.place.column));
        let damaged: HashSet<usize> =
            self.faults.iter().filter(|fault| syntax(fault)).map(|fault| fault.place.line).collect();
        if !damaged.is_empty() {
            self.faults.retain(|fault| !fault.kind.is_absence());
            self.named.users.retain(|_, place| !damaged.contains(&place.line));
            self.named.tokens.clear();
        }
        self.faults.dedup_by(|later, first| syntax(first) && later.place.line == first.place.line);
        Err(Faulty { faults: self.faults, named: self.named })
    }
}
