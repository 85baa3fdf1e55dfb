//! What a decision about a rollout rests on, and who of the nodes answered how.
//!
//! Put together by the drive from the view. Judged here, so that every step asks the same questions.

use std::time::{Duration, SystemTime};

use echo_proto::ids::PoolName;
use echo_proto::v1;

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
    /// Time that nodes have to answer.
    pub ack_deadline: Duration,
    /// What nodes are told to run; `None` also where that can't be read.
    pub assignment: Option<&'a v1::Assignment>,
    /// The newest rollout.
    pub rollout: Option<&'a v1::Rollout>,
    /// The live nodes.
    pub nodes: Vec<NodeFacts<'a>>,
    /// The stored revision that [`super::lost_stable`] asks for.
    pub recalled: Option<v1::Revision>,
    /// Since this leader saw the rollout in its phase for the first time.
    pub in_phase: Duration,
    /// For stamps that people read.
    pub now: SystemTime,
}

/// A live node.
#[derive(Debug)]
pub struct NodeFacts<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it says.
    pub status: &'a v1::NodeStatus,
    /// Since this leader saw it first in this phase: at most `in_phase`. A restart does not begin anew, so that a
    /// node that keeps restarting runs out of time like any other.
    pub asked_for: Duration,
    /// Whether it has restarted since then.
    pub restarted: bool,
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

    /// The nodes that a rollout waits for: all but those that are leaving, and those that joined so late that the
    /// others have run out of time. Joiners find their place by themselves.
    pub(super) fn asked(&self) -> impl Iterator<Item = &NodeFacts<'a>> {
        let stays = |node: &&NodeFacts<'_>| sync::is_asked(node.status);
        let in_time = |node: &&NodeFacts<'_>| self.in_phase.saturating_sub(node.asked_for) < self.ack_deadline;
        self.nodes.iter().filter(stays).filter(in_time)
    }

    /// Those of them that do not run `revision`.
    pub(super) fn behind(&self, revision: &v1::RevisionRef) -> Vec<&NodeFacts<'a>> {
        self.asked().filter(|node| node.status.applied.as_ref() != Some(revision)).collect()
    }

    /// Those of them that run `revision`.
    pub(super) fn on(&self, revision: &v1::RevisionRef) -> Vec<&NodeFacts<'a>> {
        self.asked().filter(|node| node.status.applied.as_ref() == Some(revision)).collect()
    }

    /// Those of `nodes` that had their time to answer and did not, as problems.
    pub(super) fn late(&self, nodes: &[&NodeFacts<'a>]) -> Vec<v1::RolloutProblem> {
        let late = nodes.iter().filter(|node| node.asked_for >= self.ack_deadline);
        let cause = |node: &NodeFacts<'_>| {
            let restarted = if node.restarted { "; it restarted meanwhile" } else { "" };
            format!("no answer within {}{restarted}", seconds(self.ack_deadline))
        };
        late.take(MAX_PROBLEMS).map(|node| problem(node, cause(node))).collect()
    }

    /// Until the next of `nodes` runs out of time.
    pub(super) fn until_late(&self, nodes: &[&NodeFacts<'a>]) -> Option<Duration> {
        nodes.iter().map(|node| self.ack_deadline.saturating_sub(node.asked_for)).min()
    }

    /// Nodes that refused `revision` in this rollout.
    pub(super) fn refusals(&self, revision: &v1::RevisionRef, rollout: u32) -> Vec<v1::RolloutProblem> {
        let refused = self.asked().filter_map(|node| {
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
    v1::RolloutProblem { node: node.id.to_owned(), listener: String::new(), cause }
}

/// `30s`, `0.5s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
