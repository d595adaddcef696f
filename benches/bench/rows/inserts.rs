//! What relinkd costs the bot: its inserts and its updates of `status`, against a database without relinkd.

use crate::data::{self, add_users};
use crate::figure::{Goal, Sheet, ratios};
use crate::lab::Lab;
use crate::pgbench::{self, Load};
use crate::site::{Plain, Site};
use crate::support::BASE;
use std::collections::BTreeMap;

/// Users with a token are numbered from 1, those without from 1,001.
fn fill(plain: &Plain) {
    add_users(&plain.bot, 1, 1000, true);
    add_users(&plain.bot, 1001, 2000, false);
}

/// One way to insert, with its goals: running and stopped, against no relinkd.
struct Way {
    clients: usize,
    with_token: bool,
    flushed: bool,
    running: Option<f64>,
    stopped: Option<f64>,
}

/// Goals are for commits that do not wait for the disk: there the processor's part shows.
const WAYS: [Way; 6] = [
    Way { clients: 16, with_token: false, flushed: false, running: Some(0.65), stopped: Some(0.75) },
    Way { clients: 16, with_token: true, flushed: false, running: Some(0.60), stopped: Some(0.75) },
    Way { clients: 1, with_token: false, flushed: false, running: Some(0.75), stopped: Some(0.75) },
    Way { clients: 1, with_token: true, flushed: false, running: Some(0.75), stopped: Some(0.75) },
    Way { clients: 16, with_token: true, flushed: true, running: None, stopped: None },
    Way { clients: 1, with_token: true, flushed: true, running: None, stopped: None },
];

impl Way {
    fn what(&self) -> String {
        let clients =
            if self.clients == 1 { "1 client".to_owned() } else { format!("{} clients", self.clients) };
        let token = if self.with_token { "token" } else { "no token" };
        format!("inserts, {clients}, {token}{}", if self.flushed { ", flushed" } else { "" })
    }

    fn script(&self) -> String {
        let first = if self.with_token { 1 } else { 1001 };
        format!(
            "\\set user random({first}, {})\n\\set number random(1, 1000000)\n\
             insert into issues (telegram_user_id, okdesk_issue_id, title, status, okdesk_url, created_at, updated_at) \
             values (:user, :number, 'Printer', 'opened', '{BASE}/issues/:number', now(), now());\n",
            first + 999
        )
    }
}

/// The bot's inserts with a daemon running, with it stopped (the triggers alone), and without relinkd.
pub(crate) fn run(lab: &Lab, sheet: &mut Sheet) {
    let plain = Plain::new(lab);
    fill(&plain);
    let sites = Site::each_settled(lab, fill);
    let mut speeds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in lab.rounds() {
        for way in &WAYS {
            let script = way.script();
            let load = Load { script: &script, clients: way.clients, flushed: way.flushed };
            let mut note =
                |name: &str, speed| speeds.entry(format!("{name} {}", way.what())).or_default().push(speed);
            note("plain", pgbench::run(lab, &plain, &load));
            for site in &sites {
                let daemon = site.start();
                note(&format!("{} running", site.name), pgbench::run(lab, &site.plain, &load));
                site.drain();
                daemon.stop();
                note(&format!("{} stopped", site.name), pgbench::run(lab, &site.plain, &load));
                site.settle();
            }
        }
        for plain in sites.iter().map(|site| &site.plain).chain([&plain]) {
            plain.admin.run("truncate issues");
        }
    }
    for way in &WAYS {
        let what = way.what();
        let bare = &speeds[&format!("plain {what}")];
        sheet.add("no relinkd", &what, "/s", bare, None);
        for site in &sites {
            let running = &speeds[&format!("{} running {what}", site.name)];
            let stopped = &speeds[&format!("{} stopped {what}", site.name)];
            let part = |of, than| ratios(of, than);
            let add = |sheet: &mut Sheet, how: &str, values: &[f64], goal: Option<f64>| {
                sheet.add(site.name, &format!("{what}: {how}"), "×", values, goal.map(Goal::AtLeast));
            };
            add(sheet, "daemon runs, of no relinkd", &part(running, bare), way.running);
            add(sheet, "daemon stopped, of no relinkd", &part(stopped, bare), way.stopped);
            if way.clients == 16 {
                let goal = way.running.map(|_| 0.90);
                add(sheet, "daemon runs, of daemon stopped", &part(running, stopped), goal);
            }
        }
    }
}

/// relinkd's index on the bot's issues, for whoever measures it alone.
pub(super) const INDEX: &str = "create index walk on issues (telegram_user_id, id)";
const TRIGGER: &str = "create trigger follow after insert on issues referencing new table as inserted
     for each statement execute function follow()";

/// What relinkd adds to the bot's table, each step with the index and alone otherwise.
const PARTS: [(&str, &[&str]); 4] = [
    ("no trigger", &[]),
    ("the index by which a user's issues are walked", &[INDEX]),
    (
        "the index, and an empty trigger",
        &[
            INDEX,
            "create function follow() returns trigger language plpgsql as $$ begin return null; end $$",
            TRIGGER,
        ],
    ),
    (
        "the index, and a trigger that appends one row to an indexed table",
        &[
            INDEX,
            "create table queue (id bigint generated by default as identity primary key, telegram_id bigint,
                 issue_id bigint, at timestamptz not null default clock_timestamp());
             grant insert on queue to public;
             create function follow() returns trigger language plpgsql as $$ begin
                 insert into queue (telegram_id, issue_id) select n.telegram_user_id, n.id from inserted n; return null;
             end $$",
            TRIGGER,
        ],
    ),
];

/// Where the time of an insert goes: no queue that is filled by a trigger can cost less than the last part.
pub(crate) fn parts(lab: &Lab, sheet: &mut Sheet) {
    let plains: Vec<Plain> = PARTS
        .iter()
        .map(|(_, sql)| {
            let plain = Plain::new(lab);
            fill(&plain);
            sql.iter().for_each(|sql| plain.admin.run(sql));
            plain
        })
        .collect();
    let sites = Site::each_settled(lab, fill);
    for way in WAYS.iter().filter(|way| !way.with_token && !way.flushed) {
        let script = way.script();
        let load = Load { script: &script, clients: way.clients, flushed: way.flushed };
        let mut speeds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for _ in lab.rounds() {
            for (plain, (name, _)) in plains.iter().zip(&PARTS) {
                speeds.entry((*name).to_owned()).or_default().push(pgbench::run(lab, plain, &load));
            }
            for site in &sites {
                let speed = pgbench::run(lab, &site.plain, &load);
                speeds.entry(site.name.to_owned()).or_default().push(speed);
                site.settle();
            }
        }
        let what = way.what();
        let bare = speeds[PARTS[0].0].clone();
        for (name, _) in &PARTS[1..] {
            sheet.add(name, &format!("{what}, of no trigger"), "×", &ratios(&speeds[*name], &bare), None);
        }
        for site in &sites {
            let what = format!("{what}: daemon stopped, of no trigger");
            sheet.add(site.name, &what, "×", &ratios(&speeds[site.name], &bare), None);
        }
    }
}

/// The bot's updates of `status`, 16 clients, while the daemon runs.
pub(crate) fn status(lab: &Lab, sheet: &mut Sheet) {
    const ISSUES: i64 = 20_000;
    let filled = |plain: &Plain| {
        fill(plain);
        data::load(&plain.admin, &data::issues(1, ISSUES, &data::owner(2000, false, ISSUES), &data::plain()));
    };
    let plain = Plain::new(lab);
    filled(&plain);
    let sites = Site::each_settled(lab, filled);
    let daemons: Vec<_> = sites.iter().map(Site::start).collect();
    let script = format!(
        "\\set id random(1, {ISSUES})\n\\set status random(1, 5)\n\
         update issues set status = 'state :status', updated_at = now() where issues.id = :id;\n"
    );
    for flushed in [false, true] {
        let load = Load { script: &script, clients: 16, flushed };
        let mut bare = Vec::new();
        let mut speeds = vec![Vec::new(); sites.len()];
        for _ in lab.rounds() {
            bare.push(pgbench::run(lab, &plain, &load));
            for (site, speeds) in sites.iter().zip(&mut speeds) {
                speeds.push(pgbench::run(lab, &site.plain, &load));
            }
        }
        let what = format!("updates of status, 16 clients{}", if flushed { ", flushed" } else { "" });
        sheet.add("no relinkd", &what, "/s", &bare, None);
        for (site, speeds) in sites.iter().zip(&speeds) {
            let goal = (!flushed).then_some(Goal::AtLeast(0.97));
            sheet.add(
                site.name,
                &format!("{what}: daemon runs, of no relinkd"),
                "×",
                &ratios(speeds, &bare),
                goal,
            );
        }
    }
    daemons.into_iter().for_each(crate::daemon::Daemon::stop);
}
