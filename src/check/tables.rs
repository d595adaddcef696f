//! The bot's two tables: whether they are as relinkd needs them, and what others have put on them.

use super::{Commands, Report};
use crate::config::{Database, QualifiedName, Tables};
use crate::db::inspect::{self, Column, Table, WalkIndex};
use crate::db::roles::{identifier, literal};
use crate::db::{DbError, Session};
use crate::envelope::MAX_SEALED_LEN;

/// Which of the bot's columns a value is in, and so what type it must have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    /// Text that must have room for a sealed token.
    Token,
}

/// The two tables as the catalog has them.
pub(super) struct Found {
    pub(super) users: Option<Table>,
    pub(super) issues: Option<Table>,
}

impl Found {
    /// The owner of the tables, who can install.
    pub(super) fn owner(&self) -> Option<&str> {
        self.users.as_ref().or(self.issues.as_ref()).map(|table| table.owner.as_str())
    }

    /// Both tables' ids.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.users.iter().chain(&self.issues).map(|table| table.oid).collect()
    }
}

/// Looks both tables up and judges their columns; also before `install`.
pub(super) async fn tables(
    report: &mut Report,
    session: &Session,
    commands: &Commands<'_>,
    database: &Database,
    tables: &Tables,
    installed: bool,
) -> Result<Found, DbError> {
    let found = Found {
        users: inspect::table(session, &tables.users.name).await?,
        issues: inspect::table(session, &tables.issues.name).await?,
    };
    let widen = installed.then(|| alter_under_relinkd(tables, &database.user));
    let user_columns = [
        ("telegram_id", tables.users.telegram_id.as_str(), Kind::Number),
        ("portal_token", &tables.users.portal_token, Kind::Token),
    ];
    let issue_columns = [
        ("id", tables.issues.id.as_str(), Kind::Number),
        ("telegram_id", &tables.issues.telegram_id, Kind::Number),
        ("url", &tables.issues.url, Kind::Text),
    ];
    let mut judge = Judge { report, commands, widen };
    judge.table("tables.users", &tables.users.name, found.users.as_ref(), &user_columns);
    judge.table("tables.issues", &tables.issues.name, found.issues.as_ref(), &issue_columns);
    let telegram_id = found.users.as_ref().and_then(|table| column(table, &tables.users.telegram_id));
    if telegram_id.is_some_and(|column| !column.unique) {
        report.warning(
            format!(
                "{} in {} is not unique: one user could stand there with two tokens",
                tables.users.telegram_id, tables.users.name
            ),
            format!(
                "create unique index concurrently on {} ({});",
                tables.users.name,
                identifier(&tables.users.telegram_id)
            ),
        );
    }
    Ok(found)
}

fn column<'t>(table: &'t Table, name: &str) -> Option<&'t Column> {
    table.columns.iter().find(|column| column.name == name)
}

/// Changes the token's column while relinkd is installed. Postgres refuses that for a column in a view or a trigger, so
/// both go and come back within the transaction: no change is missed, and daemons go on.
fn alter_under_relinkd(tables: &Tables, role: &str) -> String {
    let users = &tables.users;
    let table = literal(&users.name.to_string());
    let (id, token) = (identifier(&users.telegram_id), identifier(&users.portal_token));
    format!(
        "begin; select relinkd.detach({table}); drop view relinkd.bot_user; \
         alter table {0} alter column {token} type varchar({MAX_SEALED_LEN}); \
         create view relinkd.bot_user as select u.{id} as telegram_id, u.{token} as portal_token, u.xmin as version from {0} u; \
         grant select, update (portal_token) on relinkd.bot_user to {1}; \
         select relinkd.attach({table}), relinkd.queue_everyone(); commit;",
        users.name,
        identifier(role),
    )
}

struct Judge<'r, 'c> {
    report: &'r mut Report,
    commands: &'c Commands<'c>,
    widen: Option<String>,
}

impl Judge<'_, '_> {
    fn table(
        &mut self,
        section: &str,
        name: &QualifiedName,
        found: Option<&Table>,
        columns: &[(&str, &str, Kind)],
    ) {
        let Some(table) = found else {
            return self
                .report
                .fault(format!("there is no table {name} ({section}.name)"), self.commands.edit());
        };
        let kind = match table.kind.as_str() {
            "r" => None,
            "p" => Some("partitioned: a row that moves between partitions fires no trigger"),
            "v" | "m" => Some("a view"),
            "f" => Some("a foreign table"),
            _ => Some("no ordinary table"),
        };
        if let Some(kind) = kind {
            return self.report.fault(
                format!("{name} is {kind}; relinkd needs an ordinary table ({section}.name)"),
                self.commands.edit(),
            );
        }
        let mut sound = true;
        for (key, column_name, kind) in columns {
            match column(table, column_name) {
                None => {
                    sound = false;
                    self.report.fault(
                        format!("{name} has no column {column_name} ({section}.{key})"),
                        self.commands.edit(),
                    );
                }
                Some(column) => sound &= self.column(name, column, *kind),
            }
        }
        if sound {
            self.report.ok(format!("{name} has the columns that relinkd needs"));
        }
    }

    fn column(&mut self, table: &QualifiedName, column: &Column, kind: Kind) -> bool {
        let (fits, wanted) = match kind {
            Kind::Number => (["int2", "int4", "int8"].contains(&column.type_name.as_str()), "bigint"),
            Kind::Text => (["text", "varchar"].contains(&column.type_name.as_str()), "varchar"),
            Kind::Token => (["text", "varchar"].contains(&column.type_name.as_str()), "varchar(255)"),
        };
        let name = identifier(&column.name);
        let plain = format!("alter table {table} alter column {name} type {wanted} using {name}::{wanted};");
        if !fits {
            let mend = if kind == Kind::Token { self.widen.clone().unwrap_or(plain) } else { plain };
            self.report.fault(
                format!("{} in {table} is {}, and must be {wanted}", column.name, column.sql_type),
                mend,
            );
            return false;
        }
        let narrow = column.limit.filter(|limit| kind == Kind::Token && *limit < MAX_SEALED_LEN);
        if let Some(limit) = narrow {
            let alter = format!("alter table {table} alter column {name} type varchar({MAX_SEALED_LEN});");
            self.report.fault(
                format!(
                    "{} in {table} holds {limit} characters, a sealed token needs {MAX_SEALED_LEN}",
                    column.name
                ),
                self.widen.clone().unwrap_or(alter),
            );
        }
        narrow.is_none()
    }
}

/// What others have put on the tables, and the index.
pub(super) async fn surroundings(
    report: &mut Report,
    session: &Session,
    tables: &Tables,
    found: &Found,
    install: &str,
) -> Result<(), DbError> {
    for (name, table) in [(&tables.users.name, &found.users), (&tables.issues.name, &found.issues)] {
        let Some(table) = table else { continue };
        for trigger in inspect::foreign_triggers(session, table.oid).await? {
            report.warning(
                format!(
                    "the trigger {trigger} runs before rows of {name} are written: if it changes the link or the token, only the audit sees that"
                ),
                format!("alter table {name} disable trigger {};", identifier(&trigger)),
            );
        }
        row_security(report, session, name, table).await?;
    }
    let Some(issues) = &found.issues else { return Ok(()) };
    let index =
        inspect::walk_index(session, issues.oid, &tables.issues.telegram_id, &tables.issues.id).await?;
    let (user, id) = (&tables.issues.telegram_id, &tables.issues.id);
    match index {
        WalkIndex::Valid => report.ok(format!("{} has an index on {user}, {id}", tables.issues.name)),
        WalkIndex::Invalid => report.warning(
            format!(
                "the index on {user}, {id} of {} is invalid, its building failed: relinkd works, but slowly",
                tables.issues.name
            ),
            install,
        ),
        WalkIndex::Missing => report.warning(
            format!("{} has no index on {user}, {id}: relinkd works, but slowly", tables.issues.name),
            install,
        ),
    }
    Ok(())
}

async fn row_security(
    report: &mut Report,
    session: &Session,
    name: &QualifiedName,
    table: &Table,
) -> Result<(), DbError> {
    if !table.row_security {
        return Ok(());
    }
    let reader = inspect::reader(session).await?;
    let sees_all = reader.as_ref().is_some_and(|reader| reader.sees_all);
    let owned = reader.is_none_or(|reader| reader.role == table.owner);
    match (sees_all, owned, table.forced) {
        (false, true, true) => report.fault(
            format!("row-level security is forced on {name}: relinkd does not see all rows"),
            format!("alter table {name} no force row level security;"),
        ),
        (false, false, _) => report.fault(
            format!("row-level security is on for {name}, and relinkd does not read as its owner: it does not see all rows"),
            format!("alter table {name} disable row level security;"),
        ),
        _ => report.warning(
            format!("row-level security is on for {name}: relinkd sees all rows as things stand"),
            format!("alter table {name} disable row level security;"),
        ),
    }
    Ok(())
}
