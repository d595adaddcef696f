//! Days of work in seconds. After each, all that has an age is made older by as much as a day stands for, and what the
//! daemon holds, keeps and writes is measured: it must not grow from day to day.
//!
//! Ages are compressed so that each runs out within two days: `history.keep` is two days, a day makes fingerprints 15 days
//! older (they are kept for 30), and the package's rule for `applied/` and `rejected/` runs with an age of two such days.

use crate::support::cast::status;
use crate::support::{
    BASE, Bench, Cluster, ClusterOptions, Daemon, Database, TokenColumn, login_link, plain_link,
};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The days in which everything that ages has its first run.
const FIRST: usize = 3;

/// What a day is made of.
#[derive(Clone, Copy)]
struct Work {
    users: i64,
    issues: i64,
    files: i64,
}

/// What is there at the end of a day.
#[derive(Debug)]
struct Measured {
    memory_kib: u64,
    descriptors: usize,
    tables_kib: u64,
    log_bytes: usize,
    history: i64,
    fingerprints: i64,
    receipts: usize,
    rejected: usize,
}

#[test]
fn nothing_grows_from_day_to_day() {
    soak(5, Work { users: 40, issues: 60, files: 20 });
}

/// For `scripts/soak`: as many days as `DAYS` says.
#[test]
#[ignore = "scripts/soak runs it"]
fn many_days() {
    let days = std::env::var("DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(7);
    soak(days, Work { users: 400, issues: 1_500, files: 200 });
}

#[expect(clippy::print_stdout, reason = "the figures of each day are what scripts/soak is for")]
fn soak(days: usize, work: Work) {
    let cluster = Cluster::start(&ClusterOptions::default().setting("autovacuum_naptime", "1s"));
    let bench = Bench::over(Arc::new(Database::on(&cluster, TokenColumn::Varchar)));
    for user in 1..=work.users {
        bench.db.insert_user(user, None);
    }
    bench.set("audit.interval", "\"1s\"");
    bench.set("history.keep", "\"2d\"");
    bench.set("spool.rescan", "\"1s\"");
    bench.install();
    let daemon = bench.start();
    let mut days_begun = vec![Instant::now()];
    let mut measured: Vec<Measured> = Vec::new();
    let mut logged = 0;
    for day in 1..=days {
        a_day(&bench, &daemon, i64::try_from(day).unwrap(), work);
        age(&bench, days_begun[day.saturating_sub(2)].elapsed());
        wait_audit(&bench);
        let log = daemon.log().len();
        measured.push(measure(&bench, &daemon, log - logged));
        println!("day {day}, {:?}: {:?}", days_begun[day - 1].elapsed(), measured[day - 1]);
        logged = log;
        days_begun.push(Instant::now());
    }
    daemon.stop();
    let (first, last) = (&measured[FIRST - 1], &measured[days - 1]);
    let flat = |what: &str, then: u64, now: u64, slack: u64| {
        assert!(now <= then + then / 5 + slack, "{what}: {then} after day {FIRST}, {now} after day {days}");
    };
    flat("memory, KiB", first.memory_kib, last.memory_kib, 512);
    // How far a table grows before vacuum comes differs from day to day.
    flat("tables, KiB", first.tables_kib, last.tables_kib, 256 + first.tables_kib / 3);
    flat("log, bytes a day", first.log_bytes as u64, last.log_bytes as u64, 1_000);
    flat("rows of history", first.history.unsigned_abs(), last.history.unsigned_abs(), 0);
    flat("fingerprints", first.fingerprints.unsigned_abs(), last.fingerprints.unsigned_abs(), 0);
    assert!(last.descriptors <= first.descriptors, "{measured:?}");
    assert!(last.receipts <= first.receipts && last.rejected <= first.rejected, "{measured:?}");
}

fn token(day: i64, user: i64, nth: i64) -> String {
    format!("{day:04}-{user:04}-{nth:04}-0000")
}

/// New issues, new tokens, hand-overs and foreign writes; drop files, good and bad; commands and a reload.
fn a_day(bench: &Bench, daemon: &Daemon, day: i64, work: Work) {
    let bot = bench.db.another_bot();
    let first = day * 100_000;
    for nth in 0..work.issues {
        let (issue, user) = (first + nth, 1 + nth % work.users);
        bot.execute(&format!(
            "insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
             values ({issue}, {user}, {issue}, 'opened', '{BASE}/issues/{issue}')"
        ));
        match nth % 10 {
            0 => bench.db.set_token(user, Some(&token(day, user, nth))),
            1 => bot.execute(&format!("update issues set telegram_user_id = 1 where id = {issue}")),
            2 => bot
                .execute(&format!("update issues set okdesk_url = 'https://example.org' where id = {issue}")),
            3 if nth % 4 == 3 => bench.db.set_token(user, None),
            _ => {}
        }
    }
    for nth in 0..work.files {
        let user = 1 + nth % work.users;
        match nth % 4 {
            3 => bench.drop_token(&format!("{day}-{nth}.toml"), 999, "0000-0000-0000-0001"),
            _ => bench.drop_token(&format!("{day}-{nth}.toml"), user, &token(day, user, 5_000 + nth)),
        }
    }
    bench.run(["sync"]).ok();
    daemon.hup();
    daemon.hup();
    bench.wait_until("all files are taken", || {
        fs::read_dir(bench.incoming()).unwrap().count() + fs::read_dir(bench.claimed()).unwrap().count() == 0
    });
    let last = token(day, 7, 9_000);
    bench.run_with_input(["token", "set", "7"], &format!("{last}\n")).ok();
    bench.wait_idle();
    let issue = first + 6;
    assert_eq!(bench.db.link(i32::try_from(issue).unwrap()), Some(login_link(&last, issue)));
    assert_eq!(status(bench)["backlog"]["changes"], 0);
    let wrong = bench.db.number(&format!(
        "select count(*) from issues i join users u on u.telegram_id = i.telegram_user_id
          where i.okdesk_url like '{BASE}/%' and (u.portal_token is null) <> (i.okdesk_url = '{}' || i.id)",
        plain_link(0).trim_end_matches('0')
    ));
    assert_eq!(wrong, 0, "links, after day {day}");
}

/// A day is over for all that has an age.
fn age(bench: &Bench, two_days: Duration) {
    bench.db.admin().execute(
        "update relinkd.history set at = at - interval '1 day';
         update relinkd.fingerprint set until = until - interval '15 days';
         update relinkd.ledger set at = at - interval '1 day'",
    );
    let rule = include_str!("../../systemd/tmpfiles.conf");
    assert!(rule.contains("cm:400d") && rule.contains("cm:30d"));
    let rules = [bench.applied(), bench.rejected()]
        .map(|path| format!("e {} - - - cm:{}ms\n", path.display(), two_days.as_millis()));
    fs::write(bench.path("tmpfiles.conf"), rules.concat()).unwrap();
    let cleaned = Command::new("systemd-tmpfiles").arg("--clean").arg(bench.path("tmpfiles.conf")).output();
    let cleaned = cleaned.expect("systemd-tmpfiles is there with systemd");
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
}

/// Two audits: the first may have begun before.
fn wait_audit(bench: &Bench) {
    for _ in 0..2 {
        let finished = || bench.db.admin().value("select audit_finished_at::text from relinkd.meta");
        let before = finished();
        bench.wait_until("an audit ends", || finished() != before);
    }
}

fn measure(bench: &Bench, daemon: &Daemon, log_bytes: usize) -> Measured {
    let process = format!("/proc/{}", daemon.pid());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let count = |directory: std::path::PathBuf| fs::read_dir(directory).unwrap().count();
    // An audit, or a file, has a session of its own for a moment.
    let descriptors = (0..20).map(|_| {
        sleep(Duration::from_millis(10));
        count(format!("{process}/fd").into())
    });
    Measured {
        memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
        descriptors: descriptors.min().unwrap(),
        tables_kib: bench
            .db
            .number(
                "select (sum(pg_total_relation_size(oid)) / 1024)::int8 from pg_class
                  where relnamespace = 'relinkd'::regnamespace and relkind = 'r'",
            )
            .unsigned_abs(),
        log_bytes,
        history: bench.db.number("select count(*) from relinkd.history"),
        fingerprints: bench.db.number("select count(*) from relinkd.fingerprint"),
        receipts: count(bench.applied()),
        rejected: count(bench.rejected()),
    }
}
