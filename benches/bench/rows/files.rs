//! Drop files: how soon one shows in links, and how many go through.

use crate::data::{add_users, issues, load, plain};
use crate::figure::{Goal, Sheet, percentile};
use crate::lab::Lab;
use crate::site::{Plain, Site};
use crate::sql::{COMMITTED, milliseconds, now};
use std::time::{Duration, Instant};

/// A file dropped, until the last of its user's 100 links is committed.
pub(crate) fn drop(lab: &Lab, sheet: &mut Sheet) {
    let sites = Site::each_settled(lab, |plain_site: &Plain| {
        add_users(&plain_site.bot, 1, 1, false);
        load(&plain_site.admin, &issues(1, 100, "1", &plain()));
    });
    let daemons: Vec<_> = sites.iter().map(Site::start).collect();
    let mut samples = vec![Vec::new(); sites.len()];
    let count = lab.sizes.samples.div_ceil(10);
    for number in 0..count {
        for (site, samples) in sites.iter().zip(&mut samples) {
            let token = format!("7812-5733-8392-{number:04}");
            let from = now();
            site.home.drop_token(&format!("{number}.toml"), 1, &token);
            std::thread::sleep(Duration::from_millis(100));
            let wrong = format!("select count(*) from issues where okdesk_url not like '%token={token}&%'");
            site.wait("the links have the token", Duration::from_millis(100), || {
                site.plain.admin.number(&wrong) == 0
            });
            let last = site.plain.admin.number(&format!("select max({COMMITTED}) from issues"));
            samples.push(milliseconds(from, last));
        }
    }
    for (site, samples) in sites.iter().zip(&samples) {
        let p50 = percentile(samples, 50.0);
        sheet.add(site.name, "file dropped to 100 links: p50", "ms", &[p50], Some(Goal::AtMost(10.0)));
        sheet.add(site.name, "file dropped to 100 links: p99", "ms", &[percentile(samples, 99.0)], None);
        sheet.spread(site.name, "file dropped to 100 links", "ms", samples);
    }
    daemons.into_iter().for_each(crate::daemon::Daemon::stop);
}

/// Thousands of files moved in at once, each with a token for one user: from the first one to the last receipt.
#[expect(clippy::cast_precision_loss, reason = "a count of files fits")]
pub(crate) fn many(lab: &Lab, sheet: &mut Sheet) {
    let files = lab.sizes.files;
    let sites = Site::each_settled(lab, |plain_site: &Plain| {
        add_users(&plain_site.bot, 1, files, false);
        load(&plain_site.admin, &issues(1, files, "g", &plain()));
    });
    let daemons: Vec<_> = sites.iter().map(Site::start).collect();
    let mut speeds = vec![Vec::new(); sites.len()];
    for round in lab.rounds() {
        for (site, speeds) in sites.iter().zip(&mut speeds) {
            let incoming = site.home.incoming();
            let draft = |number| incoming.join(format!(".{round}-{number}.tmp"));
            for number in 1..=files {
                let text = format!("telegram_id = {number}\ntoken = \"{round:04}-0000-{number:08}\"\n");
                std::fs::write(draft(number), text).unwrap();
            }
            let receipts = || std::fs::read_dir(site.home.applied()).map_or(0, Iterator::count);
            let before = receipts();
            let started = Instant::now();
            for number in 1..=files {
                std::fs::rename(draft(number), incoming.join(format!("{round}-{number}.toml"))).unwrap();
            }
            let wanted = before + usize::try_from(files).unwrap();
            site.wait("the files are applied", Duration::from_millis(20), || receipts() >= wanted);
            speeds.push(files as f64 / started.elapsed().as_secs_f64());
            site.drain();
        }
    }
    for (site, speeds) in sites.iter().zip(&speeds) {
        let what = format!("{files} drop files at once");
        sheet.add(site.name, &what, "/s", speeds, Some(Goal::AtLeast(1500.0)));
    }
    daemons.into_iter().for_each(crate::daemon::Daemon::stop);
}
