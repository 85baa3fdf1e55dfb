//! The grammar of the command line: verbs, and the flags that all of them share.
//!
//! Read by `main`. Each verb's own flags and examples stand in its file. It must do no I/O; wrong usage ends in clap
//! with exit code 2.

mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use echo_proto::codec;

use crate::server::Servers;
use crate::{
    apply, backup, bench, completion, config, cordon, delete, describe, diff, doctor, drain, get, help, pin, probe,
    rollout, scale, up, version,
};
use values::timeout;

pub(crate) use values::{address, count, duration, percent, revision, selector, several};

/// The admin command line of an echo cluster.
#[derive(Debug, Parser)]
#[command(name = "echoctl", version = echo_proto::VERSION, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Verbs of other tools, and ours that does it. None of them is near by its letters.
const OTHER_WORDS: [(&str, &str); 8] = [
    ("create", "apply"),
    ("edit", "apply"),
    ("replace", "apply"),
    ("list", "get"),
    ("show", "describe"),
    ("logs", "describe"),
    ("remove", "delete"),
    ("start", "up"),
];

/// Flags of every verb.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Control to talk to [default: http://127.0.0.1:7400]; several with commas: the next one where one is away.
    #[arg(long, global = true, hide_short_help = true, env = "ECHO_SERVER", value_name = "URL")]
    pub(crate) server: Option<Servers>,
    /// Context of the config file to use, instead of the current one.
    #[arg(long, global = true, hide_short_help = true, env = "ECHO_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The config file [default: ~/.config/echo/config.yaml].
    #[arg(long, global = true, hide_short_help = true, env = "ECHOCTL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Longest wait, as in 10s or 1m: for an answer [default: 10s], or where a command waits for an end, for that.
    #[arg(long, global = true, hide_short_help = true, env = "ECHO_TIMEOUT", value_parser = timeout, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    #[arg(skip)]
    pub(crate) given: Given,
}

/// Which of the flags were typed, and not taken from the environment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given {
    pub(crate) server: bool,
    pub(crate) context: bool,
    pub(crate) timeout: bool,
}

impl Given {
    /// As clap found them.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        Self { server: typed("server"), context: typed("context"), timeout: typed("timeout") }
    }
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a whole cluster on this machine, until Ctrl-C.
    Up(up::Args),
    /// Create or change pools from files.
    Apply(apply::Args),
    /// List nodes, pools, revisions or events, or show one.
    Get(get::Args),
    /// Tell all about nodes, pools, revisions or events.
    Describe(describe::Args),
    /// Show what applying a file would change, or how revisions differ; exit 1 if anything.
    Diff(diff::Args),
    /// Write all pools to a file.
    Backup(backup::BackupArgs),
    /// Create or change the pools of a backup.
    Restore(backup::RestoreArgs),
    /// Delete pools, or retire nodes.
    Delete(delete::Args),
    /// Take nodes out of load balancing; they serve on.
    #[command(after_help = cordon::CORDON_EXAMPLES)]
    Cordon(cordon::Args),
    /// Take a cordon back.
    #[command(after_help = cordon::UNCORDON_EXAMPLES)]
    Uncordon(cordon::Args),
    /// Let nodes finish what they serve and take no more, and wait for it.
    Drain(drain::Args),
    /// Take a drain back: the nodes serve again.
    #[command(after_help = cordon::UNDRAIN_EXAMPLES)]
    Undrain(cordon::Args),
    /// Have nodes run a revision of their own, for debugging.
    #[command(after_help = pin::PIN_EXAMPLES)]
    Pin(pin::PinArgs),
    /// Take a pin back: the nodes run what is rolled out.
    #[command(after_help = pin::UNPIN_EXAMPLES)]
    Unpin(pin::UnpinArgs),
    /// Set how many nodes a pool has.
    Scale(scale::Args),
    /// Follow a rollout, stop it, or go back to an older revision.
    Rollout(rollout::Args),
    /// Send probes over TCP or UDP, as ping, and tell what the path does to them.
    Probe(probe::Args),
    /// Put a load on an echo over TCP or UDP, compare every byte, and tell rate and latencies.
    Bench(bench::Args),
    /// Look for what is wrong, or soon will be, here and in the cluster.
    Doctor(doctor::Args),
    /// Tell the versions of this command and of control.
    Version(version::Args),
    /// Name control planes, and choose which one is meant.
    Config(config::verbs::Args),
    /// Print the script by which a shell completes this command line.
    Completion(completion::Args),
}

impl Cli {
    /// Reads the command line; help and wrong usage end the process.
    pub(crate) fn read() -> Self {
        let mut command = grammar();
        let read = command.try_get_matches_from_mut(words());
        let matches = read.unwrap_or_else(|e| nearest_verb(typed_usage(e), std::env::args().nth(1)).exit());
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|e| e.format(&mut command).exit());
        cli.global.given = Given::of(&matches);
        cli
    }
}

impl Verb {
    /// Name of the root span.
    pub(crate) fn span(&self) -> &'static str {
        match self {
            Self::Up(_) => "echoctl up",
            Self::Apply(_) => "echoctl apply",
            Self::Get(_) => "echoctl get",
            Self::Describe(_) => "echoctl describe",
            Self::Diff(_) => "echoctl diff",
            Self::Backup(_) => "echoctl backup",
            Self::Restore(_) => "echoctl restore",
            Self::Delete(_) => "echoctl delete",
            Self::Cordon(_) => "echoctl cordon",
            Self::Uncordon(_) => "echoctl uncordon",
            Self::Drain(_) => "echoctl drain",
            Self::Undrain(_) => "echoctl undrain",
            Self::Pin(_) => "echoctl pin",
            Self::Unpin(_) => "echoctl unpin",
            Self::Scale(_) => "echoctl scale",
            Self::Rollout(args) => args.span(),
            Self::Probe(_) => "echoctl probe",
            Self::Bench(_) => "echoctl bench",
            Self::Doctor(_) => "echoctl doctor",
            Self::Version(_) => "echoctl version",
            Self::Config(args) => args.span(),
            Self::Completion(_) => "echoctl completion",
        }
    }
}

/// The words of the command line. Who asks for help on `help` means help.
fn words() -> Vec<OsString> {
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|verb| verb == "help") {
        words.retain(|word| word != "--help" && word != "-h");
    }
    words
}

/// The whole grammar, as this environment has it.
pub(crate) fn grammar() -> Command {
    // An empty variable is as none: that is how scripts and compose files unset one.
    let unset = |arg: Arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if empty { arg.env(Resettable::Reset) } else { arg }
    };
    help::command().mut_args(unset).mut_subcommand("up", |up| up.mut_args(unset))
}

/// The same mistake with a usage line of what was typed: clap shows flags of the environment too, as if they were
/// required.
fn typed_usage(error: clap::Error) -> clap::Error {
    if !error.use_stderr() {
        // Help that was asked for: it tells the variables.
        return error;
    }
    let without = |arg: Arg| arg.env(Resettable::Reset);
    let read = grammar().mut_args(without).try_get_matches_from(words());
    // A mistake of the environment is none without it.
    read.err().unwrap_or(error)
}

/// Names our nearest verb, or none, where clap names all that resemble it, be they the opposite of what was meant.
fn nearest_verb(mut error: clap::Error, first: Option<String>) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    // The verbs of `rollout` and `config` are few and unlike each other.
    if first.as_ref() != Some(word) {
        return error;
    }
    let verbs = Cli::command();
    let other = OTHER_WORDS.iter().find(|(theirs, _)| theirs == word).map(|(_, ours)| (*ours).to_owned());
    let near = other.or_else(|| codec::nearest(word, verbs.get_subcommands().map(|verb| verb.get_name().to_owned())));
    error.remove(ContextKind::Suggested);
    error.remove(ContextKind::SuggestedSubcommand);
    if let Some(near) = near {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        help::command().debug_assert();
    }

    #[test]
    fn a_bad_value_is_told_in_one_line_with_what_is_expected() {
        let cases = [
            ("scale pool/edge --replicas -1", "expected a whole number from 0"),
            ("scale pool/edge --replicas x", "expected a whole number from 0"),
            ("rollout undo edge --to-revision x", "expected the number of a revision"),
            ("rollout undo edge --to-revision 0", "expected the number of a revision"),
            ("get events --for default", "expected TYPE/NAME"),
            ("get events --for nod/a", "did you mean node?"),
            ("up --nodes -3", "expected a whole number from 0"),
            ("up --listen 7400", "expected IP:PORT"),
            ("get nodes --timeout 5", "expected a duration such as 10s"),
            ("get nodes -l a=b=c", "\"a=b=c\" has two operators"),
            ("drain -l a,,b", "\"\" names no label"),
            ("delete nodes -l !", "\"!\" names no label"),
            ("get nodes --server a:1,b", "\"b\": expected http://HOST:PORT"),
        ];
        for (line, expected) in cases {
            let words = std::iter::once("echoctl").chain(line.split(' '));
            let told = help::command().try_get_matches_from(words).map(|_| ()).map_err(|e| e.to_string());
            let first = told.as_ref().map_or_else(|told| told.lines().next().unwrap_or_default(), |()| "");
            assert!(first.contains(expected), "{line}: {told:?}");
        }
    }
}
