//! What a link costs in a large table, against one of a hundredth of its size: the same number of users, as far apart as
//! the table allows, get another token; from the bot's commit to the last of their links. Beside it what one update by hand
//! costs, that asks nothing and passes every trigger, of as many links of their neighbours: the pages are read and logged
//! for that, too.

use super::bulk::BY_HAND;
use crate::data::{ISSUES_A_USER, add_users, issues, link_of, load, owner, set_tokens, token_of};
use crate::figure::{Goal, Sheet, ratios};
use crate::lab::{Lab, Subject};
use crate::site::Site;
use crate::sql::{COMMITTED, milliseconds, now};
use crate::support::BASE;
use std::time::Duration;

/// Users who get another token in one go.
const SOME: i64 = 100;
/// How often that is done in a round: what one go meets by chance evens out.
const TIMES: i64 = 5;

pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let (large, small) = (lab.sizes.big, lab.sizes.big / 100);
    for subject in &lab.subjects {
        let tables = [Table::new(lab, subject, small), Table::new(lab, subject, large)];
        let (mut costs, mut by_hand) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in lab.rounds() {
            for (index, table) in tables.iter().enumerate() {
                costs[index].push(table.cost(round % 9 + 1));
                by_hand[index].push(table.cost_by_hand());
            }
        }
        for (name, costs, goal) in
            [(BY_HAND, &by_hand, None), (subject.name, &costs, Some(Goal::AtMost(1.15)))]
        {
            for (table, costs) in tables.iter().zip(costs) {
                let what = format!("cost of a link among {} issues", table.issues);
                sheet.add(name, &what, "µs", costs, None);
            }
            let part = ratios(&costs[1], &costs[0]);
            let what = format!("cost of a link among {large} issues, of that among {small}");
            sheet.add(name, &what, "×", &part, goal);
        }
    }
}

struct Table {
    site: Site,
    issues: i64,
    users: i64,
}

impl Table {
    fn new(lab: &Lab, subject: &Subject, count: i64) -> Self {
        let users = (count / ISSUES_A_USER).max(SOME * TIMES);
        let site = Site::new(lab, subject, |plain| {
            add_users(&plain.bot, 1, users, true);
            let owner = owner(users, lab.options.grouped, count);
            load(&plain.admin, &issues(1, count, &owner, &link_of(BASE, "o", "g", 1)));
        });
        site.settle();
        Self { site, issues: count, users }
    }

    /// Microseconds a link.
    #[expect(clippy::cast_precision_loss, reason = "a count of links fits")]
    fn cost(&self, generation: usize) -> f64 {
        let site = &self.site;
        let daemon = site.start();
        let mut took = 0.0;
        let mut links = 0;
        for time in 0..TIMES {
            let ids = self.some(1 + time * self.stride() / TIMES);
            set_tokens(&site.plain.bot, &format!("telegram_id in ({ids})"), generation);
            let from = now();
            let theirs = format!("from issues where telegram_user_id in ({ids})");
            let token = token_of("telegram_user_id", generation);
            let wrong = format!("select count(*) {theirs} and position({token} in okdesk_url) = 0");
            site.wait("the links have the token", Duration::from_millis(300), || {
                site.plain.admin.number(&wrong) == 0
            });
            let last = site.plain.admin.number(&format!("select max({COMMITTED}) {theirs}"));
            took += milliseconds(from, last);
            links += site.plain.admin.number(&format!("select count(*) {theirs}"));
        }
        site.drain();
        daemon.stop();
        took * 1000.0 / links as f64
    }

    /// Microseconds a link, in one statement that looks at nothing.
    #[expect(clippy::cast_precision_loss, reason = "a count of links fits")]
    fn cost_by_hand(&self) -> f64 {
        let admin = &self.site.plain.admin;
        let (mut took, mut links) = (0.0, 0);
        admin.run("set session_replication_role = replica");
        for time in 0..TIMES {
            let theirs = format!("telegram_user_id in ({})", self.some(2 + time * self.stride() / TIMES));
            let from = now();
            admin.run(&format!("update issues set okdesk_url = okdesk_url || '' where {theirs}"));
            took += milliseconds(from, now());
            links += admin.number(&format!("select count(*) from issues where {theirs}"));
        }
        admin.run("reset session_replication_role");
        took * 1000.0 / links as f64
    }

    fn stride(&self) -> i64 {
        self.users / SOME
    }

    /// Some users from `first` on, as far apart as can be. As a list: a condition by arithmetic would read a table of a
    /// hundred thousand of them.
    fn some(&self, first: i64) -> String {
        let ids: Vec<_> = (0..SOME).map(|i| (first + i * self.stride()).to_string()).collect();
        ids.join(", ")
    }
}
