//! `echoctl rollout pause`, `resume` and `abort`: orders for the rollout that is on its way.
//!
//! Called by `rollout`. Each returns once control has stored it; `rollout status` shows what comes of it.

use echo_proto::v1::{self, RolloutOrderKind};

use crate::args::Global;
use crate::author::author;
use crate::chosen::line;
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::output::print;
use crate::target;

/// Flags of these verbs.
#[derive(Debug, clap::Args)]
pub(super) struct OrderArgs {
    /// The pool.
    #[arg(required = true, num_args = 1..=2, value_name = "pool/NAME")]
    target: Vec<String>,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Asks control for it.
///
/// # Errors
/// Control is away or refuses, or there is no such pool.
pub(super) async fn run(global: &Global, args: OrderArgs, kind: RolloutOrderKind) -> Result<(), Failure> {
    let pool = target::pool(&args.target)?;
    let path = format!("pool/{pool}");
    let (done, needless) = words(kind);
    if args.dry_run.client() {
        return print(&line(&path, done, &args.dry_run));
    }
    let mut control = Control::connect(global).await?;
    let dry_run = args.dry_run.any();
    let request = v1::OrderRolloutRequest { pool: pool.to_string(), kind: kind.into(), author: author(), dry_run };
    let answer = control.pools.order_rollout(request).await;
    let response = answer.map_err(|status| control.explain_change(status, "pools"))?.into_inner();
    let n = response.rollout.and_then(|rollout| rollout.to).map(|to| format!(" of revision {}", to.n));
    let said = if response.unchanged { needless } else { done };
    print(&line(&path, &format!("rollout{} {said}", n.unwrap_or_default()), &args.dry_run))
}

/// What is said of an order that was stored, and of one for which there was no need.
fn words(kind: RolloutOrderKind) -> (&'static str, &'static str) {
    match kind {
        RolloutOrderKind::Pause => ("paused", "already paused"),
        RolloutOrderKind::Resume => ("resumed", "not paused"),
        RolloutOrderKind::Abort | RolloutOrderKind::Unspecified => ("aborted", "already aborted"),
    }
}
