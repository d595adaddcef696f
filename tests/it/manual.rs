//! Help, man pages and completions: one source, so the same flags in all three; and examples that are true.

use std::collections::BTreeSet;
use std::fs;

use clap::{CommandFactory, Parser};
use relinkd::cli::Cli;

use crate::support::Bench;

/// Every command there is, as it is typed, with its definition.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    collect(&root, &[], &mut found);
    found
}

fn collect(command: &clap::Command, path: &[String], found: &mut Vec<(Vec<String>, clap::Command)>) {
    found.push((path.to_vec(), command.clone()));
    for inner in command.get_subcommands() {
        let mut path = path.to_vec();
        path.push(inner.get_name().to_owned());
        collect(inner, &path, found);
    }
}

fn long_flags(command: &clap::Command) -> BTreeSet<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect()
}

/// The `--words` in a text, troff's escaped hyphens included.
fn flags_in(text: &str) -> BTreeSet<String> {
    let fonts = ["\\fB", "\\fI", "\\fR"];
    let text = fonts.iter().fold(text.replace("\\-", "-"), |text, font| text.replace(font, " "));
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn help_man_and_completions_know_the_same_flags() {
    let bench = Bench::new();
    let pages = bench.path("man");
    bench.run(["man", "--dir", pages.to_str().unwrap()]).ok();
    let scripts: Vec<String> =
        ["bash", "zsh", "fish"].iter().map(|shell| bench.run(["completions", shell]).ok()).collect();
    for (path, command) in commands() {
        let flags = long_flags(&command);
        let help = bench.run(path.iter().map(String::as_str).chain(["--help"])).ok();
        let name = ["relinkd".to_owned()].into_iter().chain(path.clone()).collect::<Vec<_>>().join("-");
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        for flag in &flags {
            assert!(flags_in(&help).contains(flag), "{flag} is not in the help of {name}");
            assert!(flags_in(&page).contains(flag), "{flag} is not in {name}(1)");
            for (shell, script) in ["bash", "zsh", "fish"].iter().zip(&scripts) {
                let typed = if *shell == "fish" { format!("-l {}", &flag[2..]) } else { flag.clone() };
                assert!(script.contains(&typed), "{flag} of {name} is not completed in {shell}");
            }
        }
        let known: BTreeSet<String> =
            commands().iter().flat_map(|(_, command)| long_flags(command)).collect();
        let strays: Vec<String> = flags_in(&page).difference(&known).cloned().collect();
        assert!(strays.is_empty(), "{name}(1) speaks of {strays:?}, which there is not");
    }
    for page in ["relinkd-config.5", "relinkd-assignment.5"] {
        assert!(fs::read_to_string(pages.join(page)).unwrap().starts_with(".TH RELINKD-"));
    }
    assert!(bench.run(["man"]).ok().contains(".TH relinkd 1"));
}

#[test]
fn the_page_of_the_configuration_knows_each_key() {
    let page = include_str!("../../docs/man/relinkd-config.5");
    let example = include_str!("../../config.toml.example");
    let mut section = String::new();
    for line in example.lines() {
        let line = line.trim_start_matches("# ").trim_start_matches('#');
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            assert!(page.contains(&format!("[{section}]")), "[{section}] is not in relinkd-config(5)");
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            assert!(page.contains(key), "{section}.{key} is not in relinkd-config(5)");
        }
    }
}

#[test]
fn the_example_of_the_drop_files_page_is_taken() {
    let page = include_str!("../../docs/man/relinkd-assignment.5");
    let example = page.split(".nf\n").nth(1).unwrap().split(".fi").next().unwrap();
    let bench = Bench::installed();
    bench.db.insert_user(413_129_274, None);
    bench.db.insert_user(500_100_200, Some("1111-2222-3333-4444"));
    let daemon = bench.start();
    bench.drop_file("example.toml", example);
    bench.wait_applied("example.toml");
    daemon.stop();
}

/// The lines under "Example:" in a command's help.
fn examples(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Example"));
    let lines = lines.skip(1).take_while(|line| line.starts_with("  relinkd "));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_example_is_understood_and_runs() {
    let bench = Bench::installed();
    bench.db.insert_user(413_129_274, Some("1111-2222-3333-4444"));
    bench.db.insert_issue(17, 413_129_274, None);
    fs::write(bench.path("token.txt"), "7812-5733-8392-7092\n").unwrap();
    for (path, command) in commands() {
        let help = bench.run(path.iter().map(String::as_str).chain(["--help"])).ok();
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{path:?} shows no example:\n{help}");
        for example in examples {
            let words: Vec<&str> = example.split(" < ").next().unwrap().split(' ').collect();
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
            // The daemon does not end, these change what the others need, and that server is not this one.
            let alone = ["run", "install", "uninstall", "key"].contains(&words[1]);
            if alone || example.contains("--reveal") || command.has_subcommands() && words.len() < 2 {
                continue;
            }
            let output = bench.run_with_input(&words[1..], "7812-5733-8392-7092\n");
            let wanted = if example.contains("--dry-run") { vec![0, 3] } else { vec![0] };
            assert!(wanted.contains(&output.code.unwrap()), "{example}: {output:?}");
        }
    }
}

#[test]
fn the_examples_of_key_run_in_their_order() {
    let bench = Bench::installed();
    fs::remove_file(bench.keyring_file()).unwrap();
    bench.run(["key", "generate", "--id", "k2026a"]).ok();
    for example in
        ["key generate", "key generate --id k2026z", "key list", "key promote k2026z", "key retire k2026a"]
    {
        bench.run(example.split(' ')).ok();
    }
    bench.run(["key", "retire", "k2026a", "--destroy"]).ok();
    assert!(!fs::read_to_string(bench.keyring_file()).unwrap().contains("k2026a"));
}
