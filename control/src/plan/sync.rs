//! How what a node runs relates to what it is assigned: one row of `get nodes`, and whom a rollout waits for.
//!
//! Used by the API for what it shows and by the rollout plan. It judges live records only; vanished nodes are the
//! fleet's matter.

use echo_proto::ids::{NodeId, Place};
use echo_proto::v1;

/// The revision that a node should run.
pub fn assigned(assignment: &v1::Assignment, node: &NodeId) -> Option<v1::RevisionRef> {
    Place::of(assignment, node).revision(assignment).map(|revision| reference(&assignment.uid, revision))
}

/// An assigned revision as a reference.
pub fn reference(uid: &str, revision: &v1::AssignedRevision) -> v1::RevisionRef {
    v1::RevisionRef { uid: uid.to_owned(), n: revision.n, digest: revision.digest.clone() }
}

/// Whether the node runs what it is assigned.
pub fn is_synced(assignment: &v1::Assignment, node: &NodeId, status: &v1::NodeStatus) -> bool {
    status.applied.is_some() && status.applied == assigned(assignment, node)
}

/// Whether a rollout waits for the node. One that drains, or that an operator drained, runs nothing new: it finds its
/// place when it serves again, as joiners do.
pub fn is_asked(status: &v1::NodeStatus) -> bool {
    !matches!(status.phase(), v1::NodePhase::Draining | v1::NodePhase::Drained)
}

/// The sync state that is shown.
///
/// A rejection of the newest revision shows even after the pool went back to the stable one: it is what the operator
/// has to mend. One that drains is asked for nothing, so that nothing is pending.
pub fn state(
    newest: Option<&v1::RevisionRef>,
    assignment: Option<&v1::Assignment>,
    node: &NodeId,
    status: &v1::NodeStatus,
) -> v1::SyncState {
    let assigned = assignment.and_then(|a| assigned(a, node));
    let rejected = status.rejection.as_ref().and_then(|r| r.revision.as_ref());
    if rejected.is_some() && (rejected == newest || rejected == assigned.as_ref()) {
        v1::SyncState::Rejected
    } else if assigned.is_some() && status.applied == assigned {
        v1::SyncState::Synced
    } else if !is_asked(status) {
        v1::SyncState::Unspecified
    } else {
        v1::SyncState::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn revision(n: u32) -> v1::RevisionRef {
        v1::RevisionRef { uid: "u".into(), n, digest: format!("d{n}") }
    }

    fn assignment(stable: u32, next: Option<u32>) -> v1::Assignment {
        let embed = |n| v1::AssignedRevision { n, digest: format!("d{n}"), config: Some(v1::PoolTemplate::default()) };
        let cut = if next.is_some() { u64::MAX } else { 0 };
        v1::Assignment {
            uid: "u".into(),
            stable: Some(embed(stable)),
            next: next.map(embed),
            cut,
            ..Default::default()
        }
    }

    fn node(applied: Option<u32>, rejected: Option<u32>) -> v1::NodeStatus {
        let rejection = rejected.map(|n| v1::Rejection { revision: Some(revision(n)), ..Default::default() });
        v1::NodeStatus { applied: applied.map(revision), rejection, ..Default::default() }
    }

    #[test]
    fn states() {
        use v1::SyncState::{Pending, Rejected, Synced};
        let id = "node-1".parse().unwrap();
        let table = [
            // newest, stable, next, applied, rejected
            (1, 1, None, Some(1), None, Synced),
            (1, 1, None, None, None, Pending),
            (2, 1, Some(2), Some(1), None, Pending),
            (2, 1, Some(2), Some(2), None, Synced),
            (2, 1, Some(2), Some(1), Some(2), Rejected),
            // Reverted: it runs the stable one again, and still says what was wrong.
            (2, 1, None, Some(1), Some(2), Rejected),
            // Mended by a newer revision that it has not answered yet.
            (3, 1, Some(3), Some(1), Some(2), Pending),
            // A joiner that cannot run the stable revision.
            (1, 1, None, None, Some(1), Rejected),
        ];
        for (newest, stable, next, applied, rejected, expected) in table {
            let found = state(Some(&revision(newest)), Some(&assignment(stable, next)), &id, &node(applied, rejected));
            assert_eq!(found, expected, "{newest} {stable} {next:?} {applied:?} {rejected:?}");
        }
        assert_eq!(state(None, None, &id, &node(Some(1), None)), Pending, "nothing is assigned");
        for phase in [v1::NodePhase::Draining, v1::NodePhase::Drained] {
            let drained = v1::NodeStatus { phase: phase.into(), ..node(None, None) };
            let found = state(Some(&revision(1)), Some(&assignment(1, None)), &id, &drained);
            assert_eq!(found, v1::SyncState::Unspecified, "it is asked for nothing");
        }
        let mut pinned = assignment(2, Some(3));
        pinned.pins = vec![v1::AssignedPin { node: "node-1".into(), n: 1 }];
        let seen = |pinned: &v1::Assignment| state(Some(&revision(3)), Some(pinned), &id, &node(Some(1), None));
        assert_eq!(seen(&pinned), Pending, "the assignment does not hold what it is pinned to");
        pinned.pinned = assignment(1, None).stable.into_iter().collect();
        assert_eq!(seen(&pinned), Synced);
        let mut other = assignment(1, None);
        other.uid = "v".into();
        assert!(!is_synced(&other, &id, &node(Some(1), None)), "revision 1 of another life of the pool");
    }
}
