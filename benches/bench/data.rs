//! The bot's rows in bulk: users, tokens and issues, as SQL.

use crate::sql::Sql;
use crate::support::BASE;

/// The second address of the portal, as long as the first one, for rows that move all links from one to the other.
pub(crate) const OTHER_BASE: &str = "https://yapomogu56.okdesk.ru";

/// Issues that a user has in the rows about bulk.
pub(crate) const ISSUES_A_USER: i64 = 100;

/// SQL for a user's token, in the usual form of four groups of digits; another one for each generation, 1 to 9.
pub(crate) fn token_of(telegram_id: &str, generation: usize) -> String {
    format!(
        "regexp_replace('{generation}' || lpad(({telegram_id})::text, 15, '0'), '(....)(....)(....)(....)', '\\1-\\2-\\3-\\4')"
    )
}

/// SQL for a login link with that token.
pub(crate) fn link_of(base: &str, telegram_id: &str, issue: &str, generation: usize) -> String {
    format!(
        "'{base}/login?token=' || {} || '&redirect=/issues/' || ({issue})::text",
        token_of(telegram_id, generation)
    )
}

/// Adds users with the ids from `first` to `last`; those with a token have generation 1.
pub(crate) fn add_users(bot: &Sql, first: i64, last: i64, with_token: bool) {
    let token = if with_token { token_of("g", 1) } else { "null".to_owned() };
    bot.run(&format!(
        "insert into users (telegram_id, user_type, phone, portal_token, created_at, updated_at)
         select g, 'client', '+7 900 000-00-00', {token}, now(), now() from generate_series({first}, {last}) g"
    ));
}

/// Gives these users the token of a generation, as the bot does.
pub(crate) fn set_tokens(bot: &Sql, users: &str, generation: usize) {
    bot.run(&format!(
        "update users set portal_token = {} where {users}",
        token_of("telegram_id", generation)
    ));
}

/// SQL that inserts issues with the ids from `first` to `last` for `users` users, in one statement, with this link.
pub(crate) fn issues(first: i64, last: i64, owner: &str, link: &str) -> String {
    format!(
        "insert into issues (id, telegram_user_id, okdesk_issue_id, title, status, issue_number, priority, okdesk_url,
                             description, rating_requested, created_at, updated_at)
         select g, o, g, 'Printer on the third floor', 'opened', g::text, 'normal', {link},
                'It prints every page twice, and the second one upside down.', false, now(), now()
           from generate_series({first}::bigint, {last}) g, lateral (select {owner} as o) o"
    )
}

/// A plain link for an issue of [`issues`].
pub(crate) fn plain() -> String {
    format!("'{BASE}/issues/' || g")
}

/// Which of `users` users, numbered from 1, has issue `g`: scattered over the table, or side by side.
pub(crate) fn owner(users: i64, grouped: bool, links: i64) -> String {
    if grouped { format!("1 + (g - 1) * {users} / {links}") } else { format!("1 + g % {users}") }
}

/// Replaces all issues by such with right links, past every trigger, and leaves the table vacuumed.
pub(crate) fn load(admin: &Sql, statement: &str) {
    admin.run("set session_replication_role = replica; truncate issues");
    admin.run(statement);
    admin.run("reset session_replication_role");
    admin.run("vacuum analyze issues");
    admin.run("checkpoint");
}

/// Rewrites each half of the table, and vacuums after each: pages as an old table has them, with room in them.
pub(crate) fn age(admin: &Sql) {
    for half in [0, 1] {
        admin.run(&format!("update issues set status = 'open' where id % 2 = {half}"));
        admin.run("vacuum issues");
    }
    admin.run("analyze issues");
    admin.run("checkpoint");
}

/// Where WAL and HOT updates stand, to see what some work has added to them.
pub(crate) struct Writes {
    wal: i64,
    updated: i64,
    hot: i64,
}

impl Writes {
    pub(crate) fn so_far(admin: &Sql) -> Self {
        // A session hands in its statistics once it is idle for a second.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let row = admin.rows(
            "select (pg_current_wal_lsn() - '0/0')::bigint, n_tup_upd, n_tup_hot_upd
               from pg_stat_user_tables where relid = 'issues'::regclass",
        );
        let [wal, updated, hot] = [0, 1, 2].map(|i| row[0][i].parse().unwrap());
        Self { wal, updated, hot }
    }

    /// MiB of WAL and percent of HOT updates since then.
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench fit")]
    pub(crate) fn since(&self, admin: &Sql) -> (f64, f64) {
        let now = Self::so_far(admin);
        let updated = (now.updated - self.updated).max(1);
        ((now.wal - self.wal) as f64 / 1_048_576.0, 100.0 * (now.hot - self.hot) as f64 / updated as f64)
    }
}
