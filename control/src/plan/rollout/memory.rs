//! What one leader remembers of a rollout: since when things are so, who was given `next`, who was lost.
//!
//! Kept by the drive for each pool, brought up to date before each decision; time is passed in. Another leader begins
//! anew with every timer, since no two machines' clocks are compared. It decides nothing.

mod hearing;
mod life;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use echo_proto::ids::{NodeId, runs_next};
use echo_proto::v1;
use tokio::time::Instant;
use v1::RolloutPhase as Phase;

use super::facts::{Facts, NodeFacts, Since, Tally};
use super::health::Counted;
use super::mass::{DEFAULT_LEASE_TTL, SETTLE, lease_ttl};
use super::{MAX_PROBLEMS, health};
use crate::fleet::natural_order;
use crate::plan::sync::{is_asked, reference};
pub use hearing::Hearing;
use life::{GONE, Life, RESTARTED, Stage, held};

/// Most nodes that are remembered though they are gone.
const MAX_GONE: usize = 10_000;

/// One pool's rollout, as one leader has seen it.
#[derive(Debug)]
pub struct Memory {
    stage: Stage,
    /// Counts stages, from 1.
    stages: u64,
    /// Since when the rollout is in it.
    since: Instant,
    /// Since when it is on its way, or goes on by an operator's order.
    begun: Instant,
    resumed: bool,
    /// Since when all that were given `next` serve with it.
    healthy: Option<Instant>,
    /// Since when nobody serves with it, nor is to.
    deserted: Option<Instant>,
    /// Since when nodes hang.
    hung: Option<Instant>,
    lives: HashMap<NodeId, Life>,
    /// Counts looks: who was not seen in the last one is gone.
    look: u64,
    lease_ttl: Duration,
    /// Nodes lost on `stable` since the rollout began, of the most that ran it.
    stable: Tally,
    /// Those of a large pool whose figures are asked for in the rollout of this id.
    sample: (u32, BTreeSet<NodeId>),
}

/// What is known of a pool's nodes beside their records.
#[derive(Debug, Clone, Copy)]
pub struct Absent<'a> {
    /// Those that drained and went lately, and as which process: another one may be there again.
    pub left: &'a HashMap<NodeId, String>,
    /// Those without a record whose Agents answer: only etcd is out of their reach.
    pub serving: &'a HashSet<NodeId>,
    /// How long this leader has seen without a break who comes and goes.
    pub watched_for: Duration,
}

impl Memory {
    /// Remembers nothing.
    pub fn new(now: Instant) -> Self {
        Self {
            stage: Stage::default(),
            stages: 1,
            since: now,
            begun: now,
            resumed: false,
            healthy: None,
            deserted: None,
            hung: None,
            lives: HashMap::new(),
            look: 0,
            lease_ttl: DEFAULT_LEASE_TTL,
            stable: Tally::default(),
            sample: (0, BTreeSet::new()),
        }
    }

    /// Takes over what is there now, and tells for how long.
    pub fn look(&mut self, facts: &mut Facts<'_>, absent: Absent<'_>, now: Instant) {
        let entered = self.enter(Stage::of(facts), now);
        self.look += 1;
        self.lease_ttl = lease_ttl(facts.nodes.iter().map(|node| node.status)).unwrap_or(self.lease_ttl);
        let until_decided = self.lease_ttl.saturating_mul(2).saturating_sub(absent.watched_for);
        let assignment = facts.assigned();
        let pinned = pinned(facts);
        for node in &mut facts.nodes {
            node.pinned = pinned.contains(node.id.as_str());
            self.meet(node, assignment, absent.left, now);
            if !until_decided.is_zero() {
                self.spare(node);
            }
            self.count(node, facts.rollout);
        }
        if let Some(rollout) = facts.rollout.filter(|r| entered && r.phase() == Phase::Progressing) {
            self.expect(rollout, |id| absent.left.contains_key(id) || pinned.contains(id.as_str()), now);
        }
        self.miss(absent, now);
        let grows = facts.nodes.len() > health::MAX_SAMPLED && self.sample.1.len() < health::MAX_SAMPLED;
        if self.sample.0 != self.stage.rollout || grows {
            self.sample = (self.stage.rollout, health::sample(facts));
        }
        facts.since = self.tell(until_decided, now);
        let (healthy, deserted) = on_next(facts);
        facts.since.healthy = held(&mut self.healthy, healthy, now);
        facts.since.unheard = facts.since.healthy.map_or(0, |healthy| hearing::unheard(self.lives.values(), healthy));
        let hung = facts.since.hangs();
        facts.since.hung = held(&mut self.hung, hung, now).unwrap_or_default();
        facts.since.deserted = held(&mut self.deserted, deserted, now).unwrap_or_default();
    }

    /// Whose figures are to be asked for, to judge the rollout by; `None`: nobody's.
    pub fn watched(&self, facts: &Facts<'_>) -> Option<BTreeSet<NodeId>> {
        health::watched(facts, &self.sample.1)
    }

    /// Whether the stage is new.
    fn enter(&mut self, stage: Stage, now: Instant) -> bool {
        if stage == self.stage {
            return false;
        }
        let resumed = self.stage.phase() == Phase::Paused && stage.phase() == Phase::Progressing;
        if stage.rollout != self.stage.rollout || resumed {
            // Who resumes knows of the losses until then.
            self.lives.clear();
            self.stable = Tally::default();
            (self.begun, self.resumed) = (now, resumed);
        }
        (self.stage, self.since, self.healthy, self.deserted, self.hung) = (stage, now, None, None, None);
        self.stages += 1;
        true
    }

    fn meet(
        &mut self,
        node: &mut NodeFacts<'_>,
        assignment: Option<&v1::Assignment>,
        left: &HashMap<NodeId, String>,
        now: Instant,
    ) {
        let status = node.status;
        let asked = is_asked(status) && !node.pinned;
        if !self.lives.contains_key(node.id) {
            self.lives.insert(node.id.clone(), Life::new(now));
        }
        let Some(life) = self.lives.get_mut(node.id) else { return };
        let entered = life.stage != self.stages;
        let is_given = || !node.pinned && assignment.is_some_and(|a| runs_next(a, node.id));
        // Also one that was away when the stage began, or was not asked, has found its place by the rule.
        let given = if entered || life.asked != asked { is_given() } else { life.given };
        let another = life.incarnation != status.incarnation;
        // One that drained and came back between two looks was not seen to drain.
        let excused = !asked || left.get(node.id) == Some(&life.incarnation);
        if !life.is_met() || (life.given, life.asked) != (given, asked) || (another && excused) {
            // What it did while nobody asked is not known, and a process that came up just now is not healthy for long.
            let counted = life.counted.filter(|_| !another && life.asked == asked);
            self.healthy = self.healthy.filter(|_| !(another && given));
            let heard = life.heard && !another;
            *life = Life { given, asked, incarnation: status.incarnation.clone(), counted, heard, ..Life::new(now) };
        } else if entered || life.gone.is_some_and(|gone| now.saturating_duration_since(gone) >= self.lease_ttl) {
            // Who was away for so long, and is not lost, could not hear of it.
            life.since = now;
        }
        node.restarted = life.incarnation != status.incarnation;
        if node.restarted && life.lost.is_none() {
            life.lost = Some(RESTARTED);
            self.stable.lost += usize::from(!life.given);
        }
        (life.stage, life.gone, life.look) = (self.stages, None, self.look);
        node.given = life.given;
        node.lost = life.given && life.lost.is_some();
        node.asked_for = now.saturating_duration_since(life.since);
    }

    /// It is too early to say that a node is lost; one that is back as it was is not lost at all.
    fn spare(&mut self, node: &mut NodeFacts<'_>) {
        node.lost = false;
        if let Some(life) = self.lives.get_mut(node.id).filter(|life| life.lost == Some(GONE) && !node.restarted) {
            life.lost = None;
            self.stable.lost = self.stable.lost.saturating_sub(usize::from(!life.given));
        }
    }

    /// Notes what a node counted before it was given `next`, and since: a canary's record tells what it had counted until
    /// then, of another node that is the last that was heard. One that this leader met with `next` has nothing that it
    /// could be compared with, but for what it did until an operator resumed the rollout, who knows of that.
    fn count(&mut self, node: &NodeFacts<'_>, rollout: Option<&v1::Rollout>) {
        let Some(life) = self.lives.get_mut(node.id) else { return };
        life.hearing = node.hearing;
        let mut before = rollout.filter(|_| node.hearing.is_some()).into_iter().flat_map(|rollout| &rollout.before);
        let before = before.find(|before| node.is(&before.node));
        // An earlier leader has heard a canary; who resumes knows that it hangs.
        let is_it = |before: &v1::FiguresBefore| before.incarnation == node.status.incarnation;
        let was_heard = before.is_some_and(is_it) && !self.resumed;
        life.heard |= !node.restarted && (was_heard || node.counted.is_some());
        let Some(counted) = node.counted else { return };
        let begun = match (before, node.restarted) {
            _ if !life.given => Some(counted),
            (_, true) => Some(Counted::default()),
            (Some(before), _) if before.incarnation == node.status.incarnation => Some(before.into()),
            _ => life.counted.map(|(begun, _)| begun).or(self.resumed.then_some(counted)),
        };
        life.counted = begun.map(|begun| (begun, counted));
    }

    /// Canaries that an earlier leader chose: this one may never have seen them alive.
    fn expect(&mut self, rollout: &v1::Rollout, is_excused: impl Fn(&NodeId) -> bool, now: Instant) {
        for id in rollout.canaries.iter().filter_map(|id| id.parse::<NodeId>().ok()).filter(|id| !is_excused(id)) {
            self.lives.entry(id).or_insert_with(|| Life { given: true, asked: true, ..Life::new(now) });
        }
    }

    /// Notes who is not there. Who left is not lost, nor whom the rollout was not about, nor who serves without etcd: that
    /// is its link's fault, or else the canaries' that are to find out such a thing.
    fn miss(&mut self, absent: Absent<'_>, now: Instant) {
        let Self { lives, look, stable, lease_ttl, stage, .. } = self;
        let has_left = |id: &NodeId, life: &Life| match absent.left.get(id) {
            Some(incarnation) => !life.is_met() || *incarnation == life.incarnation,
            None => false,
        };
        lives.retain(|id, life| life.look == *look || (life.asked && !has_left(id, life)));
        for (id, life) in lives.iter_mut().filter(|(_, life)| life.look != *look) {
            let serves = absent.serving.contains(id) && !(life.given && stage.is_canary());
            stable.lost += usize::from(life.is_missed(now, *lease_ttl, serves) && !life.given);
        }
        stable.of = stable.of.max(lives.values().filter(|life| life.is_met() && life.asked && !life.given).count());
        let gone = lives.values().filter(|life| life.look != *look).count();
        if gone > MAX_GONE {
            lives.retain(|_, life| life.look == *look);
        }
    }

    fn tell(&self, until_decided: Duration, now: Instant) -> Since {
        let staged = now.saturating_duration_since(self.since);
        // A rollout that begins just after a mass loss comes into it as well.
        let before = if self.resumed { Duration::ZERO } else { self.lease_ttl };
        let exposed = now.saturating_duration_since(self.begun) + before;
        let mut since = Since { staged, exposed, stable: self.stable, ..Since::default() };
        for (id, life) in self.lives.iter().filter(|(_, life)| life.given && life.asked) {
            let absent = life.gone.map(|gone| now.saturating_duration_since(gone));
            let early = self.lease_ttl.saturating_sub(absent.unwrap_or_default());
            let wait = match (life.lost, absent) {
                (Some(_), _) => until_decided,
                (None, Some(_)) => until_decided.max(early),
                (None, None) => Duration::ZERO,
            };
            if !wait.is_zero() {
                since.undecided += 1;
                since.gone += usize::from(absent.is_some());
                since.decided_in = Some(since.decided_in.map_or(wait, |before| before.min(wait)));
            }
            if let Some((begun, until_now)) = life.counted {
                since.traffic = since.traffic.plus(until_now.since(begun));
                since.traffic_before = since.traffic_before.plus(begun);
            }
            since.next.of += usize::from(life.is_met());
            since.absent += usize::from(life.is_met() && absent.is_some());
            if let Some(cause) = life.lost.filter(|_| wait.is_zero() && life.is_met()) {
                since.next.lost += 1;
                since.lost.push((id.to_string(), cause));
            }
        }
        since.lost.sort_unstable_by(|(a, _), (b, _)| natural_order(a, b));
        since.lost.truncate(MAX_PROBLEMS);
        let fresh = self.lives.values().filter(|life| life.is_met() && life.asked && !life.given);
        let fresh = fresh.filter_map(|life| (life.gone? + self.lease_ttl + SETTLE).checked_duration_since(now));
        let fresh: Vec<Duration> = fresh.filter(|left| !left.is_zero()).collect();
        (since.vanished, since.settled_in) = (fresh.len(), fresh.into_iter().max());
        hearing::tell(self.lives.iter(), &mut since);
        since
    }
}

/// Those that are pinned, and those that are to be by what is written next.
fn pinned<'a>(facts: &Facts<'a>) -> BTreeSet<&'a str> {
    let assigned = facts.assigned().into_iter().flat_map(|a| &a.pins).map(|pin| pin.node.as_str());
    facts.pool.pins.iter().map(|pin| pin.node.as_str()).chain(assigned).collect()
}

/// Whether all that were given `next` serve with it and nobody of them is missing, and whether nobody serves with it, nor
/// is waited for.
fn on_next(facts: &Facts<'_>) -> (bool, bool) {
    let Some((assignment, next)) = facts.assigned().and_then(|a| Some((a, a.next.as_ref()?))) else {
        return (false, true);
    };
    let (acked, behind) = facts.answers(&reference(&assignment.uid, next));
    let healthy = behind.is_empty() && facts.since.misses_few() && !facts.since.hangs();
    (!acked.is_empty() && healthy, acked.is_empty() && behind.is_empty())
}
