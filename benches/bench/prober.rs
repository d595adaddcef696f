//! A bot that does one small thing again and again beside whatever goes on, and remembers how long each took.

use crate::site::Plain;
use crate::sql::{milliseconds, now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// The bot in its own thread, until it is stopped.
pub(crate) struct Prober {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl Prober {
    /// Runs a statement with one bigint parameter, a number from `first` to `last`, spread evenly; a few ms between two.
    pub(crate) fn start(plain: &Plain, statement: &str, first: i64, last: i64) -> Self {
        let bot = plain.another_bot();
        let statement = bot.prepare(statement);
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                // A stride that has no divisor in common with the usual sizes comes by everywhere.
                number = (number + 7_919) % (last - first + 1);
                let from = now();
                took.push(milliseconds(from, bot.execute(&statement, &[&(first + number)])));
                sleep(Duration::from_millis(2));
            }
            took
        });
        Self { enough, thread }
    }

    /// Stops it; how long each statement took, in milliseconds.
    pub(crate) fn finish(self) -> Vec<f64> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
