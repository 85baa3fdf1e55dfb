//! What a decision about a rollout rests on, and who of the nodes answered how.
//!
//! Put together by the drive from the view, completed by [`super::Memory`]. Judged here, so that every step asks the same
//! questions.

use std::time::{Duration, SystemTime};

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::spec::{RolloutPlan, check_rollout};
use echo_proto::v1;

use super::health::Counted;
use super::judge::ONE_LOSS_IN;
use super::memory::Hearing;
use super::pick::Sizes;
use super::{MAX_CAUSE_CHARS, MAX_PROBLEMS};
use crate::plan::sync;

/// A pool as the leader sees it.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a PoolName,
    /// As applied.
    pub pool: &'a v1::PoolRecord,
    /// Nodes wanted.
    pub replicas: u32,
    /// How the next rollout is to be done.
    pub policy: &'a RolloutPlan,
    /// What nodes are told to run; `None` also where that can't be read.
    pub assignment: Option<&'a v1::Assignment>,
    /// The newest rollout.
    pub rollout: Option<&'a v1::Rollout>,
    /// The live nodes.
    pub nodes: Vec<NodeFacts<'a>>,
    /// Those of the stored revisions that [`super::needed`] asks for which are there.
    pub recalled: Vec<v1::Revision>,
    /// When so many nodes of any pool vanished that nothing should be changed, and where.
    pub mass_loss: Option<MassLoss>,
    /// What this leader saw since the rollout is in its stage.
    pub since: Since,
    /// How large a pool and a wave may be before it is rolled out in another way.
    pub sizes: Sizes,
    /// For stamps that people read.
    pub now: SystemTime,
}

/// A live node.
#[derive(Debug)]
pub struct NodeFacts<'a> {
    /// Its id.
    pub id: &'a NodeId,
    /// What it says.
    pub status: &'a v1::NodeStatus,
    /// Whether it is to run `next`.
    pub given: bool,
    /// Whether it runs a revision of its own, for debugging.
    pub pinned: bool,
    /// Whether its record may be that of a dead one, which etcd keeps for longer after its own restart. It is waited for
    /// until that is known, and proves nothing meanwhile.
    pub doubtful: bool,
    /// Since this leader saw it first in this stage, or since it is asked anew: it drains no more, is pinned no more. A
    /// restart does not begin anew, so that a node that keeps restarting runs out of time like any other.
    pub asked_for: Duration,
    /// Whether it has restarted since it was given what it is to run.
    pub restarted: bool,
    /// Whether it counts as lost for that: it is not waited for any more.
    pub lost: bool,
    /// What this process of it counted until now, if its Agent said so lately.
    pub counted: Option<Counted>,
    /// Whether its Agent answers; `None`: it is not asked.
    pub hearing: Option<Hearing>,
}

/// So many nodes of a pool vanished at once that it is not their config's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MassLoss {
    /// How long ago that was found.
    pub ago: Duration,
    /// Of which pool, and how many.
    pub message: String,
}

/// What a leader saw since a rollout is in its stage: that is, in its phase and step, with these nodes given `next`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since {
    /// How long it is so.
    pub staged: Duration,
    /// How long all that were given `next` run it and are there.
    pub healthy: Option<Duration>,
    /// How long nobody serves with `next`, and nobody is there that is waited for.
    pub deserted: Duration,
    /// Nodes that were given `next`, and those of them that were lost on it.
    pub next: Tally,
    /// What those that were given `next` counted since then ...
    pub traffic: Counted,
    /// ... and the same ones before.
    pub traffic_before: Counted,
    /// How far back a mass loss is the rollout's matter.
    pub exposed: Duration,
    /// Nodes that run `stable`, and those of them that were lost since the rollout began.
    pub stable: Tally,
    /// The lost ones of `next` by name, and how they were lost; at most [`MAX_PROBLEMS`].
    pub lost: Vec<(String, &'static str)>,
    /// Nodes given `next` that are gone, or came back as another process, and of which it is too early to say more.
    pub undecided: usize,
    /// Those of them that are gone.
    pub gone: usize,
    /// Nodes given `next` that are not there, however long.
    pub absent: usize,
    /// Until more can be said.
    pub decided_in: Option<Duration>,
    /// Nodes given `next` that are there and asked, and whose Agents have answered; those of them that do not any more.
    pub heard: usize,
    /// See `heard`.
    pub hanging: Vec<String>,
    /// How long some do.
    pub hung: Duration,
    /// Those of `heard` that have not answered since all are healthy.
    pub unheard: usize,
    /// Nodes without `next` that are asked, and have not said yet what they do.
    pub uncounted: usize,
    /// Nodes without `next` that went without a word so short ago that more may be about to.
    pub vanished: usize,
    /// Until none of them counts any more.
    pub settled_in: Option<Duration>,
}

/// Nodes, and those of them that were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lost ones.
    pub lost: usize,
    /// Of so many.
    pub of: usize,
}

impl Since {
    /// Whether more of those that were given `next` hang than of a large pool do at any time.
    pub(super) fn hangs(&self) -> bool {
        self.hanging.len().saturating_mul(ONE_LOSS_IN) > self.heard
    }

    /// Whether it is too early to say that they don't.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard.saturating_mul(ONE_LOSS_IN) > self.heard
    }

    /// Whether so few of those that were given `next` are missing that a large pool need not wait to know more.
    pub(super) fn misses_few(&self) -> bool {
        self.undecided.saturating_mul(ONE_LOSS_IN) <= self.next.of
    }
}

impl<'a> NodeFacts<'a> {
    /// A node of which nothing is known but what it says.
    pub fn new(id: &'a NodeId, status: &'a v1::NodeStatus) -> Self {
        Self {
            id,
            status,
            given: false,
            pinned: false,
            doubtful: false,
            asked_for: Duration::ZERO,
            restarted: false,
            lost: false,
            counted: None,
            hearing: None,
        }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id.as_str() == id
    }

    /// What it counted until now, for the record.
    pub(super) fn figures_before(&self) -> Option<v1::FiguresBefore> {
        let Counted { messages, failures } = self.counted?;
        let incarnation = self.status.incarnation.clone();
        Some(v1::FiguresBefore { node: self.id.to_string(), incarnation, messages, failures })
    }

    /// Whether it answers its clients, for sure.
    pub(super) fn serves(&self) -> bool {
        self.status.phase() == v1::NodePhase::Ready && !self.doubtful
    }

    fn runs(&self, revision: &v1::RevisionRef) -> bool {
        self.status.applied.as_ref() == Some(revision)
    }
}

impl<'a> Facts<'a> {
    pub(super) fn uid(&self) -> &'a str {
        self.pool.metadata.as_ref().map_or("", |m| m.uid.as_str())
    }

    /// The newest revision; a valid pool has one.
    pub(super) fn newest(&self) -> v1::RevisionRef {
        self.pool.revision.clone().unwrap_or_default()
    }

    /// The pool's assignment, if it is of this life of the pool.
    pub(super) fn assigned(&self) -> Option<&'a v1::Assignment> {
        self.assignment.filter(|a| a.uid == self.uid())
    }

    /// The policy that a rollout began with. One that can't be read was not written by this version: today's counts.
    pub(super) fn policy_of(&self, rollout: &v1::Rollout) -> RolloutPlan {
        let kept = rollout.policy.as_ref().and_then(|policy| check_rollout(policy).ok());
        kept.unwrap_or_else(|| self.policy.clone())
    }

    /// The time that nodes have to answer in the newest rollout.
    fn ack_deadline(&self) -> Duration {
        self.rollout.map_or(self.policy.ack_deadline, |rollout| self.policy_of(rollout).ack_deadline)
    }

    /// The nodes that a rollout is about: all but those that are leaving, and those that are pinned.
    pub(super) fn staying(&self) -> impl Iterator<Item = &NodeFacts<'a>> {
        self.nodes.iter().filter(|node| sync::is_asked(node.status) && !node.pinned)
    }

    /// Those of them that are not given up for lost.
    fn asked(&self) -> impl Iterator<Item = &NodeFacts<'a>> {
        self.staying().filter(|node| !node.lost)
    }

    /// Those of them that a rollout waits for because they do not run `revision`: not those that joined so late that the
    /// others have run out of time, which find their place by themselves.
    pub(super) fn behind(&self, revision: &v1::RevisionRef) -> Vec<&NodeFacts<'a>> {
        let deadline = self.ack_deadline();
        let in_time = |node: &&NodeFacts<'_>| self.since.staged.saturating_sub(node.asked_for) < deadline;
        self.asked().filter(|node| !node.runs(revision)).filter(in_time).collect()
    }

    /// Those of them that have to go back from `revision`: who runs it, and who does not say what it runs, unless it
    /// refuses to run anything. Who runs something else does so for a reason of its own.
    pub(super) fn to_return(&self, revision: &v1::RevisionRef, stable: &v1::RevisionRef) -> Vec<&NodeFacts<'a>> {
        let silent =
            |node: &NodeFacts<'_>| node.status.applied.is_none() && node.status.phase() != v1::NodePhase::Rejected;
        let behind = self.behind(stable).into_iter();
        behind.filter(|node| node.runs(revision) || silent(node)).collect()
    }

    /// Those that run `revision`, whenever they joined.
    pub(super) fn on(&self, revision: &v1::RevisionRef) -> Vec<&NodeFacts<'a>> {
        self.asked().filter(|node| node.runs(revision)).collect()
    }

    /// Those that were given `next`: who serves with it, and whom the rollout waits for.
    pub(super) fn answers(&self, next: &v1::RevisionRef) -> (Vec<&NodeFacts<'a>>, Vec<&NodeFacts<'a>>) {
        let deadline = self.ack_deadline();
        let serves = |node: &&NodeFacts<'_>| node.runs(next) && node.serves();
        let in_time = |node: &&NodeFacts<'_>| self.since.staged.saturating_sub(node.asked_for) < deadline;
        self.asked().filter(|node| node.given).filter(|node| serves(node) || in_time(node)).partition(serves)
    }

    /// Those of `nodes` that had their time to answer and did not, as problems.
    pub(super) fn late(&self, nodes: &[&NodeFacts<'a>]) -> Vec<v1::RolloutProblem> {
        let deadline = self.ack_deadline();
        let late = nodes.iter().filter(|node| node.asked_for >= deadline && !node.doubtful);
        let cause = |node: &NodeFacts<'_>| {
            let restarted = if node.restarted { "; it restarted meanwhile" } else { "" };
            format!("no answer within {}{restarted}", seconds(deadline))
        };
        late.take(MAX_PROBLEMS).map(|node| problem(node, cause(node))).collect()
    }

    /// Until the next of `nodes` runs out of time.
    pub(super) fn until_late(&self, nodes: &[&NodeFacts<'a>]) -> Option<Duration> {
        let deadline = self.ack_deadline();
        let sure = nodes.iter().filter(|node| !node.doubtful);
        sure.map(|node| deadline.saturating_sub(node.asked_for)).min()
    }

    /// Nodes that refused `revision` in this rollout.
    pub(super) fn refusals(&self, revision: &v1::RevisionRef, rollout: u32) -> Vec<v1::RolloutProblem> {
        let refused = self.staying().filter_map(|node| {
            let rejection = node.status.rejection.as_ref()?;
            let this = rejection.revision.as_ref() == Some(revision) && rejection.rollout == rollout;
            let listener = rejection.listener.clone();
            let cause = rejection.cause.chars().take(MAX_CAUSE_CHARS).collect();
            this.then(|| v1::RolloutProblem { listener, ..problem(node, cause) })
        });
        refused.take(MAX_PROBLEMS).collect()
    }
}

fn problem(node: &NodeFacts<'_>, cause: String) -> v1::RolloutProblem {
    v1::RolloutProblem { node: node.id.to_string(), listener: String::new(), cause }
}

/// `30s`, `0.5s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
