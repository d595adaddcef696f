//! What the daemon takes of the machine: memory, wake-ups, the time to start, the size of the program.

use crate::data::{ISSUES_A_USER, OTHER_BASE, add_users, issues, link_of, load, owner};
use crate::figure::{Goal, Sheet};
use crate::lab::Lab;
use crate::site::{Plain, Site};
use crate::support::BASE;
use std::time::Duration;

#[expect(clippy::cast_precision_loss, reason = "sizes and times of a bench fit")]
pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let links = lab.sizes.links;
    let users = (links / ISSUES_A_USER).max(1);
    let sites = Site::each_settled(lab, |plain: &Plain| {
        add_users(&plain.bot, 1, users, true);
        let owner = owner(users, lab.options.grouped, links);
        load(&plain.admin, &issues(1, links, &owner, &link_of(BASE, "o", "g", 1)));
    });
    for (site, subject) in sites.iter().zip(&lab.subjects) {
        let mut starts = Vec::new();
        for _ in lab.rounds() {
            let (daemon, took) = site.start_in(&site.home);
            starts.push(took.as_secs_f64() * 1000.0);
            daemon.stop();
        }
        let daemon = site.start();
        std::thread::sleep(Duration::from_secs(5.min(lab.sizes.idle_seconds)));
        let before = daemon.wakes();
        std::thread::sleep(Duration::from_secs(lab.sizes.idle_seconds));
        let wakes = (daemon.wakes() - before) / lab.sizes.idle_seconds as f64;
        let (idle, own) = (daemon.memory("VmRSS"), daemon.memory("RssAnon"));
        site.move_portal(&daemon, BASE, OTHER_BASE);
        site.wait_links(OTHER_BASE, "true", Duration::from_millis(200));
        let busy = daemon.memory("VmHWM");
        site.drain();
        daemon.stop();

        sheet.add(site.name, "own memory (not mapped from files), idle", "MiB", &[own], None);
        let size = std::fs::metadata(&subject.binary).unwrap().len() as f64 / 1_048_576.0;
        let mut add = |what: &str, unit: &str, values: &[f64], goal: f64| {
            sheet.add(site.name, what, unit, values, Some(Goal::AtMost(goal)));
        };
        add("memory, idle", "MiB", &[idle], 10.0);
        add(&format!("memory, highest, {links} links rewritten"), "MiB", &[busy], 32.0);
        add("wake-ups, idle", "/s", &[wakes], 2.0);
        add("start to READY", "ms", &starts, 50.0);
        add("size of the program", "MiB", &[size], 4.0);
    }
}
