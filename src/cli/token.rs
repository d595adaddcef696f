//! `relinkd token`: set, show, list, remove. A token never comes from the arguments, and is shown whole only when asked.

use super::TokenCommand;
use super::database::{self, Workplace};
use super::output::{self, Exit, Failure};
use super::prompt;
use super::table::Table;
use crate::assign::{self, Outcome};
use crate::assignment::{Assignment, Change, FaultKind};
use crate::db::session::Purpose;
use crate::db::{presence, work};
use crate::envelope::Stored;
use crate::place::Place;
use crate::token::Token;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long `set` and `remove` wait for the daemon.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often they look.
const LOOK: Duration = Duration::from_millis(20);
/// Users a page of `list`.
const PAGE: i64 = 5_000;

pub(super) fn run(config: &Path, command: TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Set { token: Some(_), id, .. } => Err(Failure::new(
            Exit::Usage,
            "a token in the arguments can be read by every user of this machine, and stays in the shell's history",
            format!("run `relinkd token set {id}` and type the token, or pipe it in; and change this one"),
        )),
        TokenCommand::Set { id, no_wait, token: None } => {
            let text = read_token()?;
            database::block_on(async {
                let mut workplace = Workplace::open(config).await?;
                let token = workplace
                    .settings
                    .portal
                    .token_rule
                    .admit(text.trim_end_matches(['\n', '\r']))
                    .map_err(|fault| Failure::refused(
                        format!("the token {fault}"),
                        "take it from the portal once more; `portal.token_pattern` in the configuration, if set, says how tokens look",
                    ))?;
                put(&mut workplace, id, Change::Set(token), no_wait).await
            })
        }
        TokenCommand::Remove { id, no_wait } => database::block_on(async {
            let mut workplace = Workplace::open(config).await?;
            put(&mut workplace, id, Change::Remove, no_wait).await
        }),
        TokenCommand::Show { id, reveal } => database::block_on(async {
            let mut workplace = Workplace::open(config).await?;
            show(&mut workplace, id, reveal).await
        }),
        TokenCommand::List { json } => database::block_on(async {
            let mut workplace = Workplace::open(config).await?;
            list(&mut workplace, json).await
        }),
    }
}

/// The token, from a prompt without echo on a terminal, else from standard input.
fn read_token() -> Result<Zeroizing<String>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::refused(format!("the token cannot be read: {error}"), "type it at the prompt, or pipe it in")
    };
    if std::io::stdin().is_terminal() {
        return prompt::secret("Token: ").map_err(failed);
    }
    let mut text = Zeroizing::new(String::with_capacity(1024));
    std::io::stdin().lock().take(1024).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

async fn put(workplace: &mut Workplace, id: i64, change: Change, no_wait: bool) -> Result<Exit, Failure> {
    let removed = matches!(change, Change::Remove);
    let assignment =
        Assignment { telegram_id: id, change, id_place: Place::START, change_place: Place::START };
    let outcome = assign::assign(
        &mut workplace.session,
        &workplace.keyring,
        workplace.facts.token_limit,
        &[assignment],
        None,
    )
    .await?;
    if let Outcome::Refused(faults) = outcome {
        return Err(refusal(id, faults.first().map(|fault| &fault.kind)));
    }
    let done = if removed { "removed" } else { "set" };
    if presence::daemons(&workplace.session).await?.is_empty() {
        output::line(format!(
            "token of user {id} {done}; no daemon is running: the links follow when one starts, or with `relinkd sync {id}`"
        ));
        return Ok(Exit::Done);
    }
    if no_wait {
        output::line(format!("token of user {id} {done}; the daemon will rewrite the links"));
        return Ok(Exit::Done);
    }
    wait(workplace, id, done).await
}

fn refusal(id: i64, fault: Option<&FaultKind>) -> Failure {
    match fault {
        Some(FaultKind::TokenHeld) => Failure::refused(
            "another user holds this token",
            "every user has a token of their own: take the right one from the portal, or remove it from the other user first",
        ),
        _ => Failure::refused(
            format!("the bot has no user {id}"),
            "the user appears when they first write to the bot",
        ),
    }
}

/// Waits until nothing of this user's is waiting any more.
async fn wait(workplace: &mut Workplace, id: i64, done: &str) -> Result<Exit, Failure> {
    let start = Instant::now();
    loop {
        if !work::is_waiting(&workplace.session, id).await? {
            let links = links(workplace, id).await?;
            output::line(format!("token of user {id} {done}; {links}"));
            return Ok(Exit::Done);
        }
        if start.elapsed() >= PATIENCE {
            return Err(Failure::new(
                Exit::Partly,
                format!("token of user {id} {done}, but the daemon has not rewritten the links within 10 s"),
                "`relinkd status` shows what waits; the links follow on their own",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many links the user has, in words.
async fn links(workplace: &mut Workplace, id: i64) -> Result<String, Failure> {
    let portal = &workplace.settings.portal.portal;
    let tx = workplace.session.begin(Purpose::Read).await?;
    let mut walk = work::Walk::from_start(id, None);
    let (mut ours, mut with_token) = (0_usize, 0_usize);
    loop {
        let issues = work::issues_of(&tx, std::slice::from_ref(&walk), PAGE).await?;
        let Some(last) = issues.last() else { break };
        walk.cursor = last.id;
        for link in issues.iter().filter_map(|issue| portal.read(issue.url.as_deref()?)) {
            ours += 1;
            with_token += usize::from(link.carried_token().is_some());
        }
    }
    Ok(format!(
        "{} of the user in form, {} with a token",
        output::things(ours, "link"),
        output::count(with_token)
    ))
}

async fn show(workplace: &mut Workplace, id: i64, reveal: bool) -> Result<Exit, Failure> {
    let tx = workplace.session.begin(Purpose::Read).await?;
    let rows = work::users(&tx, &[id], workplace.keyring.primary().as_str()).await?;
    drop(tx);
    let row = rows.first().filter(|row| row.version.is_some()).ok_or_else(|| refusal(id, None))?;
    let rule = &workplace.settings.portal.token_rule;
    let stored = workplace.keyring.read(row.stored.as_ref().map(|s| s.as_str()), id, rule);
    match stored.token() {
        Some(token) if reveal => {
            output::audit_line(&format!(
                "relinkd: token of user {id} revealed by {}",
                crate::process::caller()
            ));
            output::line(token.expose());
        }
        Some(token) => output::line(format!("{} ({})", token.masked(), describe(&stored))),
        None => output::line(describe(&stored)),
    }
    Ok(Exit::Done)
}

/// The state of a token, in words.
pub(super) fn describe(stored: &Stored) -> String {
    match stored {
        Stored::None => "no token".to_owned(),
        Stored::Sealed { key, .. } => format!("sealed under {key}"),
        Stored::Plaintext(_) => "in plaintext".to_owned(),
        Stored::Unusable(reason) => format!("unusable: {reason}"),
    }
}

async fn list(workplace: &mut Workplace, json: bool) -> Result<Exit, Failure> {
    let rule = &workplace.settings.portal.token_rule;
    let mut table = Table::new(["TELEGRAM ID", "TOKEN", "STATE"]);
    let mut users: Vec<Value> = Vec::new();
    let mut after = None;
    loop {
        let tx = workplace.session.begin(Purpose::Read).await?;
        let rows = work::users_with_value_after(&tx, after, PAGE).await?;
        tx.commit().await?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(*last);
        for (id, value) in &rows {
            let stored = workplace.keyring.read(Some(value), *id, rule);
            let masked = stored.token().map(Token::masked);
            if json {
                users.push(json!({
                    "telegram_id": id, "token": masked, "state": state(&stored), "key": key(&stored),
                }));
            } else {
                table.row([id.to_string(), masked.unwrap_or_default(), describe(&stored)]);
            }
        }
    }
    if json {
        output::line(json!({"version": 1, "users": users}));
    } else if table.is_empty() {
        output::line("no user has a token");
    } else {
        table.print();
    }
    Ok(Exit::Done)
}

fn state(stored: &Stored) -> &'static str {
    match stored {
        Stored::None => "none",
        Stored::Sealed { .. } => "sealed",
        Stored::Plaintext(_) => "plaintext",
        Stored::Unusable(reason) => reason.code(),
    }
}

fn key(stored: &Stored) -> Option<&str> {
    match stored {
        Stored::Sealed { key, .. } => Some(key.as_str()),
        Stored::None | Stored::Plaintext(_) | Stored::Unusable(_) => None,
    }
}
