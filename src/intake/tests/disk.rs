//! A disk that loses power: what it holds afterwards, given what was done and what was flushed.
//!
//! The contents of files and the changes of directories are lost apart from each other. Of the changes, a flush of a
//! directory keeps those that were made in it, with all that they rest on; of the others any number is lost, the last
//! ones first. A content that was not flushed is whole, torn, empty or zeros. A rename is one change.

use crate::spool::recording::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What there is on a disk; paths are below the spool's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Image {
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    pub(super) fn of(root: &Path) -> Self {
        let mut image = Self::default();
        let mut rest = vec![root.to_owned()];
        while let Some(directory) = rest.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let below = path.strip_prefix(root).unwrap().to_owned();
                if path.is_dir() {
                    image.directories.insert(below);
                    rest.push(path);
                } else {
                    image.files.insert(below, fs::read(path).unwrap());
                }
            }
        }
        image
    }

    pub(super) fn lay(&self, root: &Path) {
        fs::create_dir(root).unwrap();
        for directory in &self.directories {
            fs::create_dir(root.join(directory)).unwrap();
        }
        for (path, content) in &self.files {
            fs::write(root.join(path), content).unwrap();
        }
    }
}

/// How a content that was not flushed is found.
#[derive(Debug, Clone, Copy)]
enum Tear {
    Whole,
    Half,
    Empty,
    Zeros,
}

impl Tear {
    fn of(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Whole => content.to_owned(),
            Self::Half => content[..content.len() / 2].to_owned(),
            Self::Empty => Vec::new(),
            Self::Zeros => vec![0; content.len()],
        }
    }
}

/// A file or a directory, whatever it is called.
type Node = usize;
/// A name in a directory.
type Entry = (Node, PathBuf);

/// A change of directories.
struct Change {
    /// When: the number of the step.
    at: usize,
    node: Node,
    from: Option<Entry>,
    to: Option<Entry>,
    /// The changes that this one rests on.
    rests_on: BTreeSet<usize>,
    /// The first flush that keeps it.
    kept: Option<usize>,
}

impl Change {
    fn is_in(&self, directory: Node) -> bool {
        self.from.iter().chain(&self.to).any(|(there, _)| *there == directory)
    }
}

/// What was done to a disk.
pub(super) struct Disk {
    start: BTreeMap<Entry, Node>,
    contents: BTreeMap<Node, Vec<u8>>,
    changes: Vec<Change>,
    /// Files whose content is not flushed, up to the step that flushes it.
    unflushed: BTreeMap<Node, usize>,
}

const ROOT: Node = 0;
const NEVER: usize = usize::MAX;

impl Disk {
    /// A disk that held this, after these steps, of which some flushes were forgotten. The contents of the files at
    /// these paths were not flushed by whoever wrote them.
    pub(super) fn after(image: &Image, unflushed: &[&str], steps: &[Step], forgotten: &[usize]) -> Self {
        let mut disk = Self {
            start: BTreeMap::new(),
            contents: BTreeMap::new(),
            changes: Vec::new(),
            unflushed: BTreeMap::new(),
        };
        let mut names: BTreeMap<PathBuf, Node> = [(PathBuf::new(), ROOT)].into();
        for path in image.directories.iter().chain(image.files.keys()) {
            let node = names.len();
            disk.start.insert(entry(&names, path), node);
            names.insert(path.clone(), node);
            if let Some(content) = image.files.get(path) {
                disk.contents.insert(node, content.clone());
            }
        }
        disk.unflushed.extend(unflushed.iter().map(|path| (names[Path::new(path)], NEVER)));
        let mut next = names.len();
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::MakeDirectory(path) | Step::Write(path, _) => {
                    assert!(!names.contains_key(path), "{} is new", path.display());
                    if let Step::Write(_, content) = step {
                        disk.contents.insert(next, content.clone());
                        disk.unflushed.insert(next, NEVER);
                    }
                    disk.change(at, next, None, Some(entry(&names, path)));
                    names.insert(path.clone(), next);
                    next += 1;
                }
                Step::Move(from, to) => {
                    let (old, new) = (entry(&names, from), entry(&names, to));
                    let node = names.remove(from).unwrap();
                    disk.change(at, node, Some(old), Some(new));
                    names.insert(to.clone(), node);
                }
                Step::Remove(path) => {
                    let old = entry(&names, path);
                    let node = names.remove(path).unwrap();
                    disk.change(at, node, Some(old), None);
                }
                Step::Flush(path) if !forgotten.contains(&at) => disk.flush(at, names[path]),
                Step::Flush(_) | Step::Flushed | Step::Commit => {}
            }
        }
        disk
    }

    fn change(&mut self, at: usize, node: Node, from: Option<Entry>, to: Option<Entry>) {
        let rests_on = |earlier: &Change| {
            let entries = || from.iter().chain(&to);
            earlier.node == node
                || earlier.is_in(node)
                || entries().any(|(directory, _)| earlier.node == *directory)
                || entries().any(|entry| earlier.from.iter().chain(&earlier.to).any(|other| other == entry))
        };
        let rests_on = self
            .changes
            .iter()
            .enumerate()
            .filter(|(_, it)| rests_on(it))
            .map(|(number, _)| number)
            .collect();
        self.changes.push(Change { at, node, from, to, rests_on, kept: None });
    }

    fn flush(&mut self, at: usize, node: Node) {
        if let Some(flushed) = self.unflushed.get_mut(&node) {
            *flushed = at.min(*flushed);
        }
        if self.contents.contains_key(&node) {
            return;
        }
        let keeps = |it: &Change| it.is_in(node) || it.node == node;
        let mut kept: Vec<usize> = (0..self.changes.len()).filter(|it| keeps(&self.changes[*it])).collect();
        while let Some(number) = kept.pop() {
            let change = &mut self.changes[number];
            if change.kept.is_none() {
                change.kept = Some(at);
                kept.extend(&change.rests_on);
            }
        }
    }

    /// All that can be found when power was lost before this step.
    pub(super) fn after_loss_before(&self, step: usize) -> BTreeSet<Image> {
        let made: Vec<&Change> = self.changes.iter().filter(|change| change.at < step).collect();
        let kept = |change: &Change| change.kept.is_some_and(|flush| flush < step);
        let pending = made.iter().filter(|change| !kept(change)).count();
        let mut images = BTreeSet::new();
        for lucky in 0..=pending {
            let mut seen = 0;
            let survivors = made.iter().filter(|change| {
                kept(change) || {
                    seen += 1;
                    seen <= lucky
                }
            });
            let names = self.names_after(survivors.copied());
            for tear in [Tear::Whole, Tear::Half, Tear::Empty, Tear::Zeros] {
                images.insert(self.image(&names, step, tear));
            }
        }
        images
    }

    fn names_after<'c>(&self, survivors: impl Iterator<Item = &'c Change>) -> BTreeMap<Entry, Node> {
        let mut names = self.start.clone();
        for change in survivors {
            if let Some(from) = &change.from {
                names.remove(from);
            }
            if let Some(to) = &change.to {
                names.insert(to.clone(), change.node);
            }
        }
        names
    }

    fn image(&self, names: &BTreeMap<Entry, Node>, step: usize, tear: Tear) -> Image {
        let mut image = Image::default();
        let mut rest = vec![(ROOT, PathBuf::new())];
        while let Some((directory, path)) = rest.pop() {
            for ((_, name), node) in names.iter().filter(|((there, _), _)| *there == directory) {
                let path = path.join(name);
                match self.contents.get(node) {
                    None => {
                        image.directories.insert(path.clone());
                        rest.push((*node, path));
                    }
                    Some(content) if self.unflushed.get(node).is_some_and(|flushed| *flushed >= step) => {
                        image.files.insert(path, tear.of(content));
                    }
                    Some(content) => {
                        image.files.insert(path, content.clone());
                    }
                }
            }
        }
        image
    }
}

fn entry(names: &BTreeMap<PathBuf, Node>, path: &Path) -> Entry {
    (names[path.parent().unwrap()], path.file_name().unwrap().into())
}
