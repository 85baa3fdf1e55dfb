//! Whether a number of nodes can come true, as far as the leader's record tells who starts nodes.
//!
//! Part of the Pools service. What can never be is refused at once; what nobody does, or not all of it, is a warning.

use std::collections::BTreeSet;
use std::sync::Arc;

use echo_proto::codec::{FieldError, FieldErrors};
use echo_proto::ids::PoolName;
use echo_proto::v1::{LeaderRecord, PoolRecord, PoolSpec};

use super::super::Api;
use super::super::error::ApiError;
use crate::fleet::{Node, Presence};
use crate::plan::change::{Changed, bounds};
use crate::plan::scale::{MAX_PER_HOST, index};
use crate::scaler::{self, NONE, PROCESS};

impl Api {
    fn leader(&self) -> Option<LeaderRecord> {
        self.view.read(|state| state.leader.as_ref().map(|leader| leader.value.clone()))
    }

    /// A number that the leader's host has no addresses for is refused.
    pub(super) fn check_number(&self, replicas: u32) -> Result<(), ApiError> {
        match self.leader().and_then(|leader| beyond_host(&leader, replicas)) {
            Some(cause) => Err(ApiError::argument("replicas", cause)),
            None => Ok(()),
        }
    }

    /// A change of a pool by a file that says `asked`, unless that names such a number. One that control found or keeps is
    /// nobody's wish, and nothing that a writer of files could mend.
    pub(in crate::api) fn possible(
        &self,
        asked: Option<&PoolSpec>,
        stored: Option<&PoolRecord>,
        changed: Option<Changed>,
    ) -> Result<Option<Changed>, ApiError> {
        let asked = asked.filter(|_| changed.is_some());
        let before = stored.and_then(|stored| stored.spec.as_ref());
        match self.leader().zip(asked).and_then(|(leader, asked)| unreachable(&leader, before, asked)) {
            Some(mistake) => Err(FieldErrors(vec![mistake]).into()),
            None => Ok(changed),
        }
    }

    /// What keeps a pool from having as many nodes, in words.
    pub(super) fn number_warnings(&self, name: &PoolName, replicas: u32) -> Vec<String> {
        let Some(leader) = self.leader() else { return Vec::new() };
        let told = self.view.read(|state| {
            let pool = state.pools.get(name);
            let there = pool.map_or(0, |pool| pool.fleet.staying(&BTreeSet::new()));
            let others = state.pools.iter().filter(|(other, _)| *other != name);
            let others: u32 = others.filter_map(|(_, pool)| pool.desired()).fold(0, u32::saturating_add);
            let alive = pool.into_iter().flat_map(|pool| pool.fleet.live());
            [warning(&leader, replicas, there, others), left_over(&leader, replicas, alive)]
        });
        told.into_iter().flatten().map(|told| format!("pool/{name}: {told}")).collect()
    }

    /// The same of what a pool's file asks for anew.
    pub(super) fn spec_warnings(&self, name: &PoolName, before: Option<&PoolSpec>, after: &PoolSpec) -> Vec<String> {
        let most = |spec: &PoolSpec| spec.autoscale.as_ref().map(|rule| bounds(rule).1);
        if before.is_some_and(|before| (before.replicas, most(before)) == (after.replicas, most(after))) {
            return Vec::new();
        }
        match (most(after), after.replicas) {
            (Some(most), _) => {
                let cause = self.leader().and_then(|leader| beyond_host(&leader, most));
                let never = "never grows to its maximum: spec.autoscale.maxReplicas";
                cause.map(|cause| format!("pool/{name} {never}: {cause}")).into_iter().collect()
            }
            (None, Some(replicas)) => self.number_warnings(name, replicas),
            (None, None) => Vec::new(),
        }
    }
}

/// The field of a pool that asks for more nodes at the least than one host can hold. What is stored already is not asked
/// for: its template must not wait for another leader.
fn unreachable(leader: &LeaderRecord, before: Option<&PoolSpec>, asked: &PoolSpec) -> Option<FieldError> {
    let least = |spec: &PoolSpec| match &spec.autoscale {
        Some(rule) => Some(("spec.autoscale.minReplicas", bounds(rule).0)),
        None => Some(("spec.replicas", spec.replicas?)),
    };
    let (field, number) = least(asked).filter(|asked| before.and_then(least) != Some(*asked))?;
    beyond_host(leader, number).map(|cause| FieldError::new(field, cause))
}

/// That one host can't hold so many, in words.
fn beyond_host(leader: &LeaderRecord, replicas: u32) -> Option<String> {
    (leader.scaler == PROCESS && replicas > MAX_PER_HOST).then(|| {
        format!(
            "{replicas} is too large; at most {MAX_PER_HOST} of all pools: the control that leads, {} on {}, runs nodes \
             as processes, each on a loopback address of its own",
            leader.address, leader.host
        )
    })
}

/// `there`: nodes that the pool has; `others`: nodes that the other pools want.
fn warning(leader: &LeaderRecord, replicas: u32, there: usize, others: u32) -> Option<String> {
    let all = replicas.saturating_add(others);
    match leader.scaler.as_str() {
        NONE if there != replicas as usize => Some(format!(
            "{there} run, and {}; start or end them yourself, or let a control with --scaler process lead",
            scaler::idle(leader)
        )),
        PROCESS if all > MAX_PER_HOST => Some(format!(
            "all pools want {all} nodes, and the control that leads, {} on {}, runs at most {MAX_PER_HOST}",
            leader.address, leader.host
        )),
        _ => None,
    }
}

/// That nodes on other hosts are more than the pool is to have, in words: the leader ends processes of its own host only.
/// Of those that another control started on the same host nobody knows before it is tried; a condition tells of them.
fn left_over<'n>(leader: &LeaderRecord, replicas: u32, alive: impl Iterator<Item = &'n Arc<Node>>) -> Option<String> {
    let numbered = |node: &&Arc<Node>| index(&node.id).is_some() && node.presence == Presence::Sure && !node.leaves();
    let away = alive.filter(numbered).filter(|node| node.status.host != leader.host);
    let away: Vec<_> = away.map(|node| (node.id.as_str(), node.status.host.as_str())).collect();
    let many = u32::try_from(away.len()).unwrap_or(u32::MAX).saturating_sub(replicas);
    (leader.scaler == PROCESS && many > 0).then(|| scaler::elsewhere(many, away.into_iter()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use echo_proto::v1::Autoscale;

    use super::*;

    fn leader(scaler: &str) -> LeaderRecord {
        let (address, host) = ("10.0.0.5:7400".into(), "h".into());
        LeaderRecord { address, host, scaler: scaler.into(), ..Default::default() }
    }

    #[test]
    fn what_one_host_cannot_hold_is_refused() {
        assert!(beyond_host(&leader(PROCESS), 255).unwrap().starts_with("255 is too large; at most 254 of all pools"));
        assert_eq!(beyond_host(&leader(PROCESS), 254), None);
        assert_eq!(beyond_host(&leader(NONE), 10_000), None);
        assert_eq!(beyond_host(&leader(""), 10_000), None, "an older leader does not tell");
    }

    #[test]
    fn a_file_that_asks_for_more_than_one_host_holds_is_refused_at_the_field() {
        let spec = |replicas: u32| PoolSpec { replicas: Some(replicas), ..Default::default() };
        let told = |before: Option<&PoolSpec>, asked: &PoolSpec| {
            unreachable(&leader(PROCESS), before, asked).map(|mistake| mistake.path)
        };
        assert_eq!(told(None, &spec(255)).as_deref(), Some("spec.replicas"));
        assert_eq!(told(Some(&spec(254)), &spec(255)).as_deref(), Some("spec.replicas"));
        assert_eq!(told(Some(&spec(255)), &spec(255)), None, "it is so already");
        assert_eq!(told(None, &spec(254)), None);
        assert_eq!(unreachable(&leader(NONE), None, &spec(255)), None);
        let rule = |least: u32| Autoscale { min_replicas: Some(least), max_replicas: 300, ..Default::default() };
        let scaled = |least: u32| PoolSpec { autoscale: Some(rule(least)), ..Default::default() };
        assert_eq!(told(Some(&spec(255)), &scaled(255)).as_deref(), Some("spec.autoscale.minReplicas"));
        assert_eq!(told(None, &scaled(254)), None, "it may be that no more are ever needed");
    }

    #[test]
    fn what_nobody_does_is_warned_of() {
        let told = warning(&leader(NONE), 6, 5, 0).unwrap();
        assert!(
            told.starts_with("5 run, and the control that leads, 10.0.0.5:7400 on h, runs with --scaler none"),
            "{told}"
        );
        assert_eq!(warning(&leader(NONE), 5, 5, 0), None);
        assert_eq!(warning(&leader(PROCESS), 6, 5, 248), None);
        assert!(warning(&leader(PROCESS), 6, 5, 249).unwrap().contains("want 255 nodes"));
    }
}
