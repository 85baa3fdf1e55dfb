//! What nodes do with their traffic: counted the same way before a rollout and on its revision, and compared.
//!
//! The drive counts each sample of an Agent by [`Counted::of`]; the steps ask whether more fails than may. Nothing is
//! judged by a handful of messages, and a rollout says so.

use std::collections::BTreeSet;

use echo_proto::ids::{NodeId, PoolUid, rollout_hash};
use echo_proto::spec::Share;
use echo_proto::v1;
use v1::RolloutPhase as Phase;

use super::facts::{Facts, NodeFacts};
use super::pick;
use super::steps::Steps;

/// Fewer messages say nothing.
const MIN_JUDGED: u64 = 1_000;
/// Most nodes that are asked what they do, beside canaries.
pub(super) const MAX_SAMPLED: usize = 256;
/// Drops that a peer causes by whom it is, and a node rightly makes.
const PEERS_DROPS: [&str; 2] = ["acl", "loop_guard"];
/// A connection that its peer gave up before it was accepted.
const PEERS_REFUSAL: &str = "aborted";

/// What a node took, and what of it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages and connections.
    pub messages: u64,
    /// Those of them that it dropped, refused or broke off.
    pub failures: u64,
}

impl Counted {
    /// What a node counted since its process began.
    pub fn of(live: &v1::LiveFigures) -> Self {
        let dropped = live.dropped_packets.iter().filter(|(reason, _)| !PEERS_DROPS.contains(&reason.as_str()));
        let refused = live.rejected_connections.iter().filter(|(reason, _)| *reason != PEERS_REFUSAL);
        let not_served: u64 = dropped.chain(refused).fold(0, |sum, (_, count)| sum.saturating_add(*count));
        let broken = live.broken_connections.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        Self {
            messages: live.messages.saturating_add(live.connections_accepted).saturating_add(not_served),
            failures: not_served.saturating_add(broken),
        }
    }

    /// What came on top of `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(before.messages),
            failures: self.failures.saturating_sub(before.failures),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            failures: self.failures.saturating_add(other.failures),
        }
    }

    fn share(self) -> f64 {
        if self.messages == 0 { 0.0 } else { self.failures as f64 / self.messages as f64 }
    }

    /// Whether a larger share fails than `before`, by more than `allowed`.
    fn is_worse(self, before: Self, allowed: Share) -> bool {
        let enough = |counted: Self| counted.messages >= MIN_JUDGED;
        enough(self) && enough(before) && self.share() > before.share() + allowed.fraction()
    }
}

/// Whose figures a rollout is judged by: its canaries and, once these have the revision, so that it is known what they did
/// before they are given it, a `sample` of the others; of a small pool all. Canaries that are still to be given it wait for
/// theirs, which come later where many are asked. Those of a rollout that is not to wait for anything are not looked at.
pub(super) fn watched(facts: &Facts<'_>, sample: &BTreeSet<NodeId>) -> Option<BTreeSet<NodeId>> {
    let rollout = facts.rollout.filter(|r| r.phase() == Phase::Progressing && !r.now)?;
    let is_small = facts.nodes.len() <= MAX_SAMPLED;
    let steps = Steps::of(&facts.policy_of(rollout), rollout.now);
    let alone = steps.is_canary(steps.at(rollout)) && pick::waiting(facts, rollout).next().is_some();
    let tries = |node: &NodeFacts<'_>| rollout.canaries.iter().any(|canary| node.is(canary));
    let nodes = facts.staying().filter(|node| is_small || (!alone && sample.contains(node.id)) || tries(node));
    Some(nodes.map(|node| node.id.clone()).collect())
}

/// Those of a large pool that a rollout is judged by beside its canaries: the first by its hash, which are also the first
/// that are given `next` after these. What so many do tells what all do, and asking ten thousand would take seconds.
pub(super) fn sample(facts: &Facts<'_>) -> BTreeSet<NodeId> {
    let Some(rollout) = facts.rollout else { return BTreeSet::new() };
    let uid = PoolUid::from(facts.uid().to_owned());
    let mut nodes: Vec<_> = facts.staying().map(|node| (rollout_hash(&uid, rollout.id, node.id), node.id)).collect();
    nodes.sort_unstable();
    nodes.into_iter().take(MAX_SAMPLED).map(|(_, id)| id.clone()).collect()
}

impl From<&v1::FiguresBefore> for Counted {
    fn from(before: &v1::FiguresBefore) -> Self {
        Self { messages: before.messages, failures: before.failures }
    }
}

/// What can be said of the traffic on a rollout's revision; empty where nothing is to be.
pub(super) fn words(facts: &Facts<'_>, rollout: &v1::Rollout) -> String {
    if rollout.now {
        return "not judged: it was asked for at once".to_owned();
    }
    let (now, before) = (facts.since.traffic, facts.since.traffic_before);
    if now.messages < MIN_JUDGED {
        return format!("not judged: {} messages of {MIN_JUDGED}", now.messages);
    }
    if before.messages < MIN_JUDGED {
        return format!("not judged: {} messages of {MIN_JUDGED} before it", before.messages);
    }
    let Counted { messages, failures } = now;
    format!("{failures} of {messages} messages failed, {} of {} before", before.failures, before.messages)
}

/// Whether more of the traffic fails on a rollout's revision than may, in words.
pub(super) fn failing(facts: &Facts<'_>, rollout: &v1::Rollout) -> Option<String> {
    let allowed = facts.policy_of(rollout).max_failures;
    let worse = !rollout.now && facts.since.traffic.is_worse(facts.since.traffic_before, allowed);
    worse.then(|| format!("{}: more than maxFailures, {allowed}, above", words(facts, rollout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> std::collections::BTreeMap<String, u64> {
        counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    }

    #[test]
    fn what_fails_is_counted_but_not_what_peers_are_to_blame_for() {
        let live = v1::LiveFigures {
            messages: 100,
            connections_accepted: 10,
            dropped_packets: counts(&[("acl", 1_000), ("loop_guard", 1_000), ("rate_limit", 1), ("sndbuf", 2)]),
            rejected_connections: counts(&[("max_connections", 4), ("aborted", 1_000)]),
            broken_connections: counts(&[("connection_reset", 8)]),
            ..Default::default()
        };
        // What was dropped or refused came on top; what broke off had been accepted.
        assert_eq!(Counted::of(&live), Counted { messages: 117, failures: 15 });
        let full = v1::LiveFigures { messages: u64::MAX, connections_accepted: 1, ..Default::default() };
        assert_eq!(Counted::of(&full).messages, u64::MAX);
    }

    #[test]
    fn a_share_is_worse_when_it_is_above_the_one_before_by_more_than_is_allowed() {
        let table = [
            // failures, messages, failures before, messages before, worse
            (999, 999, 0, 0, false),
            (10, 1_000, 0, 1_000, false),
            (11, 1_000, 0, 1_000, true),
            (999, 1_000, 0, 999, false),
            (60, 1_000, 50, 1_000, false),
            (61, 1_000, 50, 1_000, true),
            (0, 1_000_000, 50, 1_000, false),
        ];
        for (failures, messages, failed_before, before, expected) in table {
            let (now, before) = (Counted { messages, failures }, Counted { messages: before, failures: failed_before });
            assert_eq!(now.is_worse(before, Share::percent(1)), expected, "{now:?} {before:?}");
        }
    }

    #[test]
    fn counters_that_began_anew_take_nothing_away() {
        let (now, before) = (Counted { messages: 5, failures: 1 }, Counted { messages: 9, failures: 0 });
        assert_eq!(now.since(before), Counted { messages: 0, failures: 1 });
    }
}
