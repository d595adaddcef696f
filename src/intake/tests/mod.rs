//! Power loss: the real spool and the real intake, on a disk and a server that lose what was not flushed.
//!
//! A first run is recorded, call by call, on real files. Then, for every moment at which power may go, everything that
//! the disk and the server can hold afterwards is laid out anew, and a second run has to come to the right end from it;
//! for the single file a third one, since power may go again.

mod disk;
mod server;

use super::Intake;
use crate::spool::Spool;
use crate::spool::recording::{Recording, Step};
use crate::token::TokenRule;
use disk::{Disk, Image};
use server::{Server, Tables};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Half of it is a file in order, too.
const TWO_USERS: &str = "[[assignment]]\ntelegram_id = 1\ntoken = \"aaaa-1111\"\n\
                         [[assignment]]\ntelegram_id = 2\ntoken = \"bbbb-2222\"\n";

/// Files that are dropped, and what has to become of them.
struct Case {
    /// Each with its content, in the order of arrival.
    dropped: &'static [(&'static str, &'static str)],
    /// What lay in `applied/` and `rejected/` before.
    before: &'static [(&'static str, &'static str)],
    /// The files that are to be applied, in this order.
    applied: &'static [&'static str],
    /// The tokens of the users 1 and 2 in the end.
    tokens: [&'static str; 2],
}

const ONE: Case = Case {
    dropped: &[("a.toml", TWO_USERS)],
    before: &[],
    applied: &["a.toml"],
    tokens: ["aaaa-1111", "bbbb-2222"],
};

const SEVERAL: Case = Case {
    dropped: &[
        ("a.toml", TWO_USERS),
        ("b.toml", "telegram_id = 1\ntoken = \"cccc-3333\"\nnonsense = 1\n"),
        ("c.toml", "telegram_id = 77\ntoken = \"dddd-4444\"\n"),
        ("d.toml", "telegram_id = 1\ntoken = \"eeee-5555\"\n"),
    ],
    before: &[
        ("applied/a.toml.json", "an earlier file's"),
        ("rejected/b.toml", "an earlier file"),
        ("rejected/c.toml.reason", "of a file that is gone"),
    ],
    applied: &["a.toml", "d.toml"],
    tokens: ["eeee-5555", "bbbb-2222"],
};

const TWO: Case = Case {
    dropped: &[("a.toml", TWO_USERS), ("b.toml", "telegram_id = 1\ntoken = \"eeee-5555\"\n")],
    before: &[],
    applied: &["a.toml", "b.toml"],
    tokens: ["eeee-5555", "bbbb-2222"],
};

const REFUSED: Case = Case {
    dropped: &[("a.toml", "telegram_id = 1\ntoken = \"cccc-3333\"\nnonsense = 1\n")],
    before: &[],
    applied: &[],
    tokens: ["", ""],
};

impl Case {
    fn start(&self) -> Image {
        let directories = ["incoming", "claimed", "applied", "rejected"].map(Into::into).into();
        let dropped = self.dropped.iter().map(|(name, content)| (Path::new("incoming").join(name), *content));
        let before = self.before.iter().map(|(path, content)| (path.into(), *content));
        let files = dropped.chain(before).map(|(path, content)| (path, content.into())).collect();
        Image { directories, files }
    }

    /// What is not as it has to be in the end.
    fn fault(&self, image: &Image, tables: &Tables) -> Option<String> {
        let mut left = image.clone();
        let mut take = |directory: &str, stem: &str, ending: &str, content: &dyn Fn(&[u8]) -> bool| {
            let is_it = |path: &Path| {
                let name = path.to_str().unwrap().strip_prefix(directory)?.strip_prefix(stem)?;
                let number = name.strip_suffix(ending)?.strip_prefix('.').unwrap_or("0");
                number.parse::<u32>().ok()
            };
            let found = left.files.iter().find(|(path, it)| is_it(path).is_some() && content(it));
            let path = found.map(|(path, _)| path.clone());
            path.map(|path| left.files.remove(&path)).is_some()
        };
        for (path, content) in self.before {
            if !take(path, "", "", &|it| it == content.as_bytes()) {
                return Some(format!("{path} is not as it was before"));
            }
        }
        for (name, content) in self.dropped {
            if self.applied.contains(name) {
                let receipt = server::receipt(name);
                if !take("applied/", name, ".json", &|it| it == receipt.as_bytes()) {
                    return Some(format!("{name} has no receipt"));
                }
            } else if !take("rejected/", name, "", &|it| it == content.as_bytes())
                || !take("rejected/", name, ".reason", &|it| it.ends_with(b"\n"))
            {
                return Some(format!("{name} is not rejected with its reason"));
            }
        }
        if !left.files.is_empty() || left.directories.len() != 4 {
            return Some(format!("left over: {left:?}"));
        }
        (tables != &self.end()).then(|| format!("the database holds {tables:?}"))
    }

    fn end(&self) -> Tables {
        let tokens = [1, 2].into_iter().zip(self.tokens.map(str::to_owned));
        Tables {
            tokens: tokens.filter(|(_, token)| !token.is_empty()).collect(),
            ledger: [].into(),
            applied: self.applied.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// What a run did, and how it left the world.
struct Run {
    steps: Vec<Step>,
    /// What the server held after each commit, the state before the first one included.
    commits: Vec<Tables>,
    image: Image,
}

/// Lets relinkd work on such a disk until there is nothing left to do, as the spool's thread does.
fn run(image: &Image, tables: &Tables) -> Run {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("spool");
    image.lay(&root);
    let recording = Recording::of(&root);
    let mut server = Server::with(tables.clone(), &recording);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(work(&root, &mut server));
    let mut steps = recording.steps();
    for stage in stages(&steps) {
        // They went on at the same time: one run is like the next.
        steps[stage].sort();
    }
    Run { steps, commits: server.commits, image: Image::of(&root) }
}

async fn work(root: &Path, server: &mut Server<'_>) {
    let (rule, now) = (TokenRule::default(), SystemTime::now());
    let mut spool = Spool::open(root).unwrap();
    let mut intake = Intake::default();
    for round in 0..10 {
        let _ = spool.scan(now).unwrap();
        let scan = spool.scan(now + Duration::from_secs(3)).unwrap();
        let leftovers = intake.due(spool.leftovers().unwrap());
        if leftovers.is_empty() && scan.ready.is_empty() {
            return;
        }
        assert!(round < 9, "there is no end to it");
        let _ = intake.take_with(&mut *server, &rule, &spool, &leftovers).await.unwrap();
        let claims = spool.claim(&scan.ready).unwrap();
        let _ = intake.take_with(&mut *server, &rule, &spool, &claims.taken).await.unwrap();
    }
}

/// What power loss is tried with.
struct Trial<'c> {
    case: &'c Case,
    /// The files that their producers did not flush.
    unflushed: &'c [&'c str],
    /// The flushes of the disk that are left out, by their steps.
    forgotten: &'c [usize],
    /// The commits of the server that are not flushed, by their numbers.
    lazy: &'c [usize],
    /// From this step on power may go.
    from: usize,
}

impl<'c> Trial<'c> {
    fn of(case: &'c Case) -> Self {
        Self { case, unflushed: &[], forgotten: &[], lazy: &[], from: 0 }
    }

    /// Every state of disk and server after power loss in this run.
    fn worlds(&self, start: &Image, run: &Run) -> BTreeSet<(Image, Tables)> {
        let disk = |forgotten: &[usize]| Disk::after(start, self.unflushed, &run.steps, forgotten);
        let mut images: Vec<(usize, Image)> = Vec::new();
        let mut found_in = |disk: Disk, step| {
            images.extend(disk.after_loss_before(step).into_iter().map(|image| (step, image)));
        };
        for step in self.from..=run.steps.len() {
            found_in(disk(self.forgotten), step);
        }
        // Any one of several flushes that go on at the same time may be the first one that is done.
        for stage in stages(&run.steps).iter().filter(|stage| stage.start >= self.from) {
            for first in stage.clone() {
                let others = stage.clone().filter(|it| *it != first).chain(self.forgotten.iter().copied());
                found_in(disk(&others.collect::<Vec<_>>()), stage.end);
            }
        }
        let mut worlds = BTreeSet::new();
        for (step, image) in images {
            let made = run.steps[..step].iter().filter(|it| **it == Step::Commit).count();
            let kept = (0..=made).rev().find(|number| !self.lazy.contains(number)).unwrap_or_default();
            worlds.extend((kept..=made).map(|number| (image.clone(), run.commits[number].clone())));
        }
        worlds
    }

    /// The faults that a second run ends in, and a third one where `again` says so; and how many worlds were tried.
    fn faults(&self, again: bool) -> (BTreeSet<String>, usize) {
        let start = self.case.start();
        let first = run(&start, &Tables::default());
        let (mut faults, mut tried) = (BTreeSet::new(), 0);
        let mut done = BTreeSet::new();
        let mut todo: Vec<_> = self.worlds(&start, &first).into_iter().map(|world| (world, again)).collect();
        while let Some(((image, tables), again)) = todo.pop() {
            if !done.insert((image.clone(), tables.clone())) {
                continue;
            }
            tried += 1;
            let run = run(&image, &tables);
            faults.extend(self.case.fault(&run.image, run.commits.last().unwrap()));
            if again {
                let worlds = Trial { from: 0, unflushed: &[], ..*self }.worlds(&image, &run);
                todo.extend(worlds.into_iter().map(|world| (world, false)));
            }
        }
        (faults, tried)
    }
}

/// Flushes that went on at the same time.
fn stages(steps: &[Step]) -> Vec<Range<usize>> {
    let mut stages: Vec<Range<usize>> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match (step, stages.last_mut()) {
            (Step::Flush(_), Some(stage)) if stage.end == at => stage.end += 1,
            (Step::Flush(_), _) => stages.push(at..at + 1),
            _ => {}
        }
    }
    stages
}

/// The steps of a run in words, without the ids of claims; a commit with its number.
fn words(steps: &[Step]) -> Vec<String> {
    let mut commits = 0;
    let word = |path: &Path| {
        let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
        parts.iter().map(|part| if part.len() == 32 { "ID" } else { part }).collect::<Vec<_>>().join("/")
    };
    let words = steps.iter().map(|step| match step {
        Step::MakeDirectory(path) => format!("make {}", word(path)),
        Step::Write(path, _) => format!("write {}", word(path)),
        Step::Move(from, to) => format!("move {} to {}", word(from), word(to)),
        Step::Remove(path) => format!("remove {}", word(path)),
        Step::Flush(path) => format!("flush {}", word(path)),
        Step::Flushed => "wait for that".to_owned(),
        Step::Commit => {
            commits += 1;
            format!("commit {commits}")
        }
    });
    words.collect()
}

#[test]
fn power_loss_at_any_step_ends_right() {
    for (case, again) in [(&ONE, true), (&SEVERAL, false)] {
        let (faults, tried) = Trial::of(case).faults(again);
        assert_eq!(faults, BTreeSet::new(), "of {tried}");
        println!("{tried} worlds after power loss");
        assert!(tried > 20, "{tried}");
    }
}

/// Its content may be torn until it is claimed, as any file's may that nobody has flushed; never after.
#[test]
fn a_file_that_its_producer_did_not_flush_is_whole_once_it_is_claimed() {
    let steps = run(&ONE.start(), &Tables::default()).steps;
    let claimed = stages(&steps)[1].end;
    let unflushed = &["incoming/a.toml"];
    let (faults, tried) = Trial { unflushed, from: claimed, ..Trial::of(&ONE) }.faults(false);
    assert_eq!(faults, BTreeSet::new(), "of {tried}");
    let (faults, _) = Trial { unflushed, ..Trial::of(&ONE) }.faults(false);
    assert_ne!(faults, BTreeSet::new(), "before that, there is nothing to know what is missing");
}

/// The steps of a run, and which of its flushes are needed. The others could all be left out: they do no more than
/// shorten what is left to do after power loss, or are for a disk that keeps less than is asked of it.
#[test]
fn a_flush_that_is_left_out_is_noticed() {
    let mut told = String::new();
    for case in [&TWO, &REFUSED] {
        let steps = run(&case.start(), &Tables::default()).steps;
        let claimed = stages(&steps)[1].end;
        let is_noticed = |forgotten: &[usize]| {
            let flushed = Trial { forgotten, ..Trial::of(case) };
            let dropped: Vec<_> = case.dropped.iter().map(|(name, _)| format!("incoming/{name}")).collect();
            let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
            let unflushed = Trial { unflushed: &dropped, from: claimed, ..flushed };
            [flushed, unflushed].iter().any(|trial| !trial.faults(false).0.is_empty())
        };
        let mut spare = Vec::new();
        for at in (0..steps.len()).rev().filter(|at| matches!(steps[*at], Step::Flush(_))) {
            spare.push(at);
            if is_noticed(&spare) {
                spare.pop();
            }
        }
        for (at, word) in words(&steps).iter().enumerate() {
            let spare = if spare.contains(&at) { " (spare)" } else { "" };
            let _ = writeln!(told, "{word}{spare}");
        }
        told.push('\n');
    }
    insta::assert_snapshot!(told);
}

/// What a server with `synchronous_commit = off` does.
#[test]
fn a_commit_that_is_not_flushed_is_noticed() {
    for (lazy, what) in [(1, "the tokens"), (2, "the ledger's row, forgotten")] {
        let trial = Trial { lazy: &[lazy], ..Trial::of(&ONE) };
        assert_ne!(trial.faults(false).0, BTreeSet::new(), "{what}");
    }
}
