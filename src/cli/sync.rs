//! `relinkd sync`: all links, or some users', into form now, in the chunks and under the locks that the daemon uses.

use super::database::Workplace;
use super::output::{self, Exit, Failure};
use super::{SyncArgs, diff, progress};
use crate::db::session::Purpose;
use crate::db::users;
use crate::relink::{self, Synced};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn run(config: &Path, args: &SyncArgs) -> Result<Exit, Failure> {
    Workplace::open(config, async |workplace| {
        somebody(workplace, &args.ids).await?;
        if args.dry_run { diff::run(workplace, args).await } else { sync(workplace, args).await }
    })
}

/// Names users whom the bot does not know; refuses where it knows none of them.
async fn somebody(workplace: &mut Workplace, ids: &[i64]) -> Result<(), Failure> {
    let tx = workplace.session.begin(Purpose::Read);
    let known = users::known_or_with_issues(&tx, ids).await?;
    let unknown: Vec<&i64> = ids.iter().filter(|id| !known.contains(id)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let what = format!("the bot has no user {0}, and no issue of {0}", output::listed(unknown));
    if !known.is_empty() {
        output::warning(what);
        return Ok(());
    }
    Err(Failure::refused(what, "name users by their telegram_id; of an issue: relinkd explain ID"))
}

async fn sync(workplace: &mut Workplace, args: &SyncArgs) -> Result<Exit, Failure> {
    let ids: BTreeSet<i64> = args.ids.iter().copied().collect();
    let ids: Option<Vec<i64>> = (!ids.is_empty()).then(|| ids.into_iter().collect());
    let links = relink::about_how_many_links(&mut workplace.session).await?;
    let progress = progress::bar("links", if ids.is_some() { 0 } else { links });
    let synced = relink::sync(&mut workplace.session, &workplace.rules, ids.as_deref(), |step| {
        progress.inc(step.looked_at as u64);
    })
    .await?;
    progress.finish_and_clear();
    report(&synced, args.json);
    Ok(if synced.left.is_empty() { Exit::Done } else { Exit::Partly })
}

fn report(total: &Synced, json: bool) {
    if json {
        let left: Vec<i64> = total.left.keys().copied().collect();
        return output::json(json!({"links": total.looked_at, "rewritten": total.written, "left": left}));
    }
    let (written, links) = (output::count(total.written), output::things(total.looked_at, "link"));
    output::line(format!("{written} of {links} rewritten"));
    total.warnings.iter().for_each(output::warning);
    for (user, reason) in &total.left {
        output::warning(format!("user {user} was left: {reason}"));
    }
}
