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

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};
use zeroize::Zeroize as _;

pub use fault::{Fault, FaultKind};

use crate::{
    place::{Lines, Place},
    token::{Token, TokenRule},
};

/// The largest drop file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

const USER: &str = "telegram_id";
const TOKEN: &str = "token";
const REMOVE: &str = "remove";
const LIST: &str = "assignment";

/// What is to become of a user's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This is the user's token from now on.
    Set(Token),
    /// The user has no token from now on.
    Remove,
}

/// One user's change, and where the file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Whose token it is. Any 64-bit number: only the database knows which of them are users.
    pub telegram_id: i64,
    /// What happens to it.
    pub change: Change,
    /// The place of the value of `telegram_id`, to cite when there is no such user.
    pub id_place: Place,
    /// The place of the value of `token` or `remove`, to cite when another user holds the token.
    pub change_place: Place,
}

/// A file that is not in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Faulty {
    /// Every fault, sorted by place. Of a line that is not TOML that is all that is said, and of a file that is too large
    /// or not UTF-8 as well.
    pub faults: Vec<Fault>,
    /// Assignments that are whole, for what only the database can hold against them; none of a file that is not TOML.
    pub whole: Vec<Assignment>,
}

impl Faulty {
    fn wholly(fault: Fault) -> Self {
        Self { faults: vec![fault], whole: Vec::new() }
    }
}

/// Reads a drop file. The assignments come in the order of the file, and there is at least one; no user and no token
/// stands in two of them.
///
/// # Errors
/// Every fault of the file.
pub fn parse(bytes: &[u8], rule: &TokenRule) -> Result<Vec<Assignment>, Faulty> {
    if bytes.len() > MAX_BYTES {
        return Err(Faulty::wholly(Fault::new(Place::START, FaultKind::TooLarge)));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|fault| Faulty::wholly(not_utf8(bytes, fault.valid_up_to())))?;
    let (document, errors) = DeTable::parse_recoverable(text);
    let document = document.into_inner();
    let mut reader = Reader::new(text, rule);
    for error in errors {
        reader.fault(error.span().map_or(0, |span| span.start), FaultKind::NotToml);
    }
    reader.document(&document);
    wipe(DeValue::Table(document));
    reader.finish()
}

fn not_utf8(bytes: &[u8], valid_up_to: usize) -> Fault {
    let valid = std::str::from_utf8(&bytes[..valid_up_to]).expect("valid up to there");
    Fault::new(Place::of(valid, valid_up_to), FaultKind::NotUtf8)
}

/// What has been read of a file so far, and all that is wrong with it.
struct Reader<'f> {
    lines: Lines<'f>,
    rule: &'f TokenRule,
    users: HashMap<i64, Place>,
    tokens: HashMap<Token, Place>,
    assignments: Vec<Assignment>,
    faults: Vec<Fault>,
}

impl<'f> Reader<'f> {
    fn new(text: &'f str, rule: &'f TokenRule) -> Self {
        Self {
            lines: Lines::of(text),
            rule,
            users: HashMap::new(),
            tokens: HashMap::new(),
            assignments: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, offset: usize, kind: FaultKind) {
        self.faults.push(Fault::new(self.lines.place(offset), kind));
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
        let wrong =
            FaultKind::WrongType { key: LIST, right: "written as [[assignment]], once for each user" };
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
        let change = self.change(table, at);
        if let (Some((telegram_id, id_place)), Some((change, change_place))) = (user, change) {
            self.assignments.push(Assignment { telegram_id, change, id_place, change_place });
        }
    }

    fn user(&mut self, table: &DeTable<'_>, at: usize) -> Option<(i64, Place)> {
        let Some(value) = table.get(USER) else {
            self.fault(at, FaultKind::NoUser);
            return None;
        };
        let at = value.span().start;
        let Some(number) = value.get_ref().as_integer() else {
            self.fault(at, FaultKind::WrongType { key: USER, right: "a whole number" });
            return None;
        };
        let Some(telegram_id) = whole(number) else {
            self.fault(at, FaultKind::OutOfRange);
            return None;
        };
        let place = self.lines.place(at);
        match self.users.entry(telegram_id) {
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(first) => {
                let first = *first.get();
                self.fault(at, FaultKind::UserTwice { first });
            }
        }
        Some((telegram_id, place))
    }

    fn change(&mut self, table: &DeTable<'_>, at: usize) -> Option<(Change, Place)> {
        match (table.get(TOKEN), table.get_key_value(REMOVE)) {
            (None, None) => {
                self.fault(at, FaultKind::NoChange);
                None
            }
            (Some(token), None) => self.token(token),
            (None, Some((_, remove))) => self.remove(remove),
            (Some(token), Some((key, remove))) => {
                self.fault(key.span().start, FaultKind::BothChanges);
                self.token(token);
                self.remove(remove);
                None
            }
        }
    }

    fn token(&mut self, value: &Spanned<DeValue<'_>>) -> Option<(Change, Place)> {
        let at = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            self.fault(at, FaultKind::WrongType { key: TOKEN, right: "text in quotes" });
            return None;
        };
        let token = match self.rule.admit(text) {
            Ok(token) => token,
            Err(fault) => {
                self.fault(at, FaultKind::BadToken(fault));
                return None;
            }
        };
        let place = self.lines.place(at);
        match self.tokens.entry(token.clone()) {
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(first) => {
                let first = *first.get();
                self.fault(at, FaultKind::TokenTwice { first });
            }
        }
        Some((Change::Set(token), place))
    }

    fn remove(&mut self, value: &Spanned<DeValue<'_>>) -> Option<(Change, Place)> {
        let at = value.span().start;
        match value.get_ref().as_bool() {
            Some(true) => return Some((Change::Remove, self.lines.place(at))),
            Some(false) => self.fault(at, FaultKind::RemoveFalse),
            None => self.fault(at, FaultKind::WrongType { key: REMOVE, right: "`true`" }),
        }
        None
    }

    /// The outcome. Beside a line that is not TOML, what recovery made of that line is no fault of its own, nor is what
    /// may only be missing because of it.
    fn finish(mut self) -> Result<Vec<Assignment>, Faulty> {
        if self.faults.is_empty() {
            return Ok(self.assignments);
        }
        let not_toml = |fault: &Fault| fault.kind == FaultKind::NotToml;
        // Stable, and the faults of TOML came first: of a line's they are, too, for the deduplication.
        self.faults.sort_by_key(|fault| (fault.place.line, !not_toml(fault), fault.place.column));
        let damaged = self.faults.iter().any(not_toml);
        if damaged {
            self.faults.retain(|fault| !fault.kind.is_absence());
            self.assignments.clear();
        }
        self.faults.dedup_by(|later, first| not_toml(first) && later.place.line == first.place.line);
        Err(Faulty { faults: self.faults, whole: self.assignments })
    }
}

/// The number, when it fits the column: a `bigint`.
fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Wipes the copies that TOML makes of strings with escapes; the others are borrowed from the caller's buffer.
fn wipe(value: DeValue<'_>) {
    match value {
        DeValue::String(text) => wipe_text(text),
        DeValue::Array(items) => items.into_iter().for_each(|item| wipe(item.into_inner())),
        DeValue::Table(table) => {
            for (key, value) in table {
                wipe_text(key.into_inner());
                wipe(value.into_inner());
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn wipe_text(text: DeString<'_>) {
    if let Cow::Owned(mut text) = text {
        text.zeroize();
    }
}
