//! `relinkd sync --dry-run`: what would change, tokens masked, or counted by kind. Reads only, takes no lock.

use super::SyncArgs;
use super::database::Workplace;
use super::output::{self, Exit, Failure};
use crate::db::issues::Rewrite;
use crate::link::{self, Portal, Shape};
use crate::relink::{Page, Preview};
use serde_json::json;
use std::collections::HashSet;

/// Shows the changes; exit status 3 when there are any. In JSON: an object a line, the sums last, so that memory does not
/// grow with them.
pub(super) async fn run(workplace: &mut Workplace, args: &SyncArgs) -> Result<Exit, Failure> {
    let rules = workplace.rules();
    let mut preview = if args.ids.is_empty() {
        Preview::of_everybody()
    } else {
        Preview::of_users(&args.ids.iter().copied().collect())
    };
    let mut kinds = Kinds::default();
    while let Some(page) = preview.next(&mut workplace.session, &rules).await? {
        kinds.count(&rules.portal, &page);
        if !args.summary {
            show(page, args.json);
        }
    }
    if args.json {
        output::json(kinds.as_json());
    } else if args.summary {
        kinds.print();
    } else {
        let (changes, links) = (output::count(kinds.changes()), output::things(kinds.links, "link"));
        output::line(format!("{changes} of {links} would be rewritten"));
    }
    Ok(if kinds.changes() == 0 { Exit::Done } else { Exit::Changes })
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

/// Links by what would become of them.
#[derive(Default)]
struct Kinds {
    links: usize,
    gets_token: usize,
    becomes_plain: usize,
    tidied: usize,
    right: usize,
    another_host: usize,
    no_issue_link: usize,
    null: usize,
}

impl Kinds {
    fn count(&mut self, portal: &Portal, page: &Page) {
        self.links += page.looked_at.len();
        let mut rewritten = HashSet::new();
        for rewrite in &page.plan.rewrites {
            rewritten.insert(rewrite.issue_id);
            let shape = |written: &str| portal.read(written).map(|link| link.shape());
            match (shape(&rewrite.old), shape(&rewrite.new)) {
                (Some(Shape::Login), Some(Shape::Plain)) => self.becomes_plain += 1,
                (Some(Shape::Plain | Shape::Api), Some(Shape::Login)) => self.gets_token += 1,
                _ => self.tidied += 1,
            }
        }
        for issue in page.looked_at.iter().filter(|issue| !rewritten.contains(&issue.id)) {
            match issue.url.as_deref() {
                None => self.null += 1,
                Some(url) if portal.read(url).is_some() => self.right += 1,
                Some(url) if portal.is_on(url) => self.no_issue_link += 1,
                Some(_) => self.another_host += 1,
            }
        }
    }

    fn changes(&self) -> usize {
        self.gets_token + self.becomes_plain + self.tidied
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "links": self.links, "changes": self.changes(),
            "gets_token": self.gets_token, "becomes_plain": self.becomes_plain, "tidied": self.tidied,
            "as_it_should_be": self.right,
            "left": { "another_host": self.another_host, "no_issue_link": self.no_issue_link, "null": self.null },
        })
    }

    fn print(&self) {
        for (kind, count) in [
            ("gets a token", self.gets_token),
            ("becomes plain", self.becomes_plain),
            ("is tidied", self.tidied),
            ("is as it should be", self.right),
            ("left: another host", self.another_host),
            ("left: no issue link", self.no_issue_link),
            ("left: null", self.null),
        ] {
            output::line(format!("{kind:<20} {}", output::count(count)));
        }
    }
}
