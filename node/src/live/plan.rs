//! From a plan to sockets: which go on, which are new, and binding the new ones.
//!
//! Called by [`super::Live::apply`]. It must never touch a socket that is in use: when anything fails, dropping what
//! was made here is all there is to undo.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use echo_proto::ids::ListenerName;
use echo_proto::spec::{ListenerPlan, Plan, Protocol};

use super::{ApplyError, Bound};
use crate::data::counters::Identity;
use crate::data::order::SocketId;
use crate::data::socket::{Claim, Group};

/// A listener's socket, on all shards.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    pub(super) id: SocketId,
    name: ListenerName,
    protocol: Protocol,
    /// As asked for; the port may be 0.
    wanted: SocketAddr,
    bound: SocketAddr,
}

/// All sockets of a plan.
#[derive(Debug)]
pub(super) struct Prepared {
    /// In the order of the plan.
    pub(super) sockets: Vec<Socket>,
    /// Those of them that are new: bound, and of TCP listening.
    pub(super) new: HashMap<SocketId, Group>,
}

impl Socket {
    pub(super) fn bound(&self) -> Bound {
        Bound { name: self.name.clone(), protocol: self.protocol, address: self.bound }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { name: self.name.clone(), protocol: self.protocol, port: self.bound.port() }
    }

    /// Whether `listener` means this socket: the same address and port, whatever the name; with port 0, the same name.
    fn serves(&self, listener: &ListenerPlan, wanted: SocketAddr) -> bool {
        let named = wanted.port() != 0 || self.name == listener.name;
        self.protocol == listener.protocol && self.wanted == wanted && named
    }

    /// Whether a socket on `wanted` could get this one's traffic.
    fn overlaps(&self, protocol: Protocol, wanted: SocketAddr) -> bool {
        let (own, other) = (self.bound.ip(), wanted.ip());
        let any = own.is_unspecified() || other.is_unspecified();
        self.protocol == protocol && self.bound.port() == wanted.port() && (any || own == other)
    }
}

/// Finds or binds a socket for every listener; listeners without an address get `default`.
///
/// # Errors
/// The first socket that could not be had; the new ones are closed again.
pub(super) fn prepare(plan: &Plan, default: IpAddr, old: &[Socket], shards: usize) -> Result<Prepared, ApplyError> {
    let wanted = |listener: &ListenerPlan| SocketAddr::new(listener.address.unwrap_or(default), listener.port);
    let kept = |socket: &&Socket| plan.listeners.iter().any(|listener| socket.serves(listener, wanted(listener)));
    let leaving: Vec<&Socket> = old.iter().filter(|socket| !kept(socket)).collect();
    let mut prepared = Prepared { sockets: Vec::with_capacity(plan.listeners.len()), new: HashMap::new() };
    for listener in &plan.listeners {
        let wanted = wanted(listener);
        if let Some(socket) = old.iter().find(|socket| socket.serves(listener, wanted)) {
            prepared.sockets.push(Socket { name: listener.name.clone(), ..socket.clone() });
            continue;
        }
        let successor = leaving.iter().any(|socket| socket.overlaps(listener.protocol, wanted));
        let claim = if successor { Claim::Successor } else { Claim::Free };
        let group = Group::bind(listener.protocol, wanted, shards, claim)
            .map_err(|source| bind_error(listener, wanted, source))?;
        let (id, bound) = (next_id(), group.address());
        let (name, protocol) = (listener.name.clone(), listener.protocol);
        prepared.sockets.push(Socket { id, name, protocol, wanted, bound });
        prepared.new.insert(id, group);
    }
    for (listener, socket) in plan.listeners.iter().zip(&prepared.sockets) {
        if let Some(group) = prepared.new.get(&socket.id) {
            group.listen().map_err(|source| bind_error(listener, socket.bound, source))?;
        }
    }
    Ok(prepared)
}

fn bind_error(listener: &ListenerPlan, address: SocketAddr, source: std::io::Error) -> ApplyError {
    ApplyError::Bind { listener: listener.name.clone(), protocol: listener.protocol, address, source }
}

fn next_id() -> SocketId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
