//! What a shard received of stamped sessions, flow by flow.
//!
//! Filled by [`super::udp`] and [`super::tcp`] for stamped requests only; copied for the Agent by [`super::shard`]. A
//! peer chooses the session, so the table is bounded: a new flow takes the place of the one that was silent the
//! longest, and that is counted. One whose source is not let in takes nobody's place, and goes first. Pure: times are
//! passed in.

use std::collections::HashMap;
use std::net::SocketAddr;

use echo_proto::backoff::random_below;
use echo_proto::spec::Protocol;
use echo_proto::stamp::{Request, Seen, WINDOW};
use lru::LruCache;

use super::reason::{Drop, MAX_REASONS, Reason as _};

/// Flows that a shard remembers; some 200 bytes each.
const MAX_FLOWS: usize = 4096;
/// UDP sockets whose losses a shard remembers: more than are ever open at once, but a new one may get a new port.
const MAX_SOCKETS: usize = 256;

/// What a flow is known by: the same session and flow on two listeners are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) session: u64,
    pub(crate) flow: u32,
    pub(crate) protocol: Protocol,
    /// Ours, where it came in: what the UDP socket is bound to, or what the TCP connection was made to.
    pub(crate) at: SocketAddr,
}

/// What has come of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) key: Key,
    pub(crate) seen: Seen,
    /// By the place of a [`Drop`].
    dropped: [u64; MAX_REASONS],
    /// When the first and the last request came, in nanoseconds since 1970.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// What had been lost on its socket before it began, of what is remembered of that; what was lost later and is
    /// forgotten of the socket stands in `seen`.
    lost_before: u64,
}

/// A shard's flows, newest traffic first.
#[derive(Debug)]
pub(crate) struct Sessions {
    flows: LruCache<Key, Flow>,
    evicted: u64,
    /// That of the flow that began last.
    memory: u16,
    /// Datagrams that were lost before they were read.
    overflowed: u64,
    /// The same by the address of their UDP socket, the last loss first.
    lost: LruCache<SocketAddr, u64>,
}

/// A copy of some of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Newest traffic first.
    pub(crate) flows: Vec<Flow>,
    /// Flows that are known, also those beyond the limit.
    pub(crate) total: usize,
    /// Flows that had to make room, or found none.
    pub(crate) evicted: u64,
    /// Datagrams that were lost before they were read.
    pub(crate) overflowed: u64,
}

impl Key {
    /// The flow of `request`, which came in `at` this address of ours.
    pub(crate) fn of(request: &Request, protocol: Protocol, at: SocketAddr) -> Self {
        Self { session: request.session, flow: request.flow, protocol, at }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        // It takes memory as flows come: most shards never see a stamp.
        let memory = random_below(u16::MAX.into()) as u16;
        Self { flows: LruCache::unbounded(), evicted: 0, memory, overflowed: 0, lost: LruCache::unbounded() }
    }
}

impl Sessions {
    /// So many more datagrams to the socket at this address were lost before they were read.
    pub(crate) fn overflowed(&mut self, at: SocketAddr, datagrams: u64) {
        self.overflowed += datagrams;
        *self.lost.get_or_insert_mut(at, || 0) += datagrams;
        if self.lost.len() > MAX_SOCKETS
            && let Some((forgotten, lost)) = self.lost.pop_lru()
        {
            self.settle(forgotten, lost);
        }
    }

    /// Notes with its flows what was lost on a socket that is forgotten: they tell the same as before.
    fn settle(&mut self, at: SocketAddr, lost: u64) {
        let its = |key: &Key| key.protocol == Protocol::Udp && key.at == at;
        for (_, flow) in self.flows.iter_mut().filter(|(key, _)| its(key)) {
            (flow.seen, flow.lost_before) = (flow.seen_with(lost), 0);
        }
    }

    /// A request has arrived at `now`; returns what has come of its flow with it. The last `fresh` datagrams that were
    /// lost on its socket may be younger than it.
    pub(crate) fn arrived(&mut self, key: Key, sequence: u64, now: u64, fresh: u64) -> Seen {
        let lost = lost_on(&self.lost, &key);
        let memory = &mut self.memory;
        let new = || {
            *memory = memory.wrapping_add(1);
            Flow { lost_before: lost.saturating_sub(fresh), ..Flow::new(key, *memory, now) }
        };
        let flow = self.flows.get_or_insert_mut(key, new);
        flow.note(sequence, now);
        let seen = flow.seen_with(lost);
        if self.flows.len() > MAX_FLOWS && self.flows.pop_lru().is_some() {
            self.evicted += 1;
        }
        seen
    }

    /// The same of one whose source is not let in: it never takes the place of one that is.
    pub(crate) fn refused(&mut self, key: Key, sequence: u64, now: u64, fresh: u64) {
        if let Some(flow) = self.flows.peek_mut(&key) {
            flow.note(sequence, now);
        } else if self.flows.len() < MAX_FLOWS {
            self.arrived(key, sequence, now, fresh);
            self.flows.demote(&key);
        } else {
            self.evicted += 1;
        }
    }

    /// The newest request of a flow, or its answer, is dropped by us.
    pub(crate) fn dropped(&mut self, key: &Key, reason: Drop) {
        // One that had to make room meanwhile is forgotten with all it had.
        let Some(flow) = self.flows.peek_mut(key) else { return };
        flow.seen.dropped += 1;
        flow.dropped.get_mut(reason.place()).into_iter().for_each(|count| *count += 1);
    }

    /// A copy of what there is of `session`, or of all, with `limit` flows at most.
    ///
    /// It walks the whole table, since an index of sessions would cost every new flow something. Of a full one that
    /// takes 28 us, and 0.4 to 0.8 ms where none of it is in the processor's caches (release build, flows in random
    /// order, 300 times each); a probe asks twice, and only one question at a time is asked.
    pub(crate) fn list(&self, session: Option<u64>, limit: usize) -> Listing {
        let mut listing = Listing { evicted: self.evicted, overflowed: self.overflowed, ..Listing::default() };
        for (key, flow) in self.flows.iter().filter(|(key, _)| session.is_none_or(|session| key.session == session)) {
            listing.total += 1;
            if listing.flows.len() < limit {
                listing.flows.push(flow.at_last(lost_on(&self.lost, key)));
            }
        }
        listing
    }
}

impl Flow {
    fn new(key: Key, memory: u16, now: u64) -> Self {
        let seen = Seen { memory, ..Seen::default() };
        Self { key, seen, dropped: [0; MAX_REASONS], first: now, last: now, lost_before: 0 }
    }

    fn note(&mut self, sequence: u64, now: u64) {
        self.last = now;
        note(&mut self.seen, sequence);
    }

    /// What was seen of it, now that so much was lost on its socket in all.
    fn seen_with(&self, lost: u64) -> Seen {
        let overflowed = u32::try_from(lost.saturating_sub(self.lost_before)).unwrap_or(u32::MAX);
        Seen { overflowed: overflowed.saturating_add(self.seen.overflowed), ..self.seen }
    }

    fn at_last(&self, lost: u64) -> Self {
        Self { seen: self.seen_with(lost), ..self.clone() }
    }

    /// Requests that were dropped, by reason.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Drop::ALL.iter().zip(self.dropped).map(|((_, label), count)| (*label, count)).filter(|(_, count)| *count > 0)
    }

    /// Adds what another shard has seen of the same flow.
    fn add(&mut self, other: &Self) {
        self.seen = merged(self.seen, other.seen);
        self.dropped.iter_mut().zip(other.dropped).for_each(|(count, more)| *count += more);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Listing {
    /// Puts what several shards know together; a flow that moved from one to another becomes one.
    pub(crate) fn merge(parts: impl IntoIterator<Item = Self>, limit: usize) -> Self {
        let mut whole = Self::default();
        let mut places = HashMap::new();
        for part in parts {
            whole.total += part.total;
            whole.evicted += part.evicted;
            whole.overflowed += part.overflowed;
            for flow in part.flows {
                let place = *places.entry(flow.key).or_insert(whole.flows.len());
                match whole.flows.get_mut(place) {
                    Some(known) => {
                        known.add(&flow);
                        whole.total -= 1;
                    }
                    None => whole.flows.push(flow),
                }
            }
        }
        whole.flows.sort_by_key(|flow| std::cmp::Reverse(flow.last));
        whole.flows.truncate(limit);
        whole
    }
}

/// Adds a request to what has come of its flow.
fn note(seen: &mut Seen, sequence: u64) {
    if seen.count == 0 {
        *seen = Seen { count: 1, lowest: sequence, highest: sequence, window: 1, ..*seen };
        return;
    }
    seen.count += 1;
    seen.lowest = seen.lowest.min(sequence);
    if sequence > seen.highest {
        seen.window = shifted(seen.window, sequence - seen.highest) | 1;
        seen.highest = sequence;
        return;
    }
    let bit = shifted(1, seen.highest - sequence);
    if seen.window & bit != 0 {
        seen.duplicates += 1;
    }
    seen.window |= bit;
}

/// What two shards have seen of one flow. A sequence that came to both is no duplicate for either.
fn merged(a: Seen, b: Seen) -> Seen {
    let highest = a.highest.max(b.highest);
    let window = |seen: Seen| shifted(seen.window, highest - seen.highest);
    Seen {
        memory: if a.highest < b.highest { b.memory } else { a.memory },
        count: a.count + b.count,
        duplicates: a.duplicates + b.duplicates,
        lowest: a.lowest.min(b.lowest),
        highest,
        window: window(a) | window(b),
        dropped: a.dropped + b.dropped,
        overflowed: a.overflowed.saturating_add(b.overflowed),
    }
}

/// What was lost where the flow's requests come in.
fn lost_on(lost: &LruCache<SocketAddr, u64>, key: &Key) -> u64 {
    if key.protocol == Protocol::Udp { lost.peek(&key.at).copied().unwrap_or_default() } else { 0 }
}

/// A window as it stands `by` sequences later.
fn shifted(window: u64, by: u64) -> u64 {
    if by < WINDOW { window << by } else { 0 }
}

#[cfg(test)]
mod tests;
