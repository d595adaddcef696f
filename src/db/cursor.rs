//! Reading in pages: how far a pass over a table has come. The functions that read a page take a cursor and move it.

/// A place in a table that is read in pages, by a key in whose order the rows come.
///
/// A page that is not full is the last: rows that others append meanwhile must not keep a reader for ever.
#[derive(Debug)]
pub(crate) struct Cursor<K> {
    limit: usize,
    after: Option<K>,
    more: bool,
}

impl<K: Copy> Cursor<K> {
    /// Before the first row, for pages of so many rows.
    pub(crate) fn with_pages_of(limit: usize) -> Self {
        Self { limit, after: None, more: true }
    }

    /// The last key that was read; none: nothing was.
    pub(crate) fn after(&self) -> Option<K> {
        self.after
    }

    /// Whether there may be another page.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// How many rows the next page may have.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Moves on behind a page that was read, and hands it on.
    pub(super) fn pass<R>(&mut self, page: Vec<R>, key: impl Fn(&R) -> K) -> Vec<R> {
        self.after = page.last().map(key).or(self.after);
        self.more = page.len() >= self.limit;
        page
    }
}
