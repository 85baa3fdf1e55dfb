//! What the view and the nodes' figures say of one pool, and what an autoscaler makes of it.
//!
//! Used by the drive's part that writes pools' sizes. No I/O; time is passed in.

use std::time::{Duration, SystemTime};

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::spec::AutoscalePlan;
use echo_proto::v1;
use tokio::time::Instant;

use crate::figures::{Figures, Sample, User};
use crate::fleet::Node;
use crate::plan::autoscale::{Autoscaler, Limit, Load};
use crate::view::PoolState;

/// What a node said so short a time before a round counts in it: an Agent is late where its host is busy, which is no
/// time to know nothing of it.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// A limit is told for so long after it was last met: load that sits at it meets it in every other round, and each change
/// is a write.
const LIMITED_FOR: Duration = Duration::from_secs(60);

/// One pool, at one instant.
pub(super) struct Found {
    pub(super) name: PoolName,
    /// Of its record.
    pub(super) mod_revision: i64,
    uid: String,
    /// `None`: it has no autoscaler.
    pub(super) rule: Option<AutoscalePlan>,
    /// As stored; of one that can't be read, nothing.
    pub(super) scale: v1::Scale,
    /// mod_revision of its key.
    pub(super) scale_at: i64,
    /// How many there are; looked at only where no number is stored.
    pub(super) there: u32,
    /// Those that stay: which life of each, and whether it serves everybody.
    nodes: Vec<(NodeId, String, bool)>,
}

/// What one leader saw of a pool.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    uid: String,
    rule: AutoscalePlan,
    autoscaler: Autoscaler,
    /// The round that was decided by last.
    asked: Option<Instant>,
    /// The last limit that was met, and when.
    limit: Option<(Limit, Instant)>,
}

/// A pool that can be read.
pub(super) fn found(name: &PoolName, pool: &PoolState) -> Option<Found> {
    let stored = pool.pool.valid()?;
    let plan = &stored.value.plan;
    let rule = plan.autoscale.clone();
    let node = |node: &std::sync::Arc<Node>| {
        let status = &node.status;
        let serves = status.phase() == v1::NodePhase::Ready && status.cordoned_by.is_empty();
        (!node.leaves()).then(|| (node.id.clone(), status.incarnation.clone(), serves))
    };
    Some(Found {
        name: name.clone(),
        mod_revision: stored.mod_revision,
        uid: stored.value.record.metadata.as_ref().map_or_else(String::new, |m| m.uid.clone()),
        // Of other pools nobody counts the nodes.
        nodes: rule.iter().flat_map(|_| pool.fleet.live().filter_map(node)).collect(),
        rule,
        scale: pool.scale.valid().map(|scale| scale.value.clone()).unwrap_or_default(),
        scale_at: pool.scale.mod_revision(),
        there: 0,
    })
}

impl Kept {
    /// Knows what is stored, or else how many nodes there are.
    pub(super) fn new(pool: &Found, rule: AutoscalePlan, now: Instant) -> Self {
        let autoscaler = Autoscaler::new(pool.replicas(&rule), now);
        Self { uid: pool.uid.clone(), rule, autoscaler, asked: None, limit: None }
    }

    /// Whether it is about this life of the pool, and this rule: another one begins anew.
    pub(super) fn is_of(&self, pool: &Found) -> bool {
        self.uid == pool.uid && pool.rule.as_ref() == Some(&self.rule)
    }

    /// What the figures ask for, or asked for lately, and may not be.
    pub(super) fn limit(&self, now: Instant) -> Option<Limit> {
        lately(self.limit, now)
    }

    /// Puts down how many nodes there should be: decided anew with each round of figures; bounds hold at once.
    pub(super) fn decide(&mut self, pool: &Found, figures: &Figures, scale: &mut v1::Scale, now: Instant) {
        let replicas = pool.replicas(&self.rule);
        let asked = figures.asked(User::Autoscaler, &pool.name).filter(|asked| self.asked.is_none_or(|at| at < *asked));
        let (decided, reason) = match asked {
            Some(asked) => {
                self.asked = Some(asked);
                let load = |(node, incarnation, serves): &(NodeId, String, bool)| {
                    let sample = figures.sample(&pool.name, node).filter(|sample| sample.at + FRESH_FOR >= asked)?;
                    (*serves && sample.incarnation == *incarnation).then(|| load(&sample))
                };
                let loads: Vec<Option<Load>> = pool.nodes.iter().map(load).collect();
                let decision = self.autoscaler.decide(&self.rule, replicas, &loads, now);
                self.limit = decision.limit.map(|limit| (limit, now)).or(self.limit);
                (decision.replicas, decision.reason)
            }
            None => (replicas.clamp(self.rule.min, self.rule.max), String::new()),
        };
        if decided != scale.replicas {
            let given = || format!("within {} to {}", self.rule.min, self.rule.max);
            scale.reason = if reason.is_empty() { given() } else { reason };
            scale.replicas = decided;
            scale.time = Some(SystemTime::now().into());
        }
    }
}

/// A limit that was met, for as long as it is told.
fn lately(limit: Option<(Limit, Instant)>, now: Instant) -> Option<Limit> {
    limit.filter(|(_, met)| now.saturating_duration_since(*met) < LIMITED_FOR).map(|(limit, _)| limit)
}

impl Found {
    /// Nodes wanted so far: as stored, or else as many as there are.
    fn replicas(&self, rule: &AutoscalePlan) -> u32 {
        if self.scale.replicas == 0 { self.there.clamp(rule.min, rule.max) } else { self.scale.replicas }
    }
}

/// What a node does, as far as it says so.
fn load(sample: &Sample) -> Load {
    let live = &sample.live;
    Load {
        connections: f64::from(live.connections) + f64::from(live.udp_flows),
        messages: live.rate,
        // Of no cores it is no number, which nobody believes.
        cpu: live.cpu / live.cores,
    }
}

/// What keeps a pool from being as wanted; since when it is so is kept.
pub(super) fn conditions(
    before: &[v1::PoolCondition],
    limit: Option<Limit>,
    failure: Option<&String>,
    idle: bool,
) -> Vec<v1::PoolCondition> {
    let limited = limit.map(|limit| match limit {
        Limit::Max => {
            ("ScalingLimited", "TooManyReplicas", "the figures ask for more nodes than maxReplicas".to_owned())
        }
        Limit::Min => {
            ("ScalingLimited", "TooFewReplicas", "the figures ask for fewer nodes than minReplicas".to_owned())
        }
    });
    let idle =
        idle.then(|| ("ScalerFailed", "NoScaler", "control runs with --scaler none, and starts no nodes".to_owned()));
    let failed = failure.map(|cause| ("ScalerFailed", "NoRoom", cause.clone()));
    let condition = |(r#type, reason, message): (&str, &str, String)| {
        let held = before.iter().find(|c| c.r#type == r#type && c.reason == reason && c.status);
        let transition_time = held.map_or_else(|| Some(SystemTime::now().into()), |held| held.transition_time);
        v1::PoolCondition {
            r#type: r#type.to_owned(),
            status: true,
            reason: reason.to_owned(),
            message,
            transition_time,
        }
    };
    [limited, failed.or(idle)].into_iter().flatten().map(condition).collect()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_the_time_since_which_it_holds() {
        let full = "2 nodes are not started".to_owned();
        let first = conditions(&[], Some(Limit::Max), Some(&full), true);
        let told: Vec<_> = first.iter().map(|c| (c.r#type.as_str(), c.reason.as_str())).collect();
        assert_eq!(told, [("ScalingLimited", "TooManyReplicas"), ("ScalerFailed", "NoRoom")]);
        assert_eq!(conditions(&first, Some(Limit::Max), Some(&full), true), first);
        let other = conditions(&first, Some(Limit::Min), None, true);
        assert_eq!((other[0].reason.as_str(), other[1].reason.as_str()), ("TooFewReplicas", "NoScaler"));
        assert!(other[0].transition_time != first[0].transition_time);
        assert_eq!(conditions(&other, None, None, false), []);
    }

    #[test]
    fn a_limit_is_told_until_it_was_not_met_for_a_while() {
        let met = Instant::now();
        assert_eq!(lately(None, met), None);
        assert_eq!(lately(Some((Limit::Max, met)), met + LIMITED_FOR / 2), Some(Limit::Max));
        assert_eq!(lately(Some((Limit::Max, met)), met + LIMITED_FOR), None);
    }
}
