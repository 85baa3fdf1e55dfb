//! The fleet's own UDP ports: what pools say, what nodes are assigned and what they have bound -> `guard/ports`, which
//! all nodes watch.
//!
//! Part of the drive; one fenced transaction when they change. A node answers no datagram from these ports, or two
//! nodes could answer each other for ever. It must never leave out a port that a node may still serve.

mod crowd;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use echo_proto::spec::{answering_ports, answers_datagrams};
use echo_proto::telemetry::context;
use echo_proto::v1;
use tracing::{Instrument as _, info_span};

use super::Pass;
use crate::fleet::Node;
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError};
use crate::view::{PoolState, Slot, State, View};

/// One leader's work on the ports.
pub(super) struct Guarded {
    store: Store,
    leadership: Leadership,
    /// Revision of an own write that the view has yet to show.
    written: i64,
}

impl Guarded {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, written: 0 }
    }

    pub(super) async fn pass(&mut self, view: &View) -> Pass {
        let (revision, known, change) =
            view.read(|state| (state.revision, state.guard_ports.mod_revision(), due(state)));
        let Some((ports, crowded)) = change.filter(|_| self.written <= revision) else { return Pass::Done(None) };
        if crowded > 0 {
            tracing::warn!(ports = crowded, "refused from everywhere: nodes answer at too many sockets to name each");
        }
        let span = info_span!("guard_ports", ports = ports.udp.len(), sockets = ports.udp_sockets.len());
        context::set_parent(&span, ports.trace.as_ref());
        match self.write(known, ports).instrument(span).await {
            Ok(true) => Pass::Done(None),
            Ok(false) => Pass::Again,
            Err(error) => {
                tracing::warn!(%error, "the fleet's ports were not written");
                Pass::Again
            }
        }
    }

    /// `false`: someone else was faster.
    async fn write(&mut self, known: i64, ports: v1::GuardPorts) -> Result<bool, StoreError> {
        let (keys, key) = (self.store.keys(), self.store.keys().guard_ports());
        let ports = v1::GuardPorts { trace: context::current(), ..ports };
        let change = Change::new().fenced(keys, &self.leadership).require(&key, known).put(&key, &ports);
        let written = self.store.commit(change).await?;
        self.written = written.unwrap_or(self.written);
        Ok(written.is_some())
    }
}

/// A record that tells where nodes answer.
struct Source<'a> {
    at: i64,
    trace: Option<&'a v1::TraceContext>,
    /// What nodes answer at all their addresses has the unspecified one.
    sockets: Vec<SocketAddr>,
}

/// What is to be written, with the trace of the newest change that it has something new of, and how many ports are in it
/// for want of room; `None` where it stands there already.
fn due(state: &State) -> Option<(v1::GuardPorts, usize)> {
    let sources: Vec<Source<'_>> = state.pools.values().flat_map(sources).collect();
    let (everywhere, sockets): (Vec<&SocketAddr>, Vec<&SocketAddr>) =
        sources.iter().flat_map(|source| &source.sockets).partition(|socket| socket.ip().is_unspecified());
    let mut ports: BTreeSet<u32> = everywhere.into_iter().map(|socket| socket.port().into()).collect();
    let mut sockets: BTreeSet<String> = sockets.into_iter().map(SocketAddr::to_string).collect();
    let stands = state.guard_ports.valid().map(|stored| &stored.value);
    if let Some(stands) = stands.filter(|_| state.pools.values().any(is_unreadable)) {
        ports.extend(&stands.udp);
        sockets.extend(stands.udp_sockets.iter().cloned());
    }
    // Whose port is refused from everywhere need not be named.
    sockets.retain(|socket| socket.parse::<SocketAddr>().is_ok_and(|socket| !ports.contains(&socket.port().into())));
    let crowded = crowd::fit(&mut ports, &mut sockets);
    let (udp, udp_sockets): (Vec<u32>, Vec<String>) = (ports.into_iter().collect(), sockets.into_iter().collect());
    // No key is no port.
    let none = || udp.is_empty() && udp_sockets.is_empty() && state.guard_ports.mod_revision() == 0;
    let same = stands.map_or_else(none, |stands| stands.udp == udp && stands.udp_sockets == udp_sockets);
    let ports = || v1::GuardPorts { udp, udp_sockets, trace: cause(&sources, stands).cloned() };
    (state.synced && !same).then(|| (ports(), crowded))
}

/// The change that the newest source with something new is part of. What only goes is part of none: what else the
/// sources have done since is not why.
fn cause<'a>(sources: &[Source<'a>], stands: Option<&v1::GuardPorts>) -> Option<&'a v1::TraceContext> {
    // Sets: this runs while the view is locked, and where nodes choose their ports, each has sockets of its own.
    let ports: BTreeSet<u32> = stands.into_iter().flat_map(|stands| &stands.udp).copied().collect();
    let names = stands.into_iter().flat_map(|stands| &stands.udp_sockets);
    let sockets: BTreeSet<SocketAddr> = names.filter_map(|name| name.parse().ok()).collect();
    let stands_there = |socket: &SocketAddr| ports.contains(&socket.port().into()) || sockets.contains(socket);
    let news = sources.iter().filter(|source| !source.sockets.iter().all(stands_there));
    news.max_by_key(|source| source.at)?.trace
}

/// All that nodes of a pool may run, now or soon, and what they have bound.
fn sources(pool: &PoolState) -> impl Iterator<Item = Source<'_>> {
    let fixed = |templates: &mut dyn Iterator<Item = &v1::PoolTemplate>| {
        let ports = templates.flat_map(answering_ports).filter_map(|port| u16::try_from(port).ok());
        ports.map(|port| (Ipv4Addr::UNSPECIFIED, port).into()).collect()
    };
    let wanted = pool.pool.valid().map(|stored| {
        let record = &stored.value.record;
        let template = record.spec.as_ref().and_then(|spec| spec.template.as_ref());
        Source { at: stored.mod_revision, trace: record.trace.as_ref(), sockets: fixed(&mut template.into_iter()) }
    });
    let told = pool.assignment.valid().map(|stored| {
        let mut configs = assigned(pool).filter_map(|revision| revision.config.as_ref());
        let trace = stored.value.record.trace.as_ref();
        Source { at: stored.mod_revision, trace, sockets: fixed(&mut configs) }
    });
    // Also those that went away and may serve on.
    let nodes = pool.fleet.iter().map(|node| {
        let (at, trace) = (node.record.mod_revision, node.record.value.trace.as_ref());
        Source { at, trace, sockets: bound(pool, node).collect() }
    });
    wanted.into_iter().chain(told).chain(nodes)
}

fn assigned(pool: &PoolState) -> impl Iterator<Item = &v1::AssignedRevision> {
    pool.assignment.valid().into_iter().flat_map(|assignment| revisions(&assignment.value.record))
}

/// All that nodes may run by an assignment.
fn revisions(assigned: &v1::Assignment) -> impl Iterator<Item = &v1::AssignedRevision> {
    assigned.stable.iter().chain(&assigned.next).chain(&assigned.pinned)
}

/// Whether some would run what no node was told of before: its ports may be unknown to the others.
pub(super) fn is_news(before: Option<&v1::Assignment>, after: &v1::Assignment) -> bool {
    let known = |new: &v1::AssignedRevision| before.into_iter().flat_map(revisions).any(|old| old.digest == new.digest);
    !revisions(after).all(known)
}

/// Where a node of a pool really answers, also with port 0. What it runs that is not assigned any more may answer.
fn bound<'a>(pool: &'a PoolState, node: &'a Node) -> impl Iterator<Item = SocketAddr> + 'a {
    let applied = node.status.applied.as_ref();
    let runs = applied.and_then(|applied| assigned(pool).find(|revision| revision.digest == applied.digest));
    let listeners = runs.and_then(|revision| revision.config.as_ref()).map_or(&[][..], |config| &config.listeners);
    let silent = |name: &str| listeners.iter().any(|known| known.name == name && !answers_datagrams(known));
    let answers = move |bound: &&v1::BoundListener| bound.protocol() == v1::Protocol::Udp && !silent(&bound.name);
    node.status.listeners.iter().filter(answers).filter_map(|bound| bound.address.parse().ok())
}

/// Whether nodes of a pool may serve what can't be read here.
fn is_unreadable(pool: &PoolState) -> bool {
    matches!(pool.pool, Slot::Invalid(_)) || matches!(pool.assignment, Slot::Invalid(_))
}

#[cfg(test)]
mod tests;
