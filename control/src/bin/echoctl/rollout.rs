//! `echoctl rollout`: follows a pool's rollout to its end, stops it, or goes back to an older revision.
//!
//! Called by `main`. Only the grammar is here; what each verb does stands in its file.

mod aim;
pub(crate) mod history;
mod orders;
mod progress;
mod settle;
mod status;
mod told;
mod undo;

use clap::Subcommand;
use echo_proto::v1::RolloutOrderKind;

use crate::args::Global;
use crate::failure::Failure;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl rollout status pool/edge --timeout 1m
  echoctl rollout pause pool/edge
  echoctl rollout history pool/edge --revision 2
  echoctl rollout undo pool/edge --to-revision 2 -m 'too slow'";

/// `rollout` and what it does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Wait until all nodes run the newest revision; exit 0 only if they do.
    #[command(after_help = status::CODES_AND_EXAMPLES)]
    Status(status::StatusArgs),
    /// List the revisions that are kept, or show one.
    History(history::HistoryArgs),
    /// Give the new revision to no more nodes; those that have it keep it.
    Pause(orders::OrderArgs),
    /// Go on with a rollout that is paused, unless a node refused its revision: abort that.
    Resume(orders::OrderArgs),
    /// Take the new revision back from all nodes.
    Abort(orders::OrderArgs),
    /// Make an older revision the newest again.
    Undo(undo::UndoArgs),
}

impl Args {
    /// Name of the root span.
    pub(crate) fn span(&self) -> &'static str {
        match self.action {
            Action::Status(_) => "echoctl rollout status",
            Action::History(_) => "echoctl rollout history",
            Action::Pause(_) => "echoctl rollout pause",
            Action::Resume(_) => "echoctl rollout resume",
            Action::Abort(_) => "echoctl rollout abort",
            Action::Undo(_) => "echoctl rollout undo",
        }
    }
}

/// Does what is asked for.
///
/// # Errors
/// Control is away or refuses, there is no such pool, or the rollout did not complete.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Status(args) => status::run(global, args).await,
        Action::History(args) => history::run(global, args).await,
        Action::Pause(args) => orders::run(global, args, RolloutOrderKind::Pause).await,
        Action::Resume(args) => orders::run(global, args, RolloutOrderKind::Resume).await,
        Action::Abort(args) => orders::run(global, args, RolloutOrderKind::Abort).await,
        Action::Undo(args) => undo::run(global, args).await,
    }
}
