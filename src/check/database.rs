//! The database: reachable, of a version that fits, set up, and letting relinkd do its work.

use super::{Commands, Report, privileges, tables, tokens};
use crate::config::{Database, FileSource, Tables};
use crate::db::connect::Role;
use crate::db::inspect::{self, Server, TriggerState};
use crate::db::roles::{self, identifier};
use crate::db::{Connector, DbError, Session, doorbell, schema};
use crate::envelope::Keyring;
use crate::policy;
use crate::token::TokenRule;

/// The major versions of Postgres that relinkd is tested with.
const VERSIONS: std::ops::RangeInclusive<i32> = 14..=18;

/// Gets a newer relinkd.
const UPGRADE: &str = "apt-get install --only-upgrade relinkd";

/// What is looked at.
pub struct Subject<'a> {
    /// How commands are typed.
    pub commands: &'a Commands<'a>,
    /// Where the database is.
    pub database: &'a Database,
    /// The bot's tables; none where the configuration does not say.
    pub tables: Option<&'a Tables>,
    /// The keyring, where it can be used.
    pub keyring: Option<&'a Keyring>,
    /// Where it is.
    pub keyring_source: Option<&'a FileSource>,
    /// The rule for tokens.
    pub rule: Option<&'a TokenRule>,
}

impl Subject<'_> {
    /// Looks at all of it. An error of the database on the way is one more finding.
    pub async fn look(&self, report: &mut Report) {
        if let Err(error) = self.try_look(report).await {
            report.fault(error.to_string(), self.mend(&error));
        }
    }

    async fn try_look(&self, report: &mut Report) -> Result<(), DbError> {
        let connector = Connector::new(self.database)?;
        let mut session = connector.connect(Role::Command).await?;
        let server = inspect::server(&session).await?;
        version(report, &server, &session.endpoint);
        let schema_owner = inspect::schema_owner(&session).await?;
        let installed = schema_owner.is_some();
        if let Some(configured) = self.tables {
            let found =
                tables::tables(report, &session, self.commands, self.database, configured, installed).await?;
            let install = self.install(schema_owner.as_deref().or(found.owner()));
            let usable = self.schema(report, &session, configured, installed, &install).await?;
            tables::surroundings(report, &session, configured, &found, &install).await?;
            privileges::too_many(report, &session, &server, self.commands, self.database, &found).await?;
            if let (true, Some(keyring), Some(rule)) = (usable, self.keyring, self.rule) {
                tokens::tokens(report, &mut session, self.commands, keyring, self.keyring_source, rule)
                    .await?;
            }
        }
        self.settings(report, &session, &server).await?;
        self.doorbell(report, &connector, &session).await
    }

    /// Schema relinkd, the role's rights in it, and the triggers. Returns whether tokens can be read.
    async fn schema(
        &self,
        report: &mut Report,
        session: &Session,
        tables: &Tables,
        installed: bool,
        install: &str,
    ) -> Result<bool, DbError> {
        if !installed {
            report.fault("schema relinkd is missing", install);
            return Ok(false);
        }
        if !privileges::too_few(report, session, &self.database.user, install).await? {
            return Ok(false);
        }
        match schema::verify(session, tables).await {
            Ok(_) => report.ok(format!("schema relinkd has version {}", schema::VERSION)),
            Err(error @ (DbError::NoSchema | DbError::WrongVersion { .. } | DbError::OtherTables { .. })) => {
                let newer = matches!(error, DbError::WrongVersion { found, wanted } if found > wanted);
                report.fault(error.to_string(), if newer { UPGRADE } else { install });
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        triggers(report, session, install).await?;
        Ok(true)
    }

    /// Settings of the server, the database and the role that would blind relinkd or tell what they must not.
    async fn settings(&self, report: &mut Report, session: &Session, server: &Server) -> Result<(), DbError> {
        let resets = inspect::applying_resets(session).await?;
        for reset in &resets {
            report.fault(
                "relinkd.applying is set for a role or database: the triggers keep silent there",
                reset.as_str(),
            );
        }
        if server.applying && resets.is_empty() {
            report.fault(
                "relinkd.applying is on in every session here: the triggers keep silent",
                "alter system reset relinkd.applying; select pg_reload_conf();",
            );
        }
        if server.prepared_transactions > 0 {
            report.warning(
                "prepared transactions are on: a transaction of the bot's that rings cannot be prepared (max_prepared_transactions)",
                "alter system set max_prepared_transactions = 0; -- takes effect when the server restarts",
            );
        }
        if server.telltale.is_empty() {
            report.ok("the server's log gets no tokens from relinkd's statements");
        } else {
            let when = if server.logs_statements { "does" } else { "would, once statements are logged," };
            report.warning(
                format!(
                    "the server's log {when} show tokens: {} for the role {}",
                    server.telltale.join(", "),
                    server.role
                ),
                roles::quiet_command(&server.role),
            );
        }
        Ok(())
    }

    async fn doorbell(
        &self,
        report: &mut Report,
        connector: &Connector,
        session: &Session,
    ) -> Result<(), DbError> {
        let mut listener = connector.connect(Role::Command).await?;
        doorbell::listen(&listener).await?;
        if doorbell::delivers(&mut listener, session).await? {
            report.ok("notifications arrive");
        } else {
            report.warning(
                "LISTEN does not deliver through this connection, as behind a pooler: the daemon looks once a second instead",
                format!("{} # let database.url name the server itself", self.commands.edit()),
            );
        }
        Ok(())
    }

    fn install(&self, owner: Option<&str>) -> String {
        self.commands.install(self.database, owner.unwrap_or("postgres"))
    }

    /// The command after an error; where only a person can judge, the one that shows more, with advice.
    fn mend(&self, error: &DbError) -> String {
        let advice = policy::advice(error).map(|advice| format!(" # {advice}")).unwrap_or_default();
        let user = &self.database.user;
        match error.code().map(tokio_postgres::error::SqlState::code) {
            // pg_hba.conf, or a role or a privilege that is not there, which `install` gives.
            Some("28000" | "42501") => self.install(None),
            Some("28P01") => format!(
                "psql -c '\\password {user}' # or {}, if the role is missing; then see the password in {}",
                self.install(None),
                self.commands.config.display()
            ),
            Some("53300") => {
                format!("alter role {} connection limit -1; -- or raise max_connections", identifier(user))
            }
            Some(_) => format!("{}{advice}", self.commands.edit()),
            None => match error {
                DbError::Connect { .. } => format!(
                    "systemctl start postgresql # or docker start; if it runs: {}",
                    self.commands.edit()
                ),
                DbError::ReadOnly(_)
                | DbError::Server { .. }
                | DbError::Lost(_)
                | DbError::Silent(_)
                | DbError::NoSchema
                | DbError::WrongVersion { .. }
                | DbError::OtherTables { .. }
                | DbError::Tls(_)
                | DbError::Password(_) => format!("{}{advice}", self.commands.edit()),
            },
        }
    }
}

fn version(report: &mut Report, server: &Server, endpoint: &str) {
    let major = server.version_number / 10_000;
    let what = format!("Postgres {} at {endpoint}", server.version);
    if major < *VERSIONS.start() {
        report.fault(
            format!("{what}: relinkd needs version {} or newer", VERSIONS.start()),
            format!("pg_upgradecluster {major} main"),
        );
    } else if major > *VERSIONS.end() {
        report.warning(format!("{what}: this relinkd is tested up to version {}", VERSIONS.end()), UPGRADE);
    } else {
        report.ok(format!("{what}, reachable and writable"));
    }
}

async fn triggers(report: &mut Report, session: &Session, install: &str) -> Result<(), DbError> {
    let triggers = inspect::triggers(session).await?;
    let mut sound = 0;
    for trigger in &triggers {
        let what = match trigger.state {
            TriggerState::Sound => {
                sound += 1;
                continue;
            }
            TriggerState::Missing => "is missing",
            TriggerState::Disabled => "is disabled",
            TriggerState::Different => "does not watch what it should",
            TriggerState::Stray => {
                "does not belong there: it is of another version, or of tables that the configuration does not name"
            }
        };
        report.fault(format!("the trigger {} on {} {what}", trigger.name, trigger.table), install);
    }
    if sound == triggers.len() {
        report.ok(format!("the {sound} triggers are in place and enabled"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Group, Severity};

    #[test]
    fn versions_14_to_18_are_right_older_ones_wrong_and_newer_ones_untested() {
        for (number, severity) in [
            (130_014, Severity::Fault),
            (140_000, Severity::Ok),
            (180_002, Severity::Ok),
            (190_000, Severity::Warning),
        ] {
            let server = Server {
                version: String::new(),
                version_number: number,
                role: String::new(),
                superuser: false,
                prepared_transactions: 0,
                applying: false,
                telltale: Vec::new(),
                logs_statements: false,
            };
            let mut report = Report::new(Group::Database);
            version(&mut report, &server, "localhost:5432");
            let findings = report.into_findings();
            assert_eq!(findings[0].severity, severity, "{number}");
            assert_eq!(findings[0].mend.is_some(), severity != Severity::Ok);
        }
    }
}
