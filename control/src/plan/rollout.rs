//! The rollout of a pool's newest revision: what the leader writes next.
//!
//! Called by the drive for each pool after every change and at every deadline. This version makes one step over the
//! whole pool: `next` reaches all nodes at once, and becomes `stable` once all of them acknowledged it; a rejection or
//! a missing answer takes it back. Invariants: a revision that was aborted is never assigned again by itself; `next` is
//! cleared before another one is set.

mod facts;
mod rebuild;
mod report;
mod step;

use std::time::Duration;

use echo_proto::v1;
use v1::RolloutPhase as Phase;

pub use self::facts::{Facts, NodeFacts};
pub use self::rebuild::lost_stable;

/// Most nodes named in a rollout's problems.
pub const MAX_PROBLEMS: usize = 16;
/// Longest cause that is taken over from a node; a rollout is read by people and kept in events.
pub const MAX_CAUSE_CHARS: usize = 512;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing until the facts change, or until this long from now.
    Wait(Option<Duration>),
    /// Store this, in one transaction.
    Write(Box<Next>),
    /// The assignment is lost, and so is this revision, which it had as `stable`: only an operator can tell what nodes
    /// should run.
    Lost(v1::RevisionRef),
}

/// The next state of a pool's rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// `None`: as it is.
    pub assignment: Option<v1::Assignment>,
    /// The rollout, whole.
    pub rollout: v1::Rollout,
    /// What happened.
    pub events: Vec<v1::Event>,
}

/// The one step from facts to a decision.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let Some(assignment) = facts.assigned() else {
        return rebuild::rebuild(facts);
    };
    let Some(rollout) = facts.rollout else {
        return step::restore(facts, assignment);
    };
    match rollout.phase() {
        Phase::Progressing => step::progress(facts, assignment, rollout),
        Phase::Reverting => step::revert(facts, assignment, rollout),
        Phase::Completed | Phase::Reverted | Phase::Superseded | Phase::RevertIncomplete => {
            step::idle(facts, assignment, rollout)
        }
        // Not made by this version: a newer control wrote it, and drives it.
        Phase::Paused | Phase::Unspecified => Decision::Wait(None),
    }
}

#[cfg(test)]
mod tests;
