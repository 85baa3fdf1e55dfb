//! The keys of the scripted etcd: every key with its revisions, and the whole history.
//!
//! Used by the services under one lock, and by tests that look at or change what is stored. Every change is kept: what a
//! compaction takes away is refused, not forgotten. It must answer as etcd does; `tests/wire.rs` compares the two.

use std::collections::BTreeMap;
use std::time::Instant;

use super::leases::Leases;
use super::pb::event::EventType;
use super::pb::range_request::{SortOrder, SortTarget};
use super::pb::{
    DeleteRangeRequest, DeleteRangeResponse, Event, KeyValue, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader,
};
use super::refusal::Refusal;

/// One key, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    start: Vec<u8>,
    end: Vec<u8>,
}

/// All that is stored.
#[derive(Debug, Clone)]
pub struct Store {
    /// Told in every answer: which etcd this is.
    pub(super) cluster_id: u64,
    /// Of the last change; the first one makes 2, as in etcd.
    pub(super) revision: i64,
    /// What is before it can't be read any more.
    pub(super) compacted: i64,
    /// The alarm that etcd raises when its disk quota is used up.
    pub(super) no_space: bool,
    pub(super) leases: Leases,
    keys: BTreeMap<Vec<u8>, KeyValue>,
    /// All changes with the value before each, oldest first.
    history: Vec<Event>,
}

impl Keys {
    pub(super) fn new(start: &[u8], end: &[u8]) -> Self {
        Self { start: start.to_owned(), end: end.to_owned() }
    }

    /// No end: that one key. An end of one zero byte: all from `start` on.
    pub(super) fn contain(&self, key: &[u8]) -> bool {
        match self.end.as_slice() {
            [] => key == self.start,
            [0] => key >= self.start.as_slice(),
            end => key >= self.start.as_slice() && key < end,
        }
    }
}

impl Store {
    pub(super) fn new(cluster_id: u64) -> Self {
        let (keys, history) = (BTreeMap::new(), Vec::new());
        Self { cluster_id, revision: 1, compacted: 0, no_space: false, leases: Leases::default(), keys, history }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key.as_bytes())
    }

    /// Stores a value outside any lease.
    pub fn put(&mut self, key: &str, value: &str) {
        let request = PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        self.commit(|store, at| store.put_at(&request, at)).expect("a plain put is never refused");
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &str) {
        self.remove(&Keys::new(key.as_bytes(), b""));
    }

    pub(super) fn header(&self) -> Option<ResponseHeader> {
        let (cluster_id, revision) = (self.cluster_id, self.revision);
        Some(ResponseHeader { cluster_id, member_id: 1, revision, raft_term: 2 })
    }

    /// Of an operation within the transaction at revision `at`: that, once the transaction has changed anything.
    pub(super) fn header_within(&self, at: i64) -> Option<ResponseHeader> {
        let changed = self.changes(at).next().is_some();
        Some(ResponseHeader { revision: if changed { at } else { self.revision }, ..Default::default() })
    }

    /// Runs one transaction: all its changes have the same revision, which is used up only if there are any.
    pub(super) fn commit<T>(&mut self, apply: impl FnOnce(&mut Self, i64) -> T) -> T {
        let (at, before) = (self.revision + 1, self.history.len());
        let answer = apply(self, at);
        if self.history.len() > before {
            self.revision = at;
        }
        answer
    }

    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Refusal> {
        let at = match request.revision {
            ..=0 => self.revision,
            at if at > self.revision => return Err(Refusal::Future),
            at if at < self.compacted => return Err(Refusal::Compacted),
            at => at,
        };
        // What this very transaction has written is seen by its reads.
        let past = (at < self.revision).then(|| self.as_of(at));
        let keys = Keys::new(&request.key, &request.range_end);
        let all = past.as_ref().unwrap_or(&self.keys).values();
        let mut kvs: Vec<KeyValue> = all.filter(|kv| keys.contain(&kv.key)).cloned().collect();
        sort(&mut kvs, request.sort_target(), request.sort_order());
        let count = i64::try_from(kvs.len()).expect("a test's keys are few");
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let more = kvs.len() > limit && !request.count_only;
        kvs.truncate(if request.count_only { 0 } else { limit });
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(RangeResponse { header: None, kvs, more, count })
    }

    pub(super) fn put_at(&mut self, request: &PutRequest, at: i64) -> Result<PutResponse, Refusal> {
        if request.lease != 0 && !self.leases.knows(request.lease) {
            return Err(Refusal::NoLease);
        }
        let before = self.keys.get(&request.key).cloned();
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: before.as_ref().map_or(at, |kv| kv.create_revision),
            mod_revision: at,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            value: request.value.clone(),
            lease: request.lease,
        };
        self.keys.insert(kv.key.clone(), kv.clone());
        self.history.push(Event { r#type: EventType::Put.into(), kv: Some(kv), prev_kv: before.clone() });
        Ok(PutResponse { header: None, prev_kv: before.filter(|_| request.prev_kv) })
    }

    pub(super) fn delete_at(&mut self, request: &DeleteRangeRequest, at: i64) -> DeleteRangeResponse {
        let keys = Keys::new(&request.key, &request.range_end);
        let gone: Vec<KeyValue> = self.keys.extract_if(.., |key, _| keys.contain(key)).map(|(_, kv)| kv).collect();
        for kv in &gone {
            let last = KeyValue { key: kv.key.clone(), mod_revision: at, ..Default::default() };
            self.history.push(Event { r#type: EventType::Delete.into(), kv: Some(last), prev_kv: Some(kv.clone()) });
        }
        let deleted = i64::try_from(gone.len()).expect("a test's keys are few");
        let prev_kvs = if request.prev_kv { gone } else { Vec::new() };
        DeleteRangeResponse { header: None, deleted, prev_kvs }
    }

    pub(super) fn compact(&mut self, at: i64) -> Result<(), Refusal> {
        match at {
            at if at <= self.compacted => Err(Refusal::Compacted),
            at if at > self.revision => Err(Refusal::Future),
            at => {
                self.compacted = at;
                Ok(())
            }
        }
    }

    /// All changes from this revision on.
    pub(super) fn changes(&self, from: i64) -> impl Iterator<Item = &Event> {
        self.history.iter().filter(move |event| event.kv.as_ref().is_some_and(|kv| kv.mod_revision >= from))
    }

    /// The keys that go with a lease.
    pub(super) fn leased(&self, lease: i64) -> Vec<Vec<u8>> {
        self.keys.values().filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect()
    }

    /// Ends a lease, and what it holds with it; whether there was one.
    pub(super) fn revoke(&mut self, lease: i64) -> bool {
        let known = self.leases.remove(lease);
        let keys = self.leased(lease);
        self.commit(|store, at| {
            for key in keys {
                store.delete_at(&DeleteRangeRequest { key, ..Default::default() }, at);
            }
        });
        known
    }

    /// Ends all leases that ran out.
    pub(super) fn expire(&mut self, now: Instant) {
        for lease in self.leases.ended(now) {
            self.revoke(lease);
        }
    }

    fn remove(&mut self, keys: &Keys) {
        let request = DeleteRangeRequest { key: keys.start.clone(), range_end: keys.end.clone(), ..Default::default() };
        self.commit(|store, at| store.delete_at(&request, at));
    }

    fn as_of(&self, at: i64) -> BTreeMap<Vec<u8>, KeyValue> {
        let mut keys = BTreeMap::new();
        for kv in self.history.iter().filter_map(|event| event.kv.as_ref()).filter(|kv| kv.mod_revision <= at) {
            match kv.version {
                0 => keys.remove(&kv.key),
                _ => keys.insert(kv.key.clone(), kv.clone()),
            };
        }
        keys
    }
}

/// Keys come in their order; any other target has an order even where none is named.
fn sort(kvs: &mut [KeyValue], target: SortTarget, order: SortOrder) {
    match target {
        SortTarget::Key => {}
        SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
        SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
        SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
        SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
    }
    if order == SortOrder::Descend {
        kvs.reverse();
    }
}
