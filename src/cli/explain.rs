//! `relinkd explain`: why a link looks as it does. Tokens masked.
//!
//! Asked by the id of the issue, by its number in the portal, by a link that somebody sent, or by the user. How it is said is in
//! `explained`.

use super::database::Workplace;
use super::explained::{Issue, Person, Written, print, row};
use super::output::{self, Exit, Failure};
use super::prompt;
use crate::db::issues::{self, IssueRow, Stretch};
use crate::db::session::Purpose;
use crate::db::{Tx, findings, status};
use crate::link;
use crate::relink::{self, Rules};
use crate::token::Token;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use std::path::Path;
use zeroize::Zeroizing;

/// Issues that are shown one by one.
const SHOWN: usize = 10;
/// The longest link that is read, in bytes.
const LONGEST_LINK: usize = 1 << 16;

/// Arguments of `explain`: a subject, and how it is said.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true))]
pub(crate) struct ExplainArgs {
    /// The issue's id in the bot's table
    #[arg(group = "subject", value_name = "ISSUE", allow_negative_numbers = true, value_parser = issue_id)]
    pub issue: Option<i64>,
    /// The issue's number in the portal
    #[arg(long, group = "subject", value_name = "N", value_parser = issue_number)]
    pub number: Option<String>,
    /// The link that somebody sent, from standard input or a prompt: it may hold a token
    #[arg(long, group = "subject")]
    pub link: bool,
    /// A user's `telegram_id`
    #[arg(long, group = "subject", value_name = "ID", allow_negative_numbers = true)]
    pub user: Option<i64>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(config: &Path, args: &ExplainArgs) -> Result<Exit, Failure> {
    let sent = if args.link { Some(read_link()?) } else { None };
    Workplace::open(config, async |workplace| {
        let tx = workplace.session.begin(Purpose::Read);
        let desk = Desk { tx, rules: &workplace.rules, json: args.json };
        match (args.issue, &args.number, args.user, sent) {
            (Some(id), ..) => desk.by_id(id).await,
            (_, Some(number), ..) => desk.by_number(number).await,
            (.., Some(id), _) => desk.of_user(id).await,
            (.., link) => desk.of_link(&link.expect("clap asks for one of them")).await,
        }
    })
}

/// The id of an issue, as it is typed. A link in its place may hold a token.
pub(super) fn issue_id(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(
        |_| "an id is a whole number; a link goes through standard input, where nobody else sees it: relinkd explain --link",
    )
}

/// An issue's number in the portal, as it is typed.
pub(super) fn issue_number(text: &str) -> Result<String, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { Ok(text.to_owned()) } else { Err("the number of an issue is digits alone") }
}

/// A link from a prompt without echo on a terminal, else from standard input: its token is somebody's.
fn read_link() -> Result<Zeroizing<String>, Failure> {
    let next = "paste it at the prompt, or pipe it in: relinkd explain --link < link.txt";
    let text = prompt::secret_or_input("Link", LONGEST_LINK, next)?;
    match text.trim() {
        "" => Err(Failure::refused("there is no link on standard input", next)),
        link => Ok(Zeroizing::new(link.to_owned())),
    }
}

/// What answers need.
struct Desk<'s> {
    tx: Tx<'s>,
    rules: &'s Rules,
    json: bool,
}

impl Desk<'_> {
    /// Says it as JSON, or in lines.
    fn say(&self, document: Value, in_lines: impl FnOnce()) -> Exit {
        if self.json {
            output::json(document);
        } else {
            in_lines();
        }
        Exit::Done
    }

    async fn by_id(&self, id: i64) -> Result<Exit, Failure> {
        let found = issues::by_id(&self.tx, &[id]).await?.into_iter().next().ok_or_else(|| {
            Failure::refused(
                format!("the bot has no issue {id}"),
                format!(
                    "this is the id of the row in the bot's table; by its number in the portal: relinkd explain --number {id}"
                ),
            )
        })?;
        let issue = self.issue(found, None).await?;
        Ok(self.say(json!(issue), || print(&[issue], true)))
    }

    async fn by_number(&self, number: &str) -> Result<Exit, Failure> {
        let issues = self.with_number(number, None).await?;
        if issues.is_empty() {
            return Err(Failure::refused(
                format!("no link of the bot's leads to issue {number} of the portal"),
                "the bot may not have it, or its link is not ours; by the id of the row: relinkd explain ID",
            ));
        }
        let document = json!({"number": number, "issues": issues});
        Ok(self.say(document, || print(&issues, true)))
    }

    async fn of_user(&self, telegram_id: i64) -> Result<Exit, Failure> {
        let (person, _) = self.person(telegram_id, None).await?;
        let mut issues = Vec::new();
        for issue in issues::of_users(&self.tx, &[Stretch { telegram_id, after: None }], SHOWN).await? {
            issues.push(self.issue(issue, None).await?);
        }
        let mut document = json!(person);
        document["issues"] = json!(issues);
        Ok(self.say(document, || {
            output::line(format!("user {telegram_id}"));
            person.print();
            if issues.is_empty() {
                row("issues", "none");
            }
            print(&issues, false);
        }))
    }

    async fn of_link(&self, sent: &str) -> Result<Exit, Failure> {
        let written = Written::sent(self.rules, sent);
        let issues = match &written.number {
            Some(number) => self.with_number(number, Some(sent)).await?,
            None => Vec::new(),
        };
        Ok(self.say(json!({"link": written, "issues": issues}), || {
            output::line("the link that was sent");
            written.print();
            if let Some(number) = &written.number {
                row("number", number);
                if issues.is_empty() {
                    row("issues", "no link of the bot's leads to that number");
                }
            }
            print(&issues, true);
        }))
    }

    /// The issues whose link leads to this number. `sent`: a link whose token is compared with their users'.
    async fn with_number(&self, number: &str, sent: Option<&str>) -> Result<Vec<Issue>, Failure> {
        let leads_there = |issue: &IssueRow| {
            let link = issue.url.as_deref().and_then(|url| self.rules.portal.read(url));
            link.is_some_and(|link| link.number == number)
        };
        let mut found = Vec::new();
        for issue in issues::that_may_have_number(&self.tx, number).await?.into_iter().filter(leads_there) {
            if found.len() < SHOWN {
                found.push(self.issue(issue, sent).await?);
            }
        }
        Ok(found)
    }

    async fn issue(&self, row: IssueRow, sent: Option<&str>) -> Result<Issue, Failure> {
        let (id, written) = (row.id, Written::of(self.rules, row.url.as_deref()));
        let (person, token) = match row.telegram_id {
            None => (Person::default(), None),
            Some(telegram_id) => self.person(telegram_id, Some(id)).await?,
        };
        let token_sent = sent.and_then(|sent| self.rules.portal.carried(sent));
        let carries_users_token =
            token_sent.map(|sent| token.as_ref().is_some_and(|token| token.expose() == *sent));
        let plan = relink::preview(&self.tx, self.rules, vec![row]).await?;
        let would_write = plan.rewrites.first().map(|rewrite| link::mask(&rewrite.new));
        let left_because = plan.warnings.first().filter(|_| would_write.is_none()).map(ToString::to_string);
        let triggers =
            if would_write.is_some() && !person.waits() { self.triggers().await? } else { Vec::new() };
        Ok(Issue { id, written, person, carries_users_token, would_write, left_because, triggers })
    }

    /// The user, and their token.
    async fn person(&self, telegram_id: i64, issue: Option<i64>) -> Result<(Person, Option<Token>), Failure> {
        let users = relink::read_users(&self.tx, self.rules, &[telegram_id]).await?;
        let waiting = status::waiting(&self.tx, telegram_id, issue).await?;
        let user = users.get(&telegram_id);
        let token = user.and_then(|user| user.state.token()).cloned();
        Ok((Person::new(telegram_id, user, waiting), token))
    }

    /// What is wrong with the triggers: why nothing waits where a link is wrong.
    async fn triggers(&self) -> Result<Vec<String>, Failure> {
        let found = findings::of(&self.tx, "installed").await?;
        Ok(found.into_iter().filter(|found| found.id == "trigger").map(|found| found.what).collect())
    }
}
