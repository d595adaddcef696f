//! All links anew, as when the portal moves to another address, against one update that somebody writes by hand.
//!
//! Links keep their length. A fresh table has full pages, so that every new version of a row goes elsewhere; an aged one
//! has room in its pages. HOT share and WAL say how much of a difference that made.

use crate::data::{ISSUES_A_USER, OTHER_BASE, Writes, add_users, age, issues, link_of, load, owner};
use crate::figure::{Goal, Sheet, ratios};
use crate::lab::Lab;
use crate::site::{Plain, Site};
use crate::sql::{COMMITTED, milliseconds, now};
use crate::support::BASE;
use std::time::Duration;

/// The yardstick's name.
pub(super) const BY_HAND: &str = "one update by hand";

/// What rewriting all links took, one value a round.
#[derive(Default)]
struct Series {
    speeds: Vec<f64>,
    wal: Vec<f64>,
    hot: Vec<f64>,
}

impl Series {
    #[expect(clippy::cast_precision_loss, reason = "a count of links fits")]
    fn note(&mut self, links: i64, milliseconds: f64, (wal, hot): (f64, f64)) {
        self.speeds.push(links as f64 / milliseconds * 1000.0);
        self.wal.push(wal);
        self.hot.push(hot);
    }
}

pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let links = lab.sizes.links;
    let users = (links / ISSUES_A_USER).max(1);
    let fill = |plain: &Plain| add_users(&plain.bot, 1, users, true);
    let plain = Plain::new(lab);
    fill(&plain);
    let sites = Site::each_settled(lab, fill);
    let rows = {
        let owner = owner(users, lab.options.grouped, links);
        issues(1, links, &owner, &link_of(BASE, "o", "g", 1))
    };
    let mut by_hand = [Series::default(), Series::default()];
    let mut by_site: Vec<[Series; 2]> = sites.iter().map(|_| Default::default()).collect();
    for _ in lab.rounds() {
        for (aged, by_hand) in by_hand.iter_mut().enumerate() {
            let prepare = |plain: &Plain| {
                load(&plain.admin, &rows);
                if aged == 1 {
                    age(&plain.admin);
                }
            };
            prepare(&plain);
            let before = Writes::so_far(&plain.admin);
            let from = now();
            plain.bot.run(&format!(
                "update issues set okdesk_url = replace(okdesk_url, '{BASE}', '{OTHER_BASE}')"
            ));
            by_hand.note(links, milliseconds(from, now()), before.since(&plain.admin));
            for (site, series) in sites.iter().zip(&mut by_site) {
                prepare(&site.plain);
                let (took, written) = move_all(site);
                series[aged].note(links, took, written);
            }
        }
    }
    for (aged, by_hand) in by_hand.iter().enumerate() {
        let table = if aged == 1 { "aged" } else { "fresh" };
        let what = format!("{links} links, {table} table");
        report(sheet, BY_HAND, &what, by_hand);
        for (site, series) in sites.iter().zip(&by_site) {
            let part = ratios(&series[aged].speeds, &by_hand.speeds);
            sheet.add(
                site.name,
                &format!("{what}: of one update by hand"),
                "×",
                &part,
                Some(Goal::AtLeast(1.0)),
            );
            report(sheet, site.name, &what, &series[aged]);
        }
    }
}

fn report(sheet: &mut Sheet, name: &str, what: &str, series: &Series) {
    sheet.add(name, &format!("{what}: links"), "/s", &series.speeds, None);
    sheet.add(name, &format!("{what}: HOT updates"), "%", &series.hot, None);
    sheet.add(name, &format!("{what}: WAL"), "MiB", &series.wal, None);
}

/// Moves the portal, and back without anybody noticing: the next round begins with the same address.
fn move_all(site: &Site) -> (f64, (f64, f64)) {
    let daemon = site.start();
    let before = Writes::so_far(&site.plain.admin);
    let from = now();
    site.move_portal(&daemon, BASE, OTHER_BASE);
    site.wait_links(OTHER_BASE, "true", Duration::from_millis(100));
    let last = site.plain.admin.number(&format!("select max({COMMITTED}) from issues"));
    let written = before.since(&site.plain.admin);
    site.drain();
    site.plain.admin.run("truncate issues");
    site.move_portal(&daemon, OTHER_BASE, BASE);
    std::thread::sleep(Duration::from_secs(1));
    site.drain();
    daemon.stop();
    (milliseconds(from, last), written)
}
