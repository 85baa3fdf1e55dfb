//! The rollouts of all pools: facts from the view, a decision, one fenced transaction.
//!
//! Part of the drive. What was written is not planned again before the view shows it. The trace of an apply goes on
//! here: the span of a decision is a child of the span that stored the pool, and the parent of the nodes' apply spans.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::ids::{NodeId, PoolName, RevisionNumber};
use echo_proto::telemetry::context;
use echo_proto::v1;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use super::Pass;
use super::guard::is_news;
use crate::figures::{Figures, User, Whom};
use crate::fleet::{Node, Presence};
use crate::plan::rollout::{
    Absent, Counted, Decision, Facts, Hearing, MassLoss, Memory, Next, NodeFacts, SETTLE, Since, Sizes, decide,
    lease_ttl, mass_loss, needed,
};
use crate::plan::sync::is_asked;
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError, Stored};
use crate::view::{AssignmentEntry, PoolEntry, PoolState, Slot, View};

/// One leader's work on all pools.
pub(super) struct Pools {
    store: Store,
    leadership: Leadership,
    /// What this leader saw of each pool's rollout.
    memories: HashMap<PoolName, Memory>,
    /// Since when it sees without a break who comes and goes.
    watching: Option<Instant>,
    /// The last time that too many nodes vanished at once.
    mass_loss: Option<(Instant, String)>,
    /// Revisions of own writes that the view has yet to show.
    written: HashMap<PoolName, i64>,
    figures: Figures,
    /// Whose figures are asked for.
    judged: HashMap<PoolName, BTreeSet<NodeId>>,
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
    /// Nodes that drained and went lately, as the processes that they were.
    left: HashMap<NodeId, String>,
    /// Those without a record whose Agents answer.
    serving: HashSet<NodeId>,
    /// Those that vanished, and when.
    vanished: Vec<(Arc<Node>, Instant)>,
}

impl Pools {
    pub(super) fn new(store: Store, leadership: Leadership, figures: Figures) -> Self {
        figures.keep(User::Health, |_| false);
        Self {
            store,
            leadership,
            memories: HashMap::new(),
            watching: None,
            mass_loss: None,
            written: HashMap::new(),
            figures,
            judged: HashMap::new(),
        }
    }

    /// Where the fleet's ports are not `told`, no node is assigned what none was told of before.
    pub(super) async fn pass(&mut self, view: &View, told: bool) -> Pass {
        let (revision, followed, known) = view.read(|state| {
            let known: Vec<Known> = state.pools.iter().filter_map(|(name, pool)| known(name, pool)).collect();
            (state.revision, state.followed_since, known)
        });
        self.watching = followed.map(|_| self.watching.unwrap_or_else(Instant::now));
        self.written.retain(|_, at| *at > revision);
        let settled = followed.and_then(|followed| self.find_mass_loss(&known, followed));
        let names: HashSet<&PoolName> = known.iter().map(|pool| &pool.name).collect();
        self.memories.retain(|name, _| names.contains(name));
        self.judged.retain(|name, _| names.contains(name));
        self.figures.keep(User::Health, |pool| self.judged.contains_key(pool) && self.memories.contains_key(pool));
        let (mut due, mut again) = (settled, false);
        for pool in known.iter().filter(|pool| !self.written.contains_key(&pool.name)).collect::<Vec<_>>() {
            match self.step(pool, told).await {
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

    /// Looks whether too many nodes of a pool vanished at once, since this control sees who comes and goes, also before it
    /// led, and since the last time that it found so; returns when to look again, for those who are gone too short to tell.
    fn find_mass_loss(&mut self, known: &[Known], followed: Instant) -> Option<Instant> {
        let (now, last) = (Instant::now(), self.mass_loss.as_ref().map(|(at, _)| *at));
        let since = last.map_or(followed, |last| last.max(followed));
        for pool in known {
            if pool.vanished.is_empty() {
                continue;
            }
            let gone = pool.vanished.iter().map(|(node, _)| node);
            let ttl = lease_ttl(pool.nodes.iter().chain(gone).map(|node| &node.status)).unwrap_or_default();
            // One that an operator drained may well be rebooted.
            let served = pool.vanished.iter().filter(|(node, _)| is_asked(&node.status));
            let vanished = served.map(|(_, since)| *since);
            if let Some((lost, all)) = mass_loss(vanished, pool.nodes.len(), ttl, since, now) {
                let message = format!("{lost} of {all} nodes of pool {} vanished within {ttl:?}", pool.name);
                tracing::warn!("{message}; rollouts are paused");
                self.mass_loss = Some((now, message));
            }
        }
        let settles = known.iter().flat_map(|pool| &pool.vanished).map(|(_, gone)| *gone + SETTLE);
        settles.filter(|at| *at > now).min()
    }

    async fn step(&mut self, known: &Known, told: bool) -> Result<Pass, StoreError> {
        let mut facts = self.facts(known);
        for n in needed(&facts) {
            facts.recalled.extend(self.recall(&known.name, RevisionNumber(n)).await?);
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
            Decision::Write(next) if !told && next.assignment.as_ref().is_some_and(|after| known.hears_news(after)) => {
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
    async fn recall(&self, pool: &PoolName, n: RevisionNumber) -> Result<Option<v1::Revision>, StoreError> {
        match self.store.get(&self.store.keys().revision(pool, n)).await {
            Ok(stored) => Ok(stored.map(|stored: Stored<v1::Revision>| stored.value)),
            Err(StoreError::Invalid { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What nodes count, of those whose figures are asked for, and whether they say so.
    fn count(&self, pool: &PoolName, nodes: &mut [NodeFacts<'_>], now: Instant) {
        for id in self.judged.get(pool).into_iter().flatten() {
            // They are in the order of their ids.
            let place = nodes.binary_search_by(|node| node.id.cmp(id));
            let Some(node) = place.ok().and_then(|place| nodes.get_mut(place)) else { continue };
            let incarnation = &node.status.incarnation;
            let sample = self.figures.sample(pool, id).filter(|sample| sample.incarnation == *incarnation);
            node.hearing = Some(Hearing {
                missed: self.figures.missed(pool, id, incarnation),
                ago: sample.as_ref().map(|sample| now.saturating_duration_since(sample.at)),
            });
            node.counted = sample.map(|sample| Counted::of(&sample.live));
        }
    }

    /// Has those asked for their figures by which a rollout is judged.
    fn judge(&mut self, pool: &PoolName, watched: Option<BTreeSet<NodeId>>) {
        if watched.as_ref() == self.judged.get(pool) {
            return;
        }
        self.figures.want(User::Health, pool, watched.clone().map(Whom::Nodes));
        match watched {
            Some(watched) => self.judged.insert(pool.clone(), watched),
            None => self.judged.remove(pool),
        };
    }

    fn facts<'a>(&mut self, known: &'a Known) -> Facts<'a> {
        let plan = &known.pool.value.plan;
        let now = Instant::now();
        let mass_loss = self
            .mass_loss
            .as_ref()
            .map(|(at, message)| MassLoss { ago: now.saturating_duration_since(*at), message: message.clone() });
        let mut facts = Facts {
            name: &known.name,
            pool: &known.pool.value.record,
            replicas: plan.replicas,
            policy: &plan.rollout,
            assignment: known.assignment.as_ref().map(|stored| &stored.value.record),
            rollout: known.rollout.as_ref().map(|stored| &stored.value),
            nodes: known.nodes.iter().map(|node| node_facts(node)).collect(),
            recalled: Vec::new(),
            mass_loss,
            since: Since::default(),
            sizes: Sizes::default(),
            now: SystemTime::now(),
        };
        self.count(&known.name, &mut facts.nodes, now);
        let watched_for = self.watching.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let memory = self.memories.entry(known.name.clone()).or_insert_with(|| Memory::new(now));
        memory.look(&mut facts, Absent { left: &known.left, serving: &known.serving, watched_for }, now);
        let watched = memory.watched(&facts);
        self.judge(&known.name, watched);
        facts
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

fn node_facts(node: &Node) -> NodeFacts<'_> {
    NodeFacts { doubtful: matches!(node.presence, Presence::Doubtful { .. }), ..NodeFacts::new(&node.id, &node.status) }
}

impl Known {
    fn hears_news(&self, after: &v1::Assignment) -> bool {
        is_news(self.assignment.as_ref().map(|stored| &stored.value.record), after)
    }
}

/// Whether it has no record, but its Agent answers.
fn stale(node: &Node) -> bool {
    node.doubt() == Some(v1::SyncState::Stale)
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
        left: state.fleet.leavers().map(|(id, incarnation)| (id.clone(), incarnation.to_owned())).collect(),
        serving: state.fleet.vanished().filter(|(node, _)| stale(node)).map(|(node, _)| node.id.clone()).collect(),
        vanished: state.fleet.vanished().map(|(node, since)| (Arc::clone(node), since)).collect(),
    })
}
