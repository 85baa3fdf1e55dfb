//! The first page of help: the verbs in groups, as kubectl shows them.
//!
//! Used by `main` and `completion`. clap lists all verbs under one heading, so that the groups are made here, from
//! clap's own names and sentences.

use clap::{Command, CommandFactory as _};

use crate::args::Cli;

/// Every verb, in the order in which a newcomer meets them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Getting started", &["up", "get", "apply"]),
    ("Look", &["describe", "diff", "probe", "bench", "doctor", "version"]),
    ("Change", &["scale", "rollout", "pin", "unpin", "delete", "backup", "restore"]),
    ("Take nodes out of service", &["cordon", "uncordon", "drain", "undrain"]),
    ("Settings", &["config", "completion", "help"]),
];

/// Below the verbs.
const EXAMPLES: &str = "\
Examples:
  echoctl up                                      a cluster on this machine, to play with
  echoctl get nodes                               what runs, and how
  echoctl apply -f edge.yaml                      create or change a pool
  echoctl rollout status pool/edge                and wait until all its nodes follow
  echoctl config set-context lab --server URL     name a control plane that is elsewhere

`echoctl VERB --help` tells a verb's flags, with examples.";

/// The whole grammar, with its first page.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let page = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}{EXAMPLES}\n\nOptions:\n{{options}}",
        groups(&command)
    );
    command.help_template(page)
}

fn groups(command: &Command) -> String {
    let width = command.get_subcommands().map(|verb| verb.get_name().len()).max().unwrap_or_default();
    let line = |name: &&str| {
        let about = match command.find_subcommand(name) {
            Some(verb) => verb.get_about()?.to_string(),
            // clap adds this one only when it reads a command line.
            None => Some("Show this page, or that of a verb".to_owned()).filter(|_| *name == "help")?,
        };
        Some(format!("  {name:width$}  {about}\n"))
    };
    let group =
        |(title, verbs): &(&str, &[&str])| format!("{title}:\n{}\n", verbs.iter().filter_map(line).collect::<String>());
    GROUPS.iter().map(group).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
        command.get_subcommands().flat_map(|verb| std::iter::once(verb).chain(verb.get_subcommands()))
    }

    #[test]
    fn every_verb_stands_in_one_group() {
        for verb in command().get_subcommands().map(Command::get_name) {
            let groups = GROUPS.iter().filter(|(_, verbs)| verbs.contains(&verb)).count();
            assert_eq!(groups, 1, "{verb} stands in {groups} groups of GROUPS");
        }
    }

    #[test]
    fn every_verb_has_an_example_that_it_understands() {
        for verb in command().get_subcommands() {
            let name = verb.get_name();
            let text = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = text.lines().filter(|line| line.starts_with("  "));
            let lines: Vec<_> = examples.filter_map(|line| Some(line.split_once("echoctl ")?.1)).collect();
            assert!(!lines.is_empty(), "{name} has no example:\n{text}");
            for line in lines {
                // Up to a comment, a pipe, or the end of a substitution.
                let line = line.split("  ").next().unwrap().split(['|', '>', ')', ';', '&']).next().unwrap();
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                let result = command().try_get_matches_from(std::iter::once("echoctl").chain(words));
                // Quoted sentences fall apart into words: a message's second word is no argument of ours.
                assert!(result.is_ok() || line.contains('\''), "{line}: {}", result.unwrap_err());
            }
        }
    }

    #[test]
    fn no_text_below_the_flags_is_broken_by_a_terminal() {
        for verb in verbs(&command()) {
            let text = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 100).collect();
            assert!(long.is_empty(), "{}: {long:?}", verb.get_name());
        }
    }

    #[test]
    fn the_short_help_has_the_verbs_own_flags_only() {
        let mut command = command();
        command.build();
        let drain = command.find_subcommand_mut("drain").unwrap();
        let (short, long) = (drain.render_help().to_string(), drain.render_long_help().to_string());
        assert!(short.contains("--detach") && !short.contains("--server"), "{short}");
        assert!(short.contains("--help'"), "the other is named: {short}");
        assert!(long.contains("--detach") && long.contains("--server"), "{long}");
    }

    #[test]
    fn every_flag_and_verb_is_explained_in_a_sentence() {
        let command = command();
        for verb in verbs(&command) {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about:?}", verb.get_name());
            for flag in verb.get_arguments() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{} {}: {help:?}", verb.get_name(), flag.get_id());
            }
        }
    }
}
