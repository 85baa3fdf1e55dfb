//! `echoctl completion`: the script by which a shell completes this command line.
//!
//! Called by `main`. It asks no control: what is completed are verbs, flags and their values, not names of objects.

use clap_complete::Shell;

use crate::failure::Failure;
use crate::help;
use crate::output::print;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  source <(echoctl completion bash)                               in this shell; in ~/.bashrc: in every one
  echoctl completion zsh > \"${fpath[1]}/_echoctl\"
  echoctl completion fish > ~/.config/fish/completions/echoctl.fish";

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
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    // Into memory first: clap_complete panics where its output can't be written.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut help::command(), "echoctl", &mut script);
    print(&String::from_utf8_lossy(&script))
}
