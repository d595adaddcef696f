//! The database: what `sql/check.sql` finds there, then what only a session can try: tokens, notifications, and whether
//! as many sessions come about as the daemon needs.

use super::{Group, Report, Severity, install};
use crate::config::{Database, Parts};
use crate::db::connect::SessionKind;
use crate::db::findings::{self, Found};
use crate::db::session::Purpose;
use crate::db::{Connector, DbError, NoConnection, Session, doorbell, roles, schema, setup};
use crate::envelope::{Keyring, MAX_SEALED_LEN};
use crate::keyring_file::KeyringError;
use crate::policy;
use std::time::Duration;

/// How many sessions the daemon has at once: one that listens, two that work on links, one for drop files.
const SESSIONS: usize = 4;
/// How long one of them may take to come about and answer.
const WITHIN: Duration = Duration::from_secs(5);

/// What is looked at.
pub(crate) struct Subject<'a> {
    /// Where the database is.
    pub database: &'a Database,
    /// The configuration, as far as it can be used.
    pub parts: &'a Parts,
    /// The keyring, or why it cannot be used; none where the configuration does not say where it is.
    pub keyring: Option<&'a Result<Keyring, KeyringError>>,
}

/// What decides what else is looked at.
#[derive(Default)]
struct Seen {
    /// Tokens can be read, and no code of others runs with a superuser's rights by that.
    tokens: bool,
    /// A daemon has its sessions, and hears notifications.
    listening_daemon: bool,
}

impl Subject<'_> {
    /// Looks at all of it. An error of the database on the way is one more finding.
    pub(crate) async fn look(&self, report: &mut Report<'_>) {
        report.group = Group::Database;
        if let Err(error) = self.try_look(report).await {
            let mend = self.mend(&report.edit(), &error);
            report.fault(error.to_string(), mend);
        }
    }

    async fn try_look(&self, report: &mut Report<'_>) -> Result<(), DbError> {
        let connector = Connector::new(self.database)?;
        let mut session = connector.connect(SessionKind::Command).await?;
        let seen = self.catalog(report, &mut session).await?;
        if seen.tokens {
            self.tokens(report, &mut session).await?;
        }
        sessions(report, &connector, &session, seen.listening_daemon).await
    }

    /// What `sql/check.sql` finds; its head says which query follows which.
    async fn catalog(&self, report: &mut Report<'_>, session: &mut Session) -> Result<Seen, DbError> {
        let tables = self.parts.tables.as_ref();
        let mut given = tables.map_or_else(Vec::new, |tables| setup::settings(tables, "").to_vec());
        given.extend([
            ("search_path", "pg_catalog, pg_temp".to_owned()),
            ("relinkd.known_version", schema::VERSION.to_string()),
            ("relinkd.sealed_length", MAX_SEALED_LEN.to_string()),
            ("relinkd.endpoint", session.endpoint.clone()),
        ]);
        let tx = session.begin(Purpose::Read);
        findings::given(&tx, &given).await?;
        let install = install(self.database, findings::admin(&tx).await?.as_deref());

        let (mut readable, mut superuser, mut listening_daemon) = (tables.is_some(), false, false);
        for query in ["server", "strangers", "version", "rights"] {
            let found = findings::of(&tx, query).await?;
            superuser |= found.iter().any(|found| found.id == "superuser");
            if add(report, &install, found) {
                readable = false;
                break;
            }
        }
        if readable {
            findings::bound(&tx).await?;
            let found = findings::of(&tx, "installed").await?;
            listening_daemon = found.iter().any(|found| found.id == "listening daemon");
            add(report, &install, found);
            if !superuser {
                add(report, &install, findings::of(&tx, "rows").await?);
            }
        }
        for query in ["tables", "settings"] {
            add(report, &install, findings::of(&tx, query).await?);
        }
        Ok(Seen { tokens: readable && !superuser, listening_daemon })
    }

    /// The step after an error; where only a person can judge, the one that shows more, with advice.
    fn mend(&self, edit: &str, error: &DbError) -> String {
        let install = install(self.database, None);
        match (error.code().map(tokio_postgres::error::SqlState::code), error) {
            (_, DbError::Connect { cause: NoConnection::NoPassword(_), .. }) => {
                format!("{edit} # the server asks for a password: set database.password_file")
            }
            // pg_hba.conf, or a role or a privilege that is not there, which `install` gives.
            (Some("28000" | "42501"), _) => install,
            (Some("28P01"), _) => {
                format!("{edit} # the password is wrong, or the role is missing, which {install} makes")
            }
            (Some("53300"), _) => format!(
                "alter role {} connection limit -1; -- as a superuser; or raise max_connections",
                roles::identifier(&self.database.user)
            ),
            // What a pooler says that lends a session for one statement only.
            (Some("08P01"), _) => format!(
                "{edit} # a pooler in statement mode cannot serve relinkd: let database.url name the server itself"
            ),
            // Nothing that speaks as Postgres does answers there.
            (None, DbError::Connect { cause: NoConnection::Silence(_) | NoConnection::Network(_), .. }) => {
                format!("systemctl start postgresql # or docker start; if it runs: {edit}")
            }
            _ => {
                let advice = policy::advice(error).map(|advice| format!(" # {advice}"));
                edit.to_owned() + &advice.unwrap_or_default()
            }
        }
    }
}

/// Adds findings, with their steps. Returns whether one of them is a fault.
fn add(report: &mut Report<'_>, install: &str, found: Vec<Found>) -> bool {
    let edit = report.edit();
    let mut faulty = false;
    for Found { severity, what, mend, .. } in found {
        let severity = match &*severity {
            "ok" => Severity::Ok,
            "warning" => Severity::Warning,
            _ => Severity::Fault,
        };
        faulty |= severity == Severity::Fault;
        let mend = mend.map(|mend| mend.replace("{install}", install).replace("{edit}", &edit));
        report.add(severity, &what, mend);
    }
    faulty
}

/// Whether notifications arrive, and whether as many sessions come about as the daemon has at once.
async fn sessions(
    report: &mut Report<'_>,
    connector: &Connector,
    session: &Session,
    listening_daemon: bool,
) -> Result<(), DbError> {
    let mut listener = match within(connector.connect(SessionKind::Command)).await {
        Ok(listener) => listener,
        Err(reason) => {
            too_few(report, Severity::Fault, 1, &reason);
            return Ok(());
        }
    };
    doorbell::listen(&listener).await?;
    let delivers = doorbell::delivers(&mut listener, session).await?;
    if delivers {
        report.ok("notifications arrive");
    } else {
        let mend = format!("{} # let database.url name the server itself", report.edit());
        report.warning(
            "LISTEN does not deliver through this connection, as behind a pooler in transaction mode: the daemon looks once a second instead",
            mend,
        );
    }
    if listening_daemon {
        return Ok(());
    }
    // A pooler in transaction mode gives a session to the server only as long as a transaction lasts.
    let mut held = Vec::new();
    while held.len() < SESSIONS {
        let one = async {
            let session = connector.connect(SessionKind::Command).await?;
            session.batch("begin; select 1").await?;
            Ok(session)
        };
        match within(one).await {
            Ok(session) => held.push(session),
            Err(reason) => {
                // With short transactions the daemon gets along with fewer, if they are lent.
                let severity = if delivers { Severity::Fault } else { Severity::Warning };
                too_few(report, severity, held.len(), &reason);
                break;
            }
        }
    }
    Ok(())
}

fn too_few(report: &mut Report<'_>, severity: Severity, had: usize, reason: &str) {
    let what = format!("the daemon needs {SESSIONS} sessions at once, and only {had} came about: {reason}");
    let mend = format!(
        "{} # let database.url name the server itself, or raise the pooler's pool_size, or the role's connection limit",
        report.edit()
    );
    report.add(severity, &what, Some(mend));
}

async fn within<T>(connecting: impl Future<Output = Result<T, DbError>>) -> Result<T, String> {
    match tokio::time::timeout(WITHIN, connecting).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {WITHIN:?}, as where a pooler has no more to lend")),
    }
}
