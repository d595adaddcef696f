//! What `relinkd explain` says of links, issues and users: in lines, and by the same names in JSON.

use super::output;
use super::token::{as_json, masked};
use crate::db::status::Waiting;
use crate::link::{self, NotOurs, Shape};
use crate::printable::Printable;
use crate::relink::{Rules, User};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

pub(super) fn row(name: &str, value: impl Display) {
    output::line(format!("  {name:<9} {value}"));
}

/// A link as it is written.
#[derive(Serialize)]
pub(super) struct Written {
    pub(super) link: Option<Printable>,
    shape: &'static str,
    /// The issue that it leads to.
    pub(super) number: Option<String>,
    rule: Option<Rule>,
    #[serde(skip)]
    in_words: &'static str,
}

/// The rule by which a link is none of the portal's issue links.
#[derive(Serialize)]
struct Rule {
    id: &'static str,
    text: String,
}

impl Written {
    /// None: the column is null.
    pub(super) fn of(rules: &Rules, url: Option<&str>) -> Self {
        let (shape, in_words, number, rule) = match url.map(|url| rules.portal.judge(url)) {
            None => ("none", "no link", None, None),
            Some(Ok(link)) => {
                let (shape, in_words) = match link.shape {
                    Shape::Plain => ("plain", "plain link of the portal"),
                    Shape::Api => ("api", "API link of the portal"),
                    Shape::Login => ("login", "login link of the portal"),
                };
                (shape, in_words, Some(link.number), None)
            }
            Some(Err(rule)) => {
                let rule = Rule { id: rule.code(), text: rule.to_string() };
                ("not_ours", "not an issue link of the portal: left as it is", None, Some(rule))
            }
        };
        Self { link: url.map(link::mask), shape, number, rule, in_words }
    }

    /// As it was sent: what is no link may be a token, put in by mistake.
    pub(super) fn sent(rules: &Rules, text: &str) -> Self {
        let written = Self::of(rules, Some(text));
        let no_link = matches!(rules.portal.judge(text), Err(NotOurs::NoUrl | NotOurs::Character));
        if no_link { Self { link: Some(Printable::text("…")), ..written } } else { written }
    }

    pub(super) fn print(&self) {
        row("link", self.link.as_ref().map_or("null", Printable::as_str));
        row("shape", self.in_words);
        if let Some(rule) = &self.rule {
            row("rule", &rule.text);
        }
    }
}

/// An issue, explained.
#[derive(Serialize)]
pub(super) struct Issue {
    #[serde(rename = "issue")]
    pub(super) id: i64,
    #[serde(flatten)]
    pub(super) written: Written,
    #[serde(flatten)]
    pub(super) person: Person,
    /// Whether the link that was sent carries the token of this issue's user; none where it carries none.
    pub(super) carries_users_token: Option<bool>,
    /// None where the link is left.
    pub(super) would_write: Option<Printable>,
    /// Why it is left, where that is not plain to see.
    pub(super) left_because: Option<String>,
    /// What is wrong with the triggers, where the link is wrong and nothing waits.
    pub(super) triggers: Vec<String>,
}

/// Says it of each of these; `with_person`: with whose it is.
pub(super) fn print(issues: &[Issue], with_person: bool) {
    for Issue { id, written, person, carries_users_token, would_write, left_because, triggers } in issues {
        output::line(format!("issue {id}"));
        written.print();
        if with_person {
            person.print();
        }
        if let Some(theirs) = carries_users_token {
            let whose =
                if *theirs { "this user's token" } else { "a token that is not this user's, or no longer" };
            row("sent", format!("the link that was sent carries {whose}"));
        }
        match (would_write, left_because) {
            (Some(new), _) => row("relinkd", format!("would write {new}")),
            (None, Some(why)) => row("relinkd", format!("leaves it: {why}")),
            (None, None) => row("relinkd", "leaves it as it is"),
        }
        for trigger in triggers {
            let why = "relinkd does not hear of every change; run `relinkd install`";
            row("triggers", format!("{trigger}: {why}"));
        }
        if triggers.is_empty() && would_write.is_some() && !person.waits() {
            let why =
                "no trigger told of the change that made it so: the next audit mends it, or `relinkd sync`";
            row("why", why);
        }
    }
}

/// A user, and what waits for them; all is none where an issue has none.
#[derive(Default, Serialize)]
pub(super) struct Person {
    telegram_id: Option<i64>,
    user: Option<Value>,
    waiting: Option<Waiting>,
    #[serde(skip)]
    known: bool,
    #[serde(skip)]
    token_in_words: String,
}

impl Person {
    /// Whom the bot does not know is no `user`.
    pub(super) fn new(telegram_id: i64, user: Option<&User>, waiting: Waiting) -> Self {
        let state = user.map(|user| &user.state);
        let known = user.is_some_and(|user| user.known);
        let mut user = as_json(state);
        user["known"] = known.into();
        let token_in_words = state.map(masked).unwrap_or_default();
        Self {
            telegram_id: Some(telegram_id),
            user: Some(user),
            waiting: Some(waiting),
            known,
            token_in_words,
        }
    }

    pub(super) fn waits(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.changes > 0)
    }

    pub(super) fn print(&self) {
        let (Some(id), Some(waiting)) = (self.telegram_id, &self.waiting) else {
            return row("user", "none: the column is null");
        };
        row("user", format!("{id}{}", if self.known { "" } else { ", whom the bot does not know" }));
        row("token", &self.token_in_words);
        row("waiting", waiting);
    }
}
