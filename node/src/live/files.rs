//! How many files this process may open: each connection is one.
//!
//! Used by [`super::Live`]. Shells and service managers commonly start processes with a soft limit of 1,024, for
//! programs that use select(2); whoever does not may raise it to the hard limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files besides connections and listening sockets: etcd, gRPC, HTTP, event queues, logs.
const OTHERS: u64 = 64;

/// Raises the soft limit to the hard one; returns what holds then.
pub(super) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Says so when a plan allows more connections than there can be. No error: they wait in the kernel's queue, counted.
pub(super) fn check(limit: u64, max_connections: u32, sockets: usize) {
    let room = limit.saturating_sub(OTHERS + sockets as u64);
    if room < u64::from(max_connections) {
        tracing::warn!(
            max_connections,
            room,
            "limits.maxConnections is more than this process may open; raise `ulimit -Hn` (systemd: LimitNOFILE)"
        );
    }
}
