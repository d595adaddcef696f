//! What a link costs in a large table, against one of a hundredth of its size: the same number of users, as far apart as
//! the table allows, get another token; from the bot's commit to the last of their links.

use std::time::Duration;

use crate::data::{ISSUES_A_USER, add_users, issues, link_of, load, owner, set_tokens, token_of};
use crate::figure::{Goal, Sheet, ratios};
use crate::lab::{Lab, Subject};
use crate::site::Site;
use crate::sql::{COMMITTED, milliseconds, now};
use crate::support::BASE;

/// Users who get another token in one go.
const SOME: i64 = 100;
/// How often that is done in a round: what one go meets by chance evens out.
const TIMES: i64 = 5;

pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let (large, small) = (lab.sizes.big, lab.sizes.big / 100);
    for subject in &lab.subjects {
        let tables = [Table::new(lab, subject, small), Table::new(lab, subject, large)];
        let mut costs = [Vec::new(), Vec::new()];
        for round in lab.rounds() {
            for (table, costs) in tables.iter().zip(&mut costs) {
                costs.push(table.cost(round % 9 + 1));
            }
        }
        for (table, costs) in tables.iter().zip(&costs) {
            sheet.add(
                subject.name,
                &format!("cost of a link among {} issues", table.issues),
                "µs",
                costs,
                None,
            );
        }
        let part = ratios(&costs[1], &costs[0]);
        let what = format!("cost of a link among {large} issues, of that among {small}");
        sheet.add(subject.name, &what, "×", &part, Some(Goal::AtMost(1.15)));
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
        let stride = self.users / SOME;
        for time in 0..TIMES {
            let first = 1 + time * stride / TIMES;
            // As a list: a condition by arithmetic would read a table of a hundred thousand users.
            let ids: Vec<_> = (0..SOME).map(|i| (first + i * stride).to_string()).collect();
            let ids = ids.join(", ");
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
}
