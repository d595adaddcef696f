//! The rows of the table, one file for each group.

mod bloat;
mod bulk;
mod changes;
mod files;
mod footprint;
mod giant;
mod inserts;
mod latency;
mod profile;
mod size;
mod waits;

use crate::figure::Sheet;
use crate::lab::Lab;

/// A row: what it measures, and how.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Lab, &mut Sheet),
}

/// All rows, in the order in which they run and are shown.
pub(crate) const ALL: [Row; 19] = [
    Row { name: "inserts", about: "the bot's inserts, against no relinkd", run: inserts::run },
    Row {
        name: "insert-parts",
        about: "what an insert costs with triggers that do ever more",
        run: inserts::parts,
    },
    Row { name: "status", about: "the bot's updates of status, against no relinkd", run: inserts::status },
    Row { name: "latency", about: "commit of an issue to link, one every 20 ms", run: latency::dense },
    Row { name: "latency-rare", about: "the same, one every 2 s", run: latency::rare },
    Row {
        name: "latency-idle",
        about: "the same, beside an idle transaction that wrote",
        run: latency::beside_writer,
    },
    Row { name: "drop", about: "a file dropped, to 100 links", run: files::drop },
    Row { name: "bulk", about: "all links anew, against one hand-written update", run: bulk::run },
    Row { name: "bulk-parts", about: "where the time of a link in bulk goes", run: profile::run },
    Row { name: "changes", about: "changes of one issue each, by 1, 2 and 4 daemons", run: changes::run },
    Row { name: "giant", about: "small users while a giant is walked", run: giant::run },
    Row { name: "import", about: "many issues in one statement, against no relinkd", run: changes::import },
    Row { name: "files", about: "many drop files at once", run: files::many },
    Row { name: "size", about: "cost of a link in a large table, against a small one", run: size::run },
    Row { name: "footprint", about: "memory, wake-ups, start, size of the program", run: footprint::run },
    Row { name: "churn", about: "size of relinkd.change after many changes", run: bloat::churn },
    Row {
        name: "pin",
        about: "latency and size of relinkd.change while a snapshot stays open",
        run: bloat::pin,
    },
    Row { name: "wait-frozen", about: "what the bot waits for a daemon that is stopped", run: waits::frozen },
    Row {
        name: "wait-slow",
        about: "what the bot waits, one row locked, and over a slow network",
        run: waits::slow,
    },
];

/// The rows with these names, or all of them.
pub(crate) fn wanted(names: &[String]) -> Vec<&'static Row> {
    for name in names {
        assert!(ALL.iter().any(|row| row.name == name), "no row is called {name}; --list shows them");
    }
    ALL.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect()
}
