//! Arbitrary lives of a pool: nodes answer, refuse, join, die, drain and move, leaders change, operators apply, order and
//! pin, writes get lost, time passes. After each step the laws of rollouts must hold, and in the end all comes to rest.

use echo_proto::ids::NodeId;
use proptest::collection::vec;
use proptest::prelude::*;

use self::laws::Watcher;
use self::ops::{Op, op};
use super::*;

mod laws;
mod ops;

/// Lives that are tried, each of up to [`STEPS`] steps.
const CASES: u32 = 400;
const STEPS: usize = 80;
/// Nodes that there may ever be.
const NODES: u32 = 9;
/// How large a pool and a wave may be before it is rolled out in another way.
const SIZES: [Sizes; 3] = [
    Sizes { named: 256, unacknowledged: 2_000 },
    Sizes { named: 5, unacknowledged: 3 },
    Sizes { named: 0, unacknowledged: 2 },
];
/// What fails of a thousand messages without any revision's doing.
const FEW: u64 = 5;
const ZONES: [&str; 3] = ["a", "b", ""];

/// Canaries, waves, whether it goes back by itself.
const POLICIES: [(u32, &[&str], bool); 5] = [
    (1, &["25%", "100%"], true),
    (2, &["50%", "75%", "100%"], true),
    (0, &["30%", "100%"], true),
    (1, &["100%"], false),
    (4, &["10%", "100%"], true),
];

/// A pool that lives, and who watches over it.
struct Model {
    world: World,
    laws: Watcher,
    /// The newest revision.
    newest: u32,
    /// Nodes whose record is gone.
    vanished: Vec<(NodeId, v1::NodeStatus)>,
}

impl Model {
    fn new(nodes: u32, sizes: Sizes) -> Self {
        let mut world = World { sizes, ..World::staged(nodes) };
        world.replicas = 3;
        Self { laws: Watcher::new(&world), world, newest: 1, vanished: Vec::new() }
    }

    fn take(&mut self, op: &Op) {
        match *op {
            Op::Apply(policy) => self.apply(policy, false),
            Op::Now => self.apply(0, true),
            Op::AckAll => (1..=NODES).for_each(|i| self.ack(i)),
            Op::Join(i, zone) => self.join(i, zone),
            Op::Return(i, same) => self.come_back(i, same),
            Op::Fail(i) => {
                let tries = self.world.given();
                if let Some(i) = tries.get(i % tries.len().max(1)) {
                    self.world.node(*i).set_phase(v1::NodePhase::Starting);
                }
            }
            Op::Sure => self.world.doubtful.clear(),
            Op::Elect => self.world.elect(),
            Op::Order(kind) => self.world.order(kind),
            Op::Pin(i, n) if n <= self.newest => {
                self.world.recall(n);
                self.world.pool.pins = vec![v1::Pin { node: id(i).to_string(), revision: n, ..Default::default() }];
            }
            Op::Unpin => self.world.pool.pins.clear(),
            Op::MassLoss => {
                self.world.mass_loss = Some(MassLoss { ago: Duration::ZERO, message: "many are gone".to_owned() });
                self.lead();
                self.world.mass_loss = None;
            }
            Op::Scale(replicas) => self.world.replicas = replicas,
            Op::Traffic(failures) => self.serve_clients(failures),
            Op::Pass(millis) => {
                self.world.decide();
                self.world.now += Duration::from_millis(millis);
                self.laws.time_passes(&self.world);
            }
            Op::LostWrite => drop(self.world.decide()),
            Op::Lead(times) => {
                // Until it waits.
                let _waits = (0..times).find(|_| !self.lead());
            }
            _ => self.befall(op),
        }
        let World { doubtful, nodes, .. } = &mut self.world;
        doubtful.retain(|id| nodes.contains_key(id));
        self.laws.look(&self.world);
        // The leader sees every change, though it may not get to write.
        drop(self.world.decide());
    }

    /// Something happens to a node that is there.
    fn befall(&mut self, op: &Op) {
        let there = |world: &World, i: u32| world.nodes.contains_key(&id(i));
        match *op {
            Op::Ack(i) => self.ack(i),
            Op::Nack(i) if there(&self.world, i) => self.nack(i),
            Op::Vanish(i) => self.vanished.extend(self.world.nodes.remove_entry(&id(i))),
            Op::Restart(i) if there(&self.world, i) => {
                self.world.restart(i);
                self.world.node(i).applied = None;
            }
            Op::Leave(i) if there(&self.world, i) => drop(self.world.leave(i)),
            Op::Drain(i) if there(&self.world, i) => self.world.node(i).set_phase(Drained),
            Op::Serve(i) if there(&self.world, i) => self.world.node(i).set_phase(Ready),
            Op::Move(i, zone) if there(&self.world, i) => self.world.node(i).zone = ZONES[zone].to_owned(),
            Op::Doubt(i) if there(&self.world, i) => drop(self.world.doubtful.insert(id(i))),
            _ => {}
        }
    }

    fn join(&mut self, i: u32, zone: usize) {
        let known = |(known, _): &(NodeId, v1::NodeStatus)| *known == id(i);
        if !self.world.nodes.contains_key(&id(i)) && !self.vanished.iter().any(known) {
            self.world.left.remove(&id(i));
            self.world.join(i);
            self.world.node(i).applied = None;
            self.world.node(i).zone = ZONES[zone].to_owned();
        }
    }

    fn serve_clients(&mut self, failures: u64) {
        let tries = self.world.given();
        for id in self.world.nodes.keys() {
            let tries = tries.iter().any(|i| *id == super::id(*i));
            let counted = self.world.counted.entry(id.clone()).or_default();
            *counted = counted.plus(Counted { messages: 1_000, failures: if tries { failures } else { FEW } });
        }
    }

    fn apply(&mut self, policy: usize, now: bool) {
        let (canaries, waves, auto_revert) = POLICIES[policy];
        self.world.govern(v1::RolloutPolicy {
            canary: Some(canaries),
            waves: waves.iter().map(|wave| (*wave).to_owned()).collect(),
            auto_revert: Some(auto_revert),
            ..Default::default()
        });
        self.newest += 1;
        self.world.pool.now = now;
        self.world.apply(self.newest);
    }

    /// It runs what it is assigned, unless it drained or has refused that.
    fn ack(&mut self, i: u32) {
        let (assignment, node) = (self.world.assignment.clone().unwrap(), id(i));
        let assigned = crate::plan::sync::assigned(&assignment, &node);
        if let Some(status) = self.world.nodes.get_mut(&node).filter(|s| crate::plan::sync::is_asked(s)) {
            let refused = status.rejection.as_ref().and_then(|r| r.revision.clone());
            status.applied = assigned.filter(|a| Some(a) != refused.as_ref()).or(status.applied.take());
            status.set_phase(Ready);
        }
    }

    fn nack(&mut self, i: u32) {
        let assignment = self.world.assignment.clone().unwrap();
        let next = assignment.next.as_ref().map(|next| next.n);
        let tries = echo_proto::ids::Place::of(&assignment, &id(i)) == echo_proto::ids::Place::Next;
        if let Some(n) = next.filter(|n| tries && self.world.node(i).applied != Some(revision(*n))) {
            self.world.nack(i, n);
        }
    }

    fn come_back(&mut self, i: u32, same: bool) {
        let Some(place) = self.vanished.iter().position(|(known, _)| *known == id(i)) else { return };
        let (node, status) = self.vanished.remove(place);
        self.world.nodes.insert(node, status);
        if !same {
            self.world.restart(i);
            self.world.node(i).applied = None;
        }
    }

    /// The leader decides once, and what it writes is watched. `false`: it waits.
    fn lead(&mut self) -> bool {
        match self.world.decide() {
            Decision::Write(next) => {
                self.laws.judge(&self.world, &next);
                self.world.store(*next);
                self.laws.look(&self.world);
                true
            }
            Decision::Wait(wait) => {
                self.laws.waits(&self.world, wait);
                false
            }
            Decision::Lost(revision) => panic!("nothing is lost here: {revision:?}"),
        }
    }

    /// Everybody does as told from now on, and time passes as it is asked for: the rollout ends, or waits for an operator.
    fn come_to_rest(&mut self) {
        self.take(&Op::Sure);
        for _ in 0..200 {
            self.take(&Op::AckAll);
            let writes = (0..50).take_while(|_| self.lead()).count();
            assert!(writes < 50, "it writes for ever: {:?}", self.world.rollout);
            let phase = self.world.rollout().phase();
            if writes == 0 && !matches!(phase, Phase::Progressing | Phase::Reverting) {
                return;
            }
            self.take(&Op::Pass(5_000));
        }
        panic!("it does not end: {:?} {:?}", self.world.rollout, self.world.nodes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_laws_hold_and_it_comes_to_rest(
        nodes in 0..=NODES,
        sizes in prop::sample::select(&SIZES[..]),
        ops in vec(op(), 1..STEPS),
    ) {
        let mut model = Model::new(nodes, sizes);
        for op in &ops {
            model.take(op);
        }
        model.come_to_rest();
    }
}
