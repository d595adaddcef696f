//! Completions for a shell: what `clap_complete` makes, without words that nobody types, and with the ids of keys.

use crate::cli::Cli;
use crate::cli::output::{self, Exit};
use clap::{CommandFactory, ValueEnum};

/// The shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The ids of keys, one a line; nothing for whoever may not read the keyring.
const KEY_IDS: &str = "relinkd key list 2>/dev/null | sed -n '2,$s/ .*//p'";

/// Writes the completions of a shell to standard output.
pub(in crate::cli) fn run(shell: Shell) -> Exit {
    output::script(script(shell).trim_end());
    Exit::Done
}

fn script(shell: Shell) -> String {
    let (generator, extended): (_, fn(&str) -> String) = match shell {
        Shell::Bash => (clap_complete::Shell::Bash, bash),
        Shell::Zsh => (clap_complete::Shell::Zsh, zsh),
        Shell::Fish => (clap_complete::Shell::Fish, fish),
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "relinkd", &mut script);
    extended(std::str::from_utf8(&script).expect("clap_complete writes UTF-8"))
}

/// It offers `<ID>` and `[ISSUE]` as words.
fn bash(script: &str) -> String {
    let words = |line: &str| {
        let words = line.trim_start().strip_prefix("opts=\"")?.strip_suffix('"')?.split(' ');
        let typed = words.filter(|word| !word.starts_with(['<', '[']) && !word.ends_with(['>', ']']));
        Some(format!("opts=\"{}\"", typed.collect::<Vec<_>>().join(" ")))
    };
    let lines: Vec<String> =
        script.lines().map(|line| words(line).unwrap_or_else(|| line.to_owned())).collect();
    format!(
        "{}

_relinkd_or_key_ids() {{
    case \"${{COMP_WORDS[*]:0:COMP_CWORD}}\" in
        *'key promote' | *'key retire')
            COMPREPLY=($(compgen -W \"$({KEY_IDS})\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))
            if [[ ${{#COMPREPLY[@]}} -gt 0 ]]; then return; fi
            ;;
    esac
    _relinkd \"$@\"
}}
complete -F _relinkd_or_key_ids -o nosort -o bashdefault -o default relinkd
",
        lines.join("\n")
    )
}

fn zsh(script: &str) -> String {
    let of_key = "':id -- The key'\\''s id:'";
    let ids = format!("_relinkd_key_ids() {{\n    compadd -- ${{(f)\"$({KEY_IDS})\"}}\n}}\n\n");
    script.replace(of_key, "':id -- The key'\\''s id:_relinkd_key_ids'").replacen(
        "_relinkd() {",
        &format!("{ids}_relinkd() {{"),
        1,
    )
}

fn fish(script: &str) -> String {
    format!(
        "{script}complete -c relinkd -n \"__fish_seen_subcommand_from key; and __fish_seen_subcommand_from promote retire\" -f -a \"({})\"\n",
        KEY_IDS.replace('$', "\\$")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shell_offers_what_nobody_types_and_each_the_ids_of_keys() {
        let [bash, zsh, fish] = [Shell::Bash, Shell::Zsh, Shell::Fish].map(script);
        for line in bash.lines().filter(|line| line.trim_start().starts_with("opts=")) {
            assert!(!line.contains(['<', '[']), "{line}");
        }
        assert_eq!(zsh.matches(":_relinkd_key_ids'").count(), 2, "promote and retire");
        assert!(zsh.contains("_relinkd_key_ids() {") && fish.contains("relinkd key list"));
    }
}
