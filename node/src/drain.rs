//! How a node leaves without losing what it has begun.
//!
//! Called by [`crate::app`] on SIGTERM, SIGINT or a retire intent; the caller gives the registration back afterwards, and
//! may drop this at any point to end at once. Every step has its limit.

use std::time::Duration;

use echo_proto::v1::NodePhase;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::agent::applier::Applier;
use crate::agent::link::Link;
use crate::agent::report::Report;

/// Longest wait until the record says that the node drains.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// Not ready -> the record says so -> listeners closed -> connections end, or are ended at `deadline`.
pub async fn drain(
    mut applier: Applier,
    report: watch::Receiver<Report>,
    mut link: watch::Receiver<Link>,
    deadline: Option<Duration>,
) {
    applier.say(|report| {
        report.phase = NodePhase::Draining;
        report.trace = None;
    });
    if matches!(*link.borrow(), Link::Registered(_)) {
        let told = link.wait_for(|link| has_told(link, &report));
        if timeout(TELL_LIMIT, told).await.is_err() {
            warn!(limit = ?TELL_LIMIT, "etcd was not told in time that this node drains");
        }
    }
    let deadline = deadline.unwrap_or_else(|| applier.drain_deadline());
    let live = applier.live();
    info!(connections = live.connections(), ?deadline, "draining");
    live.close_listeners().await;
    applier.say(|report| report.listeners.clear());
    let live = applier.live();
    let left = live.wait_idle(deadline).await;
    if left > 0 {
        warn!(connections = left, ?deadline, "closing connections that are still open");
    }
    applier.end().await;
    info!("drained");
}

/// Whether there is nothing left to tell: the record says it, or etcd is gone.
fn has_told(link: &Link, report: &watch::Receiver<Report>) -> bool {
    match link {
        Link::Registered(told) => **told == *report.borrow(),
        Link::Joining | Link::Lost { .. } => true,
    }
}

#[cfg(test)]
mod tests;
