//! The rollout of a pool's newest revision: what the leader writes next.
//!
//! Called by the drive for each pool after every change and at every deadline; a pure function of [`Facts`], in which
//! [`Memory`] says how long things are so. A revision goes to canaries first, then in waves, each of which has to be
//! healthy for a while; a rejection, a missing answer or losses take it back. Invariants: no node but a canary runs
//! `next` before the canaries passed; `cut` is never lowered except to none; `next` is cleared before another one is
//! set; a revision that was aborted or rejected is never assigned again by itself.

mod begin;
mod end;
mod facts;
mod health;
mod judge;
mod mass;
mod memory;
mod order;
mod outcome;
mod pick;
mod pins;
mod progress;
mod rebuild;
mod report;
mod steps;

use std::time::Duration;

use echo_proto::v1;
use v1::RolloutPhase as Phase;

pub use self::facts::{Facts, MassLoss, NodeFacts, Since, Tally};
pub use self::health::Counted;
pub use self::mass::{SETTLE, lease_ttl, mass_loss};
pub use self::memory::{Absent, Hearing, Memory};
pub use self::pick::Sizes;

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

/// The stored revisions, by number, without which it can't be decided: [`Facts::recalled`].
pub fn needed(facts: &Facts<'_>) -> Vec<u32> {
    let stable = rebuild::lost_stable(facts).map(|stable| stable.n);
    stable.into_iter().chain(pins::needed(facts)).collect()
}

/// The one step from facts to a decision.
pub fn decide(facts: &Facts<'_>) -> Decision {
    pins::pin(facts, of_rollout(facts))
}

fn of_rollout(facts: &Facts<'_>) -> Decision {
    let Some(assignment) = facts.assigned() else {
        return rebuild::rebuild(facts);
    };
    let Some(rollout) = facts.rollout else {
        return begin::restore(facts, assignment);
    };
    match rollout.phase() {
        Phase::Progressing | Phase::Paused => progress::underway(facts, assignment, rollout),
        // Not made by this version: a newer control wrote it, and drives it.
        Phase::Unspecified => Decision::Wait(None),
        _ if let Some(passed_over) = order::carry_out(facts, assignment, rollout) => passed_over,
        Phase::Reverting => end::revert(facts, assignment, rollout),
        Phase::Completed | Phase::Reverted | Phase::Superseded | Phase::RevertIncomplete => {
            end::idle(facts, assignment, rollout)
        }
    }
}

/// Stores this, with the events that tell of it, and with what becomes of revisions by it.
fn write(facts: &Facts<'_>, assignment: Option<v1::Assignment>, rollout: v1::Rollout) -> Decision {
    let rollout = outcome::noted(facts, rollout);
    let events = report::events(facts, &rollout);
    Decision::Write(Box::new(Next { assignment, rollout, events }))
}

#[cfg(test)]
mod tests;
