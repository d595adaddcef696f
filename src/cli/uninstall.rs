//! `relinkd uninstall`: triggers and grants first, then everything else but the sealed tokens, the links and the role.

use super::UninstallArgs;
use super::database::{self, block_on};
use super::install;
use super::output::{self, Exit, Failure};
use crate::config::Settings;
use crate::db::{DbError, presence, roles, setup};
use crate::envelope::Keyring;
use crate::unseal;
use std::path::Path;

pub(super) fn run(config: &Path, args: &UninstallArgs) -> Result<Exit, Failure> {
    let settings = database::settings(config)?;
    let keyring = if args.unseal { Some(keyring(&settings)?) } else { None };
    block_on(async {
        let mut admin = install::connect(&settings, args.admin.admin_url.as_deref()).await?;
        if !setup::is_installed(&admin).await? {
            output::line("there is no schema relinkd here: nothing to remove");
            return Ok(Exit::Done);
        }
        let daemons = presence::daemons(&admin).await?.len();
        if daemons > 0 && !args.force {
            return Err(Failure::refused(
                format!("still connected: {}", output::things(daemons, "daemon")),
                "stop what is running (`systemctl stop relinkd`), or add --force",
            ));
        }
        let sealed = unseal::count(&admin).await?;
        if sealed > 0 && !args.keep_sealed && !args.unseal {
            return Err(Failure::refused(
                format!(
                    "sealed, so that without relinkd the bot cannot read them: {}",
                    output::things(sealed, "token")
                ),
                "add --unseal to write them back in plaintext, or --keep-sealed to leave them",
            ));
        }
        if let Some(keyring) = &keyring {
            let closed = unseal::closed(&mut admin, keyring).await?;
            if !closed.is_empty() {
                let ids: Vec<String> = closed.iter().map(ToString::to_string).collect();
                return Err(Failure::new(
                    Exit::Key,
                    format!("the tokens of these users do not open: {}", ids.join(", ")),
                    "find the keyring that sealed them, or remove them with `relinkd token remove ID`",
                ));
            }
        }
        setup::name(&admin, &settings.tables, Some(&settings.database.user)).await?;
        setup::disarm(&admin).await.map_err(explain)?;
        if let Some(keyring) = &keyring {
            let done = unseal::unseal(&mut admin, keyring).await?;
            output::line(format!("{} in plaintext again", output::things(done, "token")));
        }
        setup::remove(&admin).await.map_err(explain)?;
        output::line(format!("relinkd is gone from database {}", settings.database.dbname));
        output::line(format!(
            "the role {0} is left; to drop it: {1}",
            settings.database.user,
            roles::drop_command(&settings.database.user)
        ));
        Ok(Exit::Done)
    })
}

/// The keyring that the tokens are sealed with: another one would not do.
fn keyring(settings: &Settings) -> Result<Keyring, Failure> {
    database::keyring(settings).map_err(|failure| {
        failure.next(
            "put the keyring back from your copy: without it no sealed token can be written in plaintext",
        )
    })
}

/// What the database's refusals mean here.
fn explain(error: DbError) -> Failure {
    let refused = roles::not_allowed(&error);
    let failure = Failure::from(error);
    if refused {
        return failure.next(
            "connect as the owner of both tables, or as a superuser: relinkd uninstall --admin-url postgresql://OWNER@HOST/DATABASE",
        );
    }
    failure
}
