//! What a transaction has claimed, put together: changes of the same issue or user become one.

use super::plan::Strip;
use super::{Due, Rules};
use crate::db::changes::Change;
use crate::db::issues::{Back, IssueRow, Stretch};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Pauses before a row that somebody holds is tried again: as long as it has waited already, within these bounds.
const DEFER_MIN: Duration = Duration::from_millis(50);
const DEFER_MAX: Duration = Duration::from_secs(5);

/// Claimed changes by what they are about.
#[derive(Default)]
pub(super) struct Batch {
    /// Changes of everybody.
    pub everybody: Vec<Change>,
    /// Of whole users, one each.
    pub walks: BTreeMap<i64, Change>,
    /// Of these users, beside a walk under way: that goes on to its end first. Were it to begin anew, a user whose changes
    /// come faster than a walk takes would never be walked to the end.
    pub again: BTreeMap<i64, Change>,
    /// Of single issues, by issue and the user under whom each was found: an issue is done under the one whose it is by
    /// now.
    pub issues: BTreeMap<(i64, i64), Change>,
}

impl Batch {
    /// From changes in the order of the queue.
    pub(super) fn of(changes: Vec<Change>) -> Self {
        let mut batch = Self::default();
        let under_way: BTreeSet<i64> = changes
            .iter()
            .filter(|change| change.issue_id.is_none() && change.cursor.is_some())
            .filter_map(|change| change.telegram_id)
            .collect();
        for change in changes {
            match (change.telegram_id, change.issue_id) {
                (None, _) => batch.everybody.push(change),
                (Some(user), None) if change.cursor.is_none() && under_way.contains(&user) => {
                    join(&mut batch.again, user, change);
                }
                (Some(user), None) => join(&mut batch.walks, user, change),
                (Some(user), Some(issue)) => match batch.issues.get_mut(&(issue, user)) {
                    Some(earlier) => join_issues(earlier, change),
                    None => {
                        batch.issues.insert((issue, user), change);
                    }
                },
            }
        }
        for (user, change) in &batch.again {
            if let Some(walk) = batch.walks.get_mut(user) {
                strip_too(walk, change);
            }
        }
        batch
    }

    /// The changes about single users and issues.
    pub(super) fn claimed(&self) -> Vec<Change> {
        self.walks.values().chain(self.issues.values()).cloned().collect()
    }

    /// Whether one of these issues was deferred already, for its row was locked.
    pub(super) fn was_deferred(&self) -> bool {
        self.issues.values().any(|change| change.age >= DEFER_MIN)
    }

    /// Issues whose link got another token since they changed hands, each with its place in the queue.
    pub(super) fn written_afresh(&self) -> Vec<(i64, i64)> {
        let afresh = self.issues.iter().filter(|(_, change)| change.strip == Some(false));
        afresh.filter_map(|((issue, _), change)| Some((*issue, change.last?))).collect()
    }

    /// The users whose tokens decide.
    pub(super) fn users(&self) -> Vec<i64> {
        let mut users: BTreeSet<i64> = self.walks.keys().copied().collect();
        users.extend(self.issues.keys().map(|(_, user)| *user));
        users.into_iter().collect()
    }

    /// Where the walks stand.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        self.walks.iter().map(|(user, walk)| Stretch { telegram_id: *user, after: walk.cursor }).collect()
    }

    /// The issues to look at, each once, of those that were read for single changes and for walks.
    pub(super) fn due(&self, rules: &Rules, singles: Vec<IssueRow>, walked: Vec<IssueRow>) -> Vec<Due> {
        let strips: HashMap<i64, Strip> = self
            .walks
            .iter()
            .map(|(user, walk)| {
                (*user, Strip::of_change(rules, *user, walk.strip == Some(true), &walk.former))
            })
            .collect();
        let mut due: BTreeMap<i64, Due> = BTreeMap::new();
        for issue in walked {
            let Some((user, walk)) = issue.telegram_id.and_then(|user| Some((user, self.walks.get(&user)?)))
            else {
                continue;
            };
            let strip = strips.get(&user).cloned().unwrap_or_default();
            // A user's strip is not known of an issue alone: any token goes, if it comes to that.
            let back = back(user, walk, (!matches!(strip, Strip::Nothing)).then_some(true));
            due.insert(issue.id, Due { issue, strip, back });
        }
        for issue in singles {
            // Of an issue that has no user by now, any change will do.
            let found = match issue.telegram_id {
                Some(user) => self.issues.get_key_value(&(issue.id, user)),
                None => self.issues.range((issue.id, i64::MIN)..=(issue.id, i64::MAX)).next(),
            };
            let Some(((_, user), change)) = found else { continue };
            let (user, strip) = (*user, change.strip == Some(true));
            let entry = due.entry(issue.id).or_insert_with(|| Due {
                issue,
                strip: Strip::Nothing,
                back: back(user, change, change.strip),
            });
            if strip {
                entry.strip = Strip::Everything;
                entry.back.strip = Some(true);
            }
        }
        due.into_values().collect()
    }
}

fn back(user: i64, change: &Change, strip: Option<bool>) -> Back {
    let id = change.issue_id.and(change.id);
    Back { id, user, strip, at: change.at, pause: change.age.clamp(DEFER_MIN, DEFER_MAX) }
}

/// Of walks under way the one that is behind is gone on with; what any of them strips is stripped.
fn join(walks: &mut BTreeMap<i64, Change>, user: i64, later: Change) {
    let Some(walk) = walks.get_mut(&user) else {
        walks.insert(user, later);
        return;
    };
    walk.cursor = walk.cursor.into_iter().chain(later.cursor).min();
    strip_too(walk, &later);
    walk.assigned &= later.assigned;
    walk.attempts = walk.attempts.max(later.attempts);
}

/// What the other change strips is stripped on this walk, too.
fn strip_too(walk: &mut Change, other: &Change) {
    walk.strip = if walk.strip == Some(true) { walk.strip } else { other.strip };
    for former in &other.former {
        if !walk.former.contains(former) {
            walk.former.push(former.clone());
        }
    }
}

/// The last word about an issue's token counts.
fn join_issues(earlier: &mut Change, later: Change) {
    earlier.last = later.last;
    earlier.strip = later.strip.or(earlier.strip);
    earlier.attempts = earlier.attempts.max(later.attempts);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_issue(user: i64, strip: Option<bool>) -> Change {
        Change { strip, ..Change::of_issue(user, 7) }
    }

    #[test]
    fn the_last_word_about_an_issues_token_counts() {
        for (words, strip) in [
            (vec![None, None], None),
            (vec![Some(true), None], Some(true)),
            (vec![Some(true), Some(false)], Some(false)),
            (vec![Some(false), Some(true), None], Some(true)),
        ] {
            let batch = Batch::of(words.into_iter().map(|strip| of_issue(1, strip)).collect());
            assert_eq!(batch.issues.len(), 1);
            assert_eq!(batch.issues[&(7, 1)].strip, strip);
        }
    }

    #[test]
    fn an_issue_that_changed_hands_is_kept_apart() {
        let batch = Batch::of(vec![of_issue(1, None), of_issue(2, Some(true))]);
        assert_eq!(batch.issues.len(), 2);
        assert_eq!(batch.users(), [1, 2]);
    }

    #[test]
    fn walks_of_a_user_become_one_that_covers_both() {
        let walk = |cursor, former: &[&str]| Change {
            cursor,
            former: former.iter().map(ToString::to_string).collect(),
            ..Change::of_user(1)
        };
        let batch = Batch::of(vec![walk(Some(9), &["a"]), walk(Some(4), &["b", "a"])]);
        assert_eq!(batch.walks[&1].cursor, Some(4));
        assert_eq!(batch.walks[&1].former, ["a", "b"]);
        assert!(batch.again.is_empty());
    }

    #[test]
    fn a_walk_under_way_goes_on_to_its_end_before_the_next_begins() {
        let walk = |id, cursor, former: &str| Change {
            id: Some(id),
            cursor,
            former: vec![former.to_owned()],
            ..Change::of_user(1)
        };
        let [on_the_way, first, second] = [walk(7, Some(9), "a"), walk(3, None, "b"), walk(8, None, "c")];
        for order in
            [vec![first.clone(), on_the_way.clone(), second.clone()], vec![on_the_way, first, second]]
        {
            let batch = Batch::of(order);
            assert_eq!(batch.walks[&1].cursor, Some(9));
            assert_eq!(batch.walks[&1].id, Some(7), "what fails on the way is put in its place");
            assert_eq!(batch.walks[&1].former.len(), 3);
            assert_eq!(batch.again[&1].cursor, None);
            assert_eq!(batch.again[&1].former, ["b", "c"]);
        }
    }
}
