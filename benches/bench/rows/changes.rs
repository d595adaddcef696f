//! Issues that come in at once: what their import costs the bot, and how fast daemons work through one change for each.

use super::inserts;
use crate::data::{ISSUES_A_USER, add_users, issues, owner, plain};
use crate::figure::{Goal, Sheet, ratios};
use crate::lab::Lab;
use crate::site::{Plain, Site};
use crate::sql::{COMMITTED, milliseconds, now};
use crate::support::BASE;
use std::time::Duration;

/// The numbers of daemons that share the work.
const DAEMONS: [usize; 3] = [1, 2, 4];

/// An import while no daemon runs, then daemons that start at once: from the start to the last link.
#[expect(clippy::cast_precision_loss, reason = "a count of links fits")]
pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let links = lab.sizes.links;
    let users = (links / ISSUES_A_USER).max(1);
    let import = issues(1, links, &owner(users, lab.options.grouped, links), &plain());
    for site in &Site::each_settled(lab, |plain: &Plain| add_users(&plain.bot, 1, users, true)) {
        let mut homes: Vec<_> = (1..DAEMONS[2]).map(|_| site.another_home()).collect();
        let mut speeds = [const { Vec::new() }; DAEMONS.len()];
        for _ in lab.rounds() {
            for (count, speeds) in DAEMONS.iter().zip(&mut speeds) {
                site.plain.admin.run("truncate issues");
                site.plain.bot.run(&import);
                site.plain.admin.run("vacuum analyze issues");
                site.plain.admin.run("checkpoint");
                let from = now();
                let mut daemons = vec![site.start()];
                daemons.extend(homes.iter_mut().take(count - 1).map(|home| site.start_in(home).0));
                site.wait_links(BASE, "true", Duration::from_millis(200));
                let last = site.plain.admin.number(&format!("select max({COMMITTED}) from issues"));
                speeds.push(links as f64 / milliseconds(from, last) * 1000.0);
                site.drain();
                daemons.into_iter().for_each(crate::daemon::Daemon::stop);
            }
        }
        for (count, values) in DAEMONS.iter().zip(&speeds) {
            let what = format!(
                "{links} changes of one issue, {count} {}",
                if *count == 1 { "daemon" } else { "daemons" }
            );
            sheet.add(site.name, &what, "/s", values, None);
            if *count > 1 {
                let part = ratios(values, &speeds[0]);
                sheet.add(site.name, &format!("{what}: of one daemon"), "×", &part, Some(Goal::AtLeast(1.0)));
            }
        }
    }
}

/// Many issues in one statement: how much longer it takes than without relinkd, the daemon running.
pub(crate) fn import(lab: &Lab, sheet: &mut Sheet) {
    let count = lab.sizes.import;
    let fill = |plain: &Plain| add_users(&plain.bot, 1, 1000, true);
    let import = issues(1, count, &owner(1000, lab.options.grouped, count), &plain());
    let [bare, indexed] = [(), ()].map(|()| Plain::new(lab));
    [&bare, &indexed].into_iter().for_each(fill);
    indexed.admin.run(inserts::INDEX);
    let sites = Site::each_settled(lab, fill);
    let daemons: Vec<_> = sites.iter().map(Site::start).collect();
    let timed = |plain: &Plain| {
        plain.admin.run("truncate issues");
        plain.admin.run("checkpoint");
        let from = now();
        plain.bot.run(&import);
        milliseconds(from, now())
    };
    let (mut without, mut with_index) = (Vec::new(), Vec::new());
    let mut with = vec![Vec::new(); sites.len()];
    for _ in lab.rounds() {
        without.push(timed(&bare));
        with_index.push(timed(&indexed));
        for (site, with) in sites.iter().zip(&mut with) {
            with.push(timed(&site.plain));
            site.drain();
        }
    }
    let what = format!("import of {count} issues in one statement");
    sheet.add("no relinkd", &what, "ms", &without, None);
    let part = ratios(&with_index, &without);
    sheet.add("the index alone", &format!("{what}: of no relinkd"), "×", &part, None);
    for (site, with) in sites.iter().zip(&with) {
        let part = ratios(with, &without);
        sheet.add(site.name, &format!("{what}: of no relinkd"), "×", &part, Some(Goal::AtMost(1.4)));
    }
    daemons.into_iter().for_each(crate::daemon::Daemon::stop);
}
