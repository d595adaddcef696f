//! What the bot waits where relinkd has a hard time: stopped in the middle, held up by a lock, far from the database.

use crate::data::{add_users, issues, link_of, load, set_tokens};
use crate::figure::{Goal, Sheet, percentile};
use crate::lab::Lab;
use crate::prober::Prober;
use crate::proxy;
use crate::site::{Plain, Site};
use crate::sql::{milliseconds, now};
use crate::support::BASE;
use crate::support::relinkd::quoted;
use nix::sys::signal::Signal;
use std::time::Duration;

/// Issues of the user who gets another token.
const ISSUES: i64 = 5_000;
/// How often the daemon is stopped until that met it within a transaction.
const TRIES: u64 = 200;
/// How long a foreign session holds a row, in seconds.
const HELD: u64 = 10;

fn fill(plain: &Plain) {
    add_users(&plain.bot, 1, 100, true);
    load(&plain.admin, &issues(1, ISSUES, "1", &link_of(BASE, "o", "g", 1)));
}

/// The daemon is stopped (SIGSTOP) while it has rows of a user locked; the bot then updates that user
/// and all their issues.
pub(crate) fn frozen(lab: &Lab, sheet: &mut Sheet) {
    let sites = Site::each_settled(lab, fill);
    let mut waits = vec![Vec::new(); sites.len()];
    for _ in lab.rounds() {
        for (site, waits) in sites.iter().zip(&mut waits) {
            waits.push(freeze(site));
        }
    }
    for (site, waits) in sites.iter().zip(&waits) {
        let goal = Some(Goal::AtMost(3000.0));
        sheet.add(
            site.name,
            "the bot's worst wait, the daemon stopped by SIGSTOP",
            "ms",
            &[percentile(waits, 100.0)],
            goal,
        );
    }
}

/// The milliseconds that takes; each statement is given 40 s.
fn freeze(site: &Site) -> f64 {
    let daemon = site.start();
    let caught = format!(
        "select count(*) from pg_locks l join pg_stat_activity a using (pid)
          where a.usename = '{}' and l.relation in ('users'::regclass, 'issues'::regclass)
            and l.mode = 'RowExclusiveLock'",
        site.plain.database.role()
    );
    for attempt in 1..=TRIES {
        set_tokens(&site.plain.bot, "telegram_id = 1", usize::try_from(attempt % 8 + 2).unwrap());
        std::thread::sleep(Duration::from_millis(1 + attempt * 7 % 60));
        daemon.signal(Signal::SIGSTOP);
        // What the server still had to do for it is over.
        std::thread::sleep(Duration::from_millis(100));
        if site.plain.admin.number(&caught) > 0 {
            break;
        }
        assert!(attempt < TRIES, "the daemon was never met within a transaction");
        daemon.signal(Signal::SIGCONT);
        site.drain();
    }
    let bot = site.plain.another_bot();
    bot.run("set statement_timeout = '40s'");
    let from = now();
    let touched = "update users set updated_at = now() where telegram_id = 1;
                   update issues set status = 'closed' where telegram_user_id = 1";
    let refused = bot.try_run(touched).is_err();
    let took = milliseconds(from, now());
    daemon.signal(Signal::SIGCONT);
    assert!(!refused || took > 39_000.0, "the bot's update failed after {took} ms");
    site.drain();
    daemon.stop();
    took
}

/// One file for 100 users of whom one is locked by somebody; and a token's walk over a network with a round trip of 200 ms.
pub(crate) fn slow(lab: &Lab, sheet: &mut Sheet) {
    for site in &Site::each_settled(lab, fill) {
        let daemon = site.start();
        let waits = locked(site);
        daemon.stop();
        report(sheet, site, "100 users assigned, one of them locked", &waits);
    }
    let port = proxy::start(lab.cluster.port(), Duration::from_millis(100));
    for site in &Site::each_settled(lab, fill) {
        let (role, name) = (site.plain.database.role(), site.plain.database.name());
        let url = format!("postgresql://{role}@127.0.0.1:{port}/{name}");
        site.home.set("database.url", &quoted(&url));
        let daemon = site.start();
        let prober = Prober::start(
            &site.plain,
            "update issues set status = 'closed' where id = $1::bigint",
            1,
            ISSUES,
        );
        set_tokens(&site.plain.bot, "telegram_id = 1", 2);
        let wrong = "select count(*) from issues where okdesk_url not like '%token=2000%'";
        site.wait("the links have the token", Duration::from_millis(200), || {
            site.plain.admin.number(wrong) == 0
        });
        let waits = prober.finish();
        daemon.stop();
        report(sheet, site, &format!("{ISSUES} links rewritten at a round trip of 200 ms"), &waits);
    }
}

/// How long the bot's updates of the other 99 users take, in milliseconds.
fn locked(site: &Site) -> Vec<f64> {
    use std::fmt::Write as _;
    let holder = site.plain.another_bot();
    holder.run("begin; update users set phone = phone where telegram_id = 50");
    let statement = "update users set updated_at = now() where telegram_id = $1::bigint";
    let probers =
        [(1, 49), (51, 100)].map(|(first, last)| Prober::start(&site.plain, statement, first, last));
    let mut file = String::new();
    for user in 1..=100 {
        write!(file, "[[assignment]]\ntelegram_id = {user}\ntoken = \"9000-0000-0000-{user:04}\"\n").unwrap();
    }
    site.home.drop_file("hundred.toml", file);
    std::thread::sleep(Duration::from_secs(HELD));
    holder.run("rollback");
    site.home.wait_applied("hundred.toml");
    probers.map(Prober::finish).concat()
}

fn report(sheet: &mut Sheet, site: &Site, what: &str, waits: &[f64]) {
    let what = format!("the bot's wait, {what}");
    sheet.add(site.name, &format!("{what}: p99"), "ms", &[percentile(waits, 99.0)], None);
    sheet.add(
        site.name,
        &format!("{what}: worst"),
        "ms",
        &[percentile(waits, 100.0)],
        Some(Goal::AtMost(250.0)),
    );
    sheet.spread(site.name, &what, "ms", waits);
}
