//! The tokens as they stand: sealed ones whose key is missing, unusable ones, those of two users.

use super::{Report, Subject};
use crate::config::FileSource;
use crate::db::{DbError, Session};
use crate::keyring_file::{KeyringError, shell_word};
use crate::tokens::TokenStats;
use std::collections::BTreeMap;

/// How many ids are named before a finding says "and more".
const NAMED: usize = 20;

impl Subject<'_> {
    /// Looks at every token, where the keyring can be used, or is gone.
    pub(super) async fn tokens(&self, report: &mut Report<'_>, session: &mut Session) -> Result<(), DbError> {
        let keyring = match self.keyring {
            Some(Ok(keyring)) => Some(keyring),
            Some(Err(KeyringError::Absent(_))) => None,
            Some(Err(_)) | None => return Ok(()),
        };
        let Some(portal) = &self.parts.portal else { return Ok(()) };
        let stats = TokenStats::gather(session, keyring, &portal.token_pattern.rule).await?;
        let file = match self.parts.keyring.as_ref().map(|keyring| &keyring.file) {
            Some(FileSource::Path(path)) => shell_word(&path.to_string_lossy()),
            _ => "KEYRING".to_owned(),
        };
        for (key, count) in &stats.missing_keys {
            let what = format!("{count} tokens are sealed under the key {key}");
            match keyring {
                Some(_) => report.fault(
                    format!("{what}, which is not in the keyring: no other key opens them"),
                    format!("editor {file} # bring the key's line back from the copy, under [retired]; do not make a new key"),
                ),
                None => report.fault(format!("{what}, and there is no keyring to open them"), bring_back(&file)),
            }
        }
        let mut reasons: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        // Those whose key is missing are said above, key by key.
        for (user, reason) in stats.unusable.iter().filter(|(_, reason)| reason.unknown_key().is_none()) {
            reasons.entry(reason.code()).or_default().push(*user);
        }
        for (reason, users) in &reasons {
            report.warning(
                format!("the token column holds no usable token ({reason}) for {}", listed(users)),
                format!("relinkd token set {}", users[0]),
            );
        }
        let shared: Vec<i64> = stats.duplicated.into_iter().collect();
        if let Some(last) = shared.last() {
            report.warning(
                format!("users who share their token with another: {}", listed(&shared)),
                format!("relinkd token set {last}"),
            );
        }
        let sound = stats.missing_keys.is_empty() && reasons.is_empty() && shared.is_empty();
        if sound && keyring.is_some() {
            report.ok(format!("users with a token: {}, each of their own, and all open", stats.with_token));
        }
        Ok(())
    }
}

/// The step after the keyring was lost.
pub(super) fn bring_back(file: &str) -> String {
    format!(
        "cp -p COPY {file} # bring the copy of the keyring back; do not make a new key: it opens none of them"
    )
}

fn listed(users: &[i64]) -> String {
    let named: Vec<String> = users.iter().take(NAMED).map(ToString::to_string).collect();
    let more = users.len() - named.len();
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}
