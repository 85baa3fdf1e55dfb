//! After a rollout has completed: are the pool's nodes there, and do they run it?
//!
//! Used by `rollout status`. A pool's first revision is stable before any node runs it, and a scaled pool's nodes come and
//! go without a rollout: neither is done before its nodes are. Whoever is drained or pinned is not waited for, but told.

use echo_proto::ids::PoolName;
use echo_proto::v1::{self, NodePhase, SyncState};

use crate::connect::Control;
use crate::failure::Failure;
use crate::object::source::{Filter, list};
use crate::object::{Object as _, replicas, revision};

/// How the nodes stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// As the pool wants them; in words.
    Settled(String),
    /// Not yet: how many do their part, of how many.
    Waits { running: u32, wanted: u32, line: String },
    /// A node can't run it; which, and why.
    Refused(String),
    /// The pool is gone.
    Gone,
}

/// Asks control how the nodes of `pool` stand.
///
/// # Errors
/// Control is away, or refuses.
pub(super) async fn look(control: &mut Control, pool: &PoolName) -> Result<Stand, Failure> {
    let info = control.cluster.get_info(v1::GetInfoRequest {}).await.map_err(|s| control.explain(s))?.into_inner();
    let request = v1::PoolsGetRequest { name: pool.to_string() };
    let found = match control.pools.get(request).await {
        Ok(found) => found.into_inner().pool,
        Err(status) if status.code() == tonic::Code::NotFound => None,
        Err(status) => return Err(control.explain(status)),
    };
    let Some(found) = found else { return Ok(Stand::Gone) };
    let filter = Filter { pool: pool.to_string(), skip_live: true, ..Filter::default() };
    let (nodes, _) = list::<v1::Node>(control, &filter).await?;
    Ok(stand(&found, &nodes, info.scaler != "none"))
}

/// How `nodes` stand to what `pool` wants; `scaled`: control sees to their number.
fn stand(pool: &v1::Pool, nodes: &[v1::Node], scaled: bool) -> Stand {
    let stable = pool.status.as_ref().and_then(|status| status.stable.as_ref());
    let (mut running, mut drained, mut pinned, mut others) = (0, Vec::new(), Vec::new(), 0_u32);
    let (mut lost, mut stale) = (Vec::new(), Vec::new());
    for node in nodes {
        let Some(status) = node.status.as_ref() else { continue };
        if is_gone(status) {
            lost.extend((status.sync() == SyncState::Lost).then(|| node.name()));
            continue;
        }
        let runs = status.applied.is_some() && status.applied.as_ref() == stable;
        let rejected = status.rejection.as_ref().is_some_and(|rejection| rejection.revision.as_ref() == stable);
        match status.phase() {
            NodePhase::Drained => drained.push(node.name()),
            // It runs what somebody wants of it, whatever is rolled out.
            NodePhase::Ready if status.pinned_revision > 0 => pinned.push(node.name()),
            NodePhase::Ready if runs => running += 1,
            // It serves, and can't hear of anything.
            NodePhase::Ready if status.sync() == SyncState::Stale => stale.push(node.name()),
            _ if rejected => return Stand::Refused(refused(pool, stable, node)),
            _ => others += 1,
        }
    }
    let here = running + u32::try_from(drained.len() + pinned.len() + stale.len()).unwrap_or(u32::MAX);
    let replicas = replicas(pool).unwrap_or_default();
    // Those that are lost are in nobody's hand, and may hold their places; but somebody is to run it.
    let may_be = here.saturating_add(u32::try_from(lost.len()).unwrap_or(u32::MAX));
    let wanted = match running > 0 && (here..=may_be).contains(&replicas) {
        _ if !scaled => here.saturating_add(others),
        true => here,
        false => replicas,
    };
    lost.retain(|_| here < replicas);
    let n = revision(stable);
    if others > 0 || here != wanted {
        let leaving = if here > wanted { format!("; {} to leave", here - wanted) } else { String::new() };
        let line = format!("{running} of {wanted} nodes run revision {n}{leaving}");
        return Stand::Waits { running: running.min(wanted), wanted, line };
    }
    let name = pool.metadata.as_ref().map_or("", |m| m.name.as_str());
    let text = match running {
        0 => format!("revision {n} is the stable one of pool/{name}; no node runs it"),
        1 => format!("the one node of pool/{name} runs revision {n}"),
        _ => format!("all {running} nodes of pool/{name} run revision {n}"),
    };
    let apart = |what: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!("; {what}: {}", names.join(", ")),
    };
    let apart = [("drained", drained), ("pinned", pinned), ("without etcd", stale), ("lost", lost)]
        .map(|(what, names)| apart(what, &names));
    Stand::Settled(text + &apart.concat())
}

/// Whether a node is on the list only as one that vanished.
fn is_gone(status: &v1::NodeStatus) -> bool {
    matches!(status.sync(), SyncState::Lost | SyncState::Unknown)
}

fn refused(pool: &v1::Pool, stable: Option<&v1::RevisionRef>, node: &v1::Node) -> String {
    let name = pool.metadata.as_ref().map_or("", |m| m.name.as_str());
    let why = node.note().unwrap_or_else(|| node.name().to_owned());
    format!("revision {} of pool/{name} is the stable one, but not every node can run it\n  {why}", revision(stable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u32) -> Option<v1::RevisionRef> {
        Some(v1::RevisionRef { n, ..Default::default() })
    }

    fn pool(replicas: u32) -> v1::Pool {
        v1::Pool {
            metadata: Some(v1::ObjectMeta { name: "edge".into(), ..Default::default() }),
            spec: Some(v1::PoolSpec { replicas: Some(replicas), ..Default::default() }),
            status: Some(v1::PoolStatus { stable: at(4), ..Default::default() }),
            ..Default::default()
        }
    }

    fn node(name: &str, phase: NodePhase, applied: Option<v1::RevisionRef>) -> v1::Node {
        v1::Node {
            metadata: Some(v1::ObjectMeta { name: name.into(), ..Default::default() }),
            status: Some(v1::NodeStatus { phase: phase.into(), applied, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_pool_is_settled_once_as_many_as_it_wants_run_it() {
        let waits = |running, wanted, line: &str| Stand::Waits { running, wanted, line: line.into() };
        assert_eq!(stand(&pool(2), &[], true), waits(0, 2, "0 of 2 nodes run revision 4"));
        let mut nodes = vec![node("a", NodePhase::Ready, at(4)), node("b", NodePhase::Starting, None)];
        assert_eq!(stand(&pool(2), &nodes, true), waits(1, 2, "1 of 2 nodes run revision 4"));
        assert_eq!(stand(&pool(9), &nodes, false), waits(1, 2, "1 of 2 nodes run revision 4"));
        nodes.pop();
        assert_eq!(stand(&pool(9), &nodes, false), Stand::Settled("the one node of pool/edge runs revision 4".into()));
        nodes.push(node("b", NodePhase::Ready, at(4)));
        assert_eq!(stand(&pool(2), &nodes, true), Stand::Settled("all 2 nodes of pool/edge run revision 4".into()));
        assert_eq!(stand(&pool(1), &nodes, true), waits(1, 1, "2 of 1 nodes run revision 4; 1 to leave"));
    }

    #[test]
    fn who_is_pinned_is_not_waited_for() {
        let mut pinned = node("b", NodePhase::Ready, at(3));
        pinned.status.get_or_insert_default().pinned_revision = 3;
        let nodes = [node("a", NodePhase::Ready, at(4)), pinned];
        let told = "the one node of pool/edge runs revision 4; pinned: b";
        assert_eq!(stand(&pool(2), &nodes, true), Stand::Settled(told.into()));
    }

    #[test]
    fn who_is_drained_or_gone_is_not_waited_for() {
        let mut lost = node("c", NodePhase::Ready, at(3));
        lost.status.get_or_insert_default().set_sync(SyncState::Lost);
        let nodes = [node("a", NodePhase::Ready, at(4)), node("b", NodePhase::Drained, None), lost];
        let told = "the one node of pool/edge runs revision 4; drained: b";
        assert_eq!(stand(&pool(2), &nodes, true), Stand::Settled(told.into()));
        let told = told.to_owned() + "; lost: c";
        assert_eq!(stand(&pool(3), &nodes, true), Stand::Settled(told.clone()), "it may hold its place for long");
        let line = "1 of 4 nodes run revision 4".to_owned();
        assert_eq!(stand(&pool(4), &nodes, true), Stand::Waits { running: 1, wanted: 4, line });
        let line = "0 of 1 nodes run revision 4".to_owned();
        assert_eq!(stand(&pool(1), &nodes[2..], true), Stand::Waits { running: 0, wanted: 1, line }, "all are lost");
    }

    #[test]
    fn who_lost_etcd_is_told_and_not_waited_for() {
        let mut stale = node("b", NodePhase::Ready, at(3));
        stale.status.get_or_insert_default().set_sync(SyncState::Stale);
        let nodes = [node("a", NodePhase::Ready, at(4)), stale];
        let told = "the one node of pool/edge runs revision 4; without etcd: b";
        assert_eq!(stand(&pool(2), &nodes, true), Stand::Settled(told.into()));
        assert_eq!(stand(&pool(2), &nodes, false), Stand::Settled(told.into()));
    }

    #[test]
    fn who_cannot_run_it_ends_the_wait_with_the_cause() {
        let mut bad = node("node-7", NodePhase::Rejected, None);
        let status = bad.status.get_or_insert_default();
        let cause = "bind 127.0.0.7:7009: address in use".to_owned();
        status.rejection = Some(v1::Rejection { revision: at(4), listener: "a".into(), cause, ..Default::default() });
        let told = "revision 4 of pool/edge is the stable one, but not every node can run it\n  node-7: rejected revision \
                    4: listener a: bind 127.0.0.7:7009: address in use";
        assert_eq!(stand(&pool(1), &[bad], true), Stand::Refused(told.into()));
    }
}
