//! Who plays in the tests: three users, three tokens, and a command that runs while the test goes on.

use super::{Bench, plain_link};
use std::io::Write;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub(crate) const ALICE: i64 = 413_129_274;
pub(crate) const BOB: i64 = 500_100_200;
pub(crate) const CAROL: i64 = 77_000_001;

pub(crate) const TOKEN: &str = "7812-5733-8392-7092";
pub(crate) const OTHER: &str = "4401-9276-1183-5520";
pub(crate) const THIRD: &str = "9035-1187-6604-2291";

/// A bench with these users, without tokens and without issues; relinkd is not installed.
pub(crate) fn bench_of(users: &[i64]) -> Bench {
    let bench = Bench::new();
    for user in users {
        bench.db.insert_user(*user, None);
    }
    bench
}

/// Users with an issue each, numbered in order, relinkd installed.
pub(crate) fn installed(users: &[i64]) -> Bench {
    let bench = bench_of(users);
    for (id, user) in (1..).zip(users) {
        bench.db.insert_issue(id, *user, Some(&plain_link(i64::from(id))));
    }
    bench.install();
    bench
}

/// Whether a user's token stands sealed in the column.
pub(crate) fn is_sealed(bench: &Bench, user: i64) -> bool {
    bench.db.token_column(user).is_some_and(|value| value.starts_with("relinkd:v1:"))
}

/// A user's token in plain, as `token show --reveal` prints it.
#[track_caller]
pub(crate) fn revealed(bench: &Bench, user: i64) -> String {
    bench.run_revealing(["token", "show", &user.to_string(), "--reveal"]).ok().trim().to_owned()
}

/// `status --json`.
#[track_caller]
pub(crate) fn status(bench: &Bench) -> serde_json::Value {
    bench.run(["status", "--json"]).json()
}

/// How many changes the triggers (and the daemons, for themselves) have appended so far, whether done or not.
pub(crate) fn appended(bench: &Bench) -> i64 {
    let sequence = bench.db.admin().value("select pg_get_serial_sequence('relinkd.change', 'id')").unwrap();
    bench.db.number(&format!("select case when is_called then last_value else 0 end from {sequence}"))
}

/// Starts a command and does not wait for it.
pub(crate) fn start_command(bench: &Bench, arguments: &[&str], input: &str) -> Child {
    let mut command = bench.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that is refused before it reads closes its input early.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child
}

/// A number from the server's statistics, once the sessions that move it have said so: each does at the end of a
/// statement that comes a second after its last report. This session's own report is behind the first reading.
pub(crate) fn settled(counted: impl Fn() -> i64) -> i64 {
    let again = || {
        sleep(Duration::from_millis(1500));
        counted()
    };
    counted();
    let mut last = again();
    loop {
        let now = again();
        if now == last {
            return now;
        }
        last = now;
    }
}
