//! The nodes of a pool, as their leased records tell.
//!
//! Part of the view: a record comes, changes and goes here. A record that cannot be read is no node. What vanished
//! without a word (UNKNOWN, STALE, LOST) belongs here too, once it is kept.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use echo_proto::ids::NodeId;
use echo_proto::v1;

use crate::store::{Entry, Stored};

/// The live nodes of one pool.
#[derive(Debug, Default)]
pub struct Fleet {
    nodes: BTreeMap<NodeId, Arc<Node>>,
}

/// One live node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its record.
    pub record: Stored<v1::NodeRecord>,
    /// `record.value.status`, which a valid record has.
    pub status: v1::NodeStatus,
}

impl Fleet {
    /// Takes a record over; what is wrong with it otherwise.
    pub(crate) fn put(&mut self, id: NodeId, entry: &Entry) -> Result<(), String> {
        self.nodes.remove(&id);
        let record = entry.decode::<v1::NodeRecord>().map_err(|e| e.cause())?;
        let status = record.value.status.clone().ok_or("status: required")?;
        self.nodes.insert(id.clone(), Arc::new(Node { id, record, status }));
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &NodeId) {
        self.nodes.remove(id);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// One of them.
    pub fn get(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// All of them, by id as text.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }
}

/// The order people expect: `node-2` before `node-10`.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (take(&mut a, false), take(&mut b, false));
        let (digits_a, digits_b) = (take(&mut a, true), take(&mut b, true));
        let value = |digits: &str| digits.trim_start_matches('0').len();
        let order = text_a
            .cmp(text_b)
            .then_with(|| value(digits_a).cmp(&value(digits_b)))
            .then_with(|| digits_a.trim_start_matches('0').cmp(digits_b.trim_start_matches('0')))
            .then_with(|| digits_a.len().cmp(&digits_b.len()));
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// Takes the leading digits, or non-digits, off `text`.
fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_numbers() {
        let mut ids = ["node-10", "node-2", "node-1", "edge", "node-02", "node-1.b", "node"];
        ids.sort_by(|a, b| natural_order(a, b));
        assert_eq!(ids, ["edge", "node", "node-1", "node-1.b", "node-2", "node-02", "node-10"]);
    }
}
