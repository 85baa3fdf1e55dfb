//! What an order for a rollout becomes: stored, not needed, or refused.
//!
//! Called by the API with the pool and the rollout as stored; the leader carries the order out. A pool has one order:
//! the newest, meant for one rollout, so that no later one obeys it. Pure.

use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::telemetry::context;
use echo_proto::v1;
use v1::{RolloutOrderKind as Kind, RolloutPhase as Phase};

use super::change::{Changed, Number, Request};
use crate::event;

/// What to store; `None`: the rollout is so already, or will be. `refusing` is a node that refused its revision, and so
/// does not try it again in this rollout: to go on would only pause it again.
///
/// # Errors
/// There is nothing to pause, resume or abort; with what can be done instead.
pub fn order(
    name: &PoolName,
    stored: &v1::PoolRecord,
    rollout: Option<&v1::Rollout>,
    refusing: Option<&NodeId>,
    kind: Kind,
    request: &Request,
    now: SystemTime,
) -> Result<Option<Changed>, String> {
    let newest = stored.revision.as_ref().map_or(0, |r| r.n);
    let verb = verb(kind);
    let Some(rollout) = rollout.filter(|r| r.to == stored.revision) else {
        return Err(format!(
            "the rollout of revision {newest} of pool/{name} has not begun, so there is nothing to {verb}; try again in \
             a moment; `echoctl rollout status pool/{name}` shows what it waits for"
        ));
    };
    let last = stored.order.as_ref().filter(|order| order.rollout == rollout.id);
    if last.is_some_and(|last| last.kind() == kind) && kind == Kind::Abort {
        return Ok(None);
    }
    let state = state(rollout, last);
    if let (Kind::Resume, State::Paused, Some(node)) = (kind, &state, refusing) {
        return Err(format!(
            "{node} refused revision {newest} of pool/{name} and does not try it again in this rollout, so it can't go \
             on; `echoctl rollout abort pool/{name}` takes it back, then apply again"
        ));
    }
    match (kind, state) {
        (Kind::Pause, State::Paused) | (Kind::Resume, State::Running) | (Kind::Abort, State::Leaving) => Ok(None),
        (Kind::Pause, State::Running) | (Kind::Resume, State::Paused) => {
            Ok(Some(changed(name, stored, rollout.id, kind, request, now)))
        }
        (Kind::Abort, State::Running | State::Paused) => {
            Ok(Some(changed(name, stored, rollout.id, kind, request, now)))
        }
        (_, State::Leaving) => Err(format!(
            "revision {newest} of pool/{name} is being taken back already, so there is nothing to {verb}; apply again \
             to try it once more"
        )),
        (_, State::Ended) => Err(format!(
            "no rollout of pool/{name} is on its way, so there is nothing to {verb}: that of revision {newest} ended as \
             {}; `echoctl rollout history pool/{name}` shows the older revisions, and `echoctl rollout undo pool/{name} \
             --to-revision N` goes back to one",
            rollout.phase().as_str_name().trim_start_matches("ROLLOUT_PHASE_")
        )),
        (Kind::Unspecified, _) => Err("an order is one of PAUSE, RESUME and ABORT".to_owned()),
    }
}

/// How a rollout will stand once its order is carried out.
enum State {
    Running,
    Paused,
    Leaving,
    Ended,
}

fn state(rollout: &v1::Rollout, last: Option<&v1::RolloutOrder>) -> State {
    let phase = match rollout.phase() {
        Phase::Progressing => State::Running,
        Phase::Paused => State::Paused,
        Phase::Reverting => return State::Leaving,
        _ => return State::Ended,
    };
    match last.filter(|last| last.id > rollout.order).map(v1::RolloutOrder::kind) {
        Some(Kind::Pause) => State::Paused,
        Some(Kind::Resume) => State::Running,
        Some(Kind::Abort) => State::Leaving,
        Some(Kind::Unspecified) | None => phase,
    }
}

fn changed(
    name: &PoolName,
    stored: &v1::PoolRecord,
    rollout: u32,
    kind: Kind,
    request: &Request,
    now: SystemTime,
) -> Changed {
    let id = stored.order.as_ref().map_or(0, |order| order.id).saturating_add(1);
    let (author, trace) = (request.who().to_owned(), context::current());
    let order = v1::RolloutOrder { id, rollout, kind: kind.into(), author, create_time: Some(now.into()), trace };
    let reason = match kind {
        Kind::Pause => "RolloutPauseOrdered",
        Kind::Resume => "RolloutResumeOrdered",
        Kind::Abort | Kind::Unspecified => "RolloutAbortOrdered",
    };
    let n = stored.revision.as_ref().map_or(0, |r| r.n);
    let message = format!("told to {} rollout {rollout} of revision {n}", verb(kind));
    let event = v1::Event { actor: request.who().to_owned(), ..event::normal(reason, event::of_pool(name), message) };
    Changed {
        record: v1::PoolRecord { order: Some(order), ..stored.clone() },
        revision: None,
        number: Number::Stays,
        event,
    }
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Pause => "pause",
        Kind::Resume => "resume",
        Kind::Abort | Kind::Unspecified => "abort",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(n: u32) -> Option<v1::RevisionRef> {
        Some(v1::RevisionRef { n, ..Default::default() })
    }

    fn rollout(phase: Phase) -> v1::Rollout {
        v1::Rollout { id: 7, to: at(2), phase: phase.into(), ..Default::default() }
    }

    /// What is asked of a pool at revision 2, whose last order was `last`.
    fn asked(rollout: &v1::Rollout, last: Option<(u64, Kind)>, kind: Kind) -> Result<Option<v1::RolloutOrder>, String> {
        let last = last.map(|(id, kind)| v1::RolloutOrder { id, rollout: 7, kind: kind.into(), ..Default::default() });
        let stored = v1::PoolRecord { revision: at(2), order: last, ..Default::default() };
        let request = Request { author: "ann".into(), ..Default::default() };
        let (name, now) = ("edge".parse().unwrap(), SystemTime::UNIX_EPOCH);
        let planned = order(&name, &stored, Some(rollout), None, kind, &request, now);
        planned.map(|changed| changed.and_then(|changed| changed.record.order))
    }

    #[test]
    fn an_order_names_its_rollout_and_author_and_counts() {
        let order = asked(&rollout(Phase::Progressing), Some((4, Kind::Resume)), Kind::Pause).unwrap().unwrap();
        assert_eq!((order.id, order.rollout, order.author.as_str()), (5, 7, "ann"));
        assert_eq!(order.kind(), Kind::Pause);
    }

    #[test]
    fn what_is_so_already_needs_no_order() {
        let carried_out = v1::Rollout { order: 4, ..rollout(Phase::Paused) };
        for (rollout, last, kind) in [
            (rollout(Phase::Progressing), None, Kind::Resume),
            (rollout(Phase::Progressing), Some((4, Kind::Pause)), Kind::Pause),
            (carried_out.clone(), Some((4, Kind::Pause)), Kind::Pause),
            (rollout(Phase::Reverting), None, Kind::Abort),
            (rollout(Phase::Reverted), Some((4, Kind::Abort)), Kind::Abort),
        ] {
            assert_eq!(asked(&rollout, last, kind), Ok(None), "{rollout:?} {last:?} {kind:?}");
        }
        assert!(asked(&carried_out, Some((4, Kind::Pause)), Kind::Resume).unwrap().is_some());
        assert!(asked(&carried_out, Some((4, Kind::Pause)), Kind::Abort).unwrap().is_some());
    }

    #[test]
    fn what_a_node_refused_can_be_aborted_but_not_gone_on_with() {
        let stored = v1::PoolRecord { revision: at(2), ..Default::default() };
        let (name, node) = ("edge".parse().unwrap(), "node-1".parse().unwrap());
        let asked = |phase, kind| {
            let (rollout, request) = (rollout(phase), Request::default());
            order(&name, &stored, Some(&rollout), Some(&node), kind, &request, SystemTime::UNIX_EPOCH)
        };
        let told = asked(Phase::Paused, Kind::Resume).unwrap_err();
        assert!(told.starts_with("node-1 refused revision 2 of pool/edge and does not try it again"), "{told}");
        assert!(told.contains("`echoctl rollout abort pool/edge` takes it back, then apply again"), "{told}");
        assert!(asked(Phase::Paused, Kind::Abort).unwrap().is_some());
        assert_eq!(asked(Phase::Progressing, Kind::Resume), Ok(None));
    }

    #[test]
    fn where_nothing_is_on_its_way_there_is_nothing_to_order() {
        let refused = |rollout: &v1::Rollout, last, kind| asked(rollout, last, kind).unwrap_err();
        let ended = refused(&rollout(Phase::Completed), None, Kind::Pause);
        assert!(ended.contains("nothing to pause: that of revision 2 ended as COMPLETED"), "{ended}");
        let leaving = refused(&rollout(Phase::Progressing), Some((4, Kind::Abort)), Kind::Resume);
        assert!(leaving.contains("is being taken back already, so there is nothing to resume"), "{leaving}");
        let older = v1::Rollout { to: at(1), ..rollout(Phase::Progressing) };
        assert!(refused(&older, None, Kind::Abort).contains("revision 2 of pool/edge has not begun"));
        assert!(asked(&rollout(Phase::Progressing), None, Kind::Unspecified).is_err());
    }
}
