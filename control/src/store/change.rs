//! One transaction: what must still hold, and what is written then.
//!
//! Built by the API (compare-and-put) and by the drive (fenced by the leader key), committed by [`super::Store`]. All
//! of it happens or nothing; etcd allows 128 operations, a change of ours has a dozen at most.

use echo_proto::codec::{self, Message};
use echo_proto::keys::Keys;
use echo_proto::v1;
use etcd_client::{Compare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp};

use super::election::Leadership;
use crate::event;

/// A transaction in the making.
#[derive(Debug, Default)]
pub struct Change {
    compares: Vec<Compare>,
    operations: Vec<TxnOp>,
}

impl Change {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if `key` is still at this mod_revision; 0: only if it does not exist.
    pub fn require(mut self, key: &str, mod_revision: i64) -> Self {
        self.compares.push(Compare::mod_revision(key, CompareOp::Equal, mod_revision));
        self
    }

    /// Only while `key` is the one that was made at this revision, whatever was written to it since.
    pub fn require_life(mut self, key: &str, create_revision: i64) -> Self {
        self.compares.push(Compare::create_revision(key, CompareOp::Equal, create_revision));
        self
    }

    /// Only while this process is the leader.
    pub fn fenced(self, keys: &Keys, leadership: &Leadership) -> Self {
        self.require_life(&keys.leader(), leadership.create_revision)
    }

    /// Writes a record as canonical JSON.
    pub fn put<M: Message>(mut self, key: &str, record: &M) -> Self {
        self.operations.push(TxnOp::put(key, codec::to_json(record), None));
        self
    }

    /// Writes a record that goes with its lease.
    pub fn put_leased<M: Message>(mut self, key: &str, record: &M, lease: i64) -> Self {
        let options = PutOptions::new().with_lease(lease);
        self.operations.push(TxnOp::put(key, codec::to_json(record), Some(options)));
        self
    }

    /// Removes a key.
    pub fn delete(mut self, key: &str) -> Self {
        self.operations.push(TxnOp::delete(key, None));
        self
    }

    /// Removes all keys from `start` up to `end`, which stays.
    pub fn delete_range(mut self, start: &str, end: &[u8]) -> Self {
        self.operations.push(TxnOp::delete(start, Some(DeleteOptions::new().with_range(end))));
        self
    }

    /// Reports the change: the event is stored with it or not at all.
    pub fn event(self, keys: &Keys, event: v1::Event) -> Self {
        let event = event::placed(event, keys);
        let key = event::key(&event, keys);
        self.require(&key, 0).put(&key, &event)
    }

    /// Writes an event in its place, where an earlier one of its kind may stand.
    pub fn event_again(self, keys: &Keys, event: v1::Event) -> Self {
        self.put(&event::key(&event, keys), &event)
    }

    pub(super) fn into_txn(self) -> Txn {
        Txn::new().when(self.compares).and_then(self.operations)
    }
}
