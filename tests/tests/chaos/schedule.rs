//! What is done to whom, and when: the same for the same seed.
//!
//! Pure; used by the chaos run. Some are spared: a process that is never killed shows what it loses bit by bit, the first
//! node throughout and control in the second half; they are stopped in place of that, and all else befalls them too.

use std::fmt;
use std::time::Duration;

/// Between the beginnings of two faults, in milliseconds. A fault may begin while others last.
const BETWEEN: std::ops::Range<u64> = 300..3_000;
/// A stop that no lease notices.
const SHORT_STOP: std::ops::Range<u64> = 50..1_000;
/// A stop that outlives the leases of nodes, of 2 s, and some that of the leader, of 5 s.
const LONG_STOP: std::ops::Range<u64> = 3_000..8_000;
/// How long etcd or control stay dead.
const DEAD: std::ops::Range<u64> = 50..6_000;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Etcd,
    Control,
    /// By its number, from 1.
    Node(u32),
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// SIGKILL. What nobody supervises is started again after this.
    Kill(Duration),
    /// SIGSTOP, and SIGCONT after this.
    Stop(Duration),
}

/// The node that lives as long as the run.
pub(super) const SPARED: u32 = 1;

/// The next fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// After the one before.
    pub(super) after: Duration,
    pub(super) victim: Victim,
    pub(super) harm: Harm,
}

/// Faults without end.
#[derive(Debug)]
pub(super) struct Schedule {
    random: fastrand::Rng,
    nodes: u32,
    /// From the start to the last fault, and to the moment after which control is not killed.
    at: Duration,
    half: Duration,
}

impl Schedule {
    /// For a run of this length.
    pub(super) fn new(seed: u64, nodes: u32, length: Duration) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), nodes, at: Duration::ZERO, half: length / 2 }
    }

    fn spares(&self, victim: Victim) -> bool {
        match victim {
            Victim::Etcd => false,
            Victim::Control => self.at >= self.half,
            Victim::Node(number) => number == SPARED,
        }
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let after = self.millis(BETWEEN);
        self.at += after;
        let victim = match self.random.u32(0..2 + self.nodes) {
            0 => Victim::Etcd,
            1 => Victim::Control,
            node => Victim::Node(node - 1),
        };
        let harm = match self.random.u8(0..4) {
            0 | 1 if !self.spares(victim) => Harm::Kill(self.millis(DEAD)),
            0 | 2 => Harm::Stop(self.millis(SHORT_STOP)),
            _ => Harm::Stop(self.millis(LONG_STOP)),
        };
        Some(Step { after, victim, harm })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let victim = match self.victim {
            Victim::Etcd => "etcd",
            Victim::Control => "control",
            Victim::Node(_) => "node",
        };
        let harm = match self.harm {
            Harm::Kill(_) => "killed",
            Harm::Stop(hold) if hold.as_millis() < u128::from(SHORT_STOP.end) => "stopped shortly",
            Harm::Stop(_) => "stopped long",
        };
        write!(f, "{victim} {harm}")
    }
}

#[test]
fn a_seed_repeats_its_faults_and_reaches_every_process() {
    let steps = |seed| Schedule::new(seed, 3, super::SHORT).take(200).collect::<Vec<_>>();
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(8));
    let victims = [Victim::Etcd, Victim::Control, Victim::Node(1), Victim::Node(2), Victim::Node(3)];
    assert!(victims.iter().all(|victim| steps(7).iter().any(|step| step.victim == *victim)));
}

#[test]
fn the_spared_are_stopped_and_never_killed() {
    let length = Duration::from_secs(600);
    let mut at = Duration::ZERO;
    let timed = Schedule::new(7, 3, length).map(|step| {
        at += step.after;
        (at, step)
    });
    let steps: Vec<_> = timed.take_while(|(at, _)| *at < length).collect();
    let of = |victim| steps.iter().filter(move |(_, step)| step.victim == victim);
    let killed = |(_, step): &&(Duration, Step)| matches!(step.harm, Harm::Kill(_));
    assert!(of(Victim::Node(SPARED)).count() > 20 && of(Victim::Node(SPARED)).all(|step| !killed(&step)));
    assert!(of(Victim::Node(2)).any(|step| killed(&step)));
    let (first, second): (Vec<_>, Vec<_>) = of(Victim::Control).partition(|(at, _)| *at < length / 2);
    assert!(first.iter().any(killed) && second.len() > 10 && !second.iter().any(killed));
}

#[test]
fn the_short_run_does_of_nearly_everything_something() {
    let mut at = Duration::ZERO;
    let begun = |step: &Step| {
        at += step.after;
        at < super::SHORT
    };
    let steps = Schedule::new(super::SHORT_SEED, super::NODES, super::SHORT);
    let kinds: std::collections::BTreeSet<String> = steps.take_while(begun).map(|step| step.to_string()).collect();
    assert!(kinds.len() >= 8, "of nine: {kinds:?}");
}
