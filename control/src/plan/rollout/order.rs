//! What an operator orders of a rollout: pause, resume, abort.
//!
//! Asked by [`super::decide`] before all else. An order is carried out once, for the rollout that it names; one that
//! comes too late, or for another, is passed over, and the rollout's record says so by its number.

use echo_proto::v1;
use v1::{RolloutOrderKind as Kind, RolloutPhase as Phase};

use super::end::{moved, turn_back};
use super::facts::Facts;
use super::{Decision, write};

/// Carries out the newest order, if that was not done yet.
pub(super) fn carry_out(facts: &Facts<'_>, assignment: &v1::Assignment, rollout: &v1::Rollout) -> Option<Decision> {
    // One for a later rollout waits for it: this view is behind.
    let due = |order: &&v1::RolloutOrder| order.id > rollout.order && order.rollout <= rollout.id;
    let order = facts.pool.order.as_ref().filter(due)?;
    let rollout = v1::Rollout { order: order.id, ..rollout.clone() };
    if order.rollout != rollout.id {
        return Some(write(facts, None, rollout));
    }
    let who = if order.author.is_empty() { "unknown" } else { &order.author };
    Some(match (order.kind(), rollout.phase()) {
        (Kind::Pause, Phase::Progressing) => pause(facts, &rollout, Vec::new(), format!("paused by {who}")),
        (Kind::Resume, Phase::Paused) => {
            let resumed = moved(facts, &rollout, Phase::Progressing);
            let reason = format!("resumed by {who}");
            // From now on nodes are compared with what they did until now: who resumes knows of that.
            write(facts, None, v1::Rollout { problems: Vec::new(), before: Vec::new(), reason, ..resumed })
        }
        (Kind::Abort, Phase::Progressing | Phase::Paused) => {
            let rollout = v1::Rollout { aborted_by: who.to_owned(), ..rollout };
            turn_back(facts, assignment, &rollout, Vec::new(), format!("aborted by {who}"))
        }
        _ => write(facts, None, rollout),
    })
}

/// Nothing is given or taken back until an operator says so.
pub(super) fn pause(
    facts: &Facts<'_>,
    rollout: &v1::Rollout,
    problems: Vec<v1::RolloutProblem>,
    reason: String,
) -> Decision {
    write(facts, None, v1::Rollout { problems, reason, ..moved(facts, rollout, Phase::Paused) })
}
