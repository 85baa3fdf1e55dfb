//! Carries out what the assignment says: the only owner of the doorway.
//!
//! One task, driven by the cell that the session fills. It must never wait for etcd: its answer goes into another cell.
//! What can't be applied is refused with its cause and what was served before goes on.

mod attempt;
mod fallback;
mod guard;
mod leave;

use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::{Incarnation, NodeId, PoolName};
use echo_proto::spec::{DrainPlan, Plan};
use echo_proto::v1::{self, NodePhase};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::assignment::{Assignment, cut};
use super::decide::{Decision, Held, Role};
use super::identity::Identity;
use super::link::Link;
use super::ports::FleetPorts;
use super::report::{ASSIGNED, CONFIG_READABLE, Report};
use super::saved::SavedConfig;
use super::watch::Assigned;
use crate::drain::Wish;
use crate::live::{ApplyError, Doorway, Live};
use crate::settings::Settings;
use echo_proto::backoff::Backoff;
use fallback::Fallback;
use leave::Doors;

/// First wait before a refused `stable` is tried again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whom an applier works for.
#[derive(Debug)]
pub struct Own {
    /// The node's id.
    pub node: NodeId,
    /// Its pool.
    pub pool: PoolName,
    /// This life of it.
    pub incarnation: Incarnation,
    /// How long the drain at its end may take, whatever the config says.
    pub drain_deadline: Option<Duration>,
    /// How long a config serves before it counts as good.
    pub good_after: Duration,
}

impl Own {
    /// The node of these settings, in the life that `identity` tells of.
    pub fn of(settings: &Settings, identity: &Identity) -> Self {
        Self {
            node: settings.id.clone(),
            pool: settings.pool.clone(),
            incarnation: identity.incarnation.clone(),
            drain_deadline: settings.drain_deadline,
            good_after: settings.good_after,
        }
    }
}

/// The cells that an applier follows.
#[derive(Debug)]
pub struct Inbox {
    /// What the leader assigned.
    pub assigned: watch::Receiver<Assigned>,
    /// What an operator wants of this node.
    pub intents: watch::Receiver<Option<v1::Intent>>,
    /// Ports at which the fleet answers datagrams; `None` until they are told.
    pub fleet_ports: watch::Receiver<Option<FleetPorts>>,
    /// That the process is to end.
    pub leave: watch::Receiver<Option<Wish>>,
    /// How the node stands with etcd.
    pub link: watch::Receiver<Link>,
}

/// Owns the doorway and says how it stands.
#[derive(Debug)]
pub struct Applier<D = Live> {
    live: D,
    own: Own,
    held: Held,
    report: watch::Sender<Report>,
    current: Option<Assignment>,
    backoff: Backoff,
    retry: Option<Instant>,
    /// Where the node is in its life, but for a drain.
    stands: NodePhase,
    doors: Doors,
    /// As the newest config that was served has it.
    drain_plan: DrainPlan,
    fallback: Option<Fallback>,
}

impl<D: Doorway> Applier<D> {
    /// An applier that serves nothing yet.
    pub fn new(live: D, own: Own, report: watch::Sender<Report>, saved: Option<SavedConfig>) -> Self {
        let fallback = saved.map(|saved| Fallback::new(saved, own.good_after));
        Self {
            live,
            own,
            held: Held::default(),
            report,
            current: None,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            retry: None,
            stands: NodePhase::Starting,
            doors: Doors::default(),
            drain_plan: DrainPlan::default(),
            fallback,
        }
    }

    /// Follows its cells until the node has drained and is to end; what is being applied then is finished first.
    pub async fn run(mut self, mut inbox: Inbox) -> Self {
        self.recall_ports().await;
        self.recall_trial().await;
        while !self.doors.left {
            let (retry, look) = (self.retry, self.doors.look_at);
            let times = |f: &Fallback| (f.use_at, f.keep_at, f.forget_at, f.guard.clear_at);
            let (fall_back, keep, forget, clear) = self.fallback.as_ref().map(times).unwrap_or_default();
            tokio::select! {
                biased;
                () = changed(&mut inbox.leave) => self.leave(&mut inbox).await,
                () = changed(&mut inbox.intents) => self.heed(&mut inbox).await,
                () = changed(&mut inbox.fleet_ports) => {
                    let ports = inbox.fleet_ports.borrow_and_update().clone();
                    if let Some(ports) = ports {
                        self.guard_from(ports).await;
                    }
                }
                () = at(look) => {}
                () = changed(&mut inbox.assigned) => {
                    // An intent that was there before the assignment goes before it.
                    if inbox.intents.has_changed().unwrap_or(false) {
                        self.heed(&mut inbox).await;
                    }
                    let assigned = inbox.assigned.borrow_and_update().clone();
                    self.take(assigned).await;
                }
                () = at(retry) => {
                    self.retry = None;
                    self.settle(false).await;
                }
                () = at(fall_back) => self.fall_back().await,
                () = at(keep) => {
                    self.keep().await;
                    self.end_trial().await;
                }
                () = at(forget) => self.forget().await,
                () = at(clear) => self.end_trial().await,
            }
            self.look(&inbox.link).await;
        }
        self
    }

    /// Serves a plan that no assignment names, as `--config` does.
    ///
    /// # Errors
    /// It could not be applied; nothing is served.
    pub async fn serve(&mut self, plan: &Arc<Plan>, revision: v1::RevisionRef) -> Result<(), ApplyError> {
        let bound = self.live.apply(plan, &revision).await?;
        self.served(revision, plan, &bound, None);
        Ok(())
    }

    /// Changes what is said, without a change of what is served.
    fn say(&self, change: impl FnOnce(&mut Report)) {
        self.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            report.phase = self.stands;
            self.doors.say(report);
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
            Assigned::Value(json) => match Assignment::read(&json, &self.own.node, self.current.as_ref()) {
                Ok(assignment) => {
                    self.no_fallback();
                    self.current = Some(assignment);
                    self.doors.pool_gone = false;
                    self.rethink();
                    self.say(|report| report.clear(&[CONFIG_READABLE, ASSIGNED]));
                    self.backoff.reset();
                    self.settle(true).await;
                }
                Err(errors) => self.unreadable(cut(errors.to_string())).await,
            },
            // Such as after a new session with etcd.
            Assigned::Absent if self.doors.pool_gone => {}
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
            // Applied when the node serves again; what is wrong with it can be told now.
            if self.doors.drain.is_some() && offer.plan.is_ok() {
                break;
            }
            if let Some(until) = self.held_back(role, &offer.revision) {
                self.retry = Some(until);
                self.serve_the_good().await;
                break;
            }
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
        if self.held.applied.is_none() {
            self.stands = NodePhase::Rejected;
        }
        let message = format!("the assignment can't be read: {cause}");
        self.say(|report| report.warn(CONFIG_READABLE, "Garbage", message));
    }

    /// The key is not there, but no deletion was seen: the pool was never made, or etcd lost it.
    async fn absent(&mut self) {
        if !self.stands().await {
            info!(pool = %self.own.pool, "the pool does not exist; waiting for it");
            return self.no_pool();
        }
        warn!(pool = %self.own.pool, "the assignment is missing though nobody deleted it; going by the last one");
        let message = "the assignment key is missing, though it was not deleted; going by the last one".to_owned();
        self.say(|report| report.warn(ASSIGNED, "KeyMissing", message));
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
        info!(pool = %self.own.pool, "the pool was deleted");
        (self.current, self.retry, self.doors.pool_gone) = (None, None, true);
        self.forget().await;
        self.rethink();
    }

    fn no_pool(&mut self) {
        (self.held, self.current, self.retry) = (Held::default(), None, None);
        self.stands = NodePhase::NoPool;
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

/// Waits for news in a cell; for ever, if whoever fills it is gone.
async fn changed<T>(cell: &mut watch::Receiver<T>) {
    if cell.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
