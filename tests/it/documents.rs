//! What the documents tell operators to type is what the program takes; the tests they name exist.

use clap::Parser;
use relinkd::Cli;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("README.ru.md")];
    for directory in ["docs", "docs/ru"] {
        let entries = fs::read_dir(root.join(directory)).unwrap();
        paths.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|p| p.extension() == Some("md".as_ref())),
        );
    }
    paths
}

/// The lines of the fenced `sh` blocks.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

/// The words after `relinkd`, where it is the program that the line runs; redirections, pipes and comments cut off.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_program = |word: &str| word == "relinkd" || word.ends_with("/relinkd");
    let at = words.iter().position(|word| is_program(word))?;
    let starts = at == 0 || words[at - 1] == "--" || words[at - 1] == "|" || words[at - 1] == "sudo";
    if !starts {
        return None;
    }
    let ends = ["<", ">", ">>", "|", "#", "&&", "||", "2>&1", "<<<"];
    let arguments = words[at + 1..].iter().take_while(|word| !ends.contains(word));
    Some(arguments.map(|word| word.trim_matches(['\'', '"']).to_owned()).collect())
}

#[test]
fn every_relinkd_command_in_the_documents_is_one_the_program_takes() {
    let mut seen = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for line in commands(&text) {
            let Some(arguments) = arguments(line) else { continue };
            seen += 1;
            let words = std::iter::once("relinkd".to_owned()).chain(arguments);
            let parsed = Cli::try_parse_from(words);
            if let Err(error) = parsed {
                let shown = matches!(
                    error.kind(),
                    clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
                );
                assert!(shown, "{}: {line}\n{error}", path.display());
            }
        }
    }
    assert!(seen > 60, "only {seen} commands were found");
}

#[test]
fn the_russian_documents_show_the_same_commands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["install", "daily", "keys", "troubleshooting", "python", "security", "monitoring"] {
        let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        let english = read(root.join(format!("docs/{name}.md")));
        let russian = read(root.join(format!("docs/ru/{name}.md")));
        let bare = |text: &str| -> Vec<String> {
            commands(text).iter().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
        };
        assert_eq!(bare(&english), bare(&russian), "{name}");
    }
}

/// The documents that name a test for each of their promises.
const WITH_TESTS: [&str; 4] =
    ["docs/security.md", "docs/ru/security.md", "docs/inherited-faults.md", "docs/reliability.md"];

/// The last cells of the tables whose last column is for tests.
fn cells_of_tests(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut cells = Vec::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if matches!(last, "test" | "тест") {
            inside = true;
        } else if inside && !last.starts_with("---") {
            cells.push(last.to_owned());
        }
    }
    cells
}

/// The names of all tests: functions under `#[test]`, and those of the shell that begin with `test_`.
fn tests_there_are() -> BTreeSet<String> {
    fn collect(directory: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
            } else if path.extension() == Some("rs".as_ref()) {
                let text = fs::read_to_string(&path).unwrap();
                let after = text.split("#[test]\n").skip(1);
                names.extend(after.filter_map(|text| {
                    let name = text.split("fn ").nth(1)?;
                    Some(name.split(['(', '<']).next()?.to_owned())
                }));
            } else if path.extension() == Some("sh".as_ref()) {
                let text = fs::read_to_string(&path).unwrap();
                let functions = text.lines().filter_map(|line| line.split_once("() {"));
                names.extend(functions.map(|(name, _)| name.to_owned()).filter(|it| it.starts_with("test_")));
            }
        }
    }
    let mut names = BTreeSet::new();
    for directory in ["src", "tests"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut names);
    }
    names
}

#[test]
fn every_test_that_a_document_names_exists() {
    let there_are = tests_there_are();
    assert!(there_are.contains("every_test_that_a_document_names_exists"), "this one is found");
    for document in WITH_TESTS {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        let cells = cells_of_tests(&text);
        assert!(cells.len() > 10, "{document}: only {} lines with a test were found", cells.len());
        for cell in cells {
            let tests: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            assert!(!tests.is_empty(), "{document}: a line without a test: {cell}");
            for name in tests {
                assert!(there_are.contains(name), "{document} names the test {name}, which there is not");
            }
        }
    }
}

#[test]
fn both_languages_name_the_same_tests() {
    let read = |name: &str| {
        cells_of_tests(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap())
    };
    assert_eq!(read("docs/security.md"), read("docs/ru/security.md"));
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = documents();
    pages.extend(["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
    pages.extend(fs::read_dir(root.join("docs/decisions")).unwrap().map(|entry| entry.unwrap().path()));
    let mut seen = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let found = text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(found, "{}: {link} names no heading there", page.display());
            }
        }
    }
    assert!(seen > 60, "only {seen} links were found");
}
