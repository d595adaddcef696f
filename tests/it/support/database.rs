//! A database per test, with the bot's tables as they are in the field, dropped at the end.
//!
//! Roles belong to the whole cluster, so the daemon's role is named after the database; it is not
//! created here: that is `relinkd install`'s work.

use super::cluster::{BOT, Cluster, SUPERUSER};
use super::session::Session;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio_postgres::Error;

/// The type of `users.portal_token`: both are found in the field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenColumn {
    /// `varchar`, created with the table.
    Varchar,
    /// `varchar(255)`, added by a later migration.
    Varchar255,
}

/// A database with the bot's empty tables, owned by the bot's role.
pub(crate) struct Database {
    cluster: Arc<Cluster>,
    name: String,
    role: String,
    admin: Mutex<Arc<Session>>,
    bot: Mutex<Arc<Session>>,
}

/// The bot's `application_name`, and that of a test's own superuser.
const BOT_APPLICATION: &str = "bot";
const TEST_APPLICATION: &str = "test";

impl Database {
    /// One in the shared cluster.
    pub(crate) fn new() -> Self {
        Self::on(&Cluster::shared(), TokenColumn::Varchar)
    }

    /// One in this cluster.
    pub(crate) fn on(cluster: &Arc<Cluster>, token_column: TokenColumn) -> Self {
        Self::made(cluster, token_column, "")
    }

    /// One that takes any bytes for text.
    pub(crate) fn without_encoding() -> Self {
        let options = "encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'";
        Self::made(&Cluster::shared(), TokenColumn::Varchar, options)
    }

    fn made(cluster: &Arc<Cluster>, token_column: TokenColumn, options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("okdesk_bot_{number}");
        session(cluster, SUPERUSER, "postgres")
            .execute(&format!("create database {name} owner {BOT} {options}"));
        let admin = session(cluster, SUPERUSER, &name);
        let bot = session(cluster, BOT, &name);
        bot.execute(include_str!("../../bot/tables.sql"));
        if token_column == TokenColumn::Varchar255 {
            bot.execute("alter table users drop column portal_token; alter table users add column portal_token varchar(255)");
        }
        Self {
            cluster: Arc::clone(cluster),
            name,
            role: format!("relinkd_{number}"),
            admin: Mutex::new(Arc::new(admin)),
            bot: Mutex::new(Arc::new(bot)),
        }
    }

    /// Where it is.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The daemon's role.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// A URI for this role.
    pub(crate) fn url(&self, role: &str) -> String {
        self.cluster.url(role, &self.name)
    }

    /// A URI for the superuser, as `--admin-url`.
    pub(crate) fn admin_url(&self) -> String {
        self.url(SUPERUSER)
    }

    /// The superuser's kept session; a new one where the server was restarted.
    pub(crate) fn admin(&self) -> Arc<Session> {
        self.kept(&self.admin, SUPERUSER)
    }

    /// The bot's kept session, likewise.
    pub(crate) fn bot(&self) -> Arc<Session> {
        self.kept(&self.bot, BOT)
    }

    /// A new session as any role.
    pub(crate) fn connect_as(&self, role: &str) -> Result<Session, Error> {
        Session::connect(&self.cluster.target(role, &self.name))
    }

    /// A new session as the bot, for a test that needs several or leaves a transaction open.
    pub(crate) fn another_bot(&self) -> Session {
        session(&self.cluster, BOT, &self.name)
    }

    /// Statements as the bot.
    pub(crate) fn execute(&self, sql: &str) {
        self.bot().execute(sql);
    }

    /// A query as the superuser.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.admin().rows(sql)
    }

    /// A number, asked as the superuser.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.admin().number(sql)
    }

    /// Adds a user as the bot does on `/start`, with a token as the bot writes it: in plaintext.
    pub(crate) fn insert_user(&self, telegram_id: i64, token: Option<&str>) {
        self.bot().execute_with(
            "insert into users (telegram_id, user_type, phone, portal_token) values ($1, 'client', '+7 900 000-00-00', $2)",
            &[&telegram_id, &token],
        );
    }

    /// Adds an issue as the bot does when a ticket is created.
    pub(crate) fn insert_issue(&self, id: i32, telegram_id: i64, link: Option<&str>) {
        self.bot().execute_with(
            "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url) values ($1, $2, $1, 'opened', $3)",
            &[&id, &telegram_id, &link],
        );
    }

    /// Writes a user's token as the bot does; null removes it.
    pub(crate) fn set_token(&self, telegram_id: i64, token: Option<&str>) {
        let changed = self.bot().execute_with(
            "update users set portal_token = $2 where users.id = (select id from users where telegram_id = $1)",
            &[&telegram_id, &token],
        );
        assert_eq!(changed, 1, "no user {telegram_id}");
    }

    /// The link in an issue's row.
    pub(crate) fn link(&self, issue: i32) -> Option<String> {
        self.admin().value(&format!("select okdesk_url from issues where id = {issue}"))
    }

    /// What stands in a user's token column.
    pub(crate) fn token_column(&self, telegram_id: i64) -> Option<String> {
        self.admin().value(&format!("select portal_token from users where telegram_id = {telegram_id}"))
    }

    /// Lets the server log every statement of sessions that start from now on, with its duration.
    pub(crate) fn log_every_statement(&self) {
        self.admin().execute(&format!("alter database {} set log_min_duration_statement = 0", self.name));
    }

    /// What the server logged of relinkd's sessions here: not the bot's, nor this test's own.
    pub(crate) fn server_log(&self) -> String {
        self.cluster.log_of(&self.name, &[BOT_APPLICATION, TEST_APPLICATION])
    }

    fn kept(&self, slot: &Mutex<Arc<Session>>, role: &str) -> Arc<Session> {
        let mut kept = slot.lock().unwrap();
        if kept.is_closed() {
            *kept = Arc::new(session(&self.cluster, role, &self.name));
        }
        Arc::clone(&kept)
    }
}

/// Runs a file with psql, stopping at the first error; its standard error where it failed.
pub(crate) fn psql(url: &str, file: &Path) -> Result<(), String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("psql is installed with Postgres");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Drop for Database {
    /// A test that left its server stopped has nothing to drop.
    fn drop(&mut self) {
        let Ok(admin) = Session::connect(&self.cluster.target(SUPERUSER, "postgres")) else { return };
        let done = admin
            .try_execute(&format!("drop database {} with (force)", self.name))
            .and_then(|()| admin.try_execute(&format!("drop role if exists {}", self.role)));
        if !std::thread::panicking() {
            done.unwrap();
        }
    }
}

fn session(cluster: &Cluster, role: &str, database: &str) -> Session {
    let mut target = cluster.target(role, database);
    target.application_name(if role == BOT { BOT_APPLICATION } else { TEST_APPLICATION });
    // A test that runs into a lock fails by itself, with a message, long before the run's own limit.
    target.options("-c statement_timeout=60s");
    Session::connect(&target).unwrap()
}
