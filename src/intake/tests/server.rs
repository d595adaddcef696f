//! A server that loses commits which were not flushed.

use super::super::database::Database;
use crate::db::DbError;
use crate::drop_file::{Named, Refusal};
use crate::relink::RelinkError;
use crate::spool::recording::Recording;
use crate::tokens::assign::{Outcome, Request};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What the server holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tables {
    pub(super) tokens: BTreeMap<i64, String>,
    /// Receipts by claim.
    pub(super) ledger: BTreeMap<String, String>,
    /// The files that took effect, each as often as it did.
    pub(super) applied: Vec<String>,
}

/// The server, and what it held after each of its commits.
pub(super) struct Server<'r> {
    pub(super) commits: Vec<Tables>,
    recording: &'r Recording,
}

/// The receipt of a file.
pub(super) fn receipt(file: &str) -> String {
    format!("{{ \"file\": \"{file}\", \"so that\": \"it can tear\" }}")
}

impl<'r> Server<'r> {
    pub(super) fn with(tables: Tables, recording: &'r Recording) -> Self {
        Self { commits: vec![tables], recording }
    }

    fn tables(&self) -> &Tables {
        self.commits.last().expect("the state before the first commit is there")
    }

    fn commit(&mut self, tables: Tables) {
        self.commits.push(tables);
        self.recording.commit();
    }
}

impl Database for &mut Server<'_> {
    async fn receipts(&mut self, claims: &[&str]) -> Result<HashMap<String, String>, DbError> {
        let ledger = &self.tables().ledger;
        Ok(claims.iter().filter_map(|id| Some(((*id).to_owned(), ledger.get(*id)?.clone()))).collect())
    }

    async fn assign(
        &mut self,
        requests: &[Request<'_>],
        _waiting_users: &HashSet<i64>,
    ) -> Result<Vec<Outcome>, RelinkError> {
        let mut tables = self.tables().clone();
        let mut outcomes = Vec::new();
        for request in requests {
            let unknown = request.assignments.iter().filter(|it| it.telegram_id > 2);
            let refusals: Vec<_> = unknown.map(|it| Refusal::UnknownUser(it.telegram_id)).collect();
            if !refusals.is_empty() {
                outcomes.push(Outcome::Refused(refusals));
                continue;
            }
            for assignment in request.assignments {
                if let Some(token) = &assignment.token {
                    tables.tokens.insert(assignment.telegram_id, token.expose().to_owned());
                }
            }
            let file = request.author.file.unwrap();
            tables.applied.push(file.to_owned());
            let former = tables.ledger.insert(request.claim.unwrap().to_owned(), receipt(file));
            assert_eq!(former, None, "the ledger's key lets no claim in twice");
            outcomes.push(Outcome::Applied(receipt(file)));
        }
        if tables != *self.tables() {
            self.commit(tables);
        }
        Ok(outcomes)
    }

    async fn objections(&mut self, _named: &Named) -> Result<Vec<Refusal>, RelinkError> {
        Ok(Vec::new())
    }

    async fn forget(&mut self, claims: &[&str]) -> Result<(), DbError> {
        let mut tables = self.tables().clone();
        tables.ledger.retain(|id, _| !claims.contains(&id.as_str()));
        self.commit(tables);
        Ok(())
    }
}
