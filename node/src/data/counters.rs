//! What the data path counted, added up for whoever asks.
//!
//! Written slot by slot by the shards (`slot`); read by metrics and the agent through [`Counters`]. The lock
//! here is between control and readers: no shard ever takes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use echo_proto::ids::ListenerName;
use echo_proto::spec::Protocol;

use super::flows::{self, Flows, Moment};
pub use super::flows::{FlowCount, MAX_FLOWS};
use super::reason::{Drop, End, Reason};
use super::slot::Slot;

/// Listeners that are remembered by themselves, so that a series does not break when one returns. Beyond, those that
/// nobody uses are kept as a sum only.
const MAX_REMEMBERED: usize = 256;

/// Reads the counters of all shards; cheap to clone.
#[derive(Debug, Clone)]
pub struct Counters {
    flows: Arc<[Arc<Flows>]>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    listeners: BTreeMap<Identity, Vec<Arc<Slot>>>,
    forgotten: Counts,
}

/// What a listener's counters are known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) name: ListenerName,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// All counters at one moment; since the start of the process.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By name, protocol and port; also of listeners that are no longer served.
    pub listeners: Vec<ListenerCounts>,
    /// The sum of all listeners that ever were.
    pub total: Counts,
}

/// The counters of one listener.
#[derive(Debug, Clone)]
pub struct ListenerCounts {
    /// Its name in the plan.
    pub name: ListenerName,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port really bound.
    pub port: u16,
    /// What it counted.
    pub counts: Counts,
}

/// Figures of a listener or of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP connections open now.
    pub active: u64,
    /// TCP connections served, or being served.
    pub accepted: u64,
    /// TCP connections that ended, by how.
    pub ended: BTreeMap<&'static str, u64>,
    /// Connections refused or lost at accept, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Bytes of payload.
    pub received_bytes: u64,
    /// Bytes of payload, as taken by the kernel.
    pub transmitted_bytes: u64,
    /// UDP datagrams, those dropped included.
    pub received_packets: u64,
    /// UDP datagrams.
    pub transmitted_packets: u64,
    /// TCP reads served plus UDP datagrams taken.
    pub exchanges: u64,
    /// Times that a TCP connection was not read for a while, for its rate.
    pub paced: u64,
    /// UDP datagrams dropped, by `echo.drop.reason`.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// TCP connections that ended otherwise than in order, by how.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let broken = |reason: &str| End::ALL.iter().any(|(end, label)| end.is_broken() && *label == reason);
        self.ended.iter().filter(move |(reason, _)| broken(reason)).map(|(reason, count)| (*reason, *count))
    }
}

impl Counters {
    /// Counters of so many shards, which have counted nothing yet.
    pub fn new(shards: usize) -> Self {
        Self { flows: (0..shards).map(|_| Arc::default()).collect(), known: Arc::default() }
    }

    /// Where a shard notes who sends datagrams, by shard.
    pub(crate) fn flows(&self) -> &[Arc<Flows>] {
        &self.flows
    }

    /// UDP sources of the last 10 s.
    pub fn udp_flows(&self) -> FlowCount {
        flows::count(&self.flows, Moment::now())
    }

    /// How long no datagram has come; `None` if none ever did.
    pub fn udp_idle(&self) -> Option<Duration> {
        flows::idle(&self.flows, Moment::now())
    }

    /// Everything counted until now.
    pub fn snapshot(&self) -> Snapshot {
        let known = self.lock();
        let mut snapshot = Snapshot { listeners: Vec::new(), total: known.forgotten.clone() };
        for (identity, slots) in &known.listeners {
            let mut counts = Counts::default();
            slots.iter().for_each(|slot| counts.add_slot(slot));
            snapshot.total.add(&counts);
            let Identity { name, protocol, port } = identity.clone();
            snapshot.listeners.push(ListenerCounts { name, protocol, port, counts });
        }
        snapshot
    }

    /// The slots of every listener, for figures that are no sums.
    pub(crate) fn all_slots(&self) -> Vec<(Identity, Vec<Arc<Slot>>)> {
        self.lock().listeners.iter().map(|(identity, slots)| (identity.clone(), slots.clone())).collect()
    }

    /// The slots of a listener, one a shard; those it had before, if it is remembered.
    pub(crate) fn slots(&self, identity: Identity) -> Vec<Arc<Slot>> {
        let mut known = self.lock();
        let slots =
            known.listeners.entry(identity).or_insert_with(|| self.flows.iter().map(|_| Arc::default()).collect());
        let slots = slots.clone();
        known.forget_beyond(MAX_REMEMBERED);
        slots
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Folds listeners that nobody writes any more into the sum, until `limit` are left.
    fn forget_beyond(&mut self, limit: usize) {
        let excess = self.listeners.len().saturating_sub(limit);
        let unused = |slots: &Vec<Arc<Slot>>| slots.iter().all(|slot| Arc::strong_count(slot) == 1);
        let gone: Vec<Identity> =
            self.listeners.iter().filter(|(_, slots)| unused(slots)).map(|(id, _)| id.clone()).take(excess).collect();
        for identity in gone {
            for slot in self.listeners.remove(&identity).unwrap_or_default() {
                self.forgotten.add_slot(&slot);
            }
        }
    }
}

impl Counts {
    /// Datagrams of sources that the listener does not answer.
    pub fn refused_sources(&self) -> u64 {
        self.dropped.get(Drop::Acl.label()).copied().unwrap_or_default()
    }

    fn add_slot(&mut self, slot: &Slot) {
        // Ends first: a connection may come and go between the two reads, and must not be counted as less than none.
        let ended = slot.ended.sum();
        let accepted = slot.accepted.get();
        self.add(&Self {
            active: accepted.saturating_sub(ended),
            accepted,
            ended: slot.ended.each().collect(),
            rejected: slot.refused.each().collect(),
            received_bytes: slot.received_bytes.get(),
            transmitted_bytes: slot.transmitted_bytes.get(),
            received_packets: slot.received_packets.get(),
            transmitted_packets: slot.transmitted_packets.get(),
            exchanges: slot.exchanges.get(),
            paced: slot.paced.get(),
            dropped: slot.dropped.each().collect(),
        });
    }

    fn add(&mut self, other: &Self) {
        self.active += other.active;
        self.accepted += other.accepted;
        self.received_bytes += other.received_bytes;
        self.transmitted_bytes += other.transmitted_bytes;
        self.received_packets += other.received_packets;
        self.transmitted_packets += other.transmitted_packets;
        self.exchanges += other.exchanges;
        self.paced += other.paced;
        let pairs = [
            (&mut self.ended, &other.ended),
            (&mut self.rejected, &other.rejected),
            (&mut self.dropped, &other.dropped),
        ];
        for (to, from) in pairs {
            for (reason, n) in from {
                *to.entry(reason).or_default() += n;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identity(name: &str, port: u16) -> Identity {
        Identity { name: name.parse().unwrap(), protocol: Protocol::Tcp, port }
    }

    #[test]
    fn shards_are_added_up_and_totals_outlive_listeners() {
        let counters = Counters::new(2);
        let slots = counters.slots(identity("a", 1));
        for slot in &slots {
            slot.accepted.add(3);
            slot.ended.add(End::Peer, 1);
            slot.ended.add(End::Reset, 1);
            slot.dropped.add(Drop::SendBuffer, 2);
        }
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.total.accepted, snapshot.total.active), (6, 2));
        assert_eq!(snapshot.total.broken().collect::<Vec<_>>(), [("connection_reset", 2)]);
        assert_eq!(snapshot.total.dropped, BTreeMap::from([("sndbuf", 4)]));
        assert_eq!(snapshot.listeners.first().unwrap().counts, snapshot.total);

        let total = snapshot.total;
        counters.lock().forget_beyond(0);
        assert_eq!(counters.snapshot().listeners.len(), 1, "its slots are in use");
        drop(slots);
        counters.lock().forget_beyond(0);
        assert!(counters.snapshot().listeners.is_empty());
        assert_eq!(counters.snapshot().total, total);
    }

    #[test]
    fn a_listener_that_returns_goes_on_counting() {
        let counters = Counters::new(1);
        counters.slots(identity("a", 1)).first().unwrap().accepted.add(1);
        counters.slots(identity("a", 1)).first().unwrap().accepted.add(1);
        counters.slots(identity("a", 2)).first().unwrap().accepted.add(1);
        let per: Vec<_> = counters.snapshot().listeners.iter().map(|l| (l.port, l.counts.accepted)).collect();
        assert_eq!(per, [(1, 2), (2, 1)]);
    }
}
