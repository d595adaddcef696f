//! The bot: transactions of up to three statements, committed or rolled back. It waits for rows that others hold, takes
//! them in one order, and writes back what it read long ago, as an ORM does.

use super::postgres::{ISSUES, Issue, Postgres, Row, Token, USERS};
use crate::chance::Chance;

#[derive(Clone, Copy, Debug)]
enum Statement {
    Set {
        user: usize,
        token: Token,
    },
    Insert {
        id: usize,
        issue: Issue,
    },
    /// Whose the issue is now, or what its link carries.
    Update {
        id: usize,
        user: Option<usize>,
        carries: Option<Token>,
    },
    Commit,
    Rollback,
    End,
}

pub(crate) struct Bot {
    session: usize,
    /// What is left of its transactions, the last statement first.
    script: Vec<Statement>,
}

impl Bot {
    pub(crate) fn new(session: usize, chance: &mut Chance, tokens: &mut Token, ids: &mut usize) -> Self {
        let mut script = Vec::new();
        for _ in 0..=chance.below(3) {
            script.push(Statement::End);
            script.push(if chance.one_in(5) { Statement::Rollback } else { Statement::Commit });
            let mut statements: Vec<Statement> =
                (0..=chance.below(2)).map(|_| statement(chance, tokens, ids)).collect();
            // Two bots never wait for each other in a circle.
            statements.sort_by_key(|statement| std::cmp::Reverse(statement.row()));
            script.append(&mut statements);
        }
        Self { session, script }
    }

    pub(crate) fn state(&self) -> String {
        format!("{:?}", self.script.last())
    }

    pub(crate) fn step(&mut self, pg: &mut Postgres) -> bool {
        let Some(statement) = self.script.last() else { return false };
        match *statement {
            Statement::Set { user, token } => {
                if !pg.lock(self.session, Row::User(user)) {
                    return false;
                }
                pg.write_token(self.session, user, token);
            }
            Statement::Insert { id, issue } => pg.write_issue(self.session, id, issue),
            Statement::Update { id, user, carries } => {
                if let Some(now) = pg.own_issue(self.session, id) {
                    if !pg.lock(self.session, Row::Issue(id)) {
                        return false;
                    }
                    let (user, carries) = (user.unwrap_or(now.user), carries.unwrap_or(now.carries));
                    pg.write_issue(self.session, id, Issue { user, carries });
                }
            }
            Statement::Commit => pg.commit(self.session),
            Statement::Rollback | Statement::End => pg.end(self.session),
        }
        self.script.pop();
        true
    }
}

impl Statement {
    fn row(self) -> (usize, usize) {
        match self {
            Self::Set { user, .. } => (0, user),
            Self::Insert { id, .. } | Self::Update { id, .. } => (1, id),
            Self::Commit | Self::Rollback | Self::End => (2, 0),
        }
    }
}

fn statement(chance: &mut Chance, tokens: &mut Token, ids: &mut usize) -> Statement {
    let user = chance.below(USERS);
    // Any token that there was until now: somebody's, or one that is long gone.
    let any = chance.below(*tokens + 1);
    match chance.below(6) {
        0 | 1 => {
            *tokens += 1;
            Statement::Set { user, token: *tokens }
        }
        2 => Statement::Set { user, token: 0 },
        3 if *ids < ISSUES => {
            *ids += 1;
            Statement::Insert { id: *ids - 1, issue: Issue { user, carries: any } }
        }
        4 => Statement::Update { id: chance.below(ISSUES), user: Some(user), carries: None },
        _ => Statement::Update { id: chance.below(ISSUES), user: None, carries: Some(any) },
    }
}
