//! All that is known of one pool.
//!
//! Part of the mirror; filled by [`super::state`]. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use echo_proto::ids::NodeId;
use echo_proto::v1;

use super::state::{AssignmentEntry, PoolEntry, Slot};
use crate::fleet::Fleet;
use crate::store::Stored;

/// One pool.
#[derive(Debug, Default)]
pub struct PoolState {
    /// `pools/<pool>`
    pub pool: Slot<PoolEntry>,
    /// `assignments/<pool>`
    pub assignment: Slot<AssignmentEntry>,
    /// `rollouts/<pool>`
    pub rollout: Slot<v1::Rollout>,
    /// `scales/<pool>`
    pub scale: Slot<v1::Scale>,
    /// `nodes/<pool>/`
    pub fleet: Fleet,
    /// `intents/<pool>/`: those that can be read.
    pub intents: BTreeMap<NodeId, Arc<Stored<v1::Intent>>>,
}

impl PoolState {
    /// Nodes wanted: as the pool says, or as the autoscaler decided; `None`: that is not known yet.
    pub fn desired(&self) -> Option<u32> {
        let plan = &self.pool.valid()?.value.plan;
        let Some(rule) = &plan.autoscale else { return Some(plan.replicas) };
        let decided = self.scale.valid().map(|scale| scale.value.replicas).filter(|replicas| *replicas > 0)?;
        Some(decided.clamp(rule.min, rule.max))
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { pool, assignment, rollout, scale, fleet, intents } = self;
        let unset =
            matches!((pool, assignment, rollout, scale), (Slot::Absent, Slot::Absent, Slot::Absent, Slot::Absent));
        unset && fleet.is_empty() && intents.is_empty()
    }
}
