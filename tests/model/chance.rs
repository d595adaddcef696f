//! Chance from a seed (splitmix64): the same seed, the same numbers.

pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half is below 2^32, and so is what comes of it.
        usize::try_from(((bits >> 32) * end as u64) >> 32).unwrap()
    }

    pub(crate) fn one_in(&mut self, parts: usize) -> bool {
        self.below(parts) == 0
    }
}
