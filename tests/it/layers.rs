//! The architecture: imports go down the layers that docs/architecture.md lists, and never climb.
//!
//! Reads the sources as text, without comments and literals; a path that begins with `crate::` (or with
//! `super::` out of a module) names the module it goes to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of one layer that must not know each other.
const STRANGERS: [(&str, &str); 2] = [("db", "spool"), ("spool", "db")];

/// What pure knowledge does without.
const EDGES: [&str; 8] =
    ["tokio::", "std::fs", "std::env", "std::net", "std::process", "log::", "Instant::now", "SystemTime"];

/// `main` parses, calls, reports.
const MAIN_LIMIT: usize = 60;

#[test]
fn imports_go_down_only() {
    let layers = layers();
    let mut offenders = Vec::new();
    for source in sources() {
        let Some(from) = &source.module else { continue };
        let Some(own) = layers.get(from.as_str()) else {
            offenders
                .push(format!("{}: the module `{from}` is on no layer of docs/architecture.md", source.name));
            continue;
        };
        for (line, to) in source.imports(&layers) {
            let Some(other) = layers.get(to.as_str()) else {
                offenders
                    .push(format!("{}:{line}: `{to}` is on no layer of docs/architecture.md", source.name));
                continue;
            };
            if other > own {
                offenders.push(format!(
                    "{}:{line}: `{from}` (layer {own}) climbs to `{to}` (layer {other})",
                    source.name
                ));
            }
            if STRANGERS.contains(&(from.as_str(), to.as_str())) {
                offenders.push(format!("{}:{line}: `{from}` must not know `{to}`", source.name));
            }
        }
    }
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

#[test]
fn pure_knowledge_knows_no_edge() {
    let layers = layers();
    let mut offenders = Vec::new();
    for source in sources() {
        if source.module.as_deref().and_then(|module| layers.get(module)) != Some(&0) {
            continue;
        }
        for (number, line) in
            source.code.lines().enumerate().take_while(|(_, line)| !line.contains("#[cfg(test)]"))
        {
            for edge in EDGES.iter().filter(|edge| names(line, edge)) {
                offenders.push(format!("{}:{}: layer 0 uses {edge}", source.name, number + 1));
            }
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
    let source = Source {
        name: "src/db/session.rs".to_owned(),
        module: Some("db".to_owned()),
        code: bare(
            "//! See [`crate::cli`].\nuse crate::{token::Token, link, spool::{Claim, intake}};\n/* crate::audit */\n\
             fn f() { \"crate::tokens\"; crate::policy::g(); super::super::daemon::h(); '\"'; crate::status::i() }\n",
        ),
    };
    let layers = ["cli", "token", "link", "spool", "audit", "tokens", "policy", "daemon", "status", "intake"];
    let layers = layers.map(|module| (module.to_owned(), 0)).into();
    let found: Vec<_> =
        source.imports(&layers).into_iter().map(|(line, module)| format!("{line} {module}")).collect();
    assert_eq!(found, ["2 token", "2 link", "2 spool", "4 policy", "4 status", "4 daemon"]);
}

struct Source {
    name: String,
    /// The first part of the module path; `None` for lib.rs and main.rs, which see everything.
    module: Option<String>,
    /// The text without comments and literals, line for line.
    code: String,
}

impl Source {
    /// The other modules that this file names, with the line.
    fn imports(&self, layers: &BTreeMap<String, usize>) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, prefix) in self.code.match_indices("crate::") {
            if !self.code[..at].ends_with(is_word) {
                for module in modules_after(&self.code[at + prefix.len()..]) {
                    found.push((self.line(at), module));
                }
            }
        }
        // `super::` leads out of a module only where it ends at the name of another one.
        for (at, prefix) in self.code.match_indices("super::") {
            for module in modules_after(&self.code[at + prefix.len()..]) {
                if layers.contains_key(&module) && !self.holds_module(&module) {
                    found.push((self.line(at), module));
                }
            }
        }
        found.retain(|(_, module)| Some(module) != self.module.as_ref());
        found
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    fn holds_module(&self, module: &str) -> bool {
        let directory = root().join("src").join(self.module.as_deref().unwrap_or_default());
        directory.join(format!("{module}.rs")).exists() || directory.join(module).is_dir()
    }
}

/// The first names of a path's rest: one, or those of a `{…}` group at its outer level.
fn modules_after(rest: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|&c| is_word(c)).collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut names, mut fresh) = (0_u32, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && is_word(c) => {
                names.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a line names this path, not one that merely ends like it.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(|c| is_word(c) || c == ':'))
}

/// Module to layer, from the table in docs/architecture.md.
fn layers() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut layers = BTreeMap::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = row.split(" | ");
        let (Some(layer), Some(modules)) = (cells.next(), cells.next()) else { continue };
        let Some(layer) = layer.chars().next().and_then(|digit| digit.to_digit(10)) else { continue };
        let (mut depth, mut quoted) = (0_u32, None::<String>);
        for c in modules.chars() {
            match (c, &mut quoted) {
                ('`', None) => quoted = Some(String::new()),
                ('`', Some(module)) => {
                    if depth == 0 {
                        layers.insert(std::mem::take(module), layer as usize);
                    }
                    quoted = None;
                }
                (c, Some(module)) => module.push(c),
                ('(', None) => depth += 1,
                (')', None) => depth -= 1,
                _ => {}
            }
        }
    }
    assert!(
        layers.values().max() == Some(&4) && layers.len() > 10,
        "docs/architecture.md lists the layers: {layers:?}"
    );
    layers
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
    assert!(sources.len() >= 2, "no sources under {}", root().display());
    sources
}

fn read(path: &Path) -> Source {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    let module = first.trim_end_matches(".rs").to_owned();
    Source {
        name: format!("src/{}", inside.display()),
        module: (module != "lib" && module != "main").then_some(module),
        code: bare(&fs::read_to_string(path).unwrap()),
    }
}

/// The text with comments and the inside of string and character literals gone, newlines kept.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = literal_or_comment(rest, code.ends_with(is_word)).unwrap_or(0);
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().filter(|&c| c == '\n'));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that the text begins with.
fn literal_or_comment(text: &str, inside_word: bool) -> Option<usize> {
    let end = |from: usize, mark: &str| {
        Some(text[from..].find(mark).map_or(text.len(), |at| from + at + mark.len()))
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return end(2, "*/");
    }
    if text.starts_with('r') && !inside_word {
        let hashes = text[1..].chars().take_while(|&c| c == '#').count();
        return text[1 + hashes..]
            .starts_with('"')
            .then(|| end(2 + hashes, &format!("\"{}", "#".repeat(hashes))))?;
    }
    if text.starts_with('"') {
        return Some(closing(text, '"'));
    }
    // A lifetime has no closing quote right behind its first character.
    let mut chars = text.chars();
    if chars.next() == Some('\'') {
        let first = chars.next()?;
        return (first == '\\' || chars.next() == Some('\'')).then(|| closing(text, '\''));
    }
    None
}

/// The length of a quoted literal, escapes passed over.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
