//! A scripted etcd at the wire: a small but honest one in memory, and faults that the test sets while it runs.
//!
//! Real nodes and a real control run on it unchanged. What it answers is compared with the real etcd in `tests/wire.rs`;
//! what no real etcd does on demand (a watch that says nothing any more, a lease lost without a word, a committed
//! transaction whose answer is lost) it does here. It counts all calls, so that a test can find a storm of retries.

mod connection;
mod leases;
mod refusal;
mod script;
mod server;
mod services;
mod shared;
mod store;
mod txn;
mod watches;

/// etcd's own messages and stubs, generated from `proto/etcd.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod pb {
    tonic::include_proto!("etcdserverpb");
}

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;

pub use self::script::{Call, Fault};
pub use self::store::Store;

use self::shared::Shared;

/// A running one; it ends with the test.
#[derive(Debug)]
pub struct Scripted {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Scripted {
    /// Starts an empty one on a free port.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::new(Store::new(1)));
        let (runtime, address) = server::start(&shared);
        Self { shared, address, runtime: Some(runtime) }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at what is stored.
    pub fn look<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        self.shared.look(look)
    }

    /// The value of a key, as text; empty when there is none.
    pub fn value(&self, key: &str) -> String {
        self.look(|store| store.get(key).map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).unwrap_or_default())
    }

    /// Changes what is stored, as an outsider would.
    pub fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        self.shared.change(change)
    }

    /// From now on calls of this kind meet this fault, until it is healed.
    pub fn fault(&self, call: Call, fault: Fault) {
        self.shared.script(|script| script.add(Some(call), fault, None));
    }

    /// Every transaction that puts this key does.
    pub fn fault_puts(&self, key: &str, fault: Fault) {
        self.shared.script(|script| script.add_for_puts(key, fault));
    }

    /// All calls do.
    pub fn fault_all(&self, fault: Fault) {
        self.shared.script(|script| script.add(None, fault, None));
    }

    /// The next `calls` of this kind do.
    pub fn fault_next(&self, calls: u32, call: Call, fault: Fault) {
        self.shared.script(|script| script.add(Some(call), fault, Some(calls)));
    }

    /// Ends all faults of calls.
    pub fn heal(&self) {
        self.shared.script(script::Script::heal);
    }

    /// Its member loses the leader: every stream ends, and every call is refused until it is healed.
    pub fn lose_leader(&self) {
        self.fault_all(Fault::NoLeader);
        self.shared.decide(|fate| fate.ended = fate.streams);
    }

    /// Ends every lease, though nobody asked for it and none ran out.
    pub fn lose_leases(&self) {
        self.change(|store| {
            for lease in store.leases.ids().collect::<Vec<_>>() {
                store.revoke(lease);
            }
        });
    }

    /// Every stream that is open says nothing any more; its connection lives on.
    pub fn silence_watches(&self) {
        self.shared.decide(|fate| fate.silenced = fate.streams);
    }

    /// On every connection that is open nothing passes any more; new ones are well.
    pub fn mute_connections(&self) {
        self.shared.decide(|fate| fate.muted = fate.connections);
    }

    /// Makes changes that no watch is told, and compacts them away: every watch finds itself behind.
    pub fn compact_behind_watches(&self, change: impl FnOnce(&mut Store)) {
        self.shared.decide(|fate| fate.held = true);
        self.change(|store| {
            change(store);
            // A watch is behind only if a change that it was not told is gone.
            store.put("/compacted", "away");
            store.put("/compacted", "away");
            store.compact(store.revision).expect("what was just written is not compacted yet");
        });
        self.shared.decide(|fate| fate.held = false);
    }

    /// Whether the alarm of a full disk is raised: what grows is refused.
    pub fn set_no_space(&self, no_space: bool) {
        self.change(|store| store.no_space = no_space);
    }

    /// Cuts all connections.
    pub fn drop_connections(&self) {
        self.shared.drop_connections();
    }

    /// What a backup would hold.
    pub fn backup(&self) -> Store {
        self.look(Store::clone)
    }

    /// Another etcd takes the place: with what the backup holds, every lease at its full life, and no connection.
    pub fn restore(&self, backup: &Store) {
        self.replace(backup.clone());
    }

    /// An empty etcd of another cluster takes the place.
    pub fn wipe(&self) {
        let cluster = self.look(|store| store.cluster_id);
        self.replace(Store::new(cluster + 1));
    }

    /// How many calls of this kind there were.
    pub fn calls(&self, call: Call) -> usize {
        self.shared.script(|script| script.count(call))
    }

    /// How many calls met a fault.
    pub fn faults_met(&self) -> usize {
        self.shared.script(|script| script.met())
    }

    /// The most calls that came in any one second since `since`, heartbeats aside.
    pub fn busiest_second(&self, since: Instant) -> usize {
        self.shared.script(|script| script.busiest_second(since))
    }

    fn replace(&self, mut next: Store) {
        next.leases.renew_all();
        // The watches of the old one end before they could see the new one.
        self.shared.decide(|fate| fate.silenced = fate.streams);
        self.change(|store| *store = next);
        self.drop_connections();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
