//! Reading in pages.

/// How far a reading in pages has come, by a key in whose order the rows are read.
///
/// A page that is not full is the last: rows that others append meanwhile must not keep a reader for ever.
#[derive(Debug)]
pub(crate) struct Cursor<K> {
    after: Option<K>,
    more: bool,
}

impl<K: Copy> Cursor<K> {
    /// Before the first row.
    pub(crate) fn start() -> Self {
        Self { after: None, more: true }
    }

    /// The last key that was read; none: nothing was.
    pub(crate) fn after(&self) -> Option<K> {
        self.after
    }

    /// Whether there may be another page.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// Moves on behind a page that was read with this limit.
    pub(crate) fn pass<R>(&mut self, page: &[R], limit: usize, key: impl Fn(&R) -> K) {
        self.after = page.last().map(key).or(self.after);
        self.more = page.len() >= limit;
    }
}
