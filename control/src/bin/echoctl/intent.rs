//! What an operator wants of single nodes, as control is asked for it.
//!
//! Used by `cordon`, `uncordon`, `drain`, `undrain` and `delete`. Waits for nothing.

use std::time::Duration;

use echo_proto::v1::{self, IntentKind};
use tonic::Status;

use crate::author::author;
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::object::Object as _;

/// How a node shall drain.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct DrainArgs {
    /// Close what is still open after so long, as in 30s; what the pool says unless given.
    #[arg(long, value_parser = crate::args::duration, value_name = "TIME")]
    deadline: Option<Duration>,
    /// Wait for nothing: open connections are closed at once.
    #[arg(long)]
    force: bool,
}

impl DrainArgs {
    /// Whether open connections are closed at once.
    pub(crate) fn forced(self) -> bool {
        self.force
    }

    /// Whether one of its flags was given.
    pub(crate) fn given(self) -> bool {
        self.force || self.deadline.is_some()
    }
}

/// Asks control for `kind` of this node.
///
/// # Errors
/// Control is away or refuses.
pub(crate) async fn set(
    control: &mut Control,
    node: &v1::Node,
    kind: IntentKind,
    drain: DrainArgs,
    dry_run: &DryRunArgs,
) -> Result<v1::SetIntentResponse, Failure> {
    let deadline = match drain.deadline.map(TryInto::try_into) {
        None => None,
        Some(Ok(deadline)) => Some(deadline),
        Some(Err(_)) => return Err(Failure::Usage("--deadline is too long".to_owned())),
    };
    let request = v1::SetIntentRequest {
        node: node.name().to_owned(),
        pool: pool_of(node),
        kind: kind.into(),
        deadline,
        force: drain.force,
        author: author(),
        dry_run: dry_run.any(),
    };
    answered(control, control.nodes.clone().set_intent(request).await)
}

/// Takes `kind` of this node back.
///
/// # Errors
/// Control is away or refuses.
pub(crate) async fn clear(
    control: &mut Control,
    node: &v1::Node,
    kind: IntentKind,
    dry_run: &DryRunArgs,
) -> Result<v1::ClearIntentResponse, Failure> {
    let request = v1::ClearIntentRequest {
        node: node.name().to_owned(),
        pool: pool_of(node),
        kind: kind.into(),
        author: author(),
        dry_run: dry_run.any(),
    };
    answered(control, control.nodes.clone().clear_intent(request).await)
}

/// The pool of a node.
pub(crate) fn pool_of(node: &v1::Node) -> String {
    node.status.as_ref().map(|status| status.pool.clone()).unwrap_or_default()
}

fn answered<T>(control: &Control, answer: Result<tonic::Response<T>, Status>) -> Result<T, Failure> {
    answer.map(tonic::Response::into_inner).map_err(|status| control.explain_change(status, "nodes"))
}
