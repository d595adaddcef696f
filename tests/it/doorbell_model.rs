//! The doorbell, checked in a model: every interleaving of two writers and two daemons, each step of each a step of its
//! own (`src/db/doorbell.rs`, `daemon::links`, `relinkd.ring()`).
//!
//! Modelled as Postgres does it: a row is seen once its transaction has committed; the writer's shared lock lasts as long
//! as its transaction, the daemon's exclusive one as long as its session; both are only tried for; a notification reaches
//! all living daemons at commit, asleep or not; a transaction has its id from its first write on. The poll behind the
//! doorbell is left out: without crashes, nothing may be lost even so. Drains of a lingering daemon are left out too:
//! they only take rows earlier.

use std::collections::HashSet;

/// What to get wrong, to see that the model notices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    AsBuilt,
    /// Settled as soon as the mark itself has completed: the snapshot's xmax.
    Xmax,
    /// Sleeps right after letting go of the lock.
    NoSettling,
    /// Sleeps without another look once it is settled.
    NoLastLook,
    /// Writers try for the lock before they write.
    LockBeforeRow,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Writer {
    Idle,
    /// Only where the lock is tried first: no row, so no transaction id yet.
    Tried {
        got: bool,
    },
    /// Its row is written, not committed.
    Wrote {
        xid: u8,
        got: Option<bool>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Daemon {
    Waking,
    Draining,
    Releasing,
    Marking,
    Looking { mark: u8 },
    LookingLast { mark: u8, settled: bool },
    Asleep,
    Dead,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    writers: [Writer; 2],
    to_write: [u8; 2],
    daemons: [Daemon; 2],
    /// Which daemon is awake with the lock.
    holder: Option<usize>,
    /// Rings that have not been heard yet.
    rung: [bool; 2],
    /// Committed rows that nobody has taken.
    rows: u8,
    next_xid: u8,
    crashes: u8,
}

impl State {
    fn first(crashes: u8) -> Self {
        Self {
            writers: [Writer::Idle, Writer::Idle],
            to_write: [2, 2],
            daemons: [Daemon::Waking, Daemon::Waking],
            holder: None,
            rung: [false, false],
            rows: 0,
            next_xid: 0,
            crashes,
        }
    }

    fn shared_is_held(&self) -> bool {
        self.writers
            .iter()
            .any(|w| matches!(w, Writer::Tried { got: true } | Writer::Wrote { got: Some(true), .. }))
    }

    /// Rows lie there, nobody is writing, and every daemon that lives sleeps: nobody will come.
    fn is_lost(&self) -> bool {
        self.rows > 0
            && self.writers.iter().all(|w| *w == Writer::Idle)
            && self.daemons.contains(&Daemon::Asleep)
            && (0..2).all(|d| match self.daemons[d] {
                Daemon::Asleep => !self.rung[d],
                Daemon::Dead => true,
                _ => false,
            })
    }

    fn successors(&self, variant: Variant) -> Vec<Self> {
        let mut next = Vec::new();
        for w in 0..2 {
            self.write(w, variant, &mut next);
        }
        for d in 0..2 {
            self.wake_or_sleep(d, variant, &mut next);
        }
        next
    }

    fn write(&self, w: usize, variant: Variant, next: &mut Vec<Self>) {
        let mut step = |change: &dyn Fn(&mut Self)| {
            let mut state = self.clone();
            change(&mut state);
            next.push(state);
        };
        match self.writers[w].clone() {
            Writer::Idle if self.to_write[w] == 0 => {}
            Writer::Idle if variant == Variant::LockBeforeRow => step(&|s| {
                s.to_write[w] -= 1;
                s.writers[w] = Writer::Tried { got: s.holder.is_none() };
            }),
            Writer::Idle => step(&|s| {
                s.to_write[w] -= 1;
                s.writers[w] = Writer::Wrote { xid: s.next_xid, got: None };
                s.next_xid += 1;
            }),
            Writer::Tried { got } => step(&|s| {
                s.writers[w] = Writer::Wrote { xid: s.next_xid, got: Some(got) };
                s.next_xid += 1;
            }),
            Writer::Wrote { xid, got: None } => {
                step(&|s| s.writers[w] = Writer::Wrote { xid, got: Some(s.holder.is_none()) });
            }
            Writer::Wrote { got: Some(got), .. } => {
                step(&|s| {
                    s.writers[w] = Writer::Idle;
                    s.rows += 1;
                    for d in 0..2 {
                        s.rung[d] |= got && s.daemons[d] != Daemon::Dead;
                    }
                });
                step(&|s| s.writers[w] = Writer::Idle);
            }
        }
    }

    fn wake_or_sleep(&self, d: usize, variant: Variant, next: &mut Vec<Self>) {
        let mut state = self.clone();
        match self.daemons[d] {
            Daemon::Waking => {
                if state.holder.is_none() && !state.shared_is_held() {
                    state.holder = Some(d);
                }
                state.daemons[d] = Daemon::Draining;
            }
            Daemon::Draining => {
                state.rows = 0;
                state.daemons[d] = if state.holder == Some(d) { Daemon::Releasing } else { Daemon::Asleep };
            }
            Daemon::Releasing => {
                state.holder = None;
                state.daemons[d] =
                    if variant == Variant::NoSettling { Daemon::Asleep } else { Daemon::Marking };
            }
            Daemon::Marking => {
                state.daemons[d] = Daemon::Looking { mark: state.next_xid };
                state.next_xid += 1;
            }
            Daemon::Looking { mark } => {
                let older_runs =
                    state.writers.iter().any(|w| matches!(w, Writer::Wrote { xid, .. } if *xid < mark));
                let settled = variant == Variant::Xmax || !older_runs;
                state.daemons[d] = if settled && variant == Variant::NoLastLook {
                    Daemon::Asleep
                } else {
                    Daemon::LookingLast { mark, settled }
                };
            }
            Daemon::LookingLast { mark, settled } => {
                state.rows = 0;
                state.daemons[d] = if settled { Daemon::Asleep } else { Daemon::Looking { mark } };
            }
            Daemon::Asleep if state.rung[d] => {
                state.rung[d] = false;
                state.daemons[d] = Daemon::Waking;
            }
            Daemon::Asleep | Daemon::Dead => return self.crash(d, next),
        }
        next.push(state);
        self.crash(d, next);
    }

    fn crash(&self, d: usize, next: &mut Vec<Self>) {
        if self.crashes > 0 && self.daemons[d] != Daemon::Dead {
            let mut state = self.clone();
            state.crashes -= 1;
            state.daemons[d] = Daemon::Dead;
            state.rung[d] = false;
            state.holder = state.holder.filter(|holder| *holder != d);
            next.push(state);
        }
    }
}

/// Walks all states that can be reached; returns how many there are, and whether a row can be lost in one.
fn explore(variant: Variant, crashes: u8) -> (usize, bool) {
    let first = State::first(crashes);
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(state) = open.pop() {
        if state.is_lost() {
            return (seen.len(), true);
        }
        for successor in state.successors(variant) {
            if seen.insert(successor.clone()) {
                open.push(successor);
            }
        }
    }
    (seen.len(), false)
}

#[test]
fn no_row_is_lost_while_daemons_live() {
    let (states, lost) = explore(Variant::AsBuilt, 0);
    println!("{states} states");
    assert!(!lost);
    assert!(states > 10_000, "the model is too small to say anything: {states} states");
}

/// A daemon that dies between waking and its drain takes with it what its lock kept from ringing.
#[test]
fn a_daemon_that_dies_awake_is_why_there_is_a_poll() {
    assert!(explore(Variant::AsBuilt, 1).1);
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    assert!(explore(Variant::Xmax, 0).1, "xmax for xmin");
    assert!(explore(Variant::NoSettling, 0).1, "no settling");
    assert!(explore(Variant::NoLastLook, 0).1, "no last look");
    assert!(explore(Variant::LockBeforeRow, 0).1, "the lock before the row");
}
