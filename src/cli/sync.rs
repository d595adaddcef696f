//! `relinkd sync`: all links, or some users', into form now, in the chunks and under the locks that the daemon uses.

use super::SyncArgs;
use super::database::{self, Workplace};
use super::diff;
use super::output::{self, Exit, Failure};
use super::progress::Progress;
use crate::db::work;
use crate::relinker::{self, Synced};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// Users walked together.
const TOGETHER: usize = 64;

pub(super) fn run(config: &Path, args: &SyncArgs) -> Result<Exit, Failure> {
    database::block_on(async {
        let mut workplace = Workplace::open(config).await?;
        if args.dry_run { diff::run(&mut workplace, args).await } else { sync(&mut workplace, args).await }
    })
}

async fn sync(workplace: &mut Workplace, args: &SyncArgs) -> Result<Exit, Failure> {
    let rules = workplace.rules();
    let users = if args.ids.is_empty() {
        work::everyone(&workplace.session).await?
    } else {
        args.ids.iter().copied().collect::<BTreeSet<i64>>().into_iter().collect()
    };
    let progress = Progress::new("users", users.len());
    let mut total = Synced::default();
    for together in users.chunks(TOGETHER) {
        total += relinker::sync_users(&mut workplace.session, &rules, together).await?;
        progress.advance(together.len());
    }
    progress.finish();
    report(&total, users.len(), args.json);
    Ok(if total.left.is_empty() { Exit::Done } else { Exit::Partly })
}

fn report(total: &Synced, users: usize, json: bool) {
    if json {
        let left: Vec<i64> = total.left.keys().copied().collect();
        output::line(json!({
            "version": 1,
            "users": users,
            "links": total.looked_at,
            "rewritten": total.written,
            "left": left,
        }));
        return;
    }
    output::line(format!(
        "{} of {} of {} rewritten",
        output::count(total.written),
        output::things(total.looked_at, "link"),
        output::things(users, "user")
    ));
    for notice in &total.notices {
        output::warning(notice);
    }
    for (user, reason) in &total.left {
        output::warning(format!("user {user} was left: {reason}"));
    }
}
