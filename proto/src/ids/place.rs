//! What a node runs by its assignment: the rollout hash, the cut, and pins.
//!
//! The one rule, used by the node and by control, which must never come to different ends. Pure.

use sha2::{Digest as _, Sha256};

use super::{NodeId, PoolUid};
use crate::v1;

/// Where a node stands in a rollout: it runs `next` once `cut` reaches this value.
///
/// First 8 bytes, big-endian, of SHA-256 over `uid 0x00 rollout 0x00 node`, with the rollout id in decimal. The zero
/// bytes keep the parts apart: neither a UUID nor a number holds one.
pub fn rollout_hash(uid: &PoolUid, rollout: u32, node: &NodeId) -> u64 {
    let mut sha = Sha256::new();
    sha.update(uid.as_str());
    sha.update([0]);
    sha.update(rollout.to_string());
    sha.update([0]);
    sha.update(node.as_str());
    let digest = sha.finalize();
    digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

/// Where in an assignment the revision stands that a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `stable`.
    Stable,
    /// `next`.
    Next,
    /// `pinned`, at this index.
    Pinned(usize),
    /// Nowhere: the node is pinned to this revision, but the assignment does not hold it.
    Missing(u32),
}

impl Place {
    /// Where `node` finds its own: the one rule, used by the node and by control. A pin goes before everything.
    pub fn of(assignment: &v1::Assignment, node: &NodeId) -> Self {
        let Some(pin) = assignment.pins.iter().find(|pin| pin.node == node.as_str()) else {
            return if runs_next(assignment, node) { Self::Next } else { Self::Stable };
        };
        let is = |revision: &v1::AssignedRevision| revision.n == pin.n;
        if assignment.stable.as_ref().is_some_and(is) {
            Self::Stable
        } else if assignment.next.as_ref().is_some_and(is) {
            Self::Next
        } else {
            assignment.pinned.iter().position(is).map_or(Self::Missing(pin.n), Self::Pinned)
        }
    }

    /// What stands there.
    pub fn revision(self, assignment: &v1::Assignment) -> Option<&v1::AssignedRevision> {
        match self {
            Self::Stable => assignment.stable.as_ref(),
            Self::Next => assignment.next.as_ref(),
            Self::Pinned(index) => assignment.pinned.get(index),
            Self::Missing(_) => None,
        }
    }
}

/// Whether the rollout of this assignment gives `next` to `node`, be it pinned or not.
pub fn runs_next(assignment: &v1::Assignment, node: &NodeId) -> bool {
    if assignment.next.is_none() {
        return false;
    }
    if assignment.picked.iter().any(|id| id == node.as_str()) {
        return true;
    }
    // cut 0 means nobody: it is the value of an absent field.
    let uid = PoolUid(assignment.uid.clone());
    assignment.cut > 0 && rollout_hash(&uid, assignment.rollout, node) <= assignment.cut
}
