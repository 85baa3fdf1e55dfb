//! The end of intents that nobody carries out: their node is gone, or lives another life, or their pool is deleted.
//!
//! Part of the drive; a fenced transaction each, which names the intent as it was seen. What an operator takes back, the
//! API removes itself.

use std::collections::HashMap;
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tokio::time::Instant;
use v1::IntentKind;

use super::Pass;
use super::journal::Journal;
use crate::event;
use crate::plan::intent;
use crate::store::StoreError;
use crate::view::{PoolState, Slot, State, View};

/// An intent of a node that is away for so long ends.
const AWAY_FOR: Duration = Duration::from_secs(24 * 3600);
/// A retirement ends after this where nothing is known of its node: one that a control saw go is known for as long.
const UNKNOWN_FOR: Duration = Duration::from_secs(15 * 60);
/// Intents ended in one pass; more follow in the next.
const MAX_PER_PASS: usize = 64;

/// Since when the node of an intent has had no record; kept over all terms of this process.
#[derive(Debug, Default)]
pub struct Absences(HashMap<(PoolName, NodeId), Instant>);

/// An intent that ends.
#[derive(Debug, PartialEq, Eq)]
struct End {
    pool: PoolName,
    node: NodeId,
    mod_revision: i64,
    kind: IntentKind,
    why: &'static str,
}

/// Ends what is to end now.
pub(super) async fn pass(view: &View, journal: &mut Journal, absences: &mut Absences) -> Result<Pass, StoreError> {
    let now = Instant::now();
    for End { pool, node, mod_revision, kind, why } in view.read(|state| ends(state, absences, now)) {
        let from = kind.as_str_name().trim_start_matches("INTENT_KIND_").to_owned();
        let wish = match kind {
            IntentKind::Serve => "that it serves".to_owned(),
            _ => format!("to {} it", from.to_lowercase()),
        };
        let message = format!("the wish {wish} ends: {why}");
        let event = event::normal("IntentEnded", event::of_node(&node), message);
        let event = event::in_pool(&pool, v1::Event { from, ..event });
        let key = journal.keys().intent(&pool, &node);
        if !journal.tell_with(event, |change, _| change.require(&key, mod_revision).delete(&key)).await? {
            return Ok(Pass::Again);
        }
    }
    let dues = absences.0.values().flat_map(|since| [*since + UNKNOWN_FOR, *since + AWAY_FOR]);
    Ok(Pass::Done(dues.filter(|due| *due > now).min()))
}

fn ends(state: &State, absences: &mut Absences, now: Instant) -> Vec<End> {
    let is_away = |pool: &PoolName, node: &NodeId| {
        let known = state.pools.get(pool).filter(|pool| pool.intents.contains_key(node));
        known.is_some_and(|pool| pool.fleet.get(node).is_none_or(|node| node.has_vanished()))
    };
    absences.0.retain(|(pool, node), _| is_away(pool, node));
    let mut ends = Vec::new();
    for (name, pool) in &state.pools {
        for (id, intent) in &pool.intents {
            let away = is_away(name, id).then(|| *absences.0.entry((name.clone(), id.clone())).or_insert(now));
            let away = away.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            if let Some(why) = end(pool, id, &intent.value, away) {
                let (kind, mod_revision) = (intent.value.kind(), intent.mod_revision);
                ends.push(End { pool: name.clone(), node: id.clone(), mod_revision, kind, why });
            }
        }
    }
    ends.truncate(MAX_PER_PASS);
    ends
}

/// Why an intent ends; `None`: it holds. `away`: since when its node has had no record.
fn end(pool: &PoolState, id: &NodeId, intent: &v1::Intent, away: Duration) -> Option<&'static str> {
    let idle = |phase: v1::NodePhase| matches!(phase, v1::NodePhase::NoPool | v1::NodePhase::Draining);
    // A key that is missing may be a restored backup: then the nodes still serve. Who is to go has yet to go.
    let goes = intent.kind() == IntentKind::Retire && pool.fleet.live().any(|node| node.id == *id);
    if matches!(pool.pool, Slot::Absent) && !goes && pool.fleet.live().all(|node| idle(node.status.phase())) {
        return Some("its pool is deleted");
    }
    if away >= AWAY_FOR {
        return Some("its node has been away for a day");
    }
    match intent.kind() {
        IntentKind::Retire => retired(pool, id, intent, away),
        IntentKind::Serve => {
            let serves = |status: &v1::NodeStatus| {
                let held = [IntentKind::Cordon, IntentKind::Drain];
                held.into_iter().all(|kind| !intent::carries_out(status, kind))
            };
            let node = pool.fleet.live().find(|node| node.id == *id)?;
            serves(&node.status).then_some("it does")
        }
        IntentKind::Cordon | IntentKind::Drain | IntentKind::Unspecified => None,
    }
}

/// Why a retirement ends.
fn retired(pool: &PoolState, id: &NodeId, intent: &v1::Intent, away: Duration) -> Option<&'static str> {
    match pool.fleet.get(id) {
        // A node without etcd may still come back and hear of it.
        Some(node) if node.has_vanished() && node.doubt() != Some(v1::SyncState::Lost) => None,
        Some(node) if node.has_vanished() => Some("its node is gone"),
        Some(node) if intent.incarnation.is_empty() || node.status.incarnation == intent.incarnation => None,
        Some(_) => Some("the process that it meant is gone"),
        // It may live without etcd, and have been seen only by a control that is gone itself.
        None if pool.fleet.left(id).is_none() && away < UNKNOWN_FOR => None,
        None => Some("its node is gone"),
    }
}

#[cfg(test)]
mod tests;
