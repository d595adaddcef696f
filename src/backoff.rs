//! How long to wait before the next try: longer each time up to a limit, and never in step with others.
//!
//! It only counts. Waiting is the caller's, who also draws the jitter, so that neither clock nor chance is needed here.

use std::time::Duration;

/// Growing pauses between two bounds. Each lies, by jitter, between the half and the whole of a step, and the steps
/// double: with the bounds of [`Backoff::default`], 100–200 ms, 200–400 ms, … 2.5–5 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    step: Duration,
}

impl Backoff {
    /// Pauses that begin at `first` and never exceed `limit`. A `limit` below `first` makes every pause `limit`-long
    /// at most.
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        let mut backoff = Self { first, limit, step: first };
        backoff.reset();
        backoff
    }

    /// The next pause, for a `jitter` drawn evenly from 0 to 1. Another number, or none, counts as 1.
    pub(crate) fn next(&mut self, jitter: f64) -> Duration {
        let jitter = if (0.0..=1.0).contains(&jitter) { jitter } else { 1.0 };
        let half = self.step / 2;
        self.step = self.step.saturating_mul(2).min(self.limit);
        half + half.mul_f64(jitter)
    }

    /// Begins anew: the thing has worked.
    pub(crate) fn reset(&mut self) {
        self.step = self.first.saturating_mul(2).min(self.limit);
    }
}

/// From 100 ms to 5 s: a database that is down is asked soon, and then without haste.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pauses(backoff: &mut Backoff, jitter: f64, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.next(jitter).as_millis()).collect()
    }

    #[test]
    fn doubles_up_to_its_limit() {
        assert_eq!(pauses(&mut Backoff::default(), 0.0, 8), [100, 200, 400, 800, 1600, 2500, 2500, 2500]);
        assert_eq!(pauses(&mut Backoff::default(), 1.0, 8), [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(pauses(&mut Backoff::default(), 0.5, 3), [150, 300, 600]);
    }

    #[test]
    fn begins_anew_after_success() {
        let mut backoff = Backoff::default();
        pauses(&mut backoff, 0.3, 9);
        backoff.reset();
        assert_eq!(backoff, Backoff::default());
    }

    #[test]
    fn takes_any_bounds() {
        let limit = Duration::from_secs(1);
        assert_eq!(pauses(&mut Backoff::new(Duration::from_secs(9), limit), 1.0, 2), [1000, 1000]);
        let mut endless = Backoff::new(Duration::MAX, Duration::MAX);
        endless.next(0.5);
        endless.next(0.5);
        assert_eq!(Backoff::new(Duration::ZERO, limit).next(1.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds(jitters in prop::collection::vec(prop::num::f64::ANY, 0..40)) {
            let mut backoff = Backoff::default();
            for jitter in jitters {
                let pause = backoff.next(jitter);
                prop_assert!(pause >= Duration::from_millis(100) && pause <= Duration::from_secs(5), "{:?}", pause);
            }
        }
    }
}
