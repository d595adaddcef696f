//! Small users while a giant is walked: a new issue must not wait for a million others.

use crate::data::{add_users, issues, link_of, load, set_tokens, token_of};
use crate::figure::{Goal, Sheet, percentile};
use crate::lab::Lab;
use crate::racer::Racer;
use crate::site::{Plain, Site};
use crate::support::BASE;
use std::time::{Duration, Instant};

/// User 1 is the giant, and gets another token in each round.
pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let links = lab.sizes.links;
    let sites = Site::each_settled(lab, |plain: &Plain| {
        add_users(&plain.bot, 1, 1001, true);
        load(&plain.admin, &issues(1, links, "1", &link_of(BASE, "o", "g", 1)));
    });
    let mut samples = vec![Vec::new(); sites.len()];
    for round in lab.rounds() {
        for (site, samples) in sites.iter().zip(&mut samples) {
            let daemon = site.start();
            let generation = round % 9 + 1;
            let mut racer = Racer::new(site.name, &site.plain, 2, 1000);
            // What the giant has in the end: issues from both edges, and later all of them.
            let new = format!("okdesk_url like '%token=' || {} || '&%'", token_of("1", generation));
            let edges = format!("select count(*) from issues where id in (1, {links}) and {new}");
            let all = format!("select count(*) from issues where telegram_user_id = 1 and {new}");
            set_tokens(&site.plain.bot, "telegram_id = 1", generation);
            let mut next = Instant::now();
            while site.plain.admin.number(&edges) < 2 {
                for _ in 0..25 {
                    racer.insert();
                    next += Duration::from_millis(20);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
            samples.extend(racer.finish());
            site.wait("the giant is done", Duration::from_millis(200), || {
                site.plain.admin.number(&all) == links
            });
            site.drain();
            daemon.stop();
            site.plain.admin.run("vacuum issues");
        }
    }
    for (site, samples) in sites.iter().zip(&samples) {
        let what = format!("small users while {links} issues of one are walked");
        let goal = Some(Goal::AtMost(25.0));
        sheet.add(site.name, &format!("{what}: p50"), "ms", &[percentile(samples, 50.0)], None);
        sheet.add(site.name, &format!("{what}: p99"), "ms", &[percentile(samples, 99.0)], goal);
        sheet.spread(site.name, &what, "ms", samples);
    }
}
