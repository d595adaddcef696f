//! What the documents tell operators to type is what the program takes.

use clap::Parser;
use relinkd::cli::Cli;
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
    for name in ["install", "daily", "keys", "troubleshooting", "python", "security"] {
        let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        let english = read(root.join(format!("docs/{name}.md")));
        let russian = read(root.join(format!("docs/ru/{name}.md")));
        let bare = |text: &str| -> Vec<String> {
            commands(text).iter().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
        };
        assert_eq!(bare(&english), bare(&russian), "{name}");
    }
}
