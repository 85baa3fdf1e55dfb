//! From a plan to sockets and orders: which go on, which are new, binding the new ones, and what shards are told of all.
//!
//! Called by [`super::Live::apply`]. It must never touch a socket that is in use. But a new socket may take traffic of
//! one in use, where an address of the same port is changed: such a [`Claim::Successor`] is bound last, and when the
//! plan is refused nevertheless, the shards undo it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use echo_proto::ids::ListenerName;
use echo_proto::spec::{self, ListenerPlan, Plan, Protocol};

use super::{ApplyError, Bound};
use crate::data::counters::{Counters, Identity};
use crate::data::guard::Guard;
use crate::data::order::{ListenerOrder, SocketId};
use crate::data::owner::{self, Inode};
use crate::data::ranges::Ranges;
use crate::data::rates::Cells;
use crate::data::socket::{Buffers, Claim, Group};

/// A listener's socket, on all shards.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    pub(super) id: SocketId,
    name: ListenerName,
    pub(super) protocol: Protocol,
    /// As asked for; the port may be 0.
    wanted: SocketAddr,
    bound: SocketAddr,
    buffers: Option<Buffers>,
    inodes: Vec<Inode>,
}

/// All sockets of a plan, or as many as could be had.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// In the order of the plan.
    pub(super) sockets: Vec<Option<Socket>>,
    /// Those of them that are new: bound, and of TCP listening.
    pub(super) new: HashMap<SocketId, New>,
    /// What was sent, as far as it counts under the plan.
    pub(super) cells: Cells,
    /// Why the plan can't be.
    pub(super) refused: Option<ApplyError>,
}

/// A new socket, on all shards.
#[derive(Debug)]
pub(super) struct New {
    pub(super) group: Group,
    /// The socket whose traffic it may take.
    pub(super) predecessor: Option<SocketId>,
}

/// A listener that needs a new socket.
struct Wish<'a> {
    /// Its place in the plan.
    place: usize,
    listener: &'a ListenerPlan,
    wanted: SocketAddr,
    predecessor: Option<SocketId>,
}

impl Socket {
    pub(super) fn bound(&self) -> Bound {
        Bound { name: self.name.clone(), protocol: self.protocol, address: self.bound, buffers: self.buffers }
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
        self.protocol == protocol && self.bound.port() == wanted.port() && spec::overlap(self.bound.ip(), wanted.ip())
    }
}

/// Finds or binds a socket for every listener; listeners without an address get `default`.
pub(super) fn prepare(plan: &Plan, default: IpAddr, old: &[Socket], shards: usize) -> Prepared {
    let wanted = |listener: &ListenerPlan| SocketAddr::new(listener.address.unwrap_or(default), listener.port);
    let kept = |socket: &&Socket| plan.listeners.iter().any(|listener| socket.serves(listener, wanted(listener)));
    let leaving: Vec<&Socket> = old.iter().filter(|socket| !kept(socket)).collect();
    let mut prepared = Prepared::default();
    let mut wishes = Vec::new();
    for (place, listener) in plan.listeners.iter().enumerate() {
        let wanted = wanted(listener);
        let same = old.iter().find(|socket| socket.serves(listener, wanted));
        prepared.sockets.push(same.map(|socket| Socket { name: listener.name.clone(), ..socket.clone() }));
        if same.is_none() {
            let predecessor = leaving.iter().find(|socket| socket.overlaps(listener.protocol, wanted));
            wishes.push(Wish { place, listener, wanted, predecessor: predecessor.map(|socket| socket.id) });
        }
    }
    // Those that may take traffic come last, when little is left that can fail.
    wishes.sort_by_key(|wish| wish.predecessor.is_some());
    prepared.refused = prepared.grant(&wishes, old, shards).err();
    prepared
}

impl Prepared {
    /// What each shard is told: all listeners, and its own of the new sockets.
    pub(super) fn orders(&mut self, plan: &Plan, shards: usize, counters: &Counters) -> Vec<Vec<ListenerOrder>> {
        let mut orders: Vec<Vec<ListenerOrder>> = (0..shards).map(|_| Vec::new()).collect();
        for (listener, socket) in plan.listeners.iter().zip(&self.sockets) {
            let Some(socket) = socket else { continue };
            let new = self.new.remove(&socket.id);
            let predecessor = new.as_ref().and_then(|new| new.predecessor);
            let mut new = new.map(|new| new.group.into_sockets());
            let (address, cells) = (socket.bound().address.ip(), &self.cells);
            let limiter = cells.limiter(socket.id, &plan.limits, listener.protocol, address);
            let guard = Arc::new(Guard::new(&listener.guard));
            let balancers = listener.balancers.as_deref().map(|from| Arc::new(Ranges::new(from)));
            let slots = counters.slots(socket.identity());
            for (order, slot) in orders.iter_mut().zip(slots) {
                order.push(ListenerOrder {
                    id: socket.id,
                    socket: new.as_mut().and_then(Iterator::next),
                    predecessor,
                    service: listener.service.clone(),
                    limiter: limiter.clone(),
                    guard: Arc::clone(&guard),
                    max_datagram: plan.limits.max_datagram,
                    balancers: balancers.clone(),
                    slot,
                });
            }
        }
        orders
    }

    /// Binds all, then listens; stops at the first that fails.
    fn grant(&mut self, wishes: &[Wish<'_>], old: &[Socket], shards: usize) -> Result<(), ApplyError> {
        let mut ours: HashSet<Inode> = old.iter().flat_map(|socket| &socket.inodes).copied().collect();
        let mut ids = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let group = wish.bind(shards, &ours).map_err(|source| wish.error(wish.wanted, source))?;
            ours.extend(group.inodes());
            let (id, bound, inodes) = (next_id(), group.address(), group.inodes().to_vec());
            let buffers = group.buffers();
            let (name, protocol) = (wish.listener.name.clone(), wish.listener.protocol);
            if let Some(socket) = self.sockets.get_mut(wish.place) {
                *socket = Some(Socket { id, name, protocol, wanted: wish.wanted, bound, buffers, inodes });
            }
            self.new.insert(id, New { group, predecessor: wish.predecessor });
            ids.push(id);
        }
        for (wish, id) in wishes.iter().zip(ids) {
            if let Some(New { group, .. }) = self.new.get_mut(&id) {
                group.listen().map_err(|source| wish.error(group.address(), source))?;
            }
        }
        Ok(())
    }

    /// What is to be undone of a refused plan: new sockets that may have taken traffic of others.
    pub(super) fn retain_takers(&mut self) {
        self.new.retain(|_, new| new.predecessor.is_some() && new.group.hears());
    }
}

impl Wish<'_> {
    fn bind(&self, shards: usize, ours: &HashSet<Inode>) -> io::Result<Group> {
        let Self { listener, wanted, .. } = *self;
        if self.predecessor.is_none() {
            return Group::bind(listener.protocol, wanted, shards, Claim::Free);
        }
        match owner::stranger(listener.protocol, wanted, ours)? {
            Some(_) => Err(io::ErrorKind::AddrInUse.into()),
            None => Group::bind(listener.protocol, wanted, shards, Claim::Successor),
        }
    }

    fn error(&self, address: SocketAddr, source: io::Error) -> ApplyError {
        let (listener, protocol) = (self.listener.name.clone(), self.listener.protocol);
        ApplyError::Bind { listener, protocol, address, source }
    }
}

fn next_id() -> SocketId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
