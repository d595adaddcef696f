//! A page of the manual in troff (`groff_man(7)`): a command's definition, section by section.

use crate::cli::output::EXIT_STATUSES;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

/// Environment, files and signals of relinkd(1), and what to see also.
const REST: &str = include_str!("../../../docs/man/relinkd.1.part");

/// `relinkd-token-set`
pub(super) fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command, which stands below these.
pub(super) fn page(command: &Command, above: &[&Command]) -> String {
    let name = name(command);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!(
        ".TH {name} 1 \"\" \"relinkd {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n{}",
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(&lower(about.trim_end_matches('.'))),
        synopsis(command, &name.replace('-', " ")),
    );
    let long = command.get_long_about().map_or_else(|| format!("{about}."), ToString::to_string);
    section(&mut page, "DESCRIPTION", &paragraphs(&long));
    section(&mut page, "ARGUMENTS", &arguments(command, Arg::is_positional));
    section(&mut page, "OPTIONS", &arguments(command, |it| !it.is_positional() && !is_global(it)));
    section(&mut page, "COMMANDS", &commands(command));
    section(&mut page, "GLOBAL OPTIONS", &arguments(command, is_global));
    section(&mut page, "EXAMPLES", &examples(command));
    if above.is_empty() {
        section(&mut page, "EXIT STATUS", &exit_status());
        page.push_str(REST);
    } else {
        section(&mut page, "EXIT STATUS", ".BR relinkd (1)\nlists them.\n");
        section(&mut page, "SEE ALSO", &see_also(command, above));
    }
    page
}

fn section(page: &mut String, heading: &str, text: &str) {
    if !text.is_empty() {
        let _ = write!(page, ".SH {heading}\n{text}");
    }
}

fn is_global(argument: &Arg) -> bool {
    argument.is_global_set() || ["help", "version"].contains(&argument.get_id().as_str())
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set())
}

fn synopsis(command: &Command, typed: &str) -> String {
    let mut line = format!(".B {}\n", escaped(typed));
    if !typed.contains(' ') {
        line.push_str("[\\fB\\-\\-config\\fR \\fIFILE\\fR]\n[\\fB\\-v\\fR|\\fB\\-q\\fR]\n");
    }
    for argument in shown(command).filter(|argument| !is_global(argument)) {
        let typed = typed_argument(argument, "|");
        let optional = !argument.is_required_set();
        let _ = writeln!(line, "{}", if optional { format!("[{typed}]") } else { typed });
    }
    if command.has_subcommands() {
        let optional = !command.is_subcommand_required_set();
        line.push_str(if optional { "[\\fICOMMAND\\fR]\n" } else { "\\fICOMMAND\\fR\n" });
    }
    line
}

/// `-q|--quiet`, `--since TIME`, `ID...`
fn typed_argument(argument: &Arg, or: &str) -> String {
    let flags: Vec<String> = (argument.get_short().map(|short| format!("\\fB\\-{short}\\fR")).into_iter())
        .chain(argument.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", escaped(long))))
        .collect();
    let mut typed = flags.join(or);
    if matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
        let names = argument.get_value_names().unwrap_or_default();
        let values: Vec<String> = names.iter().map(|name| format!("\\fI{name}\\fR")).collect();
        let many = argument.is_positional() && matches!(argument.get_action(), ArgAction::Append);
        let space = if typed.is_empty() { "" } else { " " };
        let _ = write!(typed, "{space}{}{}", values.join(" "), if many { "..." } else { "" });
    }
    typed
}

fn arguments(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let mut text = String::new();
    for argument in shown(command).filter(|argument| wanted(argument)) {
        let help = match argument.get_id().as_str() {
            "help" => "Print help, with examples".to_owned(),
            _ => argument.get_help().map(ToString::to_string).unwrap_or_default(),
        };
        let _ = write!(text, ".TP\n{}\n{}\n", typed_argument(argument, ", "), words(&help));
        let values = argument.get_possible_values();
        let values: Vec<String> = values.iter().map(|it| format!("\\fB{}\\fR", it.get_name())).collect();
        if !values.is_empty() && matches!(argument.get_action(), ArgAction::Set) {
            let _ = writeln!(text, "(one of {})", values.join(", "));
        }
    }
    text
}

fn commands(command: &Command) -> String {
    let mut text = String::new();
    for inner in command.get_subcommands() {
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, ".TP\n.BR {} (1)\n{}\n", escaped(name(inner)), words(&about));
    }
    text
}

fn examples(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines: Vec<String> = help.lines().skip(1).map(|line| escaped(line.trim())).collect();
    if lines.is_empty() { String::new() } else { format!(".nf\n{}\n.fi\n", lines.join("\n")) }
}

fn exit_status() -> String {
    let statuses = (0..).zip(EXIT_STATUSES);
    statuses.map(|(status, meaning)| format!(".TP\n.B {status}\n{}\n", words(meaning))).collect()
}

fn see_also(command: &Command, above: &[&Command]) -> String {
    let mut pages: Vec<&str> = above.iter().map(|it| name(it)).collect();
    if let Some(parent) = above.last().filter(|_| above.len() > 1) {
        let others = parent.get_subcommands().filter(|it| it.get_name() != command.get_name());
        pages.extend(others.map(name));
    }
    let first = pages.iter().map(|page| format!(".BR {} (1)", escaped(page)));
    let formats = ["config", "keyring", "assignment"].map(|format| format!(".BR relinkd\\-{format} (5)"));
    first.chain(formats).collect::<Vec<_>>().join(",\n") + "\n"
}

fn lower(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn paragraphs(text: &str) -> String {
    text.split("\n\n").map(words).collect::<Vec<_>>().join("\n.PP\n") + "\n"
}

/// Prose: what stands in backticks is bold.
fn words(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 1 { format!("\\fB{}\\fR", escaped(part)) } else { escaped(part) })
        .collect()
}

/// Text that troff takes as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "\\[u2026]");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
