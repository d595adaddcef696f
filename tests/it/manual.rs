//! Help, man pages and completions: one source, so the same flags in all three; and examples that are true.

use crate::support::{Bench, plain_link};
use clap::{CommandFactory, Parser};
use relinkd::Cli;
use std::collections::BTreeSet;
use std::fs;

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
    for page in ["relinkd-config.5", "relinkd-keyring.5", "relinkd-assignment.5"] {
        assert!(fs::read_to_string(pages.join(page)).unwrap().starts_with(".TH RELINKD-"));
    }
    assert!(bench.run(["man"]).ok().contains(".TH relinkd 1"));
}

#[test]
fn the_russian_page_knows_each_command_and_exit_status() {
    let page = include_str!("../../docs/man/ru/relinkd.1");
    // Fonts, quotes and troff's escapes are not what a reader sees.
    let fonts = ["\\fB", "\\fI", "\\fP", "\\fR", "\""];
    let read = fonts.iter().fold(page.replace("\\-", "-"), |text, font| text.replace(font, " "));
    let read = read.split_whitespace().collect::<Vec<_>>().join(" ");
    for (path, command) in commands() {
        if path.is_empty() || command.has_subcommands() {
            continue;
        }
        assert!(read.contains(&path.join(" ")), "relinkd {} is not in the page", path.join(" "));
    }
    for status in 0..=7 {
        assert!(page.contains(&format!(".TP\n.B {status}\n")), "exit status {status} is not in the page");
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
    bench.db.insert_issue(18, 413_129_274, Some(&plain_link(4711)));
    fs::write(bench.path("token.txt"), "7812-5733-8392-7092\n").unwrap();
    fs::write(bench.path("link.txt"), plain_link(4711)).unwrap();
    fs::write(
        bench.path("tokens.csv"),
        "telegram_id,token,x\n413129274,7812-5733-8392-7092,7812-5733-8392-7092\n",
    )
    .unwrap();
    for (path, command) in commands() {
        let help = bench.run(path.iter().map(String::as_str).chain(["--help"])).ok();
        let examples = examples(&help);
        assert!(!examples.is_empty(), "{path:?} shows no example:\n{help}");
        for example in examples {
            let (typed, input) = example.split_once(" < ").unwrap_or((&example, "token.txt"));
            let input = fs::read_to_string(bench.path(input)).unwrap();
            let words: Vec<&str> = typed.split(' ').collect();
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
            // The daemon does not end, these change what the others need, and that server is not this one.
            let alone = ["run", "install", "uninstall", "key"].contains(&words[1]);
            if alone || example.contains("--reveal") || command.has_subcommands() && words.len() < 2 {
                continue;
            }
            if words[1] == "spool" {
                // The file that the example names lies there, whatever the example before did with it.
                fs::create_dir_all(bench.rejected()).unwrap();
                fs::write(bench.rejected().join("tokens.toml"), "").unwrap();
            }
            let output = bench.run_with_input(&words[1..], &input);
            let wanted = match words[1] {
                _ if example.contains("--dry-run") => vec![0, 3],
                // No daemon is running.
                "health" => vec![2],
                _ => vec![0],
            };
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

#[test]
fn the_main_page_has_the_sections_that_are_looked_for() {
    let page = Bench::new().run(["man"]).ok();
    for section in
        ["SYNOPSIS", "GLOBAL OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SIGNALS", "SEE ALSO"]
    {
        assert_eq!(page.matches(&format!(".SH {section}\n")).count(), 1, "{section}");
    }
    assert!(page.contains("\\-\\-config\\fR \\fIFILE\\fR"), "{page}");
    assert_eq!(page.matches("wrong usage").count(), 1, "the exit statuses stand once");
}

#[test]
fn global_options_stand_apart_in_the_help() {
    let help = Bench::new().run(["sync", "--help"]).ok();
    let (own, global) = help.split_once("Global options:").unwrap();
    assert!(own.contains("--dry-run") && !own.contains("--config"), "{help}");
    assert!(global.contains("--config") && global.contains("--quiet"), "{help}");
}

/// "To pass '--x' as a value, use '-- --x'" is never what was meant here.
#[test]
fn no_tip_misleads() {
    let bench = Bench::new();
    for arguments in [
        &["status", "--x"][..],
        &["sync", "-5x"],
        &["token", "show", "--reveel", "1"],
        &["token", "7812-5733"],
    ] {
        let said = bench.run(arguments).exits(2).stderr;
        assert!(!said.contains("as a value") && !said.contains("7812"), "{said}");
    }
    assert!(bench.run(["sync", "--dryrun"]).exits(2).stderr.contains("'--dry-run'"));
    bench.run(["completions", "elvish"]).exits(2);
}

/// As a shell does it: what is typed after `key promote` are the ids of keys, and nobody is offered `<ID>`.
#[test]
fn bash_completes_the_ids_of_keys() {
    let bench = Bench::installed();
    bench.run(["key", "generate", "--id", "k2026z"]).ok();
    fs::write(bench.path("completions"), bench.run(["completions", "bash"]).ok()).unwrap();
    let offered = |words: &str| {
        let directory =
            std::path::Path::new(env!("CARGO_BIN_EXE_relinkd")).parent().unwrap().display().to_string();
        let script = format!(
            "PATH={directory}:$PATH; . ./completions; COMP_WORDS=({words} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _relinkd_or_key_ids relinkd '' \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(bench.path(""))
            .env("RELINKD_CONFIG", bench.config_file())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(offered("relinkd key promote"), "k1 k2026z\n");
    let typed = offered("relinkd explain");
    assert!(typed.contains("--number") && !typed.contains('<') && !typed.contains('['), "{typed}");
}
