//! A primary and a standby, both named in `database.url`: the daemon works where it can write.

use crate::defects::Frozen;
use crate::support::cast::{ALICE, BOB, OTHER, THIRD, TOKEN};
use crate::support::cluster::SUPERUSER;
use crate::support::relinkd::quoted;
use crate::support::{Bench, Cluster, ClusterOptions, Database, Session, Stop, TokenColumn, login_link};
use std::fs;
use std::sync::Arc;

/// Of Alice, with issue 1, and Bob, with issue 2.
struct Pair {
    bench: Bench,
    first: Arc<Cluster>,
    second: Arc<Cluster>,
}

impl Pair {
    fn new() -> Self {
        let [first, second] = [(); 2].map(|()| Cluster::start(&ClusterOptions::default()));
        let db = Arc::new(Database::on(&first, TokenColumn::Varchar));
        for user in [ALICE, BOB] {
            db.insert_user(user, None);
        }
        db.insert_issue(1, ALICE, Some(&login_link("0", 1)));
        db.insert_issue(2, BOB, Some(&login_link("0", 2)));
        let bench = Bench::over(db);
        bench.install();
        second.follow(&first);
        let hosts = [&first, &second].map(|it| it.socket().display().to_string()).join(",");
        let (role, name) = (bench.db.role(), bench.db.name());
        bench.set(
            "database.url",
            &quoted(&format!(
                "postgresql://{role}@/{name}?host={hosts}&port=5432,5432&target_session_attrs=read-write"
            )),
        );
        Self { bench, first, second }
    }

    /// The bot sets a token at one of the two, and the link follows there.
    fn bot_sets(&self, at: &Cluster, user: i64, issue: i32, token: &str) {
        let bot = Session::connect(&at.target("okdesk_user", self.bench.db.name())).unwrap();
        bot.execute(&format!("update users set portal_token = '{token}' where telegram_id = {user}"));
        self.wait_link(at, issue, token);
    }

    fn wait_link(&self, at: &Cluster, issue: i32, token: &str) {
        let admin = Session::connect(&at.target(SUPERUSER, self.bench.db.name())).unwrap();
        let link = login_link(token, i64::from(issue));
        self.bench.wait_until(&link, || {
            admin.value(&format!("select okdesk_url from issues where id = {issue}")).as_deref()
                == Some(&link)
        });
    }
}

#[test]
fn links_and_files_follow_over_a_failover_and_back() {
    let pair = Pair::new();
    let Pair { bench, first, second } = &pair;
    let daemon = bench.start();
    pair.bot_sets(first, ALICE, 1, TOKEN);
    bench.drop_token("1.toml", BOB, OTHER);
    bench.wait_applied("1.toml");
    first.wait_followed_by(second);

    // The primary is gone. A file that comes meanwhile waits.
    first.stop(Stop::Immediate);
    bench.drop_token("2.toml", BOB, THIRD);
    daemon.wait_log("files in the spool wait");
    second.promote();
    bench.wait_applied("2.toml");
    pair.wait_link(second, 2, THIRD);
    pair.bot_sets(second, ALICE, 1, OTHER);

    // Back again: the old one follows, catches up, and takes over.
    first.follow(second);
    pair.bot_sets(second, ALICE, 1, "5000-0000-0000-0001");
    second.wait_followed_by(first);
    second.stop(Stop::Fast);
    bench.drop_removal("3.toml", BOB);
    first.promote();
    bench.wait_applied("3.toml");
    pair.bot_sets(first, ALICE, 1, "5000-0000-0000-0002");
    bench.wait_link(2, &crate::support::plain_link(2));

    let sets = "select count(*) from relinkd.history where via = 'spool'";
    assert_eq!(bench.db.number(sets), 3, "each file took effect once");
    assert_eq!(fs::read_dir(bench.claimed()).unwrap().count(), 0);
    bench.wait_until("the ledger is empty", || bench.db.number("select count(*) from relinkd.ledger") == 0);
    daemon.stop();
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}

/// Half of a failover: the old primary still answers, but takes no writes any more.
#[test]
fn a_server_that_takes_no_writes_is_left_for_the_one_that_does() {
    let pair = Pair::new();
    let Pair { bench, first, second } = &pair;
    let daemon = bench.start();
    pair.bot_sets(first, ALICE, 1, TOKEN);
    first.wait_followed_by(second);
    second.promote();
    first.reload_with("default_transaction_read_only", "on");
    pair.bot_sets(second, ALICE, 1, OTHER);
    daemon.stop();
    first.stop(Stop::Immediate);
}

/// As with a paused machine: its connections stay open, and nothing answers.
#[test]
fn a_primary_that_freezes_is_left_for_the_promoted_standby() {
    let pair = Pair::new();
    let Pair { bench, first, second } = &pair;
    let daemon = bench.start();
    pair.bot_sets(first, ALICE, 1, TOKEN);
    first.wait_followed_by(second);
    let frozen = Frozen::server(&Session::connect(&first.target(SUPERUSER, bench.db.name())).unwrap());
    second.promote();
    pair.bot_sets(second, ALICE, 1, OTHER);
    drop(frozen);
    daemon.stop();
}
