//! The low-water mark, checked in every interleaving of three transactions that append, one that takes and puts back, and
//! a daemon that raises its mark (`src/db/low_water.rs`).
//!
//! Modelled as Postgres does it: transaction ids and places are given in order and kept by nobody, commits come in any
//! order; a snapshot knows the next id to be given and the lowest that is at work; a row that was taken is there for others
//! until the transaction that took it commits. A question is made, its statement has its snapshot, and its answer comes,
//! each a step of its own.

use crate::explore::{World, explore};

/// What to get wrong, to see that the model notices.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Variant {
    #[default]
    AsBuilt,
    /// The mark is raised without waiting for transactions that have begun.
    NoHorizon,
    /// It waits for those, and raises the mark to a place that was seen since.
    SeenSince,
    /// What can be seen still does not hold the mark back.
    PastWhatWaits,
    /// What is put back at its place was taken in a transaction before.
    PutBackLater,
    /// A transaction has its place before its id.
    PlaceFirst,
}

/// Rows, a bit for each place.
type Rows = u8;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Writer {
    Ready,
    /// Has no id yet.
    Placed(Rows),
    Writing {
        id: u8,
        rows: Rows,
    },
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Horizon {
    seen: u8,
    next_id: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Asking {
    No,
    /// What was seen when the question was made.
    Sent(u8),
    /// What was seen, where the mark may be raised to, and the next id.
    Answered(u8, Option<u8>, u8),
}

/// Places and ids count from 1; a mark of 0 says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    writers: [Writer; 3],
    /// The id of the transaction that took something, and what; not yet committed.
    taking: Option<(u8, Rows)>,
    /// Taken in a transaction that is over, to be put back in another.
    in_hand: Rows,
    /// To be seen.
    rows: Rows,
    next_place: u8,
    next_id: u8,
    mark: u8,
    seen: u8,
    horizon: Option<Horizon>,
    asking: Asking,
}

const MOST: u8 = 3;

fn bit(place: u8) -> Rows {
    1 << (place - 1)
}

fn first(rows: Rows) -> u8 {
    if rows == 0 { u8::MAX } else { u8::try_from(rows.trailing_zeros()).unwrap() + 1 }
}

fn last(rows: Rows) -> u8 {
    u8::try_from(8 - rows.leading_zeros()).unwrap()
}

impl World for Variant {
    type State = State;

    fn first(&self) -> State {
        State {
            writers: [Writer::Ready; 3],
            taking: None,
            in_hand: 0,
            rows: 0,
            next_place: 1,
            next_id: 1,
            mark: 0,
            seen: 0,
            horizon: None,
            asking: Asking::No,
        }
    }

    fn successors(&self, state: &State, next: &mut Vec<State>) {
        for index in 0..3 {
            state.write(index, *self, next);
        }
        state.take(*self, next);
        state.raise(*self, next);
        for state in next {
            state.count_ids_anew();
            state.writers.sort_unstable();
        }
    }

    fn fault(&self, state: &State) -> Option<&'static str> {
        let below = (1 << state.mark) - 1;
        (state.rows & below != 0).then_some("a row is below the mark")
    }

    fn is_at_rest(&self, state: &State) -> bool {
        let done = state.writers.iter().all(|writer| matches!(writer, Writer::Done));
        // What was seen last is below the mark in the end: else it would be of no use.
        done && state.rows == 0 && state.in_hand == 0 && state.mark >= state.seen
    }
}

impl State {
    /// How they compare is all that counts of ids: the lowest becomes 1.
    fn count_ids_anew(&mut self) {
        let State { writers, taking, next_id, horizon, asking, .. } = self;
        let mut ids = vec![next_id];
        ids.extend(writers.iter_mut().filter_map(|writer| match writer {
            Writer::Writing { id, .. } => Some(id),
            _ => None,
        }));
        ids.extend(taking.as_mut().map(|(id, _)| id));
        ids.extend(horizon.as_mut().map(|it| &mut it.next_id));
        if let Asking::Answered(_, _, id) = asking {
            ids.push(id);
        }
        let mut values: Vec<u8> = ids.iter().map(|id| **id).collect();
        values.sort_unstable();
        values.dedup();
        for id in ids {
            *id = u8::try_from(values.binary_search(id).unwrap()).unwrap() + 1;
        }
    }

    fn write(&self, w: usize, variant: Variant, next: &mut Vec<Self>) {
        let mut step = |writer: Writer, change: &dyn Fn(&mut Self)| {
            let mut state = *self;
            state.writers[w] = writer;
            change(&mut state);
            next.push(state);
        };
        let place = |s: &mut Self| s.next_place += 1;
        let id = |s: &mut Self| s.next_id += 1;
        match self.writers[w] {
            Writer::Done => {}
            Writer::Ready if variant == Variant::PlaceFirst => {
                step(Writer::Placed(bit(self.next_place)), &place);
            }
            Writer::Ready => step(Writer::Writing { id: self.next_id, rows: 0 }, &id),
            Writer::Placed(rows) => step(Writer::Writing { id: self.next_id, rows }, &id),
            Writer::Writing { id, rows } => {
                // Somebody has one statement more than the others.
                if self.next_place <= MOST && rows.count_ones() < 2 {
                    step(Writer::Writing { id, rows: rows | bit(self.next_place) }, &place);
                }
                step(Writer::Done, &|s| s.rows |= rows);
                step(Writer::Done, &|_| {});
            }
        }
    }

    /// Another daemon: takes what it sees, and forgets it, puts it back, or dies.
    fn take(&self, variant: Variant, next: &mut Vec<Self>) {
        let Some((_, taken)) = self.taking else {
            if self.rows != 0 {
                let (taking, next_id) = (Some((self.next_id, self.rows)), self.next_id + 1);
                next.push(Self { taking, next_id, ..*self });
            }
            if self.in_hand != 0 {
                next.push(Self { rows: self.rows | self.in_hand, in_hand: 0, ..*self });
            }
            return;
        };
        // Rolled back, or put back.
        next.push(Self { taking: None, ..*self });
        next.push(Self { taking: None, rows: self.rows & !taken, ..*self });
        if variant == Variant::PutBackLater && self.in_hand == 0 {
            next.push(Self { taking: None, rows: self.rows & !taken, in_hand: taken, ..*self });
        }
    }

    fn raise(&self, variant: Variant, next: &mut Vec<Self>) {
        // A look: from the mark on.
        if self.rows != 0 {
            next.push(Self { seen: self.seen.max(last(self.rows)), ..*self });
        }
        match self.asking {
            Asking::No => next.push(Self { asking: Asking::Sent(self.seen), ..*self }),
            Asking::Sent(seen) => {
                let at_work = self.writers.iter().filter_map(|writer| match writer {
                    Writer::Writing { id, .. } => Some(*id),
                    _ => None,
                });
                let lowest = at_work.chain(self.taking.map(|(id, _)| id)).min().unwrap_or(self.next_id);
                let horizon = match variant {
                    Variant::NoHorizon => Some(Horizon { seen, next_id: 0 }),
                    _ => self.horizon,
                };
                let raised = horizon.filter(|it| lowest >= it.next_id).map(|it| {
                    let up_to = if variant == Variant::SeenSince { seen } else { it.seen };
                    if variant == Variant::PastWhatWaits { up_to } else { up_to.min(first(self.rows) - 1) }
                });
                next.push(Self { asking: Asking::Answered(seen, raised, self.next_id), ..*self });
            }
            Asking::Answered(seen, raised, next_id) => {
                let anew = self.horizon.is_none() || raised.is_some();
                next.push(Self {
                    asking: Asking::No,
                    mark: self.mark.max(raised.unwrap_or(0)),
                    horizon: if anew { Some(Horizon { seen, next_id }) } else { self.horizon },
                    ..*self
                });
            }
        }
    }
}

#[test]
fn nothing_comes_to_be_below_the_mark_and_it_rises() {
    let states = explore(&Variant::AsBuilt).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(states > 5_000, "the model is too small to say anything: {states} states");
}

#[test]
fn each_part_of_the_argument_is_needed() {
    for variant in [
        Variant::NoHorizon,
        Variant::SeenSince,
        Variant::PastWhatWaits,
        Variant::PutBackLater,
        Variant::PlaceFirst,
    ] {
        let found = explore(&variant);
        assert_eq!(found, Err("a row is below the mark"));
    }
}
