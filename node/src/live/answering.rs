//! At which ports nodes answer datagrams: what comes from there would be an answer, and answering it could go on for ever.
//!
//! Kept by [`super::Live`], which hands it to the shards. It must never leave out a port of this node, whatever control
//! tells, or does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use echo_proto::spec::{ListenerPlan, Plan, Protocol};

use super::plan::Socket;
use crate::data::guard::Ports;

/// Ports from which no datagram is served, since it would be an answer.
#[derive(Debug, Default)]
pub(super) struct Answering {
    /// Of this node.
    pub(super) own: Vec<SocketAddr>,
    /// Of all nodes, as control tells.
    pub(super) fleet: Vec<SocketAddr>,
}

impl Answering {
    /// Those of `plan` on these sockets.
    pub(super) fn of(plan: &Plan, sockets: &[Option<Socket>]) -> Vec<SocketAddr> {
        let answers = |listener: &ListenerPlan| listener.protocol == Protocol::Udp && listener.service.answers();
        let sockets = plan.listeners.iter().zip(sockets).filter(|(listener, _)| answers(listener));
        let answering = |(listener, socket): (&ListenerPlan, &Option<Socket>)| {
            let bound = socket.as_ref()?.bound().address;
            // A fixed port is the same on all nodes.
            Some(if listener.port == 0 { bound } else { (Ipv4Addr::UNSPECIFIED, bound.port()).into() })
        };
        sockets.filter_map(answering).collect()
    }

    pub(super) fn ports(&self, own: &[SocketAddr]) -> Arc<Ports> {
        Arc::new(own.iter().chain(&self.fleet).copied().collect())
    }
}
