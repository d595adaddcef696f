//! `relinkd.change` is a queue in a table: does it stay small, over many changes, and while a snapshot that somebody holds
//! keeps dead rows alive; and does a new issue wait longer then?

use crate::data::{add_users, issues, link_of, load};
use crate::figure::{Goal, Sheet, percentile};
use crate::lab::Lab;
use crate::racer::Racer;
use crate::site::{Plain, Site};
use crate::support::BASE;
use std::time::{Duration, Instant};

/// Issues whose links are overwritten again and again: each time a change for each.
const ISSUES: i64 = 10_000;
/// How many of them in one statement.
const AT_ONCE: i64 = 1_000;
const USERS: i64 = 100;

fn fill(plain: &Plain) {
    add_users(&plain.bot, 1, USERS, true);
    let rows = issues(1, ISSUES, &format!("1 + g % {USERS}"), &link_of(BASE, "o", "g", 1));
    load(&plain.admin, &rows);
}

/// MiB that the table and its index take.
#[expect(clippy::cast_precision_loss, reason = "a size fits")]
fn change_size(site: &Site) -> f64 {
    site.plain.admin.number("select pg_total_relation_size('relinkd.change')") as f64 / 1_048_576.0
}

/// SQL that puts plain links over those of some issues.
fn overwrite(first: i64, count: i64) -> String {
    format!(
        "update issues set okdesk_url = '{BASE}/issues/' || id where id between {first} and {}",
        first + count - 1
    )
}

/// Many changes, in bursts that the daemon is given the time for. A queue that is reused is no larger after all of them than
/// after a part. The first tenth is over before autovacuum comes by, where it does so once a minute.
pub(crate) fn churn(lab: &Lab, sheet: &mut Sheet) {
    for site in &Site::each_settled(lab, fill) {
        let daemon = site.start();
        let bursts = (lab.sizes.changes / ISSUES).max(10);
        let mut sizes = Vec::new();
        for _ in 0..bursts {
            for first in (1..=ISSUES).step_by(usize::try_from(AT_ONCE).unwrap()) {
                site.plain.bot.run(&overwrite(first, AT_ONCE));
            }
            site.wait_links(BASE, "true", Duration::from_millis(20));
            sizes.push(change_size(site));
        }
        site.drain();
        let late = change_size(site);
        let what = format!("relinkd.change after {} changes", bursts * ISSUES);
        sheet.add(site.name, &what, "MiB", &[late], None);
        for (part, name) in [(10, "a tenth"), (2, "half")] {
            let early = sizes[sizes.len() / part - 1];
            let what = format!("{what}, of its size after {name} of them");
            sheet.add(site.name, &what, "×", &[late / early], Some(Goal::AtMost(1.1)));
        }
        daemon.stop();
    }
}

/// New issues beside a steady churn of links, before a snapshot is opened and while it stays open.
pub(crate) fn pin(lab: &Lab, sheet: &mut Sheet) {
    let seconds = lab.sizes.pin_seconds;
    for site in &Site::each_settled(lab, fill) {
        let daemon = site.start();
        let tenth = Duration::from_secs_f64(1f64.max(f64::from(u32::try_from(seconds).unwrap()) / 10.0));
        let before = percentile(&busy(site, tenth), 50.0);
        let holder = site.plain.another_bot();
        holder.run("begin isolation level repeatable read; select count(*) from users");
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut last = busy(site, tenth);
        while Instant::now() < until {
            last = busy(site, tenth);
        }
        let (size, late) = (change_size(site), percentile(&last, 50.0));
        holder.run("rollback");
        site.drain();
        daemon.stop();
        let what = format!("new issues, snapshot open for {seconds} s");
        sheet.add(site.name, &format!("{what}: p50 before"), "ms", &[before], None);
        sheet.add(site.name, &format!("{what}: p50 at its end"), "ms", &[late], None);
        sheet.add(
            site.name,
            &format!("{what}: p50, of that before"),
            "×",
            &[late / before],
            Some(Goal::AtMost(2.0)),
        );
        sheet.add(site.name, &format!("{what}: relinkd.change"), "MiB", &[size], None);
        sheet.spread(site.name, &what, "ms", &last);
    }
}

/// One new issue every 20 ms, and between them ten links overwritten: 500 changes a second. Milliseconds to each link.
fn busy(site: &Site, time: Duration) -> Vec<f64> {
    let mut racer = Racer::new(site.name, &site.plain, 1, USERS);
    let started = Instant::now();
    let mut next = started;
    let mut first = 1;
    while started.elapsed() < time {
        racer.insert();
        next += Duration::from_millis(10);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        site.plain.bot.run(&overwrite(first, 10));
        first = first % (ISSUES - 10) + 10;
        next += Duration::from_millis(10);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    racer.finish()
}
