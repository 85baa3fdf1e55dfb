//! `echoctl pin` and `unpin`: one node runs a revision of its own, or what its pool rolls out again.
//!
//! Called by `main`. Both return once control has stored it; `get nodes` shows when the node follows.

use echo_proto::v1;

use crate::args::{Global, revision};
use crate::author::author;
use crate::chosen::{NodeArgs, line, one_of_several};
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::intent::pool_of;
use crate::object::Object as _;
use crate::output::print;

/// Shown at the end of `pin --help`.
pub(crate) const PIN_EXAMPLES: &str = "\
For debugging: a pinned node runs its revision whatever is rolled out, and no rollout waits for it,
until it is unpinned. At most 16 nodes of a pool are pinned, to at most 4 revisions.

Examples:
  echoctl pin node/node-1 --revision 3
  echoctl rollout history pool/edge            the revisions there are";

/// Shown at the end of `unpin --help`.
pub(crate) const UNPIN_EXAMPLES: &str = "\
Examples:
  echoctl unpin node/node-1
  echoctl unpin -l pool=edge";

/// Flags of `pin`.
#[derive(Debug, clap::Args)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    nodes: NodeArgs,
    /// Number of the revision that they shall run.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = revision)]
    revision: u32,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Flags of `unpin`.
#[derive(Debug, clap::Args)]
pub(crate) struct UnpinArgs {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Pins every node.
///
/// # Errors
/// A node isn't there, or control is away or refused one.
pub(crate) async fn pin(global: &Global, args: PinArgs) -> Result<(), Failure> {
    run(global, &args.nodes, args.revision, &args.dry_run).await
}

/// Takes the pins of all nodes back.
///
/// # Errors
/// A node isn't there, or control is away or refused one.
pub(crate) async fn unpin(global: &Global, args: UnpinArgs) -> Result<(), Failure> {
    run(global, &args.nodes, 0, &args.dry_run).await
}

async fn run(global: &Global, nodes: &NodeArgs, revision: u32, dry_run: &DryRunArgs) -> Result<(), Failure> {
    let nodes = nodes.read()?;
    if dry_run.client() {
        return nodes.unasked(&said(revision, 0, false), dry_run);
    }
    let mut control = Control::connect(global).await?;
    let mut refused = false;
    // Of a node that is gone only its pin may be left, so that names to unpin are not looked for first.
    let named = match (revision, nodes.named()) {
        (0, Some(named)) => named,
        _ => nodes.find(&mut control).await?.iter().map(|node| (node.name().to_owned(), pool_of(node))).collect(),
    };
    for (node, pool) in named {
        let path = format!("node/{node}");
        let request = v1::PinRequest { node, pool, revision, author: author(), dry_run: dry_run.any() };
        let answer = control.nodes.pin(request).await;
        let answer = answer.map_err(|status| control.explain_change(status, "nodes"));
        match one_of_several(&path, answer.map(tonic::Response::into_inner))? {
            Some(answer) => print(&line(&path, &said(revision, answer.previous, answer.unchanged), dry_run))?,
            None => refused = true,
        }
    }
    if refused { Err(Failure::Partly) } else { Ok(()) }
}

fn said(revision: u32, previous: u32, unchanged: bool) -> String {
    match (revision, previous, unchanged) {
        (0, _, true) => "not pinned".to_owned(),
        (0, 0, false) => "unpinned".to_owned(),
        (0, n, false) => format!("unpinned from revision {n}"),
        (n, _, true) => format!("already pinned to revision {n}"),
        (n, _, false) => format!("pinned to revision {n}"),
    }
}
