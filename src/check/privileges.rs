//! What the daemon's role may do: all that it needs, and no more.

use super::tables::Found;
use super::{Commands, Report};
use crate::config::Database;
use crate::db::inspect::{self, Server};
use crate::db::roles::identifier;
use crate::db::{DbError, Session};

/// What is missing. Returns whether nothing is.
pub(super) async fn too_few(
    report: &mut Report,
    session: &Session,
    role: &str,
    install: &str,
) -> Result<bool, DbError> {
    let lacking = inspect::lacking(session).await?;
    if lacking.is_empty() {
        report.ok(format!("the role {role} may do what relinkd needs"));
    } else {
        report.fault(format!("the role {role} lacks {}", lacking.join(", ")), install);
    }
    Ok(lacking.is_empty())
}

/// What is too much.
pub(super) async fn too_many(
    report: &mut Report,
    session: &Session,
    server: &Server,
    commands: &Commands<'_>,
    database: &Database,
    found: &Found,
) -> Result<(), DbError> {
    let role = &server.role;
    let of_its_own = |owner: &str| {
        let admin = database.clone().with_user("relinkd");
        format!("{} --role relinkd # then put that role into database.url", commands.install(&admin, owner))
    };
    if server.superuser {
        let mend = if role == "postgres" {
            of_its_own(role)
        } else {
            format!("alter role {} nosuperuser;", identifier(role))
        };
        report.warning(format!("the role {role} is a superuser, and may do anything on this server"), mend);
        return Ok(());
    }
    for owner in owners(found) {
        if owner == role {
            report.warning(
                format!("the role {role} owns the bot's tables: relinkd needs a role that may do less"),
                of_its_own(owner),
            );
            return Ok(());
        }
        if inspect::is_member(session, owner).await? {
            report.warning(
                format!("the role {role} is a member of {owner}, who owns the bot's tables, and may do what {owner} may"),
                format!("revoke {} from {};", identifier(owner), identifier(role)),
            );
        }
    }
    let excess = inspect::excess(session, &found.ids()).await?;
    for right in &excess {
        report.warning(
            format!("the role {role} may do more than it needs: {}", right.what),
            right.revoke.as_str(),
        );
    }
    if excess.is_empty() {
        report.ok(format!("the role {role} has no rights on the bot's tables themselves"));
    }
    Ok(())
}

fn owners(found: &Found) -> Vec<&str> {
    let mut owners: Vec<&str> =
        found.users.iter().chain(&found.issues).map(|table| table.owner.as_str()).collect();
    owners.dedup();
    owners
}
