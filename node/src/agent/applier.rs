//! Carries out what the assignment says: the only owner of the doorway.
//!
//! One task, driven by the cell that the session fills. It must never wait for etcd: its answer goes into another cell.
//! What can't be applied is refused with its cause and what was served before goes on.

mod attempt;
mod fallback;

use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::spec::{DEFAULT_DRAIN_DEADLINE, Plan};
use echo_proto::v1::{self, NodePhase};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::assignment::{Assignment, cut};
use super::decide::{Decision, Held, Role};
use super::report::{ASSIGNED, CONFIG_READABLE, Report};
use super::saved::SavedConfig;
use super::watch::Assigned;
use crate::live::{ApplyError, Live};
use echo_proto::backoff::Backoff;
use fallback::Fallback;

/// First wait before a refused `stable` is tried again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Owns the doorway and says how it stands.
#[derive(Debug)]
pub struct Applier {
    live: Live,
    node: NodeId,
    pool: PoolName,
    held: Held,
    report: watch::Sender<Report>,
    current: Option<Assignment>,
    backoff: Backoff,
    retry: Option<Instant>,
    drain_deadline: Duration,
    fallback: Option<Fallback>,
}

impl Applier {
    /// An applier that serves nothing yet.
    pub fn new(
        live: Live,
        node: NodeId,
        pool: PoolName,
        report: watch::Sender<Report>,
        saved: Option<SavedConfig>,
    ) -> Self {
        let backoff = Backoff::new(RETRY.0, RETRY.1);
        let drain_deadline = DEFAULT_DRAIN_DEADLINE;
        let held = Held::default();
        let fallback = saved.map(Fallback::new);
        Self { live, node, pool, held, report, current: None, backoff, retry: None, drain_deadline, fallback }
    }

    /// Follows the assignment until `stop`; what is being applied then is finished first.
    pub async fn run(mut self, mut assigned: watch::Receiver<Assigned>, mut stop: oneshot::Receiver<()>) -> Self {
        loop {
            let retry = self.retry;
            let (fall_back, keep) = self.fallback.as_ref().map_or((None, None), |f| (f.use_at, f.keep_at));
            tokio::select! {
                biased;
                _ = &mut stop => return self,
                changed = assigned.changed() => {
                    if changed.is_err() {
                        // Whoever fills the cell is gone; what is served goes on until the process is told to stop.
                        let _ = stop.await;
                        return self;
                    }
                    let assigned = assigned.borrow_and_update().clone();
                    self.take(assigned).await;
                }
                () = at(retry) => {
                    self.retry = None;
                    self.settle(false).await;
                }
                () = at(fall_back) => self.fall_back().await,
                () = at(keep) => self.keep().await,
            }
        }
    }

    /// Serves a plan that no assignment names, as `--config` does.
    ///
    /// # Errors
    /// It could not be applied; nothing is served.
    pub async fn serve(&mut self, plan: &Arc<Plan>, revision: v1::RevisionRef) -> Result<(), ApplyError> {
        let bound = self.live.apply(plan).await?;
        self.served(revision, plan, &bound, None);
        Ok(())
    }

    /// The doorway, for who ends it.
    pub fn live(&mut self) -> &mut Live {
        &mut self.live
    }

    /// How long open connections may go on in a drain, as the newest config says.
    pub fn drain_deadline(&self) -> Duration {
        self.drain_deadline
    }

    /// Changes what is said, without a change of what is served.
    pub fn say(&self, change: impl FnOnce(&mut Report)) {
        self.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            *report != before
        });
    }

    /// Ends the shards.
    pub async fn end(self) {
        self.live.stop().await;
    }

    async fn take(&mut self, assigned: Assigned) {
        match assigned {
            Assigned::Unknown => {}
            // Who has this node's id serves at its addresses.
            Assigned::Withheld => self.no_fallback(),
            Assigned::Value(json) => match Assignment::read(&json, &self.node) {
                Ok(assignment) => {
                    self.no_fallback();
                    self.say(|report| report.clear(&[CONFIG_READABLE, ASSIGNED]));
                    self.current = Some(assignment);
                    self.backoff.reset();
                    self.settle(true).await;
                }
                Err(errors) => self.unreadable(cut(errors.to_string())).await,
            },
            Assigned::Absent => self.absent().await,
            Assigned::Deleted => self.deleted().await,
        }
    }

    /// Applies until what is served is what is wanted, or must be waited for.
    async fn settle(&mut self, first: bool) {
        let Some(assignment) = self.current.take() else { return };
        self.retry = None;
        // A refused `next` leads to `stable`, and there it ends.
        while let Decision::Apply(role, offer) = self.held.decide(&assignment) {
            let trace = if first { assignment.trace.as_ref() } else { None };
            if self.attempt(role, offer, &assignment, trace).await {
                self.backoff.reset();
            } else if role == Role::Stable {
                let wait = self.backoff.next_wait();
                info!(revision = offer.revision.n, ?wait, "will try again");
                self.retry = Some(Instant::now() + wait);
                break;
            }
        }
        self.current = Some(assignment);
    }

    async fn unreadable(&mut self, cause: String) {
        let stands = self.stands().await;
        warn!(reason = cause, serving = stands, "the assignment can't be read; going by the last one that could be");
        let nothing = self.held.applied.is_none();
        self.say(|report| {
            report.warn(CONFIG_READABLE, "Garbage", format!("the assignment can't be read: {cause}"));
            report.trace = None;
            if nothing {
                report.phase = NodePhase::Rejected;
            }
        });
    }

    /// The key is not there, but no deletion was seen: the pool was never made, or etcd lost it.
    async fn absent(&mut self) {
        if !self.stands().await {
            info!(pool = %self.pool, "the pool does not exist; waiting for it");
            return self.no_pool();
        }
        warn!(pool = %self.pool, "the assignment is missing though nobody deleted it; serving on");
        let message = "the assignment key is missing, though it was not deleted; serving on".to_owned();
        self.say(|report| {
            report.warn(ASSIGNED, "KeyMissing", message);
            report.trace = None;
        });
    }

    /// Whether there is a config to go by where etcd has none: the one that is known, or the one that was saved.
    async fn stands(&mut self) -> bool {
        if self.current.is_none() && self.held.applied.is_none() {
            self.fall_back().await;
        }
        self.current.is_some() || self.held.applied.is_some()
    }

    async fn deleted(&mut self) {
        self.no_fallback();
        info!(pool = %self.pool, "the pool was deleted; closing its listeners, open connections go on");
        self.live.close_listeners().await;
        self.forget().await;
        self.no_pool();
    }

    fn no_pool(&mut self) {
        (self.held, self.current, self.retry) = (Held::default(), None, None);
        self.say(|report| report.emptied(NodePhase::NoPool));
    }
}

/// When it is time; never, if there is nothing to wait for.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
