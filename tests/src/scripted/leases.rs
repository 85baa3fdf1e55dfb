//! The leases of the scripted etcd, on a monotonic clock.
//!
//! Part of the store, which removes the keys of a lease that ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// Shortest life that etcd grants, with the election timeout of its defaults.
const MIN_TTL: i64 = 2;

/// All leases.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    all: BTreeMap<i64, Lease>,
    last: i64,
}

#[derive(Debug, Clone)]
struct Lease {
    ttl: i64,
    ends: Instant,
}

impl Lease {
    fn new(ttl: i64) -> Self {
        Self { ttl, ends: Instant::now() + seconds(ttl) }
    }
}

impl Leases {
    /// A new lease, with this id unless that is 0: its id and its life.
    pub(super) fn grant(&mut self, id: i64, ttl: i64) -> Result<(i64, i64), Refusal> {
        if self.all.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        self.last += i64::from(id == 0);
        let (id, ttl) = (if id == 0 { self.last } else { id }, ttl.max(MIN_TTL));
        self.all.insert(id, Lease::new(ttl));
        Ok((id, ttl))
    }

    pub(super) fn knows(&self, id: i64) -> bool {
        self.all.contains_key(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = i64> {
        self.all.keys().copied()
    }

    pub(super) fn remove(&mut self, id: i64) -> bool {
        self.all.remove(&id).is_some()
    }

    /// Gives it its whole life again and tells that; 0: there is no such lease.
    pub(super) fn renew(&mut self, id: i64) -> i64 {
        let Some(lease) = self.all.get_mut(&id) else { return 0 };
        *lease = Lease::new(lease.ttl);
        lease.ttl
    }

    /// What etcd does when it starts.
    pub(super) fn renew_all(&mut self) {
        self.all.values_mut().for_each(|lease| *lease = Lease::new(lease.ttl));
    }

    /// Seconds that it has left, and its whole life.
    pub(super) fn left(&self, id: i64) -> Option<(i64, i64)> {
        let lease = self.all.get(&id)?;
        let left = lease.ends.saturating_duration_since(Instant::now());
        Some((i64::try_from(left.as_secs()).expect("a test's lease is short"), lease.ttl))
    }

    /// Those that ran out.
    pub(super) fn ended(&self, now: Instant) -> Vec<i64> {
        self.all.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect()
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}
