//! What the view and the nodes' figures say of one pool, and what an autoscaler makes of it.
//!
//! Used by the drive's part that writes pools' sizes. No I/O; time is passed in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::spec::AutoscalePlan;
use echo_proto::v1;
use tokio::time::Instant;

use super::standing::Standing;
use crate::figures::{Figures, Sample, User};
use crate::fleet::Node;
use crate::plan::autoscale::{Autoscaler, Limit, Load};
use crate::scaler::{FAILED, Failure};
use crate::store::Stored;
use crate::view::{PoolEntry, PoolState};

/// What a node said so short a time before a round counts in it: an Agent is late where its host is busy, which is no
/// time to know nothing of it.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// A limit is told for so long after it was last met: load that sits at it meets it in every other round, and each change
/// is a write.
const LIMITED_FOR: Duration = Duration::from_secs(60);

/// One pool, at one instant.
pub(super) struct Found {
    pub(super) name: PoolName,
    pub(super) pool: Arc<Stored<PoolEntry>>,
    /// `None`: somebody named its number.
    pub(super) standing: Option<Standing>,
    /// `None`: it has no autoscaler.
    pub(super) rule: Option<AutoscalePlan>,
    /// As stored; of one that can't be read, nothing.
    pub(super) scale: v1::Scale,
    /// mod_revision of its key.
    pub(super) scale_at: i64,
    /// How many run, none of which may end at once; `None`: this leader goes on from what it knows.
    pub(super) there: Option<u32>,
    /// It has fewer nodes than it wants.
    pub(super) lacks: bool,
    /// Those that stay: which life of each, and whether it serves everybody.
    nodes: Vec<(NodeId, String, bool)>,
}

/// What one leader saw of a pool.
#[derive(Debug, Clone)]
pub(super) struct Kept {
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
    let node = |node: &Arc<Node>| {
        let status = &node.status;
        let serves = status.phase() == v1::NodePhase::Ready && status.cordoned_by.is_empty();
        (!node.leaves()).then(|| (node.id.clone(), status.incarnation.clone(), serves))
    };
    Some(Found {
        name: name.clone(),
        standing: Standing::of(pool),
        // Of other pools nobody counts the nodes.
        nodes: rule.iter().flat_map(|_| pool.fleet.live().filter_map(node)).collect(),
        rule,
        scale: pool.scale.valid().map(|scale| scale.value.clone()).unwrap_or_default(),
        scale_at: pool.scale.mod_revision(),
        pool: stored.clone(),
        there: None,
        lacks: pool.desired().is_some_and(|wanted| pool.fleet.staying(&BTreeSet::new()) < wanted as usize),
    })
}

impl Kept {
    /// Knows what is stored, and how many nodes there are.
    pub(super) fn new(pool: &Found, rule: AutoscalePlan, now: Instant) -> Self {
        let autoscaler = Autoscaler::new(pool.replicas(&rule), now);
        Self { rule, autoscaler, asked: None, limit: None }
    }

    /// What the figures ask for, or asked for lately, and may not be.
    pub(super) fn limit(&self, now: Instant) -> Option<Limit> {
        lately(self.limit, now)
    }

    /// Puts down how many nodes there should be: decided anew with each round of figures; bounds hold at once.
    pub(super) fn decide(&mut self, pool: &Found, figures: &Figures, scale: &mut v1::Scale, now: Instant) {
        let replicas = pool.replicas(&self.rule);
        let asked = figures.asked(User::Autoscaler, &pool.name).filter(|_| pool.there.is_none());
        let (decided, reason) = match asked.filter(|asked| self.asked.is_none_or(|at| at < *asked)) {
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
            let given = || match pool.there {
                Some(there) if there > scale.replicas => format!("{there} run already, and go step by step"),
                _ => format!("within {} to {}", self.rule.min, self.rule.max),
            };
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
    /// Nodes wanted so far: as stored, or as many as there are, where those are more.
    fn replicas(&self, rule: &AutoscalePlan) -> u32 {
        self.scale.replicas.max(self.there.map_or(0, |there| there.clamp(rule.min, rule.max)))
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
    failure: Option<&Failure>,
    idle: Option<String>,
) -> Vec<v1::PoolCondition> {
    let limited = limit.map(|limit| match limit {
        Limit::Max => {
            ("ScalingLimited", "TooManyReplicas", "the figures ask for more nodes than maxReplicas".to_owned())
        }
        Limit::Min => {
            ("ScalingLimited", "TooFewReplicas", "the figures ask for fewer nodes than minReplicas".to_owned())
        }
    });
    let idle = idle.map(|message| (FAILED, "NoScaler", message));
    let failed = failure.map(|failure| (FAILED, failure.reason, failure.message.clone()));
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
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};
    use crate::view::View;

    /// A pool of 1 to 8 nodes, of which so many are stored and run.
    fn pool_of(stored: u32, there: Option<u32>) -> Found {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let pool = r#"{"metadata":{"name":"edge","uid":"u"},"revision":{"uid":"u","n":1},"spec":{
            "autoscale":{"minReplicas":1,"maxReplicas":8,"target":{"connections":4}},"template":{"listeners":[
            {"name":"l","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}}}"#;
        let scale = format!(r#"{{"replicas":{stored}}}"#);
        let entry = |(key, value): (&str, &str)| Entry {
            key: format!("/echo/v1/test/{key}").into_bytes(),
            value: value.into(),
            mod_revision: 3,
            ..Entry::default()
        };
        view.apply(Update::Reset([("pools/edge", pool), ("scales/edge", &scale)].map(entry).into()), 3);
        let name = "edge".parse().unwrap();
        let found = view.read(|state| found(&name, &state.pools[&name])).unwrap();
        Found { there, ..found }
    }

    #[test]
    fn a_leader_begins_with_the_nodes_that_run_where_fewer_are_stored() {
        let begun = |stored, there| {
            let pool = pool_of(stored, Some(there));
            let mut scale = pool.scale.clone();
            let now = Instant::now();
            Kept::new(&pool, pool.rule.clone().unwrap(), now).decide(&pool, &Figures::default(), &mut scale, now);
            (scale.replicas, scale.reason)
        };
        assert_eq!(begun(2, 5), (5, "5 run already, and go step by step".to_owned()));
        assert_eq!(begun(2, 20).0, 8, "within the bounds");
        assert_eq!(begun(5, 2), (5, String::new()), "some have yet to be started");
        assert_eq!(begun(0, 0), (1, "within 1 to 8".to_owned()));
        assert_eq!(begun(9, 0).0, 8);
    }

    #[test]
    fn a_condition_keeps_the_time_since_which_it_holds() {
        let full = Failure { reason: "NoRoom", message: "2 nodes are not started".to_owned() };
        let first = conditions(&[], Some(Limit::Max), Some(&full), None);
        let told: Vec<_> = first.iter().map(|c| (c.r#type.as_str(), c.reason.as_str())).collect();
        assert_eq!(told, [("ScalingLimited", "TooManyReplicas"), ("ScalerFailed", "NoRoom")]);
        assert_eq!(conditions(&first, Some(Limit::Max), Some(&full), None), first);
        let other = conditions(&first, Some(Limit::Min), None, Some("nobody starts nodes".to_owned()));
        assert_eq!((other[0].reason.as_str(), other[1].reason.as_str()), ("TooFewReplicas", "NoScaler"));
        assert!(other[0].transition_time != first[0].transition_time);
        assert_eq!(conditions(&other, None, None, None), []);
    }

    #[test]
    fn a_limit_is_told_until_it_was_not_met_for_a_while() {
        let met = Instant::now();
        assert_eq!(lately(None, met), None);
        assert_eq!(lately(Some((Limit::Max, met)), met + LIMITED_FOR / 2), Some(Limit::Max));
        assert_eq!(lately(Some((Limit::Max, met)), met + LIMITED_FOR), None);
    }
}
