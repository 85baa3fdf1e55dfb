//! A data path that has no sockets: what an agent of the swarm applies its plans to.
//!
//! It must cost nothing, so that what a fleet is seen to ask of etcd and control is what its agents ask.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use echo_node::live::{ApplyError, Bound, Doorway};
use echo_proto::spec::Plan;
use echo_proto::v1;

/// Where a listener is said to be bound that asks for any port.
const ANY_PORT: u16 = 7007;

/// Serves everything, but for one revision.
#[derive(Debug)]
pub(super) struct NullPath {
    bound: Vec<Bound>,
    /// The revision that can't be bound; 0: none.
    refused: Arc<AtomicU32>,
}

impl NullPath {
    /// A data path that refuses the revision of this number, whatever it is at the time.
    pub(super) fn new(refused: Arc<AtomicU32>) -> Self {
        Self { bound: Vec::new(), refused }
    }
}

impl Doorway for NullPath {
    async fn apply(&mut self, plan: &Plan, revision: &v1::RevisionRef) -> Result<Vec<Bound>, ApplyError> {
        let bound = plan.listeners.iter().map(|listener| {
            let port = if listener.port == 0 { ANY_PORT } else { listener.port };
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            Bound { name: listener.name.clone(), protocol: listener.protocol, address, buffers: None }
        });
        let bound: Vec<Bound> = bound.collect();
        match bound.first() {
            Some(first) if self.refused.load(Ordering::Relaxed) == revision.n => Err(ApplyError::Bind {
                listener: first.name.clone(),
                protocol: first.protocol,
                address: first.address,
                source: io::Error::from(ErrorKind::AddrInUse),
            }),
            _ => {
                self.bound.clone_from(&bound);
                Ok(bound)
            }
        }
    }

    async fn set_fleet_ports(&mut self, _: Vec<SocketAddr>) {}

    async fn close_tcp(&mut self) {}

    async fn close_listeners(&mut self) {
        self.bound.clear();
    }

    async fn cut(&mut self) -> u64 {
        0
    }

    fn bound(&self) -> Vec<Bound> {
        self.bound.clone()
    }

    fn serves(&self) -> bool {
        !self.bound.is_empty()
    }

    fn clamped(&self) -> Option<(u32, u64)> {
        None
    }

    fn connections(&self) -> u64 {
        0
    }

    fn udp_idle(&self) -> Option<Duration> {
        None
    }

    async fn stop(self) {}
}
