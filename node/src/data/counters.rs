//! What the data path counted, for whoever wants to read it.
//!
//! Each shard writes its own slots; [`Counters`] adds them up when asked.

use std::collections::BTreeMap;

use echo_proto::ids::ListenerName;
use echo_proto::spec::Protocol;

/// Reads the counters of all shards; cheap to clone.
#[derive(Debug, Clone)]
pub struct Counters;

impl Counters {
    /// Everything counted until now, by listener.
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }
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
    /// Connections refused or lost at accept, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Bytes of payload.
    pub received_bytes: u64,
    /// Bytes of payload.
    pub transmitted_bytes: u64,
    /// UDP datagrams, those dropped included.
    pub received_packets: u64,
    /// UDP datagrams.
    pub transmitted_packets: u64,
    /// TCP reads served plus UDP datagrams taken.
    pub exchanges: u64,
    /// UDP datagrams dropped, by `echo.drop.reason`.
    pub dropped: BTreeMap<&'static str, u64>,
}
