//! The architecture: imports go down the layers that docs/architecture.md lists, and never climb.
//!
//! Reads the sources line by line, comments left out. It can, because a path is written whole in its line: one `use` for
//! each module, no group within a group.

use regex_lite::Regex;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of one layer that must not know each other.
const STRANGERS: [[&str; 2]; 2] = [["db", "spool"], ["spool", "db"]];

/// What pure knowledge does without.
const EDGES: &str = r"(^|[^\w:])(tokio::|std::(fs|env|net|process)|log::)|\b(Instant::now|SystemTime)\b";

/// `main` parses, calls, reports.
const MAIN_LIMIT: usize = 60;

#[test]
fn imports_go_down_only() {
    let layers = layers();
    let mut offenders = Vec::new();
    for source in sources() {
        let mut depth = source.depth;
        for (number, line) in source.code() {
            depth += usize::from(line == "mod tests {");
            let mut offends = |why: String| offenders.push(format!("{}:{number}: {why}", source.name));
            if climbs_out(line, depth) {
                offends("climbs out of its module: name it by `crate::`".to_owned());
            }
            let Some(from) = source.module.as_deref() else { continue };
            for to in modules_in(line) {
                match (layers.get(from), layers.get(to)) {
                    (Some(own), Some(other)) if other > own => {
                        offends(format!("`{from}` (layer {own}) climbs to `{to}` (layer {other})"));
                    }
                    (Some(_), Some(_)) if STRANGERS.contains(&[from, to]) => {
                        offends(format!("`{from}` must not know `{to}`"));
                    }
                    (Some(_), Some(_)) => {}
                    _ => offends(format!("`{from}` or `{to}` is on no layer of docs/architecture.md")),
                }
            }
        }
    }
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

#[test]
fn every_module_is_on_a_layer_and_a_path_is_written_in_its_line() {
    let (layers, nested) = (layers(), Regex::new(r"\buse [^;]*\{[^}]*(\{|::)").unwrap());
    for source in sources() {
        if let Some(module) = &source.module {
            assert!(layers.contains_key(module), "{}: `{module}` is on no layer", source.name);
        }
        for (number, line) in source.code() {
            assert!(!nested.is_match(line), "{}:{number}: one `use` for each module: {line}", source.name);
            assert!(!line.ends_with("crate::{"), "{}:{number}: one `use` for each module", source.name);
        }
    }
}

#[test]
fn pure_knowledge_knows_no_edge() {
    let (layers, edges) = (layers(), Regex::new(EDGES).unwrap());
    let mut offenders = Vec::new();
    for source in sources().into_iter().filter(|source| !source.name.contains("tests")) {
        if source.module.as_deref().and_then(|module| layers.get(module)) == Some(&0) {
            let code = source.code().take_while(|(_, line)| !line.contains("#[cfg(test)]"));
            let used = code.filter(|(_, line)| edges.is_match(line));
            offenders
                .extend(used.map(|(number, line)| format!("{}:{number}: layer 0 uses {line}", source.name)));
        }
    }
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

#[test]
fn main_parses_calls_and_reports() {
    let lines = fs::read_to_string(root().join("src/main.rs")).unwrap().lines().count();
    assert!(
        lines < MAIN_LIMIT,
        "src/main.rs has {lines} lines: what lives there that is not parse, call, report?"
    );
}

#[test]
fn the_reader_of_imports_reads_them_all() {
    assert_eq!(modules_in("use crate::token::Token;").collect::<Vec<_>>(), ["token"]);
    assert_eq!(modules_in("use crate::{link, spool};").collect::<Vec<_>>(), ["link", "spool"]);
    let line = "f(crate::policy::g(), $crate::db::params::h(), mycrate::cli::i())";
    assert_eq!(modules_in(line).collect::<Vec<_>>(), ["policy", "db"]);
    assert!(climbs_out("use super::super::cli;", 2) && climbs_out("super::cli::f()", 1));
    assert!(!climbs_out("use super::super::look;", 3) && !climbs_out("    use super::*;", 1));
}

/// The modules of this crate that a line names.
fn modules_in(line: &str) -> impl Iterator<Item = &str> {
    let starts = line.match_indices("crate::").filter(|(at, _)| !line[..*at].ends_with(is_word));
    starts.flat_map(|(at, prefix)| {
        let rest = &line[at + prefix.len()..];
        let group = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(group, _)| group);
        let word = |path: &'_ str| path.find(|c| !is_word(c)).unwrap_or(path.len());
        match group {
            Some(group) => group.split(", ").collect(),
            None => vec![&rest[..word(rest)]],
        }
    })
}

/// Whether a line names something above the module that its file, so deep in the crate, belongs to.
fn climbs_out(line: &str, depth: usize) -> bool {
    !line.contains("super::*") && line.contains(&"super::".repeat(depth))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Module to layer, from the table in docs/architecture.md: what stands there in backquotes, but for what is in parentheses.
fn layers() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let row = Regex::new(r"(?m)^\| (\d) [^|]*\| ([^|]*) \|").unwrap();
    let (aside, quoted) = (Regex::new(r"\([^)]*\)").unwrap(), Regex::new(r"`(\w+)`").unwrap());
    let mut layers = BTreeMap::new();
    for row in row.captures_iter(&text) {
        for module in quoted.captures_iter(&aside.replace_all(&row[2], "")) {
            layers.insert(module[1].to_owned(), row[1].parse().unwrap());
        }
    }
    assert!(layers.values().max() == Some(&4) && layers.len() > 10, "the layers: {layers:?}");
    layers
}

struct Source {
    name: String,
    /// The first part of the module path; `None` for lib.rs and main.rs, which see everything.
    module: Option<String>,
    /// How many modules the path has.
    depth: usize,
    text: String,
}

impl Source {
    /// The lines without those that are comments, each with its number.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let mut directories = vec![root().join("src")];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(read(&path));
            }
        }
    }
    assert!(sources.len() > 100, "the sources under {}", root().display());
    sources
}

fn read(path: &Path) -> Source {
    let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let parts: Vec<&str> =
        inside.iter().map(|part| part.to_str().unwrap()).filter(|part| *part != "mod").collect();
    Source {
        name: format!("src/{}.rs", inside.display()),
        module: Some(parts[0].to_owned()).filter(|module| module != "lib" && module != "main"),
        depth: parts.len(),
        text: fs::read_to_string(path).unwrap(),
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
