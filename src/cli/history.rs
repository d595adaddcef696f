//! `relinkd history`: who set, removed and looked at tokens, page by page, so that memory does not grow.

use super::output::{self, Exit, Failure};
use super::table::Table;
use super::{HistoryArgs, database};
use crate::db::history::{self, Shown, Wanted};
use crate::db::{Cursor, DbError, Session};
use crate::{config, process};
use regex_lite::Regex;
use std::path::Path;
use std::time::Duration;

/// Rows a page, each page a table of its own.
const PAGE: usize = 5_000;

/// What is sent to the server as a moment: the forms of RFC 3339, a date alone, and a time without seconds or a zone.
/// Nothing else is, for the server's log may quote it.
const MOMENT: &str = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:\d\d)?)?)?$";

/// Where `--since` says that history begins.
enum Since<'a> {
    Ago(Duration),
    Moment(&'a str),
}

pub(super) fn run(config: &Path, args: &HistoryArgs) -> Result<Exit, Failure> {
    let since = args.since.as_deref().map(since).transpose()?;
    database::block_on(async {
        let mut settings = config::load(config)?;
        let (mut session, _) = database::connect(&mut settings).await?;
        let zone = zone(&session).await?;
        let since = match since {
            None => None,
            Some(Since::Ago(period)) => Some(history::ago(&session, period).await?),
            Some(Since::Moment(text)) => {
                Some(history::moment(&mut session, text, &zone).await.map_err(no_date)?)
            }
        };
        show(&mut session, &Wanted { telegram_id: args.id, since, zone: &zone }, args.json).await
    })?
}

fn since(text: &str) -> Result<Since<'_>, Failure> {
    if Regex::new(MOMENT).expect("a constant").is_match(text) {
        return Ok(Since::Moment(text));
    }
    config::period(text).map(Since::Ago).map_err(|_| no_moment())
}

fn no_moment() -> Failure {
    Failure::new(
        Exit::Usage,
        "`--since` is neither a length of time, up to ten years, nor a moment",
        "write how far back, as in `24h` or `400d`, or from when, as in `2026-11-24` or `2026-11-24T09:00:00+03:00`",
    )
}

/// The time zone of this machine, or UTC where the server does not know it.
async fn zone(session: &Session) -> Result<String, Failure> {
    let here = process::time_zone().unwrap_or_default();
    Ok(if history::knows_zone(session, &here).await? { here } else { "UTC".to_owned() })
}

/// The thirtieth of February is no moment either: class 22, data exceptions (Postgres manual, appendix A).
fn no_date(error: DbError) -> Failure {
    match &error {
        DbError::Server { code, .. } if code.code().starts_with("22") => no_moment(),
        _ => error.into(),
    }
}

async fn show(session: &mut Session, wanted: &Wanted<'_>, json: bool) -> Result<Exit, Failure> {
    let mut cursor = Cursor::with_pages_of(PAGE);
    while cursor.more() {
        let rows = history::page(session, wanted, &mut cursor).await?;
        if json {
            rows.iter().for_each(output::json);
        } else if !rows.is_empty() {
            table(rows);
        }
    }
    if cursor.after().is_none() && !json {
        let whose = wanted.telegram_id.map_or_else(String::new, |id| format!(" of user {id}"));
        let when = if wanted.since.is_some() { " since then" } else { "" };
        output::line(format!("nobody has set, removed or looked at a token{whose}{when}"));
    }
    Ok(Exit::Done)
}

fn table(rows: Vec<Shown>) {
    let mut table = Table::new(["TIME", "TELEGRAM ID", "ACTION", "VIA", "BY", "FILE"]);
    for row in rows {
        let (by, file) = (row.by.unwrap_or_default(), row.file.unwrap_or_default());
        table.row([&row.at, &row.telegram_id, &row.action, &row.via, &by, &file]);
    }
    table.print();
}
