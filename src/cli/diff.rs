//! `relinkd sync --dry-run`: what would change, tokens masked, or counted by kind. Reads only, takes no lock.

use super::SyncArgs;
use super::database::Workplace;
use super::output::{self, Exit, Failure};
use crate::db::issues::Rewrite;
use crate::link;
use crate::relink::{LinkCounts, Page, Preview};
use serde_json::json;

/// Shows the changes; exit status 3 when there are any. In JSON: an object a line, the sums last, so that memory does not
/// grow with them.
pub(super) async fn run(workplace: &mut Workplace, args: &SyncArgs) -> Result<Exit, Failure> {
    let mut preview = if args.ids.is_empty() {
        Preview::of_everybody()
    } else {
        Preview::of_users(&args.ids.iter().copied().collect())
    };
    let mut counts = LinkCounts::default();
    while let Some(page) = preview.next(&mut workplace.session, &workplace.rules).await? {
        counts.add(&workplace.rules.portal, &page);
        if !args.summary {
            show(page, args.json);
        }
    }
    if args.json {
        output::json(as_json(&counts));
    } else if args.summary {
        print(&counts);
    } else {
        let (rewritten, links) = (output::count(changes(&counts)), output::things(counts.links, "link"));
        output::line(format!("{rewritten} of {links} would be rewritten"));
    }
    Ok(if changes(&counts) == 0 { Exit::Done } else { Exit::Changes })
}

fn show(page: Page, json: bool) {
    let mut rewrites = page.plan.rewrites;
    rewrites.sort_by_key(|rewrite| rewrite.issue_id);
    for Rewrite { issue_id, telegram_id, old, new, .. } in rewrites {
        let (old, new) = (link::mask(&old), link::mask(&new));
        if json {
            output::json(json!({
                "issue": issue_id, "telegram_id": telegram_id, "old": old.as_str(), "new": new.as_str(),
            }));
        } else {
            let user = telegram_id.map_or_else(|| "nobody".to_owned(), |id| format!("user {id}"));
            output::line(format!("issue {issue_id} of {user}"));
            output::line(format!("  - {old}"));
            output::line(format!("  + {new}"));
        }
    }
}

fn tidied(counts: &LinkCounts) -> usize {
    counts.stays_login + counts.stays_plain
}

fn changes(counts: &LinkCounts) -> usize {
    counts.gets_token + counts.becomes_plain + tidied(counts)
}

fn as_json(counts: &LinkCounts) -> serde_json::Value {
    json!({
        "links": counts.links, "changes": changes(counts),
        "gets_token": counts.gets_token, "becomes_plain": counts.becomes_plain, "tidied": tidied(counts),
        "as_it_should_be": counts.right,
        "left": {
            "another_host": counts.another_host, "no_issue_link": counts.no_issue_link, "null": counts.null,
        },
    })
}

fn print(counts: &LinkCounts) {
    for (kind, count) in [
        ("gets a token", counts.gets_token),
        ("becomes plain", counts.becomes_plain),
        ("is tidied", tidied(counts)),
        ("is as it should be", counts.right),
        ("left: another host", counts.another_host),
        ("left: no issue link", counts.no_issue_link),
        ("left: null", counts.null),
    ] {
        output::line(format!("{kind:<20} {}", output::count(count)));
    }
}
