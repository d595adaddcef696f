//! Making and removing schema `relinkd`, from the files in `sql/`. Names reach the SQL as settings of the session.
//!
//! An admin's session plans no query over the bot's tables and writes no row of theirs: to plan is to evaluate the
//! predicates of indexes, and a deferred trigger runs at the commit, both with the admin's rights.
//!
//! Every lock on the bot's tables is asked for with a short time limit, and the whole transaction is tried again where it
//! was not to be had: the bot waits for the limits of two or three locks at most, and for what is done under them.

use super::params::params;
use super::{DbError, Session};
use crate::config::Tables;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// The schema, and nothing in it.
pub(crate) const CREATE: &str = include_str!("../../sql/create.sql");
/// Refuses a schema of somebody else's.
pub(crate) const REFUSE: &str = include_str!("../../sql/refuse.sql");
/// From an older version's schema.
pub(crate) const UPGRADE: &str = include_str!("../../sql/upgrade.sql");
/// Tables, views and functions.
pub(crate) const SCHEMA: &str = include_str!("../../sql/schema.sql");
/// What is bound to the bot's tables: accessors, views, triggers, grants.
pub(crate) const ATTACH: &str = include_str!("../../sql/attach.sql");
/// The statements that build the index.
pub(crate) const INDEX: &str = include_str!("../../sql/index.sql");
/// Settings that keep tokens out of the server's log.
pub(crate) const QUIET: &str = include_str!("../../sql/quiet.sql");
/// The way back: triggers.
const DISARM: &str = include_str!("../../sql/disarm.sql");
/// The way back: everything else.
const UNINSTALL: &str = include_str!("../../sql/uninstall.sql");

/// First in every session of an admin: Postgres' own names, the rights of the login, and no limits but ours, whatever
/// the role or the database would set.
pub(crate) const OURSELVES: &str = "set statement_timeout = 0;
set search_path = pg_catalog, pg_temp;
set role none;
do $ourselves$ begin
    perform set_config(s.name, s.value, false)
       from (values ('lock_timeout', '0'), ('idle_session_timeout', '0'),
                    ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
                    ('client_min_messages', 'notice'), ('restrict_nonsystem_relation_kind', ''))
            s(name, value)
      where s.name in (select p.name from pg_settings p);
end $ourselves$;";
/// First in every transaction that locks the bot's tables.
pub(crate) const BRIEFLY: &str = "begin; set local lock_timeout = '25ms';";
/// What [`REFUSE`] raises.
pub(crate) const REFUSED: &str = "RLK01";

/// How long locks are asked for again and again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The settings through which names reach the SQL, each with its value.
pub(crate) fn settings(tables: &Tables, role: &str) -> [(&'static str, String); 10] {
    let (users, issues) = (&tables.users, &tables.issues);
    [
        ("relinkd.users_schema", users.name.schema.clone()),
        ("relinkd.users_table", users.name.table.clone()),
        ("relinkd.users_telegram_id", users.telegram_id.clone()),
        ("relinkd.users_portal_token", users.portal_token.clone()),
        ("relinkd.issues_schema", issues.name.schema.clone()),
        ("relinkd.issues_table", issues.name.table.clone()),
        ("relinkd.issues_id", issues.id.clone()),
        ("relinkd.issues_telegram_id", issues.telegram_id.clone()),
        ("relinkd.issues_url", issues.url.clone()),
        ("relinkd.role", role.to_owned()),
    ]
}

/// Sets the names for the statements that follow in this session.
pub(crate) async fn name(admin: &Session, tables: &Tables, role: &str) -> Result<(), DbError> {
    let (keys, values): (Vec<&str>, Vec<String>) = settings(tables, role).into_iter().unzip();
    let sql = "select set_config(s.key, s.value, false) from unnest($1, $2) s(key, value)";
    admin.execute(sql, params![keys, values]).await
}

/// Creates or upgrades schema, triggers and grants, all or nothing: half of it would make the bot's own writes fail.
/// Returns whether the triggers were not all in order before; then everybody is queued.
pub(crate) async fn install(admin: &Session) -> Result<bool, DbError> {
    together(admin, &[CREATE, REFUSE, UPGRADE, SCHEMA, ATTACH]).await?;
    let sql = "select current_setting('relinkd.changed') = 'true'";
    admin.query_value(sql, &[]).await
}

/// Builds the index, where the table has none that serves. Returns whether it did.
pub(crate) async fn index(admin: &Session) -> Result<bool, DbError> {
    one_by_one(admin, &INDEX.replace("\\gexec", "")).await
}

/// Runs the statements that a query returns, each by itself, as `concurrently` wants it. Returns whether there were any.
async fn one_by_one(admin: &Session, query: &str) -> Result<bool, DbError> {
    patiently(async || {
        let statements = admin.query(query, &[]).await?;
        for row in &statements {
            // It waits for transactions that began before it, and nobody waits for it meanwhile.
            admin.batch("set lock_timeout = '5s'; set statement_timeout = 0").await?;
            admin.batch(row.get(0)).await?;
        }
        Ok(!statements.is_empty())
    })
    .await
}

/// Keeps tokens out of the server's log; false where the admin may not set that.
pub(crate) async fn quiet(admin: &Session) -> Result<bool, DbError> {
    admin.batch(QUIET).await?;
    // A superuser may have done it before.
    let sql = "select exists (
        select from pg_db_role_setting s join pg_roles r on r.oid = s.setrole
         where r.rolname = current_setting('relinkd.role') and s.setdatabase = 0
           and s.setconfig @> '{log_parameter_max_length=0,log_parameter_max_length_on_error=0}')";
    admin.query_value(sql, &[]).await
}

/// Whether schema `relinkd` is there.
pub(crate) async fn is_installed(admin: &Session) -> Result<bool, DbError> {
    let sql = "select exists (select from pg_namespace where nspname = 'relinkd')";
    admin.query_value(sql, &[]).await
}

/// Refuses a schema that is not the admin's to touch, before anything in it is used.
pub(crate) async fn refuse(admin: &Session) -> Result<(), DbError> {
    together(admin, &[REFUSE]).await
}

/// The first half of the way back: the triggers. The bot is free of relinkd, and no daemon writes links any more.
pub(crate) async fn disarm(admin: &Session) -> Result<(), DbError> {
    together(admin, &[REFUSE, DISARM]).await
}

/// The second half: index, grants and schema.
pub(crate) async fn remove(admin: &Session) -> Result<(), DbError> {
    let indexes = "select distinct format('drop index concurrently %I.%I', n.nspname, c.relname)
                     from pg_rewrite w
                     join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
                                     and d.refclassid = 'pg_class'::regclass
                     join pg_class t on t.oid = d.refobjid
                     join pg_index x on x.indrelid = t.oid
                     join pg_class c on c.oid = x.indexrelid and c.relname = 'relinkd_issue_walk'
                     join pg_namespace n on n.oid = c.relnamespace
                    where w.ev_class = to_regclass('relinkd.bot_issue')";
    one_by_one(admin, indexes).await?;
    together(admin, &[REFUSE, UNINSTALL]).await
}

/// Runs statements in one transaction with short waits for locks.
async fn together(admin: &Session, statements: &[&str]) -> Result<(), DbError> {
    let sql = format!("{BRIEFLY} {}; commit", statements.join("\n"));
    patiently(async || {
        let done = admin.batch(&sql).await;
        if done.is_err() {
            // A connection that is gone needs no rollback.
            let _ = admin.batch("rollback").await;
        }
        done
    })
    .await
}

/// Does this again and again while locks are held by others.
async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T, DbError>) -> Result<T, DbError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work().await {
            Err(error) if locked(&error) && Instant::now() < deadline => {
                // Long enough for the bot to get on, and not in step with it.
                let jitter = getrandom::u32().map_or(100, |n| u64::from(n % 200));
                tokio::time::sleep(Duration::from_millis(100 + jitter)).await;
            }
            done => return done,
        }
    }
}

fn locked(error: &DbError) -> bool {
    [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED]
        .iter()
        .any(|code| error.code() == Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{doorbell, schema};

    /// A DBA runs the files as they are, so they say for themselves what Rust knows.
    #[test]
    fn the_files_say_what_the_program_says() {
        for (text, before, wanted) in [
            (ATTACH, "advisory_xact_lock_shared(", doorbell::KEY),
            (ATTACH, "\nselect ", schema::VERSION),
            (ATTACH, "\n     = (", schema::VERSION),
            (UPGRADE, "set schema_version = ", schema::VERSION),
            (REFUSE, "if found > ", schema::VERSION),
            (REFUSE, "knows version ", schema::VERSION),
        ] {
            let numbers: Vec<i32> = (text.split(before).skip(1))
                .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
                .collect();
            assert!(
                !numbers.is_empty() && numbers.iter().all(|number| *number == wanted),
                "{before}: {numbers:?}"
            );
        }
        assert!(REFUSE.contains(&format!("errcode = '{REFUSED}'")));
        // The trigger functions are known before anything that stands in the schema may be trusted.
        let functions = (ATTACH.split("create or replace function relinkd.").skip(1))
            .filter_map(|rest| rest.split_once("() returns trigger "))
            .map(|(name, _)| name);
        let functions: Vec<&str> =
            functions.filter(|name| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')).collect();
        assert_eq!(functions.len(), 6);
        assert!(REFUSE.contains(&format!("'{{{}}}'", functions.join(","))));
        for text in [SCHEMA, include_str!("../../sql/check.sql")] {
            assert!(functions.iter().all(|name| text.contains(&format!("'{name}'"))));
        }
    }
}
