//! A pool with its nodes and its leader, for the tests: what is decided is taken over at once, and time passes when it is
//! told to.

mod look;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName, runs_next};
use echo_proto::spec::RolloutPlan;
use echo_proto::v1;
use tokio::time::Instant;
use v1::NodePhase::{Draining, Ready};
use v1::RolloutPhase as Phase;

use super::super::{Counted, Decision, MassLoss, Memory, Next, Sizes};

/// A pool with its nodes; what `decide` writes becomes its state.
pub(super) struct World {
    pub(super) name: PoolName,
    pub(super) pool: v1::PoolRecord,
    pub(super) policy: RolloutPlan,
    pub(super) sizes: Sizes,
    pub(super) replicas: u32,
    pub(super) assignment: Option<v1::Assignment>,
    pub(super) rollout: Option<v1::Rollout>,
    pub(super) nodes: BTreeMap<NodeId, v1::NodeStatus>,
    pub(super) left: HashMap<NodeId, String>,
    /// Who answers without a record.
    pub(super) serving: HashSet<NodeId>,
    pub(super) recalled: Vec<v1::Revision>,
    pub(super) mass_loss: Option<MassLoss>,
    /// Of whom only a record is known that may be a dead one's.
    pub(super) doubtful: HashSet<NodeId>,
    /// Whose Agents do not answer any more.
    pub(super) silent: HashSet<NodeId>,
    /// Who did not the last time.
    pub(super) late: HashSet<NodeId>,
    /// Who is asked, and when who of them answered last.
    pub(super) asked: BTreeSet<NodeId>,
    pub(super) heard: HashMap<NodeId, Instant>,
    /// What Agents say; of others they say nothing.
    pub(super) counted: BTreeMap<NodeId, Counted>,
    pub(super) memory: Memory,
    pub(super) begun: Instant,
    pub(super) now: Instant,
    pub(super) reasons: Vec<String>,
}

pub(super) const ACK_DEADLINE: Duration = Duration::from_secs(30);
pub(super) const MIN_HEALTHY: Duration = Duration::from_secs(10);

pub(super) fn revision(n: u32) -> v1::RevisionRef {
    v1::RevisionRef { uid: "uid-1".into(), n, digest: format!("digest-{n}") }
}

pub(super) fn id(i: u32) -> NodeId {
    format!("node-{i}").parse().unwrap()
}

impl World {
    /// A pool at revision 1 with `nodes` that run it. Changes reach all nodes in one step.
    pub(super) fn new(nodes: u32) -> Self {
        Self { pool: v1::PoolRecord { now: true, ..Self::staged(nodes).pool }, ..Self::staged(nodes) }
    }

    /// The same with the default policy: a canary, a quarter, all.
    pub(super) fn staged(nodes: u32) -> Self {
        let metadata = v1::ObjectMeta { uid: "uid-1".into(), generation: 1, ..Default::default() };
        let pool = v1::PoolRecord { metadata: Some(metadata), revision: Some(revision(1)), ..Default::default() };
        let now = Instant::now();
        let mut world = Self {
            name: "edge".parse().unwrap(),
            pool,
            policy: RolloutPlan::default(),
            sizes: Sizes::default(),
            replicas: nodes,
            assignment: None,
            rollout: None,
            nodes: BTreeMap::new(),
            left: HashMap::new(),
            serving: HashSet::new(),
            recalled: Vec::new(),
            mass_loss: None,
            doubtful: HashSet::new(),
            silent: HashSet::new(),
            late: HashSet::new(),
            asked: BTreeSet::new(),
            heard: HashMap::new(),
            counted: BTreeMap::new(),
            memory: Memory::new(now),
            begun: now,
            now,
            reasons: Vec::new(),
        };
        world.writes();
        (1..=nodes).for_each(|i| world.join(i));
        // Long enough to judge losses.
        world.pass(Duration::from_secs(3600));
        world
    }

    /// The pool file's policy.
    pub(super) fn govern(&mut self, policy: v1::RolloutPolicy) {
        self.policy = echo_proto::spec::check_rollout(&policy).unwrap();
        self.pool.spec.get_or_insert_default().rollout = Some(policy);
    }

    pub(super) fn join(&mut self, i: u32) {
        let mut status =
            v1::NodeStatus { applied: Some(revision(1)), incarnation: format!("life-{i}"), ..Default::default() };
        status.set_phase(Ready);
        self.nodes.insert(id(i), status);
        self.counted.insert(id(i), Counted::default());
    }

    pub(super) fn node(&mut self, i: u32) -> &mut v1::NodeStatus {
        self.nodes.get_mut(&id(i)).unwrap()
    }

    /// Its record goes away.
    pub(super) fn vanish(&mut self, i: u32) -> v1::NodeStatus {
        self.nodes.remove(&id(i)).unwrap()
    }

    /// It drains and goes, which only its last record tells.
    pub(super) fn leave(&mut self, i: u32) -> v1::NodeStatus {
        let status = self.vanish(i);
        self.left.insert(id(i), status.incarnation.clone());
        status
    }

    /// It gets a SIGTERM, and goes.
    pub(super) fn terminate(&mut self, i: u32) -> v1::NodeStatus {
        let drain = Some(v1::DrainStatus { exits: true, ..Default::default() });
        *self.node(i) = v1::NodeStatus { phase: Draining.into(), drain, ..self.node(i).clone() };
        self.decide();
        self.vanish(i)
    }

    /// Another process of one that left; it runs what that ran.
    pub(super) fn start_again(&mut self, i: u32, left: &v1::NodeStatus) {
        let incarnation = format!("{} again", left.incarnation);
        self.nodes.insert(id(i), v1::NodeStatus { phase: Ready.into(), drain: None, incarnation, ..left.clone() });
    }

    /// The process is another one.
    pub(super) fn restart(&mut self, i: u32) {
        self.node(i).incarnation += " again";
        self.counted.entry(id(i)).and_modify(|counted| *counted = Counted::default());
    }

    pub(super) fn apply(&mut self, n: u32) {
        self.pool.revision = Some(revision(n));
    }

    /// A rollout of revision `n` begins, and its canaries are given it.
    pub(super) fn begin(&mut self, n: u32) {
        self.apply(n);
        assert_eq!(self.writes(), Phase::Progressing);
        assert_eq!((self.writes(), self.next()), (Phase::Progressing, Some(n)));
    }

    pub(super) fn order(&mut self, kind: v1::RolloutOrderKind) {
        let id = self.pool.order.as_ref().map_or(0, |order| order.id) + 1;
        let rollout = self.rollout().id;
        self.pool.order =
            Some(v1::RolloutOrder { id, rollout, kind: kind.into(), author: "ann".into(), ..Default::default() });
    }

    pub(super) fn ack(&mut self, i: u32, n: u32) {
        self.node(i).applied = Some(revision(n));
    }

    /// All that are to run revision `n` do.
    pub(super) fn ack_given(&mut self, n: u32) -> Vec<u32> {
        let given = self.given();
        given.iter().for_each(|i| self.ack(*i, n));
        given
    }

    /// Who is to run `next`.
    pub(super) fn given(&self) -> Vec<u32> {
        let assignment = self.assignment.as_ref().unwrap();
        let given = self.nodes.keys().filter(|id| runs_next(assignment, id));
        let mut given: Vec<u32> = given.filter_map(|id| id.as_str().strip_prefix("node-")?.parse().ok()).collect();
        given.sort_unstable();
        given
    }

    pub(super) fn nack(&mut self, i: u32, n: u32) {
        let rollout = self.rollout.as_ref().unwrap().id;
        let (listener, cause) = ("echo-tcp".to_owned(), "bind 127.0.0.1:7: address in use".to_owned());
        self.node(i).rejection =
            Some(v1::Rejection { revision: Some(revision(n)), rollout, listener, cause, ..Default::default() });
    }

    /// Time goes by; the leader looks before and after it.
    pub(super) fn pass(&mut self, time: Duration) {
        self.decide();
        self.now += time;
    }

    /// Another leader takes over.
    pub(super) fn elect(&mut self) {
        self.memory = Memory::new(self.now);
        self.begun = self.now;
    }

    /// Decides, which must write, and takes the write over.
    pub(super) fn writes(&mut self) -> Phase {
        let Decision::Write(next) = self.decide() else { panic!("waits: {:?}", self.rollout) };
        self.store(*next);
        self.rollout().phase()
    }

    /// What was decided is written.
    pub(super) fn store(&mut self, next: Next) {
        self.assignment = next.assignment.or(self.assignment.take());
        self.rollout = Some(next.rollout);
        self.reasons.extend(next.events.into_iter().map(|e| e.reason));
    }

    pub(super) fn waits(&mut self) -> Option<Duration> {
        match self.decide() {
            Decision::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    /// The revision without which it can't go on.
    pub(super) fn decides_lost(&mut self) -> v1::RevisionRef {
        match self.decide() {
            Decision::Lost(revision) => revision,
            other => panic!("{other:?}"),
        }
    }

    /// Revision `n` is found among the stored ones.
    pub(super) fn recall(&mut self, n: u32) {
        let template = Some(v1::PoolTemplate::default());
        self.recalled = vec![v1::Revision { revision: Some(revision(n)), template, ..Default::default() }];
    }

    pub(super) fn stable(&self) -> u32 {
        self.assignment.as_ref().unwrap().stable.as_ref().unwrap().n
    }

    pub(super) fn next(&self) -> Option<u32> {
        self.assignment.as_ref().unwrap().next.as_ref().map(|next| next.n)
    }

    pub(super) fn rollout(&self) -> &v1::Rollout {
        self.rollout.as_ref().unwrap()
    }
}
