//! `echoctl rollout undo`: an older revision becomes the newest again.
//!
//! Called by `rollout`. It returns once control has stored it; `rollout status` follows what the nodes make of it.

use echo_proto::v1;

use crate::args::{Global, revision};
use crate::author::author;
use crate::chosen::line;
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::output::{print, warn};
use crate::target;

/// Flags of `rollout undo`.
#[derive(Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    /// Number of the revision to go back to; what the nodes ran before the newest unless given.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = revision)]
    to_revision: Option<u32>,
    /// Change the whole pool in one step, whatever its rollout policy says.
    #[arg(long)]
    now: bool,
    /// Why, for the history; "undo to revision N" unless given.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    message: String,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Asks control for it.
///
/// # Errors
/// Control is away or refuses, or there is no such pool or revision.
pub(super) async fn run(global: &Global, args: UndoArgs) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let path = format!("pool/{pool}");
    if args.dry_run.client() {
        let to = args.to_revision.map_or_else(|| "the revision before".to_owned(), |n| format!("revision {n}"));
        return print(&line(&path, &format!("rolled back to {to}"), &args.dry_run));
    }
    let mut control = Control::connect(global).await?;
    let request = v1::UndoRequest {
        pool: pool.to_string(),
        to_revision: args.to_revision.unwrap_or_default(),
        now: args.now,
        author: author(),
        dry_run: args.dry_run.any(),
        message: args.message,
    };
    let answer = control.pools.undo(request).await;
    let response = answer.map_err(|status| control.explain_change(status, "revisions"))?.into_inner();
    warn(&response.warnings);
    let n = response.revision.map_or(0, |r| r.n);
    let done = format!("rolled back to revision {}, as revision {n}", response.restored);
    print(&line(&path, &done, &args.dry_run))
}
