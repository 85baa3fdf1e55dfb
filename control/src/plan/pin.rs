//! What a pin of a node becomes: stored, not needed, or refused.
//!
//! Called by the API with the pool and its revisions as stored; the leader puts pins into the assignment. A pin is for
//! debugging: every pinned revision stands in the assignment whole, which all nodes read, so that few may be. Pure.

use std::collections::BTreeSet;
use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;

use super::change::{Changed, Number, Request};
use crate::event;

/// Most pinned nodes of a pool.
pub const MAX_PINS: usize = 16;
/// Most revisions among them.
pub const MAX_PINNED_REVISIONS: usize = 4;

/// Stores that `node` runs `revision`; `None`: it does already.
///
/// # Errors
/// There are too many pins; with what can be done about it.
pub fn pin(
    pool: &PoolName,
    stored: &v1::PoolRecord,
    node: &NodeId,
    revision: u32,
    request: &Request,
    now: SystemTime,
) -> Result<Option<Changed>, String> {
    let before = pinned(stored, node);
    if before == revision {
        return Ok(None);
    }
    let others = || stored.pins.iter().filter(|pin| pin.node != node.as_str());
    if others().count() >= MAX_PINS {
        let names: Vec<&str> = others().map(|pin| pin.node.as_str()).collect();
        return Err(format!(
            "pool/{pool} has {MAX_PINS} pinned nodes, and no more may be: {}; `echoctl unpin` takes one back",
            names.join(", ")
        ));
    }
    let revisions: BTreeSet<u32> = others().map(|pin| pin.revision).chain([revision]).collect();
    if revisions.len() > MAX_PINNED_REVISIONS {
        let numbers: Vec<String> = revisions.iter().filter(|n| **n != revision).map(u32::to_string).collect();
        return Err(format!(
            "nodes of pool/{pool} are pinned to {MAX_PINNED_REVISIONS} revisions, and no more may be: {}; pin to one of \
             these, or take a pin back with `echoctl unpin`",
            numbers.join(", ")
        ));
    }
    let pin =
        v1::Pin { node: node.to_string(), revision, author: request.who().to_owned(), create_time: Some(now.into()) };
    let mut pins: Vec<v1::Pin> = others().cloned().chain([pin]).collect();
    pins.sort_by(|a, b| a.node.cmp(&b.node));
    let message = format!("pinned to revision {revision}, whatever is rolled out");
    let event = event::normal("NodePinned", event::of_node(node), message);
    let event = v1::Event { from: number(before), to: number(revision), ..event };
    Ok(Some(changed(pool, stored, pins, request, event)))
}

/// Takes a node's pin away; `None`: it has none.
pub fn unpin(pool: &PoolName, stored: &v1::PoolRecord, node: &NodeId, request: &Request) -> Option<Changed> {
    let before = pinned(stored, node);
    if before == 0 {
        return None;
    }
    let pins = stored.pins.iter().filter(|pin| pin.node != node.as_str()).cloned().collect();
    let message = format!("not pinned to revision {before} any more; it runs what is rolled out");
    let event = event::normal("NodeUnpinned", event::of_node(node), message);
    Some(changed(pool, stored, pins, request, v1::Event { from: number(before), ..event }))
}

/// The revision that a node is pinned to; 0: none.
pub fn pinned(stored: &v1::PoolRecord, node: &NodeId) -> u32 {
    stored.pins.iter().find(|pin| pin.node == node.as_str()).map_or(0, |pin| pin.revision)
}

fn changed(
    pool: &PoolName,
    stored: &v1::PoolRecord,
    pins: Vec<v1::Pin>,
    request: &Request,
    event: v1::Event,
) -> Changed {
    let event = v1::Event { actor: request.who().to_owned(), ..event::in_pool(pool, event) };
    Changed { record: v1::PoolRecord { pins, ..stored.clone() }, revision: None, number: Number::Stays, event }
}

fn number(revision: u32) -> String {
    if revision == 0 { String::new() } else { format!("revision {revision}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name() -> PoolName {
        "edge".parse().unwrap()
    }

    fn node(i: usize) -> NodeId {
        format!("node-{i}").parse().unwrap()
    }

    fn pinned_to(stored: &v1::PoolRecord, i: usize, revision: u32) -> Result<Option<v1::PoolRecord>, String> {
        let request = Request { author: "ann".into(), ..Default::default() };
        let planned = pin(&name(), stored, &node(i), revision, &request, SystemTime::UNIX_EPOCH);
        planned.map(|changed| changed.map(|changed| changed.record))
    }

    #[test]
    fn a_pin_is_stored_once_moved_and_taken_back() {
        let one = pinned_to(&v1::PoolRecord::default(), 1, 3).unwrap().unwrap();
        assert_eq!((pinned(&one, &node(1)), one.pins.first().unwrap().author.as_str()), (3, "ann"));
        assert_eq!(pinned_to(&one, 1, 3), Ok(None));
        let moved = pinned_to(&one, 1, 4).unwrap().unwrap();
        assert_eq!((moved.pins.len(), pinned(&moved, &node(1))), (1, 4));
        let freed = unpin(&name(), &moved, &node(1), &Request::default()).unwrap();
        assert!(freed.record.pins.is_empty());
        assert_eq!((freed.event.from.as_str(), freed.event.pool.as_str()), ("revision 4", "edge"));
        assert_eq!(unpin(&name(), &freed.record, &node(1), &Request::default()), None);
    }

    #[test]
    fn nodes_and_revisions_are_bounded() {
        let mut stored = v1::PoolRecord::default();
        for i in 0..MAX_PINS {
            let revision = u32::try_from(i % MAX_PINNED_REVISIONS).unwrap() + 1;
            stored = pinned_to(&stored, i, revision).unwrap().unwrap();
        }
        let full = pinned_to(&stored, MAX_PINS, 1).unwrap_err();
        assert!(full.contains("has 16 pinned nodes") && full.contains("node-15"), "{full}");
        assert!(pinned_to(&stored, 0, 2).is_ok(), "one that is pinned may move");
        let many = pinned_to(&stored, 0, 9).unwrap_err();
        assert!(many.contains("4 revisions, and no more may be: 1, 2, 3, 4;"), "{many}");
    }
}
