//! `relinkd token import`: many tokens at once from a spreadsheet, judged like a drop file: all of them or none.

use super::database::Workplace;
use super::output::{self, Exit, Failure, OrFail as _};
use super::table::Table;
use super::token::{assign, links_follow, masked};
use crate::db::session::Purpose;
use crate::drop_file::{self, Assignment, Columns, DropFile, Fault, FaultKind, Faulty, Named, Refusal};
use crate::envelope::TokenState;
use crate::place::Place;
use crate::printable::Printable;
use crate::relink::{self, Users};
use crate::tokens::assign;
use clap::{Args, ValueHint};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Arguments of `token import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The table; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Change nothing; show who would get, change or keep a token
    #[arg(long)]
    pub dry_run: bool,
    /// The columns of user and token, by name or number [default: `telegram_id,token`]
    #[arg(long, value_name = "USER,TOKEN")]
    pub columns: Option<Columns>,
}

pub(super) fn run(config: &Path, args: &ImportArgs) -> Result<Exit, Failure> {
    // What follows may run as somebody else.
    let (root, bytes) = (nix::unistd::geteuid().is_root(), read(&args.file)?);
    Workplace::open(config, async |workplace| {
        let sheet = drop_file::parse_spreadsheet(&bytes, &workplace.rules.token_rule, args.columns.as_ref());
        let file = judge(workplace, sheet, root).await?;
        let rows = rows(workplace, &file).await?;
        let counts = [Kind::Gets, Kind::Changes, Kind::Keeps]
            .map(|kind| rows.iter().filter(|row| row.kind == kind).count());
        if args.dry_run {
            Ok(show(&rows, counts))
        } else {
            import(workplace, &file, rows, counts, root).await
        }
    })
}

/// The file's content, as far as it is looked at.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let limit = drop_file::MAX_BYTES + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit as u64).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit as u64).read_to_end(&mut bytes))
    };
    let what = format_args!("{} cannot be read", Printable::name(path));
    let next = "name the table that the spreadsheet saved as CSV, or - for standard input";
    read.map(|_| bytes).or_fail(Exit::Failed, what, next)
}

/// The file, if neither it nor the database has anything against it; else all of its faults.
async fn judge(
    workplace: &mut Workplace,
    sheet: Result<DropFile, Faulty>,
    root: bool,
) -> Result<DropFile, Failure> {
    let (assignments, faults, named) = match sheet {
        Ok(DropFile { assignments, named }) => (assignments, Vec::new(), named),
        Err(Faulty { faults, named }) => (Vec::new(), faults, named),
    };
    let refusals = assign::objections(&mut workplace.session, &workplace.rules, &named).await?;
    if faults.is_empty() && refusals.is_empty() {
        return Ok(DropFile { assignments, named });
    }
    Err(refused(&named, faults, &refusals, root))
}

/// Each fault with its place; root is told who holds a token.
fn refused(named: &Named, own: Vec<Fault>, refusals: &[Refusal], root: bool) -> Failure {
    let faults = named.faults(own, refusals);
    let holders: HashMap<Place, &Vec<i64>> = refusals
        .iter()
        .filter_map(|refusal| match refusal {
            Refusal::TokenHeld(token, holders) => Some((named.tokens[token], holders)),
            Refusal::UnknownUser(_) => None,
        })
        .collect();
    let line = |fault: &Fault| match holders.get(&fault.place) {
        Some(holders) if root && fault.kind == FaultKind::TokenHeld => {
            format!("  {fault}: {}", output::listed(*holders))
        }
        _ => format!("  {fault}"),
    };
    Failure::refused(
        format!("nothing was imported: the table has {}", output::things(faults.len(), "fault")),
        "correct it and import it again; --dry-run shows what would be done",
    )
    .with_lines(faults.iter().map(line))
}

/// What a row of the table means for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gets,
    Changes,
    Keeps,
}

struct Row {
    assignment: Assignment,
    kind: Kind,
    now: String,
}

async fn rows(workplace: &mut Workplace, file: &DropFile) -> Result<Vec<Row>, Failure> {
    let ids: Vec<i64> = file.assignments.iter().map(|it| it.telegram_id).collect();
    let tx = workplace.session.begin(Purpose::Read);
    let users = relink::read_users(&tx, &workplace.rules, &ids).await?;
    tx.commit().await?;
    Ok(file.assignments.iter().map(|assignment| row(assignment, &users)).collect())
}

fn row(assignment: &Assignment, users: &Users) -> Row {
    let state = users.get(&assignment.telegram_id).map_or(&TokenState::None, |user| &user.state);
    let kind = match (state, &assignment.token) {
        (TokenState::None, _) => Kind::Gets,
        (TokenState::Sealed { token, .. }, Some(new)) if token == new => Kind::Keeps,
        _ => Kind::Changes,
    };
    let now = match state {
        TokenState::None => String::new(),
        TokenState::Sealed { token, .. } => token.masked(),
        TokenState::Plaintext(_) => masked(state),
        TokenState::Unusable(_) => "unusable".to_owned(),
    };
    Row { assignment: assignment.clone(), kind, now }
}

/// Shows what would be done; exit status 3 when that is anything.
fn show(rows: &[Row], [gets, changes, keeps]: [usize; 3]) -> Exit {
    let mut table = Table::new(["TELEGRAM ID", "WHAT", "NOW", "THEN"]);
    for Row { assignment, kind, now } in rows {
        let what = match kind {
            Kind::Gets => "gets",
            Kind::Changes => "changes",
            Kind::Keeps => "keeps",
        };
        let Some(then) = &assignment.token else { continue };
        table.row([&assignment.telegram_id, &what, now, &then.masked()]);
    }
    table.print();
    let (users, others, kept) = (output::things(gets, "user"), output::count(changes), output::count(keeps));
    output::line(format!(
        "nothing was changed: {users} would get a token, {others} another one, {kept} would keep theirs"
    ));
    if gets + changes == 0 { Exit::Done } else { Exit::Changes }
}

/// Puts in force what is not so already.
async fn import(
    workplace: &mut Workplace,
    file: &DropFile,
    rows: Vec<Row>,
    [gets, changes, keeps]: [usize; 3],
    root: bool,
) -> Result<Exit, Failure> {
    let news = rows.into_iter().filter(|row| row.kind != Kind::Keeps);
    let assignments: Vec<Assignment> = news.map(|row| row.assignment).collect();
    let refusals = if assignments.is_empty() { Vec::new() } else { assign(workplace, &assignments).await? };
    if !refusals.is_empty() {
        // Somebody was quicker.
        return Err(refused(&file.named, Vec::new(), &refusals, root));
    }
    let (tokens, users) = (output::things(gets + changes, "token"), output::things(keeps, "user"));
    let others = output::count(changes);
    output::line(format!(
        "{tokens} set, {others} of them for users who had another one; {users} kept theirs"
    ));
    if gets + changes > 0 {
        output::line(links_follow(workplace, "relinkd sync").await?);
    }
    Ok(Exit::Done)
}
