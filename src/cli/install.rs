//! `relinkd install`: schema, triggers, index, grants. Where that changed something, everybody is queued, and it ends by
//! saying what will change.

use super::database::{self, block_on};
use super::output::{self, Exit, Failure, OrFail as _};
use super::{InstallArgs, prompt, rows};
use crate::config::{self, Database, Environment, Settings};
use crate::db::connect::SessionKind;
use crate::db::roles::{self, TooMuch};
use crate::db::{Connector, DbError, Session, schema, setup};
use crate::link::Tokenless;
use crate::relink::{LinkCounts, Rules};
use crate::tokens::TokenStats;
use postgres_protocol::escape::escape_literal;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(config: &Path, args: &InstallArgs, quiet: bool) -> Result<Exit, Failure> {
    let settings = config::load(config)?;
    let role = args.role.clone().unwrap_or_else(|| rows::daemon(&settings).user);
    if args.print {
        print(&settings, &role);
        return Ok(Exit::Done);
    }
    block_on(async {
        let mut admin = connect(&settings, args.admin.admin_url.as_deref()).await?;
        let installed = install(&admin, &settings, &role).await?;
        let mut lines = vec![format!(
            "schema relinkd is installed in database {}, role {role} may use it",
            settings.database.dbname
        )];
        if installed.changed {
            lines.extend(preview(&mut admin, &settings).await);
        } else {
            lines.push("all was in order: nothing is to be done".to_owned());
        }
        if !quiet {
            lines.into_iter().for_each(output::line);
        }
        Ok(if installed.partly { Exit::Partly } else { Exit::Done })
    })?
}

/// What will change, in lines. It takes the keyring and a session that may see the bot's rows; where one is missing, it is
/// said how to see the same later.
async fn preview(admin: &mut Session, settings: &Settings) -> Vec<String> {
    let counted = async {
        let keyring = Arc::new(database::keyring(settings)?);
        let mut own = rows::session(admin, settings).await?;
        let session = own.as_mut().unwrap_or(admin);
        let verified = schema::verify(session, &settings.tables).await?;
        verified.warnings.iter().for_each(output::warning);
        let rules = Rules::new(settings, keyring, &verified.facts);
        let stats = TokenStats::gather(session, Some(&rules.keyring), &rules.token_rule).await?;
        Ok(summary(settings, &LinkCounts::gather(session, &rules).await?, &stats))
    };
    counted.await.unwrap_or_else(|failure: Failure| {
        output::warning(format!(
            "relinkd is installed, but what will change could not be counted: {}; \
             `relinkd sync --dry-run --summary`, run as root, shows it",
            failure.cause
        ));
        Vec::new()
    })
}

fn summary(settings: &Settings, counts: &LinkCounts, stats: &TokenStats) -> Vec<String> {
    let to_seal = if settings.seal.plaintext { stats.plaintext } else { 0 };
    let mut lines = vec![
        "what will change when the daemon runs:".to_owned(),
        format!("  links that get a token        {}", counts.gets_token + counts.stays_login),
        format!("  login links that become plain {}", counts.becomes_plain),
        format!("  links that change otherwise   {}", counts.stays_plain),
        format!("  tokens to seal                {to_seal}"),
    ];
    if counts.becomes_plain > 0 && settings.portal.tokenless == Tokenless::Plain {
        let how = "set portal.tokenless = \"keep\"";
        lines.push(format!("  (to leave login links of users without a token alone, {how})"));
    }
    let some = |ids: String| if ids.is_empty() { "none".to_owned() } else { ids };
    let unusable = stats.unusable.iter().map(|(id, reason)| format!("{id} ({})", reason.code()));
    lines.push(format!("  users who share a token       {}", some(output::listed(&stats.duplicated))));
    lines.push(format!("  users with an unusable value  {}", some(output::listed(unusable))));
    lines
}

/// Connects as the admin: with the URL given, else as database.url says. Its password may be typed.
pub(super) async fn connect(settings: &Settings, admin_url: Option<&str>) -> Result<Session, Failure> {
    let Some(url) = admin_url else {
        let connector = Connector::new(&settings.database)?;
        return Ok(connector.connect(SessionKind::Admin).await?);
    };
    let form = "write it as postgresql://OWNER@HOST:PORT/DATABASE";
    let database = Database::parse(url).or_fail(Exit::Usage, "--admin-url", form)?;
    if database.password.is_some() {
        output::warning(
            "the password in --admin-url stands in the process list while this runs, and in the shell's history: leave \
             it out, and it is asked for; or use PGPASSWORD or ~/.pgpass",
        );
    }
    let connector = Connector::new(&database).map_err(of_admin_url)?;
    match connector.connect(SessionKind::Admin).await {
        Err(error) if roles::wants_password(&error) && std::io::stdin().is_terminal() => {
            let question = format!("Password of {}: ", database.user);
            let next = "set PGPASSWORD for this command, or write a ~/.pgpass";
            let mut password =
                prompt::secret(&question).or_fail(Exit::Failed, "the password cannot be read", next)?;
            connector.with_password(std::mem::take(&mut *password)).connect(SessionKind::Admin).await
        }
        done => done,
    }
    .map_err(of_admin_url)
}

/// What keeps the admin from connecting is in the URL given, and not in the configuration.
fn of_admin_url(error: DbError) -> Failure {
    let failure = Failure::from(error);
    let next = failure
        .next
        .as_str()
        .replace("database.url, database.password_file, PGPASSFILE", "--admin-url, PGPASSWORD, PGPASSFILE")
        .replace("database.password_file", "PGPASSWORD")
        .replace("database.url", "--admin-url");
    failure.next(next)
}

/// What an installation came to.
struct Installed {
    /// There was something to do, so that everybody was queued.
    changed: bool,
    /// Something could not be done that relinkd can do without.
    partly: bool,
}

async fn install(admin: &Session, settings: &Settings, role: &str) -> Result<Installed, Failure> {
    if !roles::exists(admin, role).await? {
        create_role(admin, settings, role).await?;
    }
    setup::name(admin, &settings.tables, role).await?;
    let mut installed = Installed { changed: setup::install(admin).await.map_err(explain)?, partly: false };
    match setup::index(admin).await {
        Ok(built) => installed.changed |= built,
        Err(error) => {
            // Postgres wants more of who builds an index than of who owns its table; that is no failure of theirs.
            let not_allowed = roles::not_allowed(&error);
            let grant = "let the owner of the tables' schema grant this admin `create` on it, and ";
            let first = if not_allowed { grant } else { "" };
            output::warning(format!(
                "the index on issues could not be built ({error}): relinkd works, but slowly; {first}run `relinkd install` again"
            ));
            installed.partly = !not_allowed;
        }
    }
    if !setup::quiet(admin).await? {
        output::warning("only a superuser can keep bind parameters out of the server's log; let one run:");
        output::mend(roles::command(admin, roles::QUIET, role).await?);
    }
    if let Some(too_much) = roles::too_much(admin, role).await? {
        let what = match too_much {
            TooMuch::Superuser => "is a superuser, with whose rights code of the bot's tables will run",
            TooMuch::Owner => "owns the bot's tables and may do more than relinkd needs",
        };
        output::warning(format!("role {role} {what}: give relinkd a role of its own"));
    }
    Ok(installed)
}

async fn create_role(admin: &Session, settings: &Settings, role: &str) -> Result<(), Failure> {
    let database = &settings.database;
    let wrong = |error| Failure::new(Exit::Configuration, error, "see `relinkd check --offline`");
    let password = if role == database.user {
        database.configured_password(&Environment::of_process()).map_err(wrong)?
    } else {
        None
    };
    let created = roles::create(admin, role, password.as_ref().map(|it| it.expose().as_bytes())).await;
    if created.as_ref().is_err_and(roles::not_allowed) {
        return Err(Failure::new(
            Exit::Database,
            format!("the role {role} does not exist, and this admin may not create it"),
            format!("let a superuser run: {}", roles::command(admin, roles::CREATE, role).await?),
        ));
    }
    created?;
    output::line(format!("created role {role}"));
    Ok(())
}

/// What the database's refusals mean here.
pub(super) fn explain(error: DbError) -> Failure {
    let next = match error.code().map(tokio_postgres::error::SqlState::code) {
        Some(setup::REFUSED) => {
            let next = "run this as the role that owns schema relinkd, or take away what is named: a schema relinkd \
                        that relinkd did not make has to be dropped first";
            return Failure::refused(error, next);
        }
        Some("42501") => {
            "connect as the owner of both tables (who may create a schema, and who ran the first install, if there \
             was one), or as a superuser: relinkd install --admin-url postgresql://OWNER@HOST/DATABASE"
        }
        Some("42P01" | "42703" | "3F000" | "42704") => {
            "correct [tables] in the configuration: it must name the bot's tables and columns"
        }
        Some("55000") => "upgrade this relinkd: apt-get install --only-upgrade relinkd",
        Some("42804") => "`relinkd check` shows the command that mends it",
        Some("42809") => "partitioned tables and views are not supported",
        Some("55P03") => {
            "a long transaction holds the bot's tables: run `relinkd install` again when it is over"
        }
        _ => return error.into(),
    };
    Failure::from(error).next(next)
}

/// The SQL for a DBA, to be run with psql as the tables' owner.
fn print(settings: &Settings, role: &str) {
    // Not quoted by Postgres: there is no session.
    let setting = |(key, value): (&str, String)| {
        format!("select set_config('{key}', {}, false) \\g /dev/null\n", escape_literal(&value))
    };
    let settings: String = setup::settings(&settings.tables, role).into_iter().map(setting).collect();
    output::script(format_args!(
        "-- relinkd: run with psql, as the owner of the bot's tables (or a superuser), in the bot's database.\n\
         -- It may be run again. Where it ends with \"lock timeout\", nothing has been done: run it once more.\n\
         \\set ON_ERROR_STOP on\n\
         {}\n\
         set standard_conforming_strings = on;\n\n\
         {settings}\n\
         -- The role, where it is missing; \\password gives it a password.\n\
         select format('create role %I login', current_setting('relinkd.role'))\n \
          where not exists (select from pg_roles where rolname = current_setting('relinkd.role'))\n\\gexec\n\n\
         {}",
        setup::OURSELVES,
        setup::BRIEFLY
    ));
    let parts = [setup::CREATE, setup::REFUSE, setup::UPGRADE, setup::SCHEMA, setup::ATTACH, "commit;"];
    for part in parts.into_iter().chain([setup::INDEX, setup::QUIET]) {
        output::script(format_args!("{part}\n"));
    }
}
