//! What `relinkd explain` says of links, issues and users, in lines and in JSON.

use super::output;
use super::token::{describe, key, state};
use crate::db::status::Waiting;
use crate::link::{self, NotOurs, Shape};
use crate::printable::Printable;
use crate::relink::{Rules, User};
use crate::token::Token;
use serde_json::{Value, json};

pub(super) fn row(name: &str, value: &str) {
    output::line(format!("  {name:<9} {value}"));
}

pub(super) fn merge(document: &mut Value, more: Value) {
    if let (Value::Object(document), Value::Object(more)) = (document, more) {
        document.extend(more);
    }
}

pub(super) fn as_json(issues: &[Issue]) -> Value {
    issues.iter().map(Issue::as_json).collect()
}

/// A link as it is written.
pub(super) struct Written {
    pub(super) shown: Option<Printable>,
    /// Its shape and number; none where there is no link.
    pub(super) shape: Result<Option<(Shape, String)>, NotOurs>,
}

impl Written {
    pub(super) fn of(rules: &Rules, url: Option<&str>) -> Self {
        let read = |url| rules.portal.judge(url).map(|link| Some((link.shape(), link.number().to_owned())));
        Self { shown: url.map(link::mask), shape: url.map_or(Ok(None), read) }
    }

    pub(super) fn print(&self) {
        row("link", self.shown.as_ref().map_or("null", Printable::as_str));
        match &self.shape {
            Ok(None) => row("shape", "no link"),
            Ok(Some((Shape::Plain, _))) => row("shape", "plain link of the portal"),
            Ok(Some((Shape::Api, _))) => row("shape", "API link of the portal"),
            Ok(Some((Shape::Login, _))) => row("shape", "login link of the portal"),
            Err(rule) => {
                row("shape", "not an issue link of the portal: left as it is");
                row("rule", &rule.to_string());
            }
        }
    }

    pub(super) fn as_json(&self) -> Value {
        let shape = match &self.shape {
            Ok(None) => "none",
            Ok(Some((Shape::Plain, _))) => "plain",
            Ok(Some((Shape::Api, _))) => "api",
            Ok(Some((Shape::Login, _))) => "login",
            Err(_) => "not_ours",
        };
        json!({
            "link": self.shown.as_ref().map(Printable::as_str),
            "shape": shape,
            "number": self.shape.as_ref().ok().and_then(|read| read.as_ref()).map(|(_, number)| number),
            "rule": self.shape.as_ref().err().map(|rule| json!({"id": rule.code(), "text": rule.to_string()})),
        })
    }
}

/// What becomes of a link.
pub(super) enum End {
    Writes(Printable),
    /// And why, where that is not plain to see.
    Leaves(Option<String>),
}

/// An issue, explained.
pub(super) struct Issue {
    pub(super) id: i64,
    pub(super) written: Written,
    /// None where the column is null.
    pub(super) person: Option<Person>,
    /// Whether the link that was sent carries the token of this issue's user; none where it carries none.
    pub(super) carries: Option<bool>,
    pub(super) end: End,
    /// What is wrong with the triggers, where the link is wrong and nothing waits.
    pub(super) triggers: Vec<String>,
}

impl Issue {
    pub(super) fn print(&self) {
        output::line(format!("issue {}", self.id));
        self.print_link();
        match &self.person {
            None => row("user", "none: the column is null"),
            Some(person) => person.print(),
        }
        match self.carries {
            None => {}
            Some(true) => row("sent", "the link that was sent carries this user's token"),
            Some(false) => {
                row("sent", "the link that was sent carries a token that is not this user's, or no longer");
            }
        }
        self.print_end();
    }

    pub(super) fn print_link(&self) {
        self.written.print();
    }

    pub(super) fn print_end(&self) {
        match &self.end {
            End::Writes(new) => row("relinkd", &format!("would write {new}")),
            End::Leaves(Some(why)) => row("relinkd", &format!("leaves it: {why}")),
            End::Leaves(None) => row("relinkd", "leaves it as it is"),
        }
        for trigger in &self.triggers {
            row(
                "triggers",
                &format!("{trigger}: relinkd does not hear of every change; run `relinkd install`"),
            );
        }
        if self.triggers.is_empty() && matches!(self.end, End::Writes(_)) && self.nothing_waits() {
            row(
                "why",
                "no trigger told of the change that made it so: the next audit mends it, or `relinkd sync`",
            );
        }
    }

    fn nothing_waits(&self) -> bool {
        self.person.as_ref().is_none_or(|person| person.waiting.changes == 0)
    }

    pub(super) fn as_json(&self) -> Value {
        let (would_write, left) = match &self.end {
            End::Writes(new) => (Some(new.as_str()), None),
            End::Leaves(why) => (None, why.as_deref()),
        };
        let mut document = json!({
            "issue": self.id,
            "would_write": would_write,
            "left_because": left,
            "carries_users_token": self.carries,
            "triggers": self.triggers,
        });
        merge(&mut document, self.written.as_json());
        let nobody = || json!({"telegram_id": null, "user": null, "waiting": null});
        merge(&mut document, self.person.as_ref().map_or_else(nobody, Person::as_json));
        document
    }
}

/// A user, and what waits for them.
pub(super) struct Person {
    pub(super) telegram_id: i64,
    pub(super) user: Option<User>,
    pub(super) waiting: Waiting,
}

impl Person {
    pub(super) fn print(&self) {
        let id = self.telegram_id;
        match self.user.as_ref().filter(|user| user.known) {
            Some(_) => row("user", &id.to_string()),
            None => row("user", &format!("{id}, whom the bot does not know")),
        }
        let token = |user: &User| {
            let state = describe(&user.state);
            user.state.token().map_or(state.clone(), |token| format!("{} ({state})", token.masked()))
        };
        row("token", &self.user.as_ref().map_or_else(String::new, token));
        row("waiting", &self.waiting.to_string());
    }

    pub(super) fn as_json(&self) -> Value {
        let current = self.user.as_ref().map(|user| &user.state);
        json!({
            "telegram_id": self.telegram_id,
            "user": {
                "known": self.user.as_ref().is_some_and(|user| user.known),
                "state": current.map(state),
                "token": current.and_then(|state| state.token()).map(Token::masked),
                "key": current.and_then(key),
            },
            "waiting": {
                "changes": self.waiting.changes,
                "walking": self.waiting.walking,
                "set_aside": self.waiting.set_aside,
            },
        })
    }
}
