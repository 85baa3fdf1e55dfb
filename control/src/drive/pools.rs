//! The rollouts of all pools: facts from the view, a decision, one fenced transaction.
//!
//! Part of the drive. What was written is not planned again before the view shows it. The trace of an apply goes on
//! here: the span of a decision is a child of the span that stored the pool, and the parent of the nodes' apply spans.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::telemetry::context;
use echo_proto::v1;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use super::Pass;
use crate::fleet::Node;
use crate::plan::rollout::{Decision, Facts, Next, NodeFacts, decide};
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError, Stored};
use crate::view::{AssignmentEntry, PoolEntry, PoolState, Slot, View};

/// One leader's work on all pools.
pub(super) struct Pools {
    store: Store,
    leadership: Leadership,
    /// When this leader first saw a pool's rollout in its phase.
    phases: HashMap<PoolName, ((u32, i32), Instant)>,
    /// Revisions of own writes that the view has yet to show.
    written: HashMap<PoolName, i64>,
}

/// All that is known of one pool, at one instant.
struct Known {
    name: PoolName,
    pool: Arc<Stored<PoolEntry>>,
    assignment: Option<Arc<Stored<AssignmentEntry>>>,
    rollout: Option<Arc<Stored<v1::Rollout>>>,
    nodes: Vec<Arc<Node>>,
}

impl Pools {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, phases: HashMap::new(), written: HashMap::new() }
    }

    pub(super) async fn pass(&mut self, view: &View) -> Pass {
        let (revision, known) = view.read(|state| {
            let known: Vec<Known> = state.pools.iter().filter_map(|(name, pool)| known(name, pool)).collect();
            (state.revision, known)
        });
        self.written.retain(|_, at| *at > revision);
        self.phases.retain(|name, _| known.iter().any(|k| k.name == *name));
        let (mut due, mut again) = (None, false);
        for pool in known.iter().filter(|pool| !self.written.contains_key(&pool.name)).collect::<Vec<_>>() {
            match self.step(pool).await {
                Ok(Pass::Done(at)) => due = [due, at].into_iter().flatten().min(),
                Ok(Pass::Again) => again = true,
                Err(error) => {
                    tracing::warn!(%error, pool = %pool.name, "a rollout's state was not written");
                    again = true;
                    // The next pool would wait for the same deadline.
                    if error.is_unavailable() {
                        break;
                    }
                }
            }
        }
        if again { Pass::Again } else { Pass::Done(due) }
    }

    async fn step(&mut self, known: &Known) -> Result<Pass, StoreError> {
        match decide(&self.facts(known)) {
            Decision::Wait(wait) => Ok(Pass::Done(wait.map(|wait| Instant::now() + wait))),
            Decision::Write(next) => {
                let span = info_span!(
                    "rollout",
                    echo.pool = %known.name,
                    echo.rollout.phase = next.rollout.phase().as_str_name(),
                    echo.revision = next.rollout.to.as_ref().map_or(0, |to| to.n)
                );
                context::set_parent(&span, known.pool.value.record.trace.as_ref());
                self.write(known, *next).instrument(span).await
            }
        }
    }

    fn facts<'a>(&mut self, known: &'a Known) -> Facts<'a> {
        let rollout = known.rollout.as_ref().map(|stored| &stored.value);
        let phase = rollout.map_or((0, 0), |r| (r.id, r.phase));
        let now = Instant::now();
        let entered = self.phases.entry(known.name.clone()).or_insert((phase, now));
        if entered.0 != phase {
            *entered = (phase, now);
        }
        let nodes = known.nodes.iter().map(|node| NodeFacts {
            id: node.id.as_str(),
            status: &node.status,
            known_for: node.known_for(),
        });
        Facts {
            name: &known.name,
            pool: &known.pool.value.record,
            replicas: known.pool.value.plan.replicas,
            ack_deadline: known.pool.value.plan.ack_deadline,
            assignment: known.assignment.as_ref().map(|stored| &stored.value.record),
            rollout,
            nodes: nodes.collect(),
            in_phase: now.saturating_duration_since(entered.1),
            now: SystemTime::now(),
        }
    }

    async fn write(&mut self, known: &Known, next: Next) -> Result<Pass, StoreError> {
        let trace = context::current();
        let mut rollout = next.rollout;
        rollout.trace.clone_from(&trace);
        let keys = self.store.keys();
        let at = |stored: Option<i64>| stored.unwrap_or(0);
        let mut change = Change::new()
            .fenced(keys, &self.leadership)
            .expect(&keys.pool(&known.name), known.pool.mod_revision)
            .expect(&keys.assignment(&known.name), at(known.assignment.as_ref().map(|a| a.mod_revision)))
            .expect(&keys.rollout(&known.name), at(known.rollout.as_ref().map(|r| r.mod_revision)))
            .put(&keys.rollout(&known.name), &rollout);
        if let Some(mut assignment) = next.assignment {
            assignment.trace = trace;
            change = change.put(&keys.assignment(&known.name), &assignment);
        }
        for event in next.events {
            tracing::info!(pool = %known.name, reason = event.reason, "{}", event.message);
            let event = v1::Event { trace: context::current(), ..event };
            change = change.event(keys, event);
        }
        match self.store.commit(change).await? {
            Some(revision) => {
                self.written.insert(known.name.clone(), revision);
                Ok(Pass::Done(None))
            }
            None => Ok(Pass::Again),
        }
    }
}

/// A pool whose keys can all be read.
fn known(name: &PoolName, state: &PoolState) -> Option<Known> {
    let readable = !matches!(state.assignment, Slot::Invalid) && !matches!(state.rollout, Slot::Invalid);
    let pool = state.pool.valid().filter(|_| readable)?;
    Some(Known {
        name: name.clone(),
        pool: pool.clone(),
        assignment: state.assignment.valid().cloned(),
        rollout: state.rollout.valid().cloned(),
        nodes: state.fleet.iter().cloned().collect(),
    })
}
