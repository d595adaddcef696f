//! `relinkd rekey`: every token sealed anew under the primary key.

use super::database::Workplace;
use super::output::{self, Exit, Failure};
use super::progress;
use crate::db::{presence, users};
use crate::tokens::reseal;
use std::path::Path;

pub(super) fn run(config: &Path) -> Result<Exit, Failure> {
    Workplace::open(config, async |workplace| {
        let total = users::count_with_prefix(&workplace.session, "").await?;
        let progress = progress::bar("users", usize::try_from(total).unwrap_or(0));
        let rekeyed =
            reseal::rekey(&mut workplace.session, &workplace.rules, |seen| progress.inc(seen as u64)).await?;
        progress.finish_and_clear();
        let tokens = output::things(rekeyed.sealed, "token");
        output::line(format!("{tokens} sealed anew under {}", workplace.rules.keyring.primary()));
        for (user, reason) in &rekeyed.left {
            output::warning(format!("user {user} was left: {reason}"));
        }
        if presence::count(&workplace.session).await? > 0 {
            output::line(
                "a daemon is running: `systemctl reload relinkd`, if the keyring file has changed since it started",
            );
        }
        Ok(if rekeyed.left.is_empty() { Exit::Done } else { Exit::Partly })
    })
}
