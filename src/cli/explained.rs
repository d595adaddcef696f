//! What `relinkd explain` says of links, issues and users: in lines, and by the same names in JSON.

use super::output;
use super::token::{Shown, describe};
use crate::db::status::Waiting;
use crate::link::{self, NotOurs, Shape};
use crate::printable::Printable;
use crate::relink::{Rules, User};
use serde::Serialize;
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
        let judged = url.map(|url| rules.portal.judge(url));
        let (shape, in_words) = match &judged {
            None => ("none", "no link"),
            Some(Ok(link)) => match link.shape() {
                Shape::Plain => ("plain", "plain link of the portal"),
                Shape::Api => ("api", "API link of the portal"),
                Shape::Login => ("login", "login link of the portal"),
            },
            Some(Err(_)) => ("not_ours", "not an issue link of the portal: left as it is"),
        };
        let (number, rule) = match judged {
            None => (None, None),
            Some(Ok(link)) => (Some(link.number().to_owned()), None),
            Some(Err(rule)) => (None, Some(Rule { id: rule.code(), text: rule.to_string() })),
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

impl Issue {
    pub(super) fn print(&self) {
        output::line(format!("issue {}", self.id));
        self.written.print();
        self.person.print();
        match self.carries_users_token {
            None => {}
            Some(true) => row("sent", "the link that was sent carries this user's token"),
            Some(false) => {
                row("sent", "the link that was sent carries a token that is not this user's, or no longer");
            }
        }
        self.print_end();
    }

    pub(super) fn print_end(&self) {
        match (&self.would_write, &self.left_because) {
            (Some(new), _) => row("relinkd", format!("would write {new}")),
            (None, Some(why)) => row("relinkd", format!("leaves it: {why}")),
            (None, None) => row("relinkd", "leaves it as it is"),
        }
        for trigger in &self.triggers {
            row(
                "triggers",
                format!("{trigger}: relinkd does not hear of every change; run `relinkd install`"),
            );
        }
        if self.triggers.is_empty() && self.would_write.is_some() && !self.person.waits() {
            row(
                "why",
                "no trigger told of the change that made it so: the next audit mends it, or `relinkd sync`",
            );
        }
    }
}

/// A user, and what waits for them; all is none where an issue has none.
#[derive(Default, Serialize)]
pub(super) struct Person {
    telegram_id: Option<i64>,
    user: Option<Known>,
    waiting: Option<Waiting>,
    #[serde(skip)]
    token_in_words: String,
}

/// What the bot knows of a user.
#[derive(Serialize)]
struct Known {
    known: bool,
    #[serde(flatten)]
    token: Shown,
}

impl Person {
    /// Whom the bot does not know is no `user`.
    pub(super) fn new(telegram_id: i64, user: Option<&User>, waiting: Waiting) -> Self {
        let token_in_words = user.map_or_else(String::new, |user| {
            let state = describe(&user.state);
            user.state.token().map_or(state.clone(), |token| format!("{} ({state})", token.masked()))
        });
        let token = user.map(|user| Shown::from(&user.state)).unwrap_or_default();
        let user = Some(Known { known: user.is_some_and(|user| user.known), token });
        Self { telegram_id: Some(telegram_id), user, waiting: Some(waiting), token_in_words }
    }

    pub(super) fn waits(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.changes > 0)
    }

    pub(super) fn print(&self) {
        let (Some(id), Some(user), Some(waiting)) = (self.telegram_id, &self.user, &self.waiting) else {
            return row("user", "none: the column is null");
        };
        row("user", format!("{id}{}", if user.known { "" } else { ", whom the bot does not know" }));
        row("token", &self.token_in_words);
        row("waiting", waiting);
    }
}
