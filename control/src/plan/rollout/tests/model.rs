//! 1,000 arbitrary lives of a pool: nodes answer, refuse, join, die, restart, hang, drain and move, leaders change,
//! operators apply, order and pin, etcd restarts, writes get lost, time passes. After each step the laws of rollouts
//! must hold, and in the end all comes to rest.
//!
//! The lives are the same in each run. `PROPTEST_RNG_SEED` tries others, and `PROPTEST_CASES` more.

use echo_proto::ids::NodeId;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::laws::Watcher;
use self::ops::Op;
use self::scenes::life;
use super::*;

mod laws;
mod nodes;
mod ops;
mod scenes;

/// Lives that are tried.
const CASES: u32 = 1_000;
const SEED: u64 = 5;
/// Most that is written in a row, while nothing else changes: one rollout ends, another one begins.
const AT_ONCE: usize = 10;
/// Within so long a pool comes to rest once everybody does as told.
const REST: Duration = Duration::from_secs(600);
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

/// Canaries, waves, for how many seconds they are to be healthy, whether it goes back by itself.
const POLICIES: [(u32, &[&str], i64, bool); 6] = [
    (1, &["25%", "100%"], 10, true),
    (2, &["50%", "75%", "100%"], 1, true),
    (0, &["30%", "100%"], 10, true),
    (1, &["100%"], 10, false),
    (4, &["10%", "100%"], 10, true),
    (1, &["40%", "70%", "100%"], 60, true),
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
    /// A pool that is to get another revision.
    fn new(nodes: u32, sizes: Sizes, policy: usize) -> Self {
        let mut world = World { sizes, ..World::staged(nodes) };
        world.replicas = 3;
        let mut model = Self { laws: Watcher::new(&world), world, newest: 1, vanished: Vec::new() };
        model.apply(policy, false);
        model
    }

    fn take(&mut self, op: &Op) {
        match *op {
            Op::Apply(policy) => self.apply(policy, false),
            Op::Now => self.apply(0, true),
            Op::Try(policy) if self.is_over() => self.apply(policy, false),
            Op::AckAll => (1..=NODES).for_each(|i| self.ack(i)),
            Op::Join(i, zone) => self.join(i, zone),
            Op::Return(i, same) => self.come_back(i, same),
            Op::ReturnAll => (1..=NODES).for_each(|i| self.come_back(i, true)),
            Op::Fail(i) | Op::Late(i) | Op::Hang(i) | Op::Lose(i) => self.befall_one_that_tries(i, op),
            Op::Heard => {
                self.world.silent.clear();
                self.world.late.clear();
            }
            Op::DoubtAll => self.world.doubtful = self.world.nodes.keys().cloned().collect(),
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
                // Those were asked again meanwhile.
                self.world.late.clear();
                self.laws.look(&self.world);
            }
            Op::LostWrite => drop(self.world.decide()),
            Op::Settle => drop(self.settle()),
            Op::Lead(times) => {
                // Until it waits.
                let _waits = (0..times).find(|_| !self.lead());
            }
            _ => self.befall(op),
        }
        let World { doubtful, serving, nodes, .. } = &mut self.world;
        doubtful.retain(|id| nodes.contains_key(id));
        serving.retain(|id| !nodes.contains_key(id));
        self.laws.look(&self.world);
        // The leader sees every change, though it may not get to write.
        drop(self.world.decide());
    }

    fn is_over(&self) -> bool {
        !matches!(self.world.rollout().phase(), Phase::Progressing | Phase::Paused | Phase::Reverting)
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
        let (canaries, waves, seconds, auto_revert) = POLICIES[policy];
        self.world.govern(v1::RolloutPolicy {
            canary: Some(canaries),
            min_healthy: Some(prost_types::Duration { seconds, nanos: 0 }),
            waves: waves.iter().map(|wave| (*wave).to_owned()).collect(),
            auto_revert: Some(auto_revert),
            ..Default::default()
        });
        self.newest += 1;
        self.world.pool.now = now;
        self.world.apply(self.newest);
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

    /// It decides until it waits; how often it wrote.
    fn settle(&mut self) -> usize {
        let writes = (0..=AT_ONCE).take_while(|_| self.lead()).count();
        assert!(writes <= AT_ONCE, "it writes for ever: {:?} {:?}", self.world.rollout, self.world.assignment);
        writes
    }

    /// Everybody does as told from now on, and time passes: the rollout ends, or waits for an operator.
    fn come_to_rest(&mut self) {
        self.take(&Op::Sure);
        self.take(&Op::Heard);
        let begun = self.world.now;
        while self.world.now - begun < REST {
            self.take(&Op::AckAll);
            if self.settle() == 0 && (self.is_over() || self.world.rollout().phase() == Phase::Paused) {
                return;
            }
            self.take(&Op::Pass(5_000));
        }
        panic!("it does not end: {:?} {:?}", self.world.rollout, self.world.nodes);
    }
}

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { CASES };
    let rng_seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(SEED) } else { given.rng_seed };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_the_laws_hold_and_it_comes_to_rest(
        nodes in 0..=NODES,
        sizes in prop::sample::select(&SIZES[..]),
        policy in 0..POLICIES.len(),
        life in life(),
    ) {
        let mut model = Model::new(nodes, sizes, policy);
        for op in &life {
            model.take(op);
        }
        model.come_to_rest();
    }
}
