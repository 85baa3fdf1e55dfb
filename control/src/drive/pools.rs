//! The rollouts of all pools: facts from the view, a decision, one fenced transaction.
//!
//! Part of the drive. What was written is not planned again before the view shows it. The trace of an apply goes on
//! here: the span of a decision is a child of the span that stored the pool, and the parent of the nodes' apply spans.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName, RevisionNumber};
use echo_proto::telemetry::context;
use echo_proto::v1;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use super::Pass;
use crate::fleet::Node;
use crate::plan::rollout::{Decision, Facts, Next, NodeFacts, decide, lost_stable};
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError, Stored};
use crate::view::{AssignmentEntry, PoolEntry, PoolState, Slot, View};

/// Most nodes of a pool that are remembered within a phase though they are gone.
const MAX_GONE: usize = 1_024;

/// One leader's work on all pools.
pub(super) struct Pools {
    store: Store,
    leadership: Leadership,
    /// What this leader saw since a pool's rollout is in its phase.
    phases: HashMap<PoolName, PhaseSeen>,
    /// Revisions of own writes that the view has yet to show.
    written: HashMap<PoolName, i64>,
}

/// All that is known of one pool, at one instant.
struct Known {
    name: PoolName,
    pool: Arc<Stored<PoolEntry>>,
    /// `None` also where it can't be read.
    assignment: Option<Arc<Stored<AssignmentEntry>>>,
    /// mod_revision of its key.
    assignment_at: i64,
    rollout: Option<Arc<Stored<v1::Rollout>>>,
    nodes: Vec<Arc<Node>>,
}

/// What a leader saw since a rollout is in its phase.
struct PhaseSeen {
    /// The rollout's id and phase.
    phase: (u32, i32),
    /// When it was seen in this phase first.
    since: Instant,
    /// When each node was seen first in it, and in which life.
    nodes: HashMap<NodeId, (Instant, String)>,
}

impl PhaseSeen {
    fn new(phase: (u32, i32), since: Instant) -> Self {
        Self { phase, since, nodes: HashMap::new() }
    }

    /// Notes the nodes that are new. Those that are gone are remembered, as they may come back, but not without limit.
    fn look(&mut self, nodes: &[Arc<Node>], now: Instant) {
        for node in nodes {
            self.nodes.entry(node.id.clone()).or_insert_with(|| (now, node.status.incarnation.clone()));
        }
        if self.nodes.len() > nodes.len() + MAX_GONE {
            let live: HashSet<&NodeId> = nodes.iter().map(|node| &node.id).collect();
            self.nodes.retain(|id, _| live.contains(id));
        }
    }
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
        let mut facts = self.facts(known);
        if let Some(stable) = lost_stable(&facts) {
            facts.recalled = self.recall(&known.name, &stable).await?;
        }
        match decide(&facts) {
            Decision::Wait(wait) => Ok(Pass::Done(wait.map(|wait| Instant::now() + wait))),
            Decision::Lost(stable) => {
                let key = self.store.keys().revision(&known.name, RevisionNumber(stable.n));
                tracing::error!(
                    pool = %known.name,
                    "the assignment is lost, and can't be written anew: {key} is not the revision that was stable; put \
                     that back"
                );
                Ok(Pass::Again)
            }
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

    /// A stored revision, if it can be read.
    async fn recall(&self, pool: &PoolName, wanted: &v1::RevisionRef) -> Result<Option<v1::Revision>, StoreError> {
        match self.store.get(&self.store.keys().revision(pool, RevisionNumber(wanted.n))).await {
            Ok(stored) => Ok(stored.map(|stored: Stored<v1::Revision>| stored.value)),
            Err(StoreError::Invalid { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn facts<'a>(&mut self, known: &'a Known) -> Facts<'a> {
        let rollout = known.rollout.as_ref().map(|stored| &stored.value);
        let phase = rollout.map_or((0, 0), |r| (r.id, r.phase));
        let now = Instant::now();
        let seen = self.phases.entry(known.name.clone()).or_insert_with(|| PhaseSeen::new(phase, now));
        if seen.phase != phase {
            *seen = PhaseSeen::new(phase, now);
        }
        seen.look(&known.nodes, now);
        let nodes = known.nodes.iter().map(|node| {
            let (since, incarnation) = seen.nodes.get(&node.id).map_or((now, ""), |(at, life)| (*at, life.as_str()));
            NodeFacts {
                id: node.id.as_str(),
                status: &node.status,
                asked_for: now.saturating_duration_since(since),
                restarted: incarnation != node.status.incarnation,
            }
        });
        Facts {
            name: &known.name,
            pool: &known.pool.value.record,
            replicas: known.pool.value.plan.replicas,
            ack_deadline: known.pool.value.plan.rollout.ack_deadline,
            assignment: known.assignment.as_ref().map(|stored| &stored.value.record),
            rollout,
            nodes: nodes.collect(),
            recalled: None,
            in_phase: now.saturating_duration_since(seen.since),
            now: SystemTime::now(),
        }
    }

    async fn write(&mut self, known: &Known, next: Next) -> Result<Pass, StoreError> {
        let trace = context::current();
        let mut rollout = next.rollout;
        rollout.trace.clone_from(&trace);
        let keys = self.store.keys();
        let mut change = Change::new()
            .fenced(keys, &self.leadership)
            .require(&keys.pool(&known.name), known.pool.mod_revision)
            .require(&keys.assignment(&known.name), known.assignment_at)
            .require(&keys.rollout(&known.name), known.rollout.as_ref().map_or(0, |r| r.mod_revision))
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

/// A pool whose keys can be read, save for the assignment: that can be written anew.
fn known(name: &PoolName, state: &PoolState) -> Option<Known> {
    let readable = !matches!(state.rollout, Slot::Invalid(_));
    let pool = state.pool.valid().filter(|_| readable)?;
    Some(Known {
        name: name.clone(),
        pool: pool.clone(),
        assignment: state.assignment.valid().cloned(),
        assignment_at: state.assignment.mod_revision(),
        rollout: state.rollout.valid().cloned(),
        nodes: state.fleet.live().cloned().collect(),
    })
}
