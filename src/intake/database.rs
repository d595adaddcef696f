//! What intake asks of the database. Behind a trait for one reason: the test of power loss puts a server in its place
//! that loses what it has not flushed.

use crate::db::{DbError, Session, assigning};
use crate::drop_file::{Named, Refusal};
use crate::relink::{RelinkError, Rules};
use crate::tokens::assign::{self, Outcome, Request};
use std::collections::{HashMap, HashSet};

/// The tokens and the ledger.
pub(super) trait Database {
    /// The receipts of those of these claims that took effect.
    async fn receipts(&mut self, claims: &[&str]) -> Result<HashMap<String, String>, DbError>;

    /// Puts requests in force: see [`assign::assign`].
    async fn assign(
        &mut self,
        requests: &[Request<'_>],
        waiting_users: &HashSet<i64>,
    ) -> Result<Vec<Outcome>, RelinkError>;

    /// What the database holds against a file that is faulty: see [`assign::objections`].
    async fn objections(&mut self, named: &Named) -> Result<Vec<Refusal>, RelinkError>;

    /// Forgets claims whose files are gone from the disk for good.
    async fn forget(&mut self, claims: &[&str]) -> Result<(), DbError>;
}

/// The real one.
pub(super) struct Postgres<'s> {
    pub(super) session: &'s mut Session,
    pub(super) rules: &'s Rules,
}

impl Database for Postgres<'_> {
    async fn receipts(&mut self, claims: &[&str]) -> Result<HashMap<String, String>, DbError> {
        assigning::receipts(self.session, claims).await
    }

    async fn assign(
        &mut self,
        requests: &[Request<'_>],
        waiting_users: &HashSet<i64>,
    ) -> Result<Vec<Outcome>, RelinkError> {
        assign::assign(self.session, self.rules, requests, waiting_users).await
    }

    async fn objections(&mut self, named: &Named) -> Result<Vec<Refusal>, RelinkError> {
        assign::objections(self.session, self.rules, named).await
    }

    async fn forget(&mut self, claims: &[&str]) -> Result<(), DbError> {
        assigning::forget(self.session, claims).await
    }
}
