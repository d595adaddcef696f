//! Models of what is hard to see in a running program: the doorbell in every interleaving, and whole daemons in schedules
//! from a seed. They know nothing of the program's code; docs/reliability.md says what stands for what.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod chance;
mod doorbell;
mod explore;
mod low_water;
mod simulation;

use simulation::{Variant, run};
use std::ops::Range;
use std::time::{Duration, Instant};

fn found(variant: Variant, mut seeds: Range<u64>) -> Option<(u64, &'static str)> {
    seeds.find_map(|seed| Some((seed, run(seed, variant, None).err()?)))
}

#[test]
fn the_same_seed_gives_the_same_log_to_the_byte() {
    for seed in 0..200 {
        let [first, second] = [0, 1].map(|_| {
            let mut log = String::new();
            (run(seed, Variant::AsBuilt, Some(&mut log)), log)
        });
        assert_eq!(first, second);
        assert!(first.1.lines().count() > 10, "a schedule of a few steps says nothing");
    }
}

#[test]
fn no_schedule_goes_wrong() {
    assert_eq!(found(Variant::AsBuilt, 0..20_000), None);
}

#[test]
fn each_rule_that_is_broken_is_found() {
    // Each with a seed shortly before one that finds it; another one does after a change of the simulation.
    for (variant, from, fault) in [
        (Variant::LockAfterRead, 0, "a link is wrong"),
        (Variant::BlindWrite, 26_000, "a link is wrong"),
        (Variant::ForgetHeld, 1_000, "a link is wrong"),
        (Variant::TwoEngines, 0, "a link is wrong"),
        (Variant::NoLastLook, 0, "everybody sleeps, and changes wait"),
        (Variant::ClaimBeforeRename, 0, "a file took effect twice"),
        (Variant::ForgetBeforeRemove, 0, "a file took effect twice"),
        (
            Variant::AcceptAfterRefusal,
            128_000,
            "a file took effect after one that arrived later for the same user",
        ),
        (Variant::NoAssignLock, 0, "a token was given to a second user"),
    ] {
        let found = found(variant, from..from + 1_000).or_else(|| found(variant, 0..500_000));
        let (seed, first) = found.unwrap_or_else(|| panic!("{variant:?} is not found"));
        println!("{variant:?}: {first}, schedule {seed}");
        assert_eq!(first, fault, "{variant:?}, seed {seed}");
    }
}

/// For `scripts/simulate`: schedules for as long as `MINUTES` says, on all cores, from `SEED` on; without `MINUTES` the
/// log of that one.
#[test]
#[ignore = "scripts/simulate runs it"]
fn many_schedules() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SEED").unwrap_or(0);
    let Some(minutes) = number("MINUTES") else {
        let mut log = String::new();
        let end = run(first, Variant::AsBuilt, Some(&mut log));
        println!("{log}{end:?}");
        return;
    };
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let threads = std::thread::available_parallelism().map_or(1, Into::into) as u64;
    let work = |thread: u64| {
        let (mut schedules, mut steps) = (0, 0);
        while Instant::now() < end {
            for _ in 0..1_000 {
                let seed = first + schedules * threads + thread;
                steps +=
                    run(seed, Variant::AsBuilt, None).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
                schedules += 1;
            }
        }
        (schedules, steps)
    };
    let (schedules, steps) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    println!("{schedules} schedules from seed {first} on, {steps} steps, nothing wrong");
}
