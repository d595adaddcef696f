//! Where the time of a bulk run goes: what the server notes of each statement's duration, and the processor time of the
//! daemon itself. With two sessions on few processors the durations hold what a statement waited for one.

use crate::data::{ISSUES_A_USER, OTHER_BASE, add_users, issues, link_of, load, owner};
use crate::figure::Sheet;
use crate::lab::Lab;
use crate::site::{Plain, Site};
use crate::support::BASE;
use std::time::Duration;

/// What a statement is for, told by a piece of its text; the first that fits.
const STATEMENTS: [(&str, &str); 6] = [
    ("update relinkd.bot_issue", "writing links"),
    ("with fresh as", "claiming changes"),
    ("bot_issue i", "reading links"),
    ("bot_user", "reading tokens"),
    ("insert into relinkd.change", "queueing users"),
    ("", "all else"),
];

#[expect(clippy::cast_precision_loss, reason = "a count of links fits")]
pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let links = lab.sizes.links;
    let users = (links / ISSUES_A_USER).max(1);
    let fill = |plain: &Plain| {
        add_users(&plain.bot, 1, users, true);
        let owner = owner(users, lab.options.grouped, links);
        load(&plain.admin, &issues(1, links, &owner, &link_of(BASE, "o", "g", 1)));
    };
    for site in &Site::each_settled(lab, fill) {
        site.plain.database.log_every_statement();
        let mut taken = [const { Vec::new() }; STATEMENTS.len()];
        let mut own = Vec::new();
        for round in lab.rounds() {
            let (from, to) = if round % 2 == 1 { (BASE, OTHER_BASE) } else { (OTHER_BASE, BASE) };
            let daemon = site.start();
            site.drain();
            let (before, begun) = (site.plain.database.server_log().len(), daemon.processor_time());
            site.move_portal(&daemon, from, to);
            site.wait_links(to, "true", Duration::from_millis(200));
            site.drain();
            own.push((daemon.processor_time() - begun) * 1_000_000.0 / links as f64);
            daemon.stop();
            let log = site.plain.database.server_log();
            for (milliseconds, taken) in durations(&log[before..]).into_iter().zip(&mut taken) {
                taken.push(milliseconds * 1000.0 / links as f64);
            }
        }
        for ((_, what), values) in STATEMENTS.iter().zip(&taken) {
            sheet.add(site.name, &format!("a link in bulk: {what}"), "µs", values, None);
        }
        sheet.add(site.name, "a link in bulk: processor time of the daemon", "µs", &own, None);
    }
}

/// Milliseconds that statements of each kind took.
fn durations(log: &str) -> [f64; STATEMENTS.len()] {
    let mut sums = [0.0; STATEMENTS.len()];
    for record in log.split("LOG:  duration: ").skip(1) {
        let Some((milliseconds, text)) = record.split_once(" ms  ") else { continue };
        let Ok(milliseconds) = milliseconds.parse::<f64>() else { continue };
        let kind = STATEMENTS.iter().position(|(piece, _)| text.contains(piece));
        sums[kind.unwrap_or(STATEMENTS.len() - 1)] += milliseconds;
    }
    sums
}
