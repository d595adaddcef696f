//! Making and removing schema `relinkd`, from the files in `sql/`. Names reach the SQL as settings of the session.
//!
//! Every lock on the bot's tables is asked for with a short time limit and asked for again: the bot waits behind it
//! for half a second at most. That is shorter than `deadlock_timeout`, too: of two who wait for each other, it is never
//! the bot that is told to give way.

use super::schema::names;
use super::{DbError, Session};
use crate::config::Tables;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// Tables, views and functions.
pub const SCHEMA: &str = include_str!("../../sql/schema.sql");
/// The statements that build the index.
pub const INDEX: &str = include_str!("../../sql/index.sql");
/// The triggers.
pub const ATTACH: &str = include_str!("../../sql/attach.sql");
/// The grants of the daemon's role.
pub const GRANTS: &str = include_str!("../../sql/grants.sql");
/// Settings that keep tokens out of the server's log.
pub const QUIET: &str = include_str!("../../sql/quiet.sql");
/// The way back: triggers and grants.
pub const DISARM: &str = include_str!("../../sql/disarm.sql");
/// The way back: everything else.
pub const UNINSTALL: &str = include_str!("../../sql/uninstall.sql");

/// How often a lock is asked for.
const ATTEMPTS: u32 = 20;
/// How long between.
const BETWEEN: Duration = Duration::from_millis(500);

/// The settings through which names reach the SQL, each with its value.
#[must_use]
pub fn settings(tables: &Tables, role: Option<&str>) -> Vec<(&'static str, String)> {
    let keys = [
        "relinkd.users_table",
        "relinkd.users_telegram_id",
        "relinkd.users_portal_token",
        "relinkd.issues_table",
        "relinkd.issues_id",
        "relinkd.issues_telegram_id",
        "relinkd.issues_url",
    ];
    let mut settings: Vec<_> = keys.into_iter().zip(names(tables)).collect();
    settings.extend(role.map(|role| ("relinkd.role", role.to_owned())));
    settings
}

/// Sets the names for the statements that follow in this session.
///
/// # Errors
/// The database's.
pub async fn name(admin: &Session, tables: &Tables, role: Option<&str>) -> Result<(), DbError> {
    for (key, value) in settings(tables, role) {
        admin.query("select set_config($1, $2, false)", &[(&key, Type::TEXT), (&value, Type::TEXT)]).await?;
    }
    Ok(())
}

/// Creates or upgrades schema, triggers and grants, all or nothing: half of it would make the bot's own writes fail.
///
/// # Errors
/// The database's.
pub async fn install(admin: &Session) -> Result<(), DbError> {
    patiently(admin, &format!("{SCHEMA}\n{ATTACH}\n{GRANTS}")).await
}

/// Builds the index, where the table has none that serves.
///
/// # Errors
/// The database's.
pub async fn index(admin: &Session) -> Result<(), DbError> {
    let wanted = INDEX.replace("\\gexec", "");
    let mut attempt = 0;
    loop {
        match build(admin, &wanted).await {
            Err(error) if locked(&error) && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn build(admin: &Session, wanted: &str) -> Result<(), DbError> {
    for row in admin.query(wanted, &[]).await? {
        let statement: &str = row.get(0);
        admin.batch("set lock_timeout = '5s'; set statement_timeout = 0").await?;
        admin.batch(statement).await?;
    }
    Ok(())
}

/// Keeps tokens out of the server's log; false where the admin may not set that.
///
/// # Errors
/// The database's.
pub async fn quiet(admin: &Session) -> Result<bool, DbError> {
    admin.batch(QUIET).await?;
    // A superuser may have done it before.
    let sql = "select exists (
        select from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
         where r.rolname = current_setting('relinkd.role') and s.setdatabase = 0
           and s.setconfig @> '{log_parameter_max_length=0,log_parameter_max_length_on_error=0}')";
    Ok(admin.query_one(sql, &[]).await?.get(0))
}

/// Queues everyone, and wakes the daemons.
///
/// # Errors
/// The database's.
pub async fn queue_everyone(admin: &Session) -> Result<(), DbError> {
    admin.query("select relinkd.queue_everyone(), relinkd.ring()::text", &[]).await.map(drop)
}

/// Whether schema `relinkd` is there.
///
/// # Errors
/// The database's.
pub async fn is_installed(admin: &Session) -> Result<bool, DbError> {
    let sql = "select exists (select from pg_namespace where nspname = 'relinkd')";
    Ok(admin.query_one(sql, &[]).await?.get(0))
}

/// The first half of the way back: triggers and grants. The bot is free of relinkd, and no daemon can work any more.
///
/// # Errors
/// The database's.
pub async fn disarm(admin: &Session) -> Result<(), DbError> {
    for statement in statements(DISARM) {
        patiently(admin, statement).await?;
    }
    Ok(())
}

/// The second half: index and schema.
///
/// # Errors
/// The database's.
pub async fn remove(admin: &Session) -> Result<(), DbError> {
    for statement in statements(UNINSTALL) {
        patiently(admin, statement).await?;
    }
    Ok(())
}

/// Runs statements in one transaction with short waits for locks, again and again while they are held by others.
async fn patiently(admin: &Session, sql: &str) -> Result<(), DbError> {
    let sql = format!("begin; set local lock_timeout = '500ms'; {sql}; commit");
    let mut attempt = 0;
    loop {
        match admin.batch(&sql).await {
            Err(error) if locked(&error) && attempt < ATTEMPTS => {
                attempt += 1;
                admin.batch("rollback").await?;
            }
            Err(error) => {
                let _ = admin.batch("rollback").await;
                return Err(error);
            }
            Ok(()) => return Ok(()),
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

fn locked(error: &DbError) -> bool {
    [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED]
        .iter()
        .any(|code| error.code() == Some(code))
}

/// The statements of a file, each of which ends with a blank line.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split("\n\n").filter(|statement| !statement.trim().is_empty())
}
