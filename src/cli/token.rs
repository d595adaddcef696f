//! `relinkd token`: set, show, list, remove. A token never comes from the arguments, and is shown whole only when asked.

use super::database::Workplace;
use super::output::{self, Exit, Failure};
use super::table::Table;
use super::{IdArg, TokenCommand, import, prompt};
use crate::db::history::{self, Action, Entry, Via};
use crate::db::session::Purpose;
use crate::db::{Cursor, changes, issues, presence, users};
use crate::drop_file::{Assignment, Refusal};
use crate::envelope::TokenState;
use crate::token::Token;
use crate::tokens::assign::{self, Author, Obstacle, Outcome, Request};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long `set` and `remove` wait for the daemon.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long they wait for somebody else's transaction that holds the user's row.
const ROW_PATIENCE: Duration = Duration::from_secs(5);
/// How often they look.
const LOOK: Duration = Duration::from_millis(20);
/// Rows a page.
const PAGE: usize = 5_000;

pub(super) fn run(config: &Path, command: TokenCommand) -> Result<Exit, Failure> {
    // What follows may run as somebody else.
    let root = nix::unistd::geteuid().is_root();
    match command {
        TokenCommand::Import(args) => import::run(config, &args),
        TokenCommand::Set { token: Some(_), id: IdArg { id }, .. } => Err(Failure::new(
            Exit::Usage,
            "a token in the arguments can be read by every user of this machine, and stays in the shell's history",
            format!("run `relinkd token set {id}` and type the token, or pipe it in; and change this one"),
        )),
        TokenCommand::Set { id: IdArg { id }, no_wait, token: None } => {
            let text = prompt::secret_or_input("Token", 1024, "type it at the prompt, or pipe it in")?;
            Workplace::open(config, async |workplace| {
                let token = workplace.rules.token_rule.admit(text.trim_end_matches(['\n', '\r']));
                let token = token.map_err(|fault| Failure::refused(
                    format!("the token {fault}"),
                    "take it from the portal once more; `portal.token_pattern` in the configuration, if set, says how tokens look",
                ))?;
                put(workplace, id, Some(token), no_wait, root).await
            })
        }
        TokenCommand::Remove { id: IdArg { id }, no_wait } => {
            Workplace::open(config, async |workplace| put(workplace, id, None, no_wait, root).await)
        }
        TokenCommand::Show { id: IdArg { id }, reveal } => {
            Workplace::open(config, async |workplace| show(workplace, id, reveal).await)
        }
        TokenCommand::List { json } => Workplace::open(config, async |workplace| list(workplace, json).await),
    }
}

async fn put(
    workplace: &mut Workplace,
    id: i64,
    token: Option<Token>,
    no_wait: bool,
    root: bool,
) -> Result<Exit, Failure> {
    let removed = token.is_none();
    if removed && has_none(workplace, id).await? {
        output::line(format!("user {id} has no token: there is nothing to remove"));
        return Ok(Exit::Done);
    }
    let assignment = Assignment { telegram_id: id, token };
    if let Some(refusal) = assign(workplace, &[assignment]).await?.first() {
        return Err(refused(refusal, root));
    }
    let done = if removed { "removed" } else { "set" };
    if no_wait || presence::count(&workplace.session).await? == 0 {
        let follow = links_follow(workplace, &format!("relinkd sync {id}")).await?;
        output::line(format!("token of user {id} {done}; {follow}"));
        return Ok(Exit::Done);
    }
    wait(workplace, id, done).await
}

/// When links that are not waited for come to be written.
pub(super) async fn links_follow(workplace: &Workplace, otherwise: &str) -> Result<String, Failure> {
    let daemons = presence::daemons(&workplace.session).await?;
    Ok(if daemons.is_empty() {
        format!("no daemon is running: the links follow when one starts, or with `{otherwise}`")
    } else {
        "the daemon will rewrite the links".to_owned()
    })
}

/// Whether the bot has the user, and nothing in the column.
async fn has_none(workplace: &mut Workplace, id: i64) -> Result<bool, Failure> {
    let tx = workplace.session.begin(Purpose::Read);
    let rows = users::by_id(&tx, &[id]).await?;
    let empty = |row: &users::UserRow| row.value.as_ref().is_none_or(|value| value.is_empty());
    Ok(rows.iter().all(|row| row.place.is_some() && empty(row)))
}

/// Puts assignments in force, together; else says what the database holds against them. A row that somebody else
/// holds is waited for, a while.
pub(super) async fn assign(
    workplace: &mut Workplace,
    assignments: &[Assignment],
) -> Result<Vec<Refusal>, Failure> {
    let (start, login) = (Instant::now(), crate::process::login());
    let author = Author { via: Via::Cli, by: &login, file: None };
    let request = Request { assignments, author, claim: None };
    loop {
        let outcomes =
            assign::assign(&mut workplace.session, &workplace.rules, &[request], &HashSet::new()).await?;
        match outcomes.into_iter().next() {
            Some(Outcome::Refused(refusals)) => return Ok(refusals),
            Some(Outcome::Waits(Obstacle::RowLocked)) if start.elapsed() < ROW_PATIENCE => {
                tokio::time::sleep(LOOK).await;
            }
            Some(Outcome::Waits(obstacle)) => return Err(obstacle.into()),
            Some(Outcome::Applied(_)) | None => return Ok(Vec::new()),
        }
    }
}

/// Why an assignment is refused. Root is told who holds the token.
fn refused(refusal: &Refusal, root: bool) -> Failure {
    let holders = match refusal {
        Refusal::UnknownUser(id) => return unknown(*id),
        Refusal::TokenHeld(_, holders) => holders,
    };
    if !root {
        return Failure::refused(
            "another user holds this token",
            "take the user's own from the portal, or remove it from the other user first; root is told who that is",
        );
    }
    let remove: Vec<String> = holders.iter().map(|id| format!("`relinkd token remove {id}`")).collect();
    Failure::refused(
        format!("another user holds this token: {}", output::listed(holders)),
        format!("take the user's own from the portal, or first {}", remove.join(", ")),
    )
}

fn unknown(id: i64) -> Failure {
    Failure::refused(format!("the bot has no user {id}"), "the user appears when they first write to the bot")
}

/// Waits until nothing of this user's is waiting any more.
async fn wait(workplace: &mut Workplace, id: i64, done: &str) -> Result<Exit, Failure> {
    let start = Instant::now();
    while changes::is_waiting(&workplace.session, id).await? {
        if start.elapsed() >= PATIENCE {
            return Err(Failure::new(
                Exit::Partly,
                format!("token of user {id} {done}, but the daemon has not rewritten the links within 10 s"),
                "`relinkd status` shows what waits; the links follow on their own",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    let links = links(workplace, id).await?;
    output::line(format!("token of user {id} {done}; {links}"));
    Ok(Exit::Done)
}

/// How many links the user has, in words.
async fn links(workplace: &mut Workplace, id: i64) -> Result<String, Failure> {
    let portal = &workplace.rules.portal;
    let tx = workplace.session.begin(Purpose::Read);
    let (mut ours, mut with_token) = (0_usize, 0_usize);
    let mut cursor = Cursor::with_pages_of(PAGE);
    while cursor.more() {
        let issues = issues::page_of_user(&tx, id, &mut cursor).await?;
        for link in issues.iter().filter_map(|issue| portal.read(issue.url.as_deref()?)) {
            ours += 1;
            with_token += usize::from(link.token.is_some());
        }
    }
    let (ours, with_token) = (output::things(ours, "link"), output::count(with_token));
    Ok(format!("{ours} of the user in form, {with_token} with a token"))
}

async fn show(workplace: &mut Workplace, id: i64, reveal: bool) -> Result<Exit, Failure> {
    let tx = workplace.session.begin(Purpose::Read);
    let rows = users::by_id(&tx, &[id]).await?;
    drop(tx);
    let row = rows.first().filter(|row| row.place.is_some()).ok_or_else(|| unknown(id))?;
    let state = row.state(&workplace.rules.keyring, &workplace.rules.token_rule);
    match state.token() {
        Some(token) if reveal => {
            let tx = workplace.session.begin(Purpose::Assign);
            let by = Some(crate::process::login());
            let entries = [Entry { by, ..Entry::new(id, Action::Revealed, Via::Cli) }];
            history::record(&tx, &entries).await?;
            // Nothing is shown before that is in the history.
            tx.commit().await?;
            crate::telemetry::tell(&entries);
            let caller = crate::process::caller();
            output::audit_line(format_args!("relinkd: token of user {id} revealed by {caller}"));
            output::line(token.expose());
        }
        _ => output::line(masked(&state)),
    }
    Ok(Exit::Done)
}

/// A token masked, with its state in words.
pub(super) fn masked(state: &TokenState) -> String {
    let words = describe(state);
    state.token().map_or_else(|| words.clone(), |token| format!("{} ({words})", token.masked()))
}

/// The state of a token, in words.
pub(super) fn describe(state: &TokenState) -> String {
    match state {
        TokenState::None => "no token".to_owned(),
        TokenState::Sealed { key, .. } => format!("sealed under {key}"),
        TokenState::Plaintext(_) => "in plaintext".to_owned(),
        TokenState::Unusable(reason) => format!("unusable: {reason}"),
    }
}

async fn list(workplace: &mut Workplace, json: bool) -> Result<Exit, Failure> {
    let rule = &workplace.rules.token_rule;
    let mut table = Table::new(["TELEGRAM ID", "TOKEN", "STATE"]);
    let mut users = Vec::new();
    let mut cursor = Cursor::with_pages_of(PAGE);
    while cursor.more() {
        let tx = workplace.session.begin(Purpose::Read);
        let rows = users::page_with_value(&tx, &mut cursor).await?;
        tx.commit().await?;
        for row in &rows {
            let (id, state) = (row.telegram_id, row.state(&workplace.rules.keyring, rule));
            if json {
                let mut user = as_json(Some(&state));
                user["telegram_id"] = id.into();
                users.push(user);
            } else {
                let masked = state.token().map(Token::masked).unwrap_or_default();
                table.row([&id, &masked, &describe(&state)]);
            }
        }
    }
    if json {
        output::json(json!({"users": users}));
    } else if table.is_empty() {
        output::line("no user has a token");
    } else {
        table.print();
    }
    Ok(Exit::Done)
}

/// A stored token as JSON shows it: its state in a word, what may be seen of it, and the key that sealed it; all is null
/// where there is no such user.
pub(super) fn as_json(state: Option<&TokenState>) -> Value {
    let (word, key) = match state {
        None => (None, None),
        Some(TokenState::None) => (Some("none"), None),
        Some(TokenState::Sealed { key, .. }) => (Some("sealed"), Some(key.to_string())),
        Some(TokenState::Plaintext(_)) => (Some("plaintext"), None),
        Some(TokenState::Unusable(reason)) => (Some(reason.code()), None),
    };
    let token = state.and_then(TokenState::token).map(Token::masked);
    json!({ "state": word, "token": token, "key": key })
}
