//! The grammar of the command line: verbs, and the flags that all of them share.
//!
//! Read by `main`. Each verb's own flags and examples stand in its file. It must do no I/O; wrong usage ends in clap
//! with exit code 2.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use echo_proto::codec;

use crate::connect::Server;
use crate::{apply, cordon, delete, describe, drain, get, rollout, scale, up, version};

/// Where `echoctl up` serves.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7400";

/// The admin command line of an echo cluster.
#[derive(Debug, Parser)]
#[command(name = "echoctl", version = echo_proto::VERSION, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Control to talk to.
    #[arg(long, global = true, env = "ECHO_SERVER", default_value = DEFAULT_SERVER, value_name = "URL")]
    #[arg(help_heading = "Global options")]
    pub(crate) server: Server,
    /// Longest wait, as in 10s or 1m: for an answer (10s unless given), or for a rollout's end (no limit unless given).
    #[arg(long, global = true, env = "ECHO_TIMEOUT", value_parser = duration, value_name = "TIME")]
    #[arg(help_heading = "Global options")]
    pub(crate) timeout: Option<Duration>,
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
    /// Set how many nodes a pool has.
    Scale(scale::Args),
    /// Follow a rollout, or go back to an older revision.
    Rollout(rollout::Args),
    /// Tell the versions of this command and of control.
    Version(version::Args),
}

impl Verb {
    /// Name of the root span.
    pub(crate) fn span(&self) -> &'static str {
        match self {
            Self::Up(_) => "echoctl up",
            Self::Apply(_) => "echoctl apply",
            Self::Get(_) => "echoctl get",
            Self::Describe(_) => "echoctl describe",
            Self::Delete(_) => "echoctl delete",
            Self::Cordon(_) => "echoctl cordon",
            Self::Uncordon(_) => "echoctl uncordon",
            Self::Drain(_) => "echoctl drain",
            Self::Undrain(_) => "echoctl undrain",
            Self::Scale(_) => "echoctl scale",
            Self::Rollout(args) => args.span(),
            Self::Version(_) => "echoctl version",
        }
    }
}

/// A duration as people write it; a value parser for clap.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    codec::parse_duration(text).ok_or_else(|| "expected a duration such as 10s, 500ms or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }
}
