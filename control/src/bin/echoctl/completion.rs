//! `echoctl completion`: the script by which a shell completes this command line; and what that script calls.
//!
//! Called by `main`: [`answer`] before anything else, [`run`] as a verb. The script asks this program at every Tab, so
//! that types, contexts, and names of objects are completed too. A Tab never fails aloud, and never waits for long.

mod names;
mod typed;

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Arg, Command, ValueHint};
use clap_complete::CompleteEnv;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::Shells;

use self::names::Wanted;
use self::typed::Typed;
use crate::args::grammar;
use crate::failure::Failure;
use crate::output::print;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  source <(echoctl completion bash)        in this shell; in ~/.bashrc: in every one
  source <(echoctl completion zsh)         in ~/.zshrc, below compinit
  echoctl completion fish | source         in ~/.config/fish/config.fish

Names of nodes, pools and revisions are asked of the control that the line means.";

/// By this variable a script says for which shell it asks.
const VARIABLE: &str = "ECHOCTL_COMPLETE";

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Kind,
}

/// The shells that have a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
///
/// # Errors
/// Stdout is closed.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let shell = match args.shell {
        Kind::Bash => "bash",
        Kind::Zsh => "zsh",
        Kind::Fish => "fish",
    };
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(shell) {
        let written = shell.write_registration(VARIABLE, "echoctl", "echoctl", &program(), &mut script);
        written.map_err(Failure::Output)?;
    }
    print(&String::from_utf8_lossy(&script))
}

/// What the script calls: this program as it was called, wherever the shell stands then.
fn program() -> String {
    let called = std::env::args_os().next().map_or_else(|| "echoctl".into(), PathBuf::from);
    match std::env::current_dir() {
        Ok(folder) if called.components().count() > 1 => folder.join(called),
        _ => called,
    }
    .display()
    .to_string()
}

/// Answers a script's question; `false`: this is none, but a command.
pub(crate) fn answer() -> bool {
    let asked = CompleteEnv::with_factory(completed).var(VARIABLE);
    // What can't be completed is not: a message would stand in the middle of somebody's line.
    asked.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// The command line with what may stand in each place.
fn completed() -> Command {
    let typed = Typed::read();
    let flags = typed.current.to_string_lossy().starts_with('-');
    with_values(grammar(), flags)
}

/// `flags`: offer them beside values; as kubectl, not before somebody begins to type one.
fn with_values(command: Command, flags: bool) -> Command {
    let name = command.get_name().to_owned();
    let value = |arg: Arg| {
        let arg = if flags || arg.is_positional() { arg } else { arg.hide(true) };
        match (wanted(&name, &arg), arg.get_value_names().and_then(<[_]>::first).map(|name| name.as_str())) {
            (Some(wanted), _) => {
                let complete = move |current: &OsStr| wanted.candidates(&Typed::read(), current);
                arg.add(ArgValueCompleter::new(complete))
            }
            (None, Some("FILE")) => arg.value_hint(ValueHint::FilePath),
            (None, Some("DIR")) => arg.value_hint(ValueHint::DirPath),
            (None, _) => arg,
        }
    };
    // clap adds these two by itself, later.
    let command = command.disable_help_flag(!flags).disable_version_flag(!flags);
    command.mut_args(value).mut_subcommands(|verb| with_values(verb, flags))
}

/// What a flag or a word is the name of, by what the help calls it.
fn wanted(verb: &str, arg: &Arg) -> Option<Wanted> {
    let shown = arg.get_value_names().and_then(<[_]>::first)?.as_str();
    match (verb, arg.get_id().as_str(), shown) {
        ("delete", "target", _) => Some(Wanted::Deletable),
        (_, "context", _) | ("use-context" | "set-context" | "delete-context", "name", _) | (_, _, "OLD") => {
            Some(Wanted::Context)
        }
        (_, "pool", "NAME") => Some(Wanted::PoolName),
        ("pin", "revision", _) => Some(Wanted::RevisionOfNode),
        (_, "revision" | "to_revision", _) => Some(Wanted::RevisionOfPool),
        (_, _, "TYPE[/NAME]") => Some(Wanted::Listed),
        (_, _, "TYPE/NAME" | "TARGET") => Some(Wanted::Object),
        (_, _, "NODE") => Some(Wanted::Node),
        (_, _, "pool/NAME") => Some(Wanted::Pool),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_revision_is_completed() {
        fn flags<'c>(verb: &'c Command, found: &mut Vec<(&'c str, Option<Wanted>)>) {
            let of = |arg: &'c Arg| {
                arg.get_long().filter(|long| long.ends_with("revision")).map(|_| wanted(verb.get_name(), arg))
            };
            found.extend(verb.get_arguments().filter_map(of).map(|wanted| (verb.get_name(), wanted)));
            verb.get_subcommands().for_each(|verb| flags(verb, found));
        }
        let (command, mut found) = (grammar(), Vec::new());
        flags(&command, &mut found);
        let of = |verb, wanted| (verb, Some(wanted));
        let pool = [("diff", 2), ("history", 1), ("status", 1), ("undo", 1)];
        let pool = pool.into_iter().flat_map(|(verb, flags)| vec![of(verb, Wanted::RevisionOfPool); flags]);
        let mut all: Vec<_> = pool.chain([of("pin", Wanted::RevisionOfNode)]).collect();
        all.sort_unstable_by_key(|(verb, _)| *verb);
        found.sort_unstable_by_key(|(verb, _)| *verb);
        assert_eq!(found, all);
    }

    #[test]
    fn every_word_that_names_an_object_is_completed() {
        let command = grammar();
        for verb in [
            "get", "describe", "delete", "cordon", "uncordon", "drain", "undrain", "pin", "unpin", "scale", "probe",
            "bench",
        ] {
            let verb = command.find_subcommand(verb).expect("it is a verb");
            for word in verb.get_positionals().filter(|word| word.get_possible_values().is_empty()) {
                assert!(wanted(verb.get_name(), word).is_some(), "{} {}", verb.get_name(), word.get_id());
            }
        }
    }
}
