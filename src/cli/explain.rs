//! `relinkd explain`: why a link looks as it does. Tokens masked.

use super::ExplainArgs;
use super::database::{self, Workplace};
use super::output::{self, Exit, Failure};
use super::token::describe;
use crate::db::session::Purpose;
use crate::db::work::{self, IssueRow, Walk};
use crate::db::{DbError, Tx, standing};
use crate::link::{self, Shape};
use crate::relinker::{self, Due, Holding, Rules};
use std::collections::HashMap;
use std::path::Path;

/// Issues of a user that are shown one by one.
const SHOWN: i64 = 10;

pub(super) fn run(config: &Path, args: &ExplainArgs) -> Result<Exit, Failure> {
    database::block_on(async {
        let mut workplace = Workplace::open(config).await?;
        let rules = workplace.rules();
        let tx = workplace.session.begin(Purpose::Read).await?;
        match (args.issue, args.user) {
            (Some(id), _) => issue(&tx, &rules, id).await,
            (None, Some(id)) => user(&tx, &rules, id).await,
            (None, None) => Err(Failure::new(
                Exit::Usage,
                "explain what?",
                "name an issue, or a user: relinkd explain --user ID",
            )),
        }
    })
}

fn row(name: &str, value: &str) {
    output::line(format!("  {name:<9} {value}"));
}

async fn issue(tx: &Tx<'_>, rules: &Rules, id: i64) -> Result<Exit, Failure> {
    let issues = work::issues(tx, &[id]).await?;
    let issue = issues.into_iter().next().ok_or_else(|| {
        Failure::refused(
            format!("the bot has no issue {id}"),
            "this is the id of the row in the bot's table, not the number in the portal",
        )
    })?;
    let telegram_id = issue.telegram_id;
    let holdings = relinker::read_holders(tx, rules, &[telegram_id]).await?;
    output::line(format!("issue {id}"));
    row("link", &shown(issue.url.as_deref()));
    row("shape", shape(rules, issue.url.as_deref()));
    let holding = &holdings[&telegram_id];
    row("user", &describe_user(telegram_id, holding));
    row("token", &describe_token(holding));
    let waiting = standing::waiting(tx, telegram_id, Some(id)).await?;
    row("waiting", &waiting.to_string());
    row("relinkd", &would_write(tx, rules, &holdings, issue, waiting.strips).await?);
    Ok(Exit::Done)
}

async fn user(tx: &Tx<'_>, rules: &Rules, telegram_id: i64) -> Result<Exit, Failure> {
    let holdings = relinker::read_holders(tx, rules, &[telegram_id]).await?;
    let holding = &holdings[&telegram_id];
    output::line(format!("user {telegram_id}"));
    row("user", &describe_user(telegram_id, holding));
    row("token", &describe_token(holding));
    let waiting = standing::waiting(tx, telegram_id, None).await?;
    row("waiting", &waiting.to_string());
    let issues = work::issues_of(tx, &[Walk::from_start(telegram_id, None)], SHOWN).await?;
    if issues.is_empty() {
        row("issues", "none");
    }
    for issue in issues {
        output::line(format!("issue {}", issue.id));
        row("link", &shown(issue.url.as_deref()));
        row("relinkd", &would_write(tx, rules, &holdings, issue, waiting.strips).await?);
    }
    Ok(Exit::Done)
}

fn shown(url: Option<&str>) -> String {
    url.map_or_else(|| "null".to_owned(), link::mask)
}

fn shape(rules: &Rules, url: Option<&str>) -> &'static str {
    let Some(url) = url else { return "no link" };
    match rules.portal.read(url).map(|link| link.shape()) {
        Some(Shape::Plain) => "plain link of the portal",
        Some(Shape::Api) => "API link of the portal",
        Some(Shape::Login) => "login link of the portal",
        None => "not an issue link of the portal: left as it is",
    }
}

fn describe_user(telegram_id: i64, holding: &Holding) -> String {
    if holding.row.version.is_some() {
        telegram_id.to_string()
    } else {
        format!("{telegram_id}, whom the bot does not know")
    }
}

fn describe_token(holding: &Holding) -> String {
    let state = describe(&holding.stored);
    holding.stored.token().map_or(state.clone(), |token| format!("{} ({state})", token.masked()))
}

/// What would be written over the link, in words.
async fn would_write(
    tx: &Tx<'_>,
    rules: &Rules,
    holdings: &HashMap<i64, Holding>,
    issue: IssueRow,
    strip: bool,
) -> Result<String, DbError> {
    let plan = relinker::plan(tx, rules, holdings, vec![Due { issue, strip }]).await?;
    Ok(match (plan.rewrites.first(), plan.notices.first()) {
        (Some(rewrite), _) => format!("would write {}", link::mask(&rewrite.new)),
        (None, Some(notice)) => format!("leaves it: {notice}"),
        (None, None) => "leaves it as it is".to_owned(),
    })
}
