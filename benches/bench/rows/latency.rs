//! How long after the commit of an issue its link is committed, against a listener that updates blindly.

use crate::blind::Blind;
use crate::data::add_users;
use crate::figure::{Goal, Sheet, percentile, ratios};
use crate::lab::Lab;
use crate::racer::{Racer, race};
use crate::site::{Plain, Site};
use crate::support::BASE;
use std::time::Duration;

const DENSE: Duration = Duration::from_millis(20);
const RARE: Duration = Duration::from_secs(2);
const USERS: i64 = 100;

/// One issue every 20 ms.
pub(crate) fn dense(lab: &Lab, sheet: &mut Sheet) {
    compare(lab, sheet, "every 20 ms", DENSE, &Goals { p50: 0.9, p99: Some(3.0), blind: Some(2.0) }, false);
}

/// One every 2 s: all contestants take turns within the 2 s, for each of them sleeps most of the time.
pub(crate) fn rare(lab: &Lab, sheet: &mut Sheet) {
    compare(lab, sheet, "every 2 s", RARE, &Goals { p50: 0.9, p99: Some(3.0), blind: Some(2.0) }, false);
}

/// One every 20 ms beside a transaction that wrote an issue and stays open.
pub(crate) fn beside_writer(lab: &Lab, sheet: &mut Sheet) {
    let goals = Goals { p50: 15.0, p99: None, blind: None };
    compare(lab, sheet, "every 20 ms, beside an idle writer", DENSE, &goals, true);
}

struct Goals {
    p50: f64,
    p99: Option<f64>,
    blind: Option<f64>,
}

fn compare(lab: &Lab, sheet: &mut Sheet, what: &str, pace: Duration, goals: &Goals, beside_writer: bool) {
    let fill = |plain: &Plain| add_users(&plain.bot, 1, USERS, true);
    let blind = Blind::start(lab);
    let sites = Site::each_settled(lab, fill);
    let daemons: Vec<_> = sites.iter().map(Site::start).collect();
    let mut racers = vec![Racer::new("blind listener", &blind.plain, 1, USERS)];
    racers.extend(sites.iter().map(|site| Racer::new(site.name, &site.plain, 1, USERS)));

    let writers: Vec<_> = sites.iter().map(|site| site.plain.another_bot()).collect();
    if beside_writer {
        for writer in &writers {
            writer.run(&format!(
                "begin; insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
                        values (1, 1, 1, 'opened', '{BASE}/issues/1')"
            ));
        }
    }
    let mut samples = vec![Vec::new(); racers.len()];
    for _ in lab.rounds() {
        let count = lab.sizes.samples.div_ceil(lab.sizes.rounds);
        // At a quick pace one after the other: else their work would overlap.
        for group in racers.chunks_mut(if pace == RARE { samples.len() } else { 1 }) {
            race(group, count, pace);
        }
        for (racer, samples) in racers.iter_mut().zip(&mut samples) {
            samples.push(racer.finish());
        }
    }
    for writer in &writers {
        writer.run("rollback");
    }
    daemons.into_iter().for_each(crate::daemon::Daemon::stop);

    let per_round =
        |rounds: &[Vec<f64>], percent| rounds.iter().map(|r| percentile(r, percent)).collect::<Vec<_>>();
    let blind_p50 = per_round(&samples[0], 50.0);
    for (racer, rounds) in racers.iter().zip(&samples) {
        let is_yardstick = racer.name == "blind listener";
        let goal = |goal: Option<f64>| goal.filter(|_| !is_yardstick).map(Goal::AtMost);
        let p50 = per_round(rounds, 50.0);
        let all = rounds.concat();
        sheet.add(racer.name, &format!("commit to link, {what}: p50"), "ms", &p50, goal(Some(goals.p50)));
        sheet.add(
            racer.name,
            &format!("commit to link, {what}: p99"),
            "ms",
            &[percentile(&all, 99.0)],
            goal(goals.p99),
        );
        sheet.add(
            racer.name,
            &format!("commit to link, {what}: worst"),
            "ms",
            &[percentile(&all, 100.0)],
            None,
        );
        if !is_yardstick {
            let what = format!("commit to link, {what}: p50, of the blind listener's");
            sheet.add(racer.name, &what, "×", &ratios(&p50, &blind_p50), goal(goals.blind));
        }
        sheet.spread(racer.name, &format!("commit to link, {what}"), "ms", &all);
    }
}
