//! Who is given `next`: canaries and small waves by name, large waves by the rollout hash.
//!
//! Used where a rollout begins and moves on. Every choice is a function of the nodes alone, so that another leader makes
//! the same. It must never take `next` from a node that has it.

use std::collections::{BTreeMap, VecDeque};

use echo_proto::ids::{PoolUid, rollout_hash};
use echo_proto::v1;

use super::facts::{Facts, NodeFacts};
use crate::fleet::natural_order;

/// Largest pool whose waves are lists of names.
const MAX_NAMED: usize = 256;
/// Most nodes that are given `next` at once: 10,000 at once expired half of the leases, and 2,000 none.
const MAX_UNACKNOWLEDGED: usize = 2_000;
/// Most canaries that a rollout uses up: beyond, those that are lost are not replaced.
const MAX_CANARIES_USED: usize = 256;

/// What depends on how large a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Largest pool whose waves are lists of names.
    pub named: usize,
    /// Most nodes that are given `next` at once.
    pub unacknowledged: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { named: MAX_NAMED, unacknowledged: MAX_UNACKNOWLEDGED }
    }
}

/// Nodes to add to those that are `given` in each zone, so that zones have alike many; the first by name of each zone.
fn spread<'n, 'a>(candidates: &[&'n NodeFacts<'a>], given: &[&NodeFacts<'_>], count: usize) -> Vec<&'n NodeFacts<'a>> {
    let mut zones: BTreeMap<&str, (usize, VecDeque<&'n NodeFacts<'a>>)> = BTreeMap::new();
    let mut sorted = candidates.to_vec();
    sorted.sort_by(|a, b| natural_order(a.id.as_str(), b.id.as_str()));
    for node in sorted {
        zones.entry(&node.status.zone).or_default().1.push_back(node);
    }
    for node in given {
        zones.entry(&node.status.zone).or_default().0 += 1;
    }
    let next = |_| {
        let (taken, left) = zones.values_mut().filter(|(_, left)| !left.is_empty()).min_by_key(|(taken, _)| *taken)?;
        *taken += 1;
        left.pop_front()
    };
    (0..count).map_while(next).collect()
}

/// Canaries that are missing: `wanted` are to be there in all, with `next` or before they are given it. First come those
/// that serve clients now: of the others nothing can be learned but that they take it.
pub(super) fn canaries(facts: &Facts<'_>, rollout: &v1::Rollout, wanted: usize) -> Vec<String> {
    let is_canary = |node: &NodeFacts<'_>| rollout.canaries.iter().any(|id| node.is(id));
    let (named, others): (Vec<_>, Vec<_>) = facts.staying().partition(|node| is_canary(node));
    let there: Vec<_> = named.into_iter().filter(|node| !node.lost).collect();
    let candidates: Vec<_> = others.into_iter().filter(|node| !node.given && !node.doubtful).collect();
    let missing = wanted.saturating_sub(there.len() + facts.since.gone);
    let missing = missing.min(MAX_CANARIES_USED.saturating_sub(rollout.canaries.len()));
    let (busy, idle): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|node| node.serves() && node.status.cordoned_by.is_empty());
    let first = spread(&busy, &there, missing);
    let given: Vec<_> = there.into_iter().chain(first.iter().copied()).collect();
    let then = spread(&idle, &given, missing - first.len());
    first.into_iter().chain(then).map(|node| node.id.to_string()).collect()
}

/// Canaries that were not given `next` yet.
pub(super) fn waiting<'f, 'a>(
    facts: &'f Facts<'a>,
    rollout: &'f v1::Rollout,
) -> impl Iterator<Item = &'f NodeFacts<'a>> {
    facts.staying().filter(|node| !node.given && rollout.canaries.iter().any(|id| node.is(id)))
}

/// The assignment with so many nodes given `next` that `target` have it, or as many as may be at once; `None`: they have
/// it already, or nobody is there. In the `last` step all have it, whoever joins.
pub(super) fn wave(
    facts: &Facts<'_>,
    assignment: &v1::Assignment,
    target: usize,
    last: bool,
) -> Option<v1::Assignment> {
    let (given, mut others): (Vec<_>, Vec<_>) = facts.staying().partition(|node| node.given);
    if last && !(given.is_empty() && others.is_empty()) && others.len() <= facts.sizes.unacknowledged {
        return (assignment.cut != u64::MAX).then(|| v1::Assignment { cut: u64::MAX, ..assignment.clone() });
    }
    // Who is gone is not replaced, as each time the step would begin anew: in the last one all are given it anyway.
    let gone = if last { 0 } else { facts.since.absent };
    let missing = target.saturating_sub(given.len() + gone).min(facts.sizes.unacknowledged);
    if missing == 0 {
        return None;
    }
    if given.len() + others.len() <= facts.sizes.named {
        let names = spread(&others, &given, missing).into_iter().map(|node| node.id.to_string());
        let picked = assignment.picked.iter().cloned().chain(names).collect();
        return Some(v1::Assignment { picked, ..assignment.clone() });
    }
    let uid = PoolUid::from(assignment.uid.clone());
    others.sort_by_cached_key(|node| rollout_hash(&uid, assignment.rollout, node.id));
    let cut = others.get(missing - 1).map(|node| rollout_hash(&uid, assignment.rollout, node.id))?;
    (cut > assignment.cut).then(|| v1::Assignment { cut, ..assignment.clone() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use echo_proto::ids::NodeId;

    use super::*;

    #[test]
    fn zones_take_turns_and_those_with_fewest_come_first() {
        let nodes: Vec<(NodeId, v1::NodeStatus)> =
            [("n-1", "a"), ("n-2", "a"), ("n-10", "a"), ("n-3", "b"), ("n-4", "b"), ("n-5", "")]
                .map(|(id, zone)| (id.parse().unwrap(), v1::NodeStatus { zone: zone.into(), ..Default::default() }))
                .to_vec();
        let facts: Vec<NodeFacts<'_>> = nodes.iter().map(|(id, status)| NodeFacts::new(id, status)).collect();
        let all: Vec<&NodeFacts<'_>> = facts.iter().collect();
        let names = |picked: Vec<&NodeFacts<'_>>| picked.iter().map(|n| n.id.to_string()).collect::<Vec<_>>();
        assert_eq!(names(spread(&all, &[], 3)), ["n-5", "n-1", "n-3"]);
        assert_eq!(names(spread(&all, &[], 9)), ["n-5", "n-1", "n-3", "n-2", "n-4", "n-10"]);
        let (given, others) = (vec![all[0], all[5]], vec![all[1], all[2], all[3], all[4]]);
        assert_eq!(names(spread(&others, &given, 2)), ["n-3", "n-2"]);
    }
}
