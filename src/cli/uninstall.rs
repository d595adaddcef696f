//! `relinkd uninstall`: triggers first, then everything else but the sealed tokens, the links and the role.

use super::database::{self, block_on};
use super::output::{self, Exit, Failure};
use super::{UninstallArgs, install, rows};
use crate::config::{self, Settings};
use crate::db::{DbError, Session, presence, roles, schema, setup, users};
use crate::envelope::{Keyring, UnusableReason};
use crate::plain_links::plain_links;
use crate::token::{RESERVED_PREFIX, TokenRule};
use crate::tokens::{TokenStats, reseal};
use std::path::Path;

pub(super) fn run(config: &Path, args: &UninstallArgs) -> Result<Exit, Failure> {
    let settings = config::load(config)?;
    let keyring = if args.unseal { Some(keyring(&settings)?) } else { None };
    let role = rows::daemon(&settings).user;
    block_on(async {
        let mut admin = install::connect(&settings, args.admin.admin_url.as_deref()).await?;
        if !setup::is_installed(&admin).await? {
            output::line("there is no schema relinkd here: nothing to remove");
            return Ok(Exit::Done);
        }
        setup::refuse(&admin).await.map_err(explain)?;
        let daemons = presence::count(&admin).await?;
        if daemons > 0 && !args.force {
            return Err(Failure::refused(
                format!("still connected: {}", output::things(daemons, "daemon")),
                "stop what is running (`systemctl stop relinkd`), or add --force",
            ));
        }
        let (mut own, mut url_limit) = (None, None);
        if !args.keep_sealed || args.plain_links {
            own = rows::session(&admin, &settings).await.map_err(no_rows)?;
        }
        if !args.keep_sealed {
            sealed(own.as_mut().unwrap_or(&mut admin), keyring.as_ref()).await?;
        }
        if args.plain_links {
            let session = own.as_ref().unwrap_or(&admin);
            url_limit = schema::verify(session, &settings.tables).await?.facts.url_limit;
        }
        setup::name(&admin, &settings.tables, &role).await?;
        setup::disarm(&admin).await.map_err(explain)?;
        if args.plain_links {
            let session = own.as_mut().unwrap_or(&mut admin);
            let done = plain_links(session, &settings.portal.portal(), url_limit).await?;
            output::line(format!("{} plain now", output::things(done, "link")));
        }
        if let Some(keyring) = &keyring {
            let done = reseal::unseal(own.as_mut().unwrap_or(&mut admin), keyring).await?;
            output::line(format!("{} in plaintext again", output::things(done, "token")));
        }
        drop(own);
        setup::remove(&admin).await.map_err(explain)?;
        output::line(format!("relinkd is gone from database {}", settings.database.dbname));
        let command = roles::command(&admin, roles::DROP, &role).await?;
        output::line(format!("the role {role} is left; to drop it: {command}"));
        Ok(Exit::Done)
    })?
}

/// Refuses while tokens are sealed, unless they are to be written back and can be.
async fn sealed(rows: &mut Session, keyring: Option<&Keyring>) -> Result<(), Failure> {
    let Some(keyring) = keyring else {
        let sealed = users::count_with_prefix(rows, RESERVED_PREFIX).await?;
        if sealed == 0 {
            return Ok(());
        }
        let tokens = output::things(sealed, "token");
        return Err(Failure::refused(
            format!("sealed, so that without relinkd the bot cannot read them: {tokens}"),
            "add --unseal to write them back in plaintext, or --keep-sealed to leave them",
        ));
    };
    let stats = TokenStats::gather(rows, Some(keyring), &TokenRule::default()).await?;
    let closed = stats.unusable.iter().filter(|(_, reason)| matches!(reason, UnusableReason::Sealed(_)));
    let ids = output::listed(closed.map(|(user, _)| user));
    if ids.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Key,
        format!("the tokens of these users do not open: {ids}"),
        "find the keyring that sealed them, or remove them with `relinkd token remove ID`",
    ))
}

/// Without a session for the bot's rows nothing is done.
fn no_rows(failure: Failure) -> Failure {
    Failure::refused(
        format!("tokens and links cannot be looked at without an admin's rights: {}", failure.cause),
        "run it as root, or with --admin-url as the owner of both tables, or leave sealed tokens with --keep-sealed and links as they are",
    )
}

/// The keyring that the tokens are sealed with: another one would not do.
fn keyring(settings: &Settings) -> Result<Keyring, Failure> {
    let next = "put the keyring back from your copy: without it no sealed token can be written in plaintext";
    database::keyring(settings).map_err(|error| Failure::from(error).next(next))
}

/// What the database's refusals mean here.
fn explain(error: DbError) -> Failure {
    if roles::not_allowed(&error) {
        return Failure::from(error).next(
            "connect as the owner of both tables, or as a superuser: relinkd uninstall --admin-url postgresql://OWNER@HOST/DATABASE",
        );
    }
    install::explain(error)
}
