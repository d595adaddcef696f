//! The doorbell, checked in every interleaving of two writers, two daemons and a stranger, each step of each a step of
//! its own (`src/db/doorbell.rs`, `src/daemon/links/sleep.rs`, the trigger functions in `sql/attach.sql`).
//!
//! Modelled as Postgres does it: a commit makes rows visible first, lets go of locks after, then delivers its ring to all
//! who listen. A savepoint that is rolled back takes its rows, locks and rings with it. A lock that is tried for is not
//! got while somebody else holds it or waits for it in a mode that conflicts; who has it gets it again, once more on the
//! stack. Places in the queue are not in the order of commits. A row that was appended is seen by nobody before the commit,
//! so that to append and to try for the lock are one step. Who was woken keeps the lock for one step of work; a small one is all
//! there is mostly, and the last look follows without another try. An unlock may travel beside what comes next.

use crate::explore::{World, explore};

/// What to get wrong, to see that the model notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Variant {
    #[default]
    AsBuilt,
    /// One statement tries for the lock and looks: with a snapshot from before it had the lock.
    OneStatement,
    NoLastLook,
    /// The last look passes over what lies before the mark.
    LastLookFromMark,
    SleeperTakesShared,
    /// Who was woken, and found little, sleeps without a last look: it has the lock, has it not?
    NoLastLookAfterLittle,
    /// Who was woken keeps the lock, however much there is to do.
    NeverUnlocks,
    /// Tries once more while it has the lock, and lets go once.
    StackingNotUndone,
    /// Whether another daemon sleeps is found out by trying for the lock shared.
    OtherByTrying,
    /// Sleeps with the lock of its own only.
    NeverBeside,
}

#[derive(Clone, Copy, Default)]
struct Setting {
    variant: Variant,
    /// A daemon may die at any moment.
    deaths: bool,
    /// The same of one that sleeps while another has the lock.
    deaths_beside: bool,
    poll: bool,
}

/// Rows, a bit for each by its place in the queue: the first writer's, the second's, that of the first one's savepoint.
type Rows = u8;
const PLACES: [Rows; 2] = [0b001, 0b010];
const SAVEPOINT: Rows = 0b100;

/// A transaction of a writer's, or its savepoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    rows: Rows,
    shared: bool,
    ring: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Writer {
    Ready,
    Writing(Part),
    /// What it wrote after the savepoint is kept or rolled back; then it may make another.
    Saved(Part, Part),
    /// Its rows can be seen; lock and ring are still to come.
    Committed(Part),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    /// Looking behind the mark.
    Looking,
    /// Its rows are claimed, not yet committed.
    Working,
    Trying,
    /// Did not get the lock: asks whether another daemon has it.
    Asking,
    /// The statement that tries has this snapshot already.
    Snapped(Rows),
    /// The last look; whether it may sleep if it finds nothing.
    Last(bool),
    Asleep,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Daemon {
    at: At,
    /// How often it has the lock.
    locks: u8,
    /// An unlock is on its way.
    unlocking: bool,
    /// Was woken, and has the lock for one step more.
    woken: bool,
    rung: bool,
    claimed: Rows,
    /// Places before this one were looked at.
    mark: Rows,
}

const AWAKE: Daemon =
    Daemon { at: At::Looking, locks: 0, unlocking: false, woken: false, rung: false, claimed: 0, mark: 1 };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Stranger {
    Away,
    Waits,
    Holds,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    writers: [Writer; 2],
    daemons: [Daemon; 2],
    stranger: Stranger,
    /// Committed, and claimed by nobody.
    rows: Rows,
    may_die: bool,
}

impl World for Setting {
    type State = State;

    fn first(&self) -> State {
        State {
            writers: [Writer::Ready; 2],
            daemons: [AWAKE; 2],
            stranger: Stranger::Away,
            rows: 0,
            may_die: self.deaths || self.deaths_beside,
        }
    }

    fn successors(&self, state: &State, next: &mut Vec<State>) {
        for index in 0..2 {
            state.write(index, self.variant, next);
            state.step_daemon(index, *self, next);
            state.die(index, *self, next);
        }
        let free = !state.writers_share() && !state.a_daemon_has_it(None);
        let stranger = match state.stranger {
            Stranger::Away => Stranger::Waits,
            Stranger::Waits if free => Stranger::Holds,
            Stranger::Waits | Stranger::Holds => Stranger::Away,
        };
        next.push(State { stranger, ..*state });
        for state in next {
            state.daemons.sort_unstable();
        }
    }

    fn fault(&self, state: &State) -> Option<&'static str> {
        let somebody_sleeps = state.daemons.iter().any(|d| d.at == At::Asleep);
        let lost = state.rows > 0 && !self.poll && state.is_still() && somebody_sleeps;
        let awake = |d: &Daemon| matches!(d.at, At::Looking | At::Working | At::Trying) && !d.woken;
        let awake_with_lock = state.daemons.iter().any(|d| awake(d) && d.locks > 0 && !d.unlocking);
        let fault = lost.then_some("a row is lost: everybody sleeps, and nobody will ring");
        fault.or(awake_with_lock.then_some("a daemon that has more to do lets writers ring"))
    }

    fn is_at_rest(&self, state: &State) -> bool {
        state.rows == 0 && state.writers == [Writer::Done; 2] && state.is_still()
    }
}

impl State {
    fn is_still(&self) -> bool {
        self.writers.iter().all(|writer| matches!(writer, Writer::Ready | Writer::Done))
            && self.daemons.iter().all(|d| d.at == At::Dead || d.at == At::Asleep && !d.rung)
    }

    fn writers_share(&self) -> bool {
        self.writers.iter().any(|writer| match writer {
            Writer::Ready | Writer::Done => false,
            Writer::Writing(part) | Writer::Committed(part) => part.shared,
            Writer::Saved(part, savepoint) => part.shared || savepoint.shared,
        })
    }

    fn a_daemon_has_it(&self, but: Option<usize>) -> bool {
        (0..2).any(|d| Some(d) != but && self.daemons[d].locks > 0)
    }

    /// Whether a try for the lock, shared, would be got by somebody who does not have it.
    fn shared_is_free(&self, variant: Variant) -> bool {
        self.stranger == Stranger::Away
            && (variant == Variant::SleeperTakesShared || !self.a_daemon_has_it(None))
    }

    fn write(&self, w: usize, variant: Variant, next: &mut Vec<Self>) {
        let mut step = |writer: Writer, rows: Rows, ring: bool| {
            let mut state = Self { rows: self.rows | rows, ..*self };
            state.writers[w] = writer;
            state.daemons.iter_mut().for_each(|d| d.rung |= ring && d.at != At::Dead);
            next.push(state);
        };
        // The trigger.
        let append = |rows, has_it| {
            let shared = has_it || self.shared_is_free(variant);
            Part { rows, shared, ring: !shared }
        };
        match self.writers[w] {
            Writer::Done => {}
            Writer::Ready => step(Writer::Writing(append(PLACES[w], false)), 0, false),
            Writer::Saved(a, b) => {
                let (shared, ring) = (a.shared || b.shared, a.ring || b.ring);
                step(Writer::Writing(Part { rows: a.rows | b.rows, shared, ring }), 0, false);
                step(Writer::Writing(a), 0, false);
            }
            Writer::Writing(part) => {
                step(Writer::Done, 0, false);
                step(Writer::Committed(part), part.rows, false);
                if w == 0 {
                    step(Writer::Saved(part, append(SAVEPOINT, part.shared)), 0, false);
                }
            }
            Writer::Committed(part) => step(Writer::Done, 0, part.ring),
        }
    }

    fn step_daemon(&self, d: usize, setting: Setting, next: &mut Vec<Self>) {
        let variant = setting.variant;
        let daemon = self.daemons[d];
        let mut step = |change: &dyn Fn(&mut Self, &mut Daemon)| {
            let (mut state, mut daemon) = (*self, daemon);
            change(&mut state, &mut daemon);
            state.daemons[d] = daemon;
            next.push(state);
        };
        if daemon.unlocking {
            let rest = if variant == Variant::StackingNotUndone { daemon.locks.saturating_sub(1) } else { 0 };
            step(&|_, me| (me.locks, me.unlocking) = (rest, false));
        }
        let behind_mark = self.rows & !(daemon.mark - 1);
        match daemon.at {
            At::Looking if behind_mark > 0 => step(&|s, me| s.claim(me, behind_mark)),
            At::Looking if daemon.woken => step(&|_, me| me.found_little(variant)),
            // Both have come back: what is next on the listening session comes after the unlock.
            At::Looking if !daemon.unlocking => step(&|_, me| me.at = At::Trying),
            At::Looking | At::Dead => {}
            At::Working => {
                if daemon.woken {
                    step(&|_, me| me.found_little(variant));
                }
                step(&|_, me| {
                    (me.at, me.claimed) = (At::Looking, 0);
                    me.unlocking |= me.woken && me.locks > 0 && variant != Variant::NeverUnlocks;
                    me.woken = false;
                });
            }
            At::Trying if variant == Variant::OneStatement => step(&|s, me| me.at = At::Snapped(s.rows)),
            At::Trying => step(&|s, me| {
                me.at = match s.try_lock(d, me, variant) {
                    true if variant == Variant::NoLastLook => At::Asleep,
                    true => At::Last(true),
                    false => At::Asking,
                }
            }),
            At::Asking => step(&|s, me| me.at = At::Last(s.another_sleeps(d, variant))),
            At::Snapped(seen) => step(&|s, me| {
                let may_sleep = s.try_lock(d, me, variant) || s.another_sleeps(d, variant);
                if s.rows & seen > 0 {
                    s.claim(me, s.rows & seen);
                    me.unlocking = me.locks > 0;
                } else {
                    me.at = if may_sleep { At::Asleep } else { At::Trying };
                }
            }),
            At::Last(may_sleep) => step(&|s, me| {
                let seen = if variant == Variant::LastLookFromMark { behind_mark } else { s.rows };
                if seen > 0 {
                    s.claim(me, seen);
                    me.unlocking = me.locks > 0 && variant != Variant::StackingNotUndone;
                } else {
                    me.at = if may_sleep { At::Asleep } else { At::Trying };
                }
            }),
            At::Asleep => {
                if daemon.rung || setting.poll {
                    step(&|_, me| (me.at, me.rung, me.woken) = (At::Looking, false, me.locks > 0));
                }
            }
        }
    }

    fn claim(&mut self, daemon: &mut Daemon, rows: Rows) {
        self.rows &= !rows;
        let behind = (rows + 1).next_power_of_two();
        (daemon.at, daemon.claimed, daemon.mark) = (At::Working, rows, daemon.mark.max(behind));
    }

    fn try_lock(&self, d: usize, daemon: &mut Daemon, variant: Variant) -> bool {
        let shared = variant == Variant::SleeperTakesShared;
        let conflict = !shared && (self.writers_share() || self.a_daemon_has_it(Some(d)));
        let got = daemon.locks > 0 || self.stranger == Stranger::Away && !conflict;
        daemon.locks += u8::from(got);
        got
    }

    /// Whether writers ring for another daemon, so that this one hears it as well.
    fn another_sleeps(&self, d: usize, variant: Variant) -> bool {
        match variant {
            Variant::OtherByTrying => !self.shared_is_free(variant),
            Variant::NeverBeside => false,
            _ => self.a_daemon_has_it(Some(d)),
        }
    }

    fn die(&self, d: usize, setting: Setting, next: &mut Vec<Self>) {
        let Daemon { at, locks, claimed, .. } = self.daemons[d];
        if self.may_die && (setting.deaths || at == At::Asleep && locks == 0) {
            let mut state = Self { may_die: false, rows: self.rows | claimed, ..*self };
            state.daemons[d] = Daemon { at: At::Dead, ..AWAKE };
            next.push(state);
        }
    }
}

impl Daemon {
    /// Its lock is kept: what is left is the last look.
    fn found_little(&mut self, variant: Variant) {
        let next = if variant == Variant::NoLastLookAfterLittle { At::Asleep } else { At::Last(true) };
        (self.at, self.claimed, self.woken) = (next, 0, false);
    }
}

fn assert_sound(setting: Setting) {
    let states = explore(&setting).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(states > 5_000, "the model is too small to say anything: {states} states");
}

#[test]
fn no_row_is_lost_and_everybody_comes_to_sleep() {
    assert_sound(Setting::default());
}

/// Writers ring for the other one.
#[test]
fn a_daemon_that_dies_beside_a_sleeper_does_no_harm() {
    assert_sound(Setting { deaths_beside: true, ..Setting::default() });
}

/// A sleeper that dies takes the lock with it: nobody rings for whoever sleeps beside it. So does whoever dies awake,
/// with what its being awake kept from ringing. That is what the poll is for.
#[test]
fn a_daemon_that_dies_is_why_there_is_a_poll() {
    let dying = Setting { deaths: true, ..Setting::default() };
    assert!(explore(&dying).is_err_and(|fault| fault.contains("lost")));
    assert_sound(Setting { poll: true, ..dying });
}

/// The other daemon may die: with two of them one makes good what the other does wrong.
#[test]
fn each_part_of_the_protocol_is_needed() {
    for (variant, fault) in [
        (Variant::OneStatement, "a row is lost"),
        (Variant::NoLastLook, "a row is lost"),
        (Variant::LastLookFromMark, "a row is lost"),
        (Variant::SleeperTakesShared, "a row is lost"),
        (Variant::OtherByTrying, "a row is lost"),
        (Variant::NoLastLookAfterLittle, "a row is lost"),
        (Variant::NeverUnlocks, "has more to do lets writers ring"),
        (Variant::StackingNotUndone, "has more to do lets writers ring"),
        (Variant::NeverBeside, "no way to rest"),
    ] {
        let found = explore(&Setting { variant, deaths_beside: true, ..Setting::default() });
        let found = found.err().unwrap_or_default();
        assert!(found.contains(fault), "{variant:?}: {fault}? {found}");
    }
}
