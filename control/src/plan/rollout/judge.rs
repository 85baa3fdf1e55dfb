//! Whether something is wrong with a revision that nodes try, and what.
//!
//! Asked in every step of a rollout. It only tells; what follows is the policy's matter.

use echo_proto::v1;

use super::facts::{Facts, Tally};
use super::{MAX_PROBLEMS, health, report};

/// Nodes die without a new revision as well: up to one in so many of those that have it may be lost before they are
/// compared with the others. Of fewer nodes, each one counts.
pub(super) const ONE_LOSS_IN: usize = 100;

/// Why a revision should be taken back.
#[derive(Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) problems: Vec<v1::RolloutProblem>,
}

/// The first that is wrong, if anything is: what nodes said, who is gone, who is silent, what fails.
pub(super) fn trouble(facts: &Facts<'_>, rollout: &v1::Rollout, to: &v1::RevisionRef) -> Option<Trouble> {
    of_nodes(facts.refusals(to, rollout.id))
        .or_else(|| losses(facts, rollout, to))
        .or_else(|| of_nodes(facts.late(&facts.answers(to).1)))
        .or_else(|| Some(Trouble { reason: health::failing(facts, rollout)?, problems: Vec::new() }))
}

fn of_nodes(problems: Vec<v1::RolloutProblem>) -> Option<Trouble> {
    let reason = report::told(problems.first()?);
    Some(Trouble { reason, problems })
}

fn losses(facts: &Facts<'_>, rollout: &v1::Rollout, to: &v1::RevisionRef) -> Option<Trouble> {
    let (next, stable) = (facts.since.next, facts.since.stable);
    if !worse(next, stable) {
        return None;
    }
    let from = rollout.from.as_ref().map_or(0, |from| from.n);
    let reason = format!(
        "{} of {} nodes were lost on revision {}, {} of {} on revision {from}",
        next.lost, next.of, to.n, stable.lost, stable.of
    );
    let problem = |(node, cause): &(String, &str)| v1::RolloutProblem {
        node: node.clone(),
        listener: String::new(),
        cause: (*cause).to_owned(),
    };
    Some(Trouble { reason, problems: facts.since.lost.iter().take(MAX_PROBLEMS).map(problem).collect() })
}

/// Whether a larger share of nodes is lost on `next` than on `stable`.
fn worse(next: Tally, stable: Tally) -> bool {
    let more = next.lost.saturating_mul(stable.of.max(1)) > stable.lost.saturating_mul(next.of);
    more && next.lost.saturating_mul(ONE_LOSS_IN) > next.of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_count_when_they_are_worse_than_without_the_revision() {
        let table = [
            // lost on next, of, lost on stable, of, worse
            (0, 1, 0, 9, false),
            (1, 1, 0, 9, true),
            (1, 1, 0, 0, true),
            (1, 4, 1, 4, false),
            (2, 4, 1, 4, true),
            (1, 10, 3, 30, false),
            // Nodes die now and then.
            (1, 10_000, 0, 10_000, false),
            (101, 10_000, 0, 10_000, true),
            (101, 10_000, 200, 10_000, false),
            (1, 100, 0, 300, false),
            (1, 99, 0, 300, true),
        ];
        for (lost, of, stable_lost, stable_of, expected) in table {
            let (next, stable) = (Tally { lost, of }, Tally { lost: stable_lost, of: stable_of });
            assert_eq!(worse(next, stable), expected, "{next:?} {stable:?}");
        }
    }
}
