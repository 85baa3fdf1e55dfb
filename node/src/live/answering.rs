//! At which ports nodes answer datagrams: what comes from there would be an answer, and answering it could go on for ever.
//!
//! Kept by [`super::Live`], which hands it to the shards. It must never leave out a port of this node, whatever control
//! tells, or does not.

use std::sync::Arc;

use echo_proto::spec::{ListenerPlan, Plan, Protocol};

use super::plan::Socket;
use crate::data::guard::Ports;

/// Ports from which no datagram is served, since it would be an answer.
#[derive(Debug, Default)]
pub(super) struct Answering {
    /// Of this node.
    pub(super) own: Vec<u16>,
    /// Of all nodes, as control tells.
    pub(super) fleet: Vec<u16>,
}

impl Answering {
    /// Those of `plan` on these sockets.
    pub(super) fn of(plan: &Plan, sockets: &[Option<Socket>]) -> Vec<u16> {
        let answers = |listener: &ListenerPlan| listener.protocol == Protocol::Udp && listener.service.answers();
        let sockets = plan.listeners.iter().zip(sockets).filter(|(listener, _)| answers(listener));
        sockets.filter_map(|(_, socket)| Some(socket.as_ref()?.bound().address.port())).collect()
    }

    pub(super) fn ports(&self, own: &[u16]) -> Arc<Ports> {
        Arc::new(own.iter().chain(&self.fleet).copied().collect())
    }
}
