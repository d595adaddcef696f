//! The tokens as they stand: sealed ones whose key is missing, unusable ones, those of two users.

use super::{Commands, Report};
use crate::config::{FileSource, shell_word};
use crate::db::{DbError, Session, inspect};
use crate::envelope::Keyring;
use crate::survey;
use crate::token::TokenRule;
use std::collections::BTreeMap;

/// How many ids are named before a finding says "and more".
const NAMED: usize = 20;

/// Looks at every token.
pub(super) async fn tokens(
    report: &mut Report,
    session: &mut Session,
    commands: &Commands<'_>,
    keyring: &Keyring,
    source: Option<&FileSource>,
    rule: &TokenRule,
) -> Result<(), DbError> {
    let survey = survey::survey(session, keyring, rule).await?;
    let file = match source {
        Some(FileSource::Path(path)) => shell_word(&path.to_string_lossy()),
        _ => "KEYRING".to_owned(),
    };
    let missing = !survey.missing_keys.is_empty();
    for (key, count) in &survey.missing_keys {
        report.fault(
            format!("{count} tokens are sealed under the key {key}, which is not in the keyring"),
            format!("sudoedit {file} # put the key's line from a backup of the keyring under [retired]"),
        );
    }
    let mut reasons: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (user, reason) in survey.unusable {
        reasons.entry(reason).or_default().push(user);
    }
    // Said above, key by key.
    reasons.remove("unknown_key");
    for (reason, users) in &reasons {
        report.warning(
            format!("the token column holds no usable token ({reason}) for {}", listed(users)),
            commands.relinkd(&format!("token set {}", users[0])),
        );
    }
    let shared: Vec<i64> = survey.duplicated.into_iter().collect();
    if let Some(last) = shared.last() {
        report.warning(
            format!("users who share their token with another: {}", listed(&shared)),
            commands.relinkd(&format!("token set {last}")),
        );
    }
    let repeated = inspect::repeated_users(session).await?;
    if !repeated.is_empty() {
        report.fault(
            format!("these users stand in more than one row: {}", listed(&repeated)),
            "delete from users where id = …; -- whichever row of each is not the bot's current one",
        );
    }
    if !missing && reasons.is_empty() && shared.is_empty() {
        report.ok(format!("{} users have a token, each of their own, and all open", survey.with_token));
    }
    Ok(())
}

fn listed(users: &[i64]) -> String {
    let named: Vec<String> = users.iter().take(NAMED).map(ToString::to_string).collect();
    let more = users.len() - named.len();
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}
