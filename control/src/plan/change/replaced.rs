//! What a new revision puts an end to: a rollout that is on its way or paused, or one that was still to begin.
//!
//! Used by the API for what it says of an apply or an undo. Pure.

use echo_proto::ids::PoolName;
use echo_proto::v1;
use v1::{RolloutOrderKind as Kind, RolloutPhase as Phase};

/// What gives way where `after` is stored over `before`, and whose it was; `None`: nothing does.
pub fn replaced(
    name: &PoolName,
    before: &v1::PoolRecord,
    after: &v1::PoolRecord,
    rollout: Option<&v1::Rollout>,
) -> Option<String> {
    let (old, new) = (before.revision.as_ref()?, after.revision.as_ref()?);
    if old == new {
        return None;
    }
    let (n, new, author) = (old.n, new.n, who(&before.author));
    let Some(rollout) = rollout.filter(|rollout| rollout.to.as_ref() == Some(old)) else {
        return Some(format!("pool/{name}: revision {n} of {author} had not begun, and is skipped for revision {new}"));
    };
    let order = before.order.as_ref().filter(|order| order.rollout == rollout.id);
    let due = order.filter(|order| order.id > rollout.order).map(v1::RolloutOrder::kind);
    let (of, back) = (who(&rollout.author), rollout.from.as_ref().map_or(0, |from| from.n));
    let then = format!("nodes that have it go back to revision {back}, then revision {new} is tried");
    match (rollout.phase(), due) {
        (_, Some(Kind::Abort)) => None,
        (Phase::Progressing, Some(Kind::Pause)) | (Phase::Paused, None | Some(Kind::Pause)) => {
            let paused = order.filter(|order| order.kind() == Kind::Pause);
            let why =
                paused.map_or_else(|| rollout.reason.clone(), |order| format!("paused by {}", who(&order.author)));
            Some(format!(
                "pool/{name}: the rollout of revision {n} of {of} was held ({why}); that hold is over: {then}"
            ))
        }
        (Phase::Progressing | Phase::Paused, _) => {
            Some(format!("pool/{name}: the rollout of revision {n} of {of} was on its way, and is dropped: {then}"))
        }
        _ => None,
    }
}

fn who(author: &str) -> &str {
    if author.is_empty() { "unknown" } else { author }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(n: u32) -> Option<v1::RevisionRef> {
        Some(v1::RevisionRef { n, ..Default::default() })
    }

    fn record(n: u32) -> v1::PoolRecord {
        v1::PoolRecord { revision: at(n), author: "ann".into(), ..Default::default() }
    }

    fn rollout(phase: Phase, reason: &str) -> v1::Rollout {
        let (author, reason) = ("ann".to_owned(), reason.to_owned());
        v1::Rollout { id: 7, from: at(4), to: at(5), phase: phase.into(), author, reason, ..Default::default() }
    }

    fn told(before: &v1::PoolRecord, rollout: &v1::Rollout) -> Option<String> {
        replaced(&"edge".parse().unwrap(), before, &record(6), Some(rollout))
    }

    #[test]
    fn whose_rollout_gives_way_is_told() {
        let then = "nodes that have it go back to revision 4, then revision 6 is tried";
        assert_eq!(
            told(&record(5), &rollout(Phase::Progressing, "")).unwrap(),
            format!("pool/edge: the rollout of revision 5 of ann was on its way, and is dropped: {then}")
        );
        let waits = v1::Rollout { to: at(4), ..rollout(Phase::Progressing, "") };
        assert_eq!(
            told(&record(5), &waits).unwrap(),
            "pool/edge: revision 5 of ann had not begun, and is skipped for revision 6"
        );
        for phase in [Phase::Completed, Phase::Reverting, Phase::Reverted, Phase::Superseded] {
            assert_eq!(told(&record(5), &rollout(phase, "")), None, "{phase:?}");
        }
        let same = replaced(&"edge".parse().unwrap(), &record(5), &record(5), Some(&rollout(Phase::Progressing, "")));
        assert_eq!(same, None, "no new revision: it goes on");
    }

    #[test]
    fn a_hold_that_is_over_is_told_with_who_made_it() {
        let ordered = |kind: Kind| {
            let order =
                v1::RolloutOrder { id: 3, rollout: 7, kind: kind.into(), author: "bob".into(), ..Default::default() };
            v1::PoolRecord { order: Some(order), ..record(5) }
        };
        let held = |why: &str| {
            format!(
                "pool/edge: the rollout of revision 5 of ann was held ({why}); that hold is over: nodes that have it go \
                 back to revision 4, then revision 6 is tried"
            )
        };
        let paused = v1::Rollout { order: 3, ..rollout(Phase::Paused, "paused by bob") };
        assert_eq!(told(&ordered(Kind::Pause), &paused), Some(held("paused by bob")));
        let stopped = rollout(Phase::Paused, "2 of 5 nodes vanished");
        assert_eq!(told(&record(5), &stopped), Some(held("2 of 5 nodes vanished")), "by control itself");
        let ordered_only = rollout(Phase::Progressing, "");
        assert_eq!(told(&ordered(Kind::Pause), &ordered_only), Some(held("paused by bob")), "the leader will");
        let resumed = told(&ordered(Kind::Resume), &rollout(Phase::Paused, "")).unwrap();
        assert!(resumed.contains("was on its way"), "{resumed}");
        assert_eq!(told(&ordered(Kind::Abort), &ordered_only), None);
    }
}
