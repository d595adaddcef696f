//! `relinkd install`: schema, triggers, index, grants; then everyone is queued once, and it says what will change.

use super::InstallArgs;
use super::database::{self, block_on};
use super::output::{self, Exit, Failure};
use super::prompt;
use crate::config::{Database, Environment, Settings};
use crate::db::connect::Role;
use crate::db::{Connector, DbError, Session, roles, schema, setup};
use crate::forecast;
use crate::relinker::Rules;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(config: &Path, args: &InstallArgs, quiet: bool) -> Result<Exit, Failure> {
    let settings = database::settings(config)?;
    let role = args.role.clone().unwrap_or_else(|| settings.database.user.clone());
    if args.print {
        print(&settings, &role);
        return Ok(Exit::Done);
    }
    block_on(async {
        let mut admin = connect(&settings, args.admin.admin_url.as_deref()).await?;
        let partly = install(&admin, &settings, &role).await?;
        // Told from what is there before a running daemon changes it; everyone is queued whatever comes of it.
        let forecast = forecast(&mut admin, &settings).await;
        setup::queue_everyone(&admin).await?;
        if !quiet {
            output::line(format!(
                "schema relinkd is installed in database {}, role {role} may use it",
                settings.database.dbname
            ));
        }
        let lines = forecast?;
        if !quiet {
            lines.into_iter().for_each(output::line);
        }
        Ok(if partly { Exit::Partly } else { Exit::Done })
    })
}

/// What will change, in lines. Without the keyring, which an admin elsewhere need not have, it cannot be told.
async fn forecast(admin: &mut Session, settings: &Settings) -> Result<Vec<String>, Failure> {
    let keyring = match database::keyring(settings) {
        Ok(keyring) => Arc::new(keyring),
        Err(failure) => {
            output::warning(format!(
                "what will change cannot be told without the keyring: {}",
                failure.cause
            ));
            return Ok(Vec::new());
        }
    };
    let facts = schema::verify(admin, &settings.tables).await?;
    let rules = Rules::new(settings, keyring, &facts);
    Ok(forecast::forecast(admin, &rules).await?.lines(settings))
}

/// Connects as the admin: with the URL given, else as database.url says. Its password may be typed.
pub(super) async fn connect(settings: &Settings, admin_url: Option<&str>) -> Result<Session, Failure> {
    let Some(url) = admin_url else {
        let connector = Connector::new(&settings.database)?;
        return Ok(connector.connect(Role::Admin).await?);
    };
    let database = Database::parse(url).map_err(|fault| {
        Failure::new(
            Exit::Usage,
            format!("--admin-url: {fault}"),
            "write it as postgresql://OWNER@HOST:PORT/DATABASE",
        )
    })?;
    let connector = Connector::new(&database).map_err(of_admin_url)?;
    match connector.connect(Role::Admin).await {
        Err(error)
            if roles::wants_password(&error) && std::io::IsTerminal::is_terminal(&std::io::stdin()) =>
        {
            let mut password =
                prompt::secret(&format!("Password of {}: ", database.user)).map_err(|error| {
                    Failure::refused(
                        format!("the password cannot be read: {error}"),
                        "set PGPASSWORD for this command, or write a ~/.pgpass",
                    )
                })?;
            connector
                .with_password(std::mem::take(&mut *password))
                .connect(Role::Admin)
                .await
                .map_err(of_admin_url)
        }
        done => done.map_err(of_admin_url),
    }
}

/// What keeps the admin from connecting is in the URL given, and not in the configuration.
fn of_admin_url(error: DbError) -> Failure {
    let failure = Failure::from(error);
    let next = failure
        .next
        .replace("database.url, database.password_file, PGPASSFILE", "--admin-url, PGPASSWORD, PGPASSFILE")
        .replace("database.password_file", "PGPASSWORD")
        .replace("database.url", "--admin-url");
    failure.next(next)
}

/// Returns whether something could not be done that relinkd can do without.
async fn install(admin: &Session, settings: &Settings, role: &str) -> Result<bool, Failure> {
    let mut partly = false;
    if !roles::exists(admin, role).await? {
        create_role(admin, settings, role).await?;
    }
    setup::name(admin, &settings.tables, Some(role)).await?;
    setup::install(admin).await.map_err(explain)?;
    match setup::index(admin).await {
        Ok(()) => {}
        // Postgres wants more of who builds an index than of who owns its table; that is no failure of theirs.
        Err(error) if roles::not_allowed(&error) => output::warning(format!(
            "the index on issues could not be built ({error}): relinkd works, but slowly; let the owner of the \
             tables' schema grant this admin `create` on it, and run `relinkd install` again"
        )),
        Err(error) => {
            partly = true;
            output::warning(format!(
                "the index on issues could not be built ({error}): relinkd works, but slowly; run `relinkd install` again"
            ));
        }
    }
    if !setup::quiet(admin).await? {
        output::warning(format!(
            "only a superuser can keep bind parameters out of the server's log; let one run:\n  {}",
            roles::quiet_command(role)
        ));
    }
    Ok(partly)
}

async fn create_role(admin: &Session, settings: &Settings, role: &str) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let password = if role == settings.database.user {
        settings
            .database
            .configured_password(&environment)
            .map_err(|error| Failure::new(Exit::Configuration, error, "see `relinkd check --offline`"))?
    } else {
        None
    };
    match roles::create(admin, role, password.as_ref().map(|p| p.expose().as_bytes())).await {
        Ok(()) => {
            output::line(format!("created role {role}"));
            Ok(())
        }
        Err(error) if roles::not_allowed(&error) => Err(Failure::new(
            Exit::Database,
            format!("the role {role} does not exist, and this admin may not create it"),
            format!("let a superuser run: {}", roles::create_command(role)),
        )),
        Err(error) => Err(error.into()),
    }
}

/// What the database's refusals mean here.
fn explain(error: DbError) -> Failure {
    let next = match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("42501") => Some(
            "connect as the owner of both tables (who may create a schema, and who ran the first install, if there \
             was one), or as a superuser: relinkd install --admin-url postgresql://OWNER@HOST/DATABASE",
        ),
        Some("42P01" | "42703" | "3F000" | "42704") => {
            Some("correct [tables] in the configuration: it must name the bot's tables and columns")
        }
        Some("55000") => Some("upgrade this relinkd: apt-get install --only-upgrade relinkd"),
        Some("42804") => Some("`relinkd check` shows the command that mends it"),
        Some("42809") => Some("partitioned tables and views are not supported"),
        Some("55P03") => {
            Some("a long transaction holds the bot's tables: run `relinkd install` again when it is over")
        }
        _ => None,
    };
    let failure = Failure::from(error);
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

/// The SQL for a DBA, to be run with psql as the tables' owner.
fn print(settings: &Settings, role: &str) {
    output::line(
        "-- relinkd: run with psql, as the owner of the bot's tables (or a superuser), in the bot's database.",
    );
    output::line("\\set ON_ERROR_STOP on\n");
    output::line(format!("-- If the role is missing: {}\n", roles::create_command(role)));
    for (key, value) in setup::settings(&settings.tables, Some(role)) {
        output::line(format!("set {key} = {};", roles::literal(&value)));
    }
    output::line(
        "\nbegin;\nset local lock_timeout = '500ms'; -- where it is not enough: once more, nothing has been done\n",
    );
    for part in [setup::SCHEMA, setup::ATTACH, setup::GRANTS, "commit;", setup::INDEX] {
        output::line(format!("{part}\n"));
    }
    output::line("select relinkd.queue_everyone();\n");
    output::line(setup::QUIET);
}
