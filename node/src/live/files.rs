//! How many files this process may open: each connection is one.
//!
//! Used by [`super::Live`]. Shells and service managers commonly start processes with a soft limit of 1,024, for
//! programs that use select(2); whoever does not may raise it to the hard limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files besides the data path's: connections of the Agent service and of the health pages, at most 24 each, etcd, the
/// collector, logs, signals.
const OTHERS: u64 = 80;
/// Files of a shard besides its sockets: its event queues.
const PER_SHARD: u64 = 4;

/// Raises the soft limit to the hard one; returns what holds then.
pub(super) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// How many connections there may be: as many as the plan allows, and the files that this process may open. Those beyond
/// are turned away and counted; were they let in, the last file would be gone, and with it the probes, the Agent and
/// etcd. At most half of all files are kept for these.
pub(super) fn connections(limit: u64, max_connections: u32, sockets: usize, shards: usize) -> u64 {
    let others = OTHERS + shards as u64 * (PER_SHARD + sockets as u64);
    let room = limit - others.min(limit / 2);
    if room < u64::from(max_connections) {
        tracing::warn!(
            max_connections,
            room,
            "limits.maxConnections is more than this process may open; raise `ulimit -Hn` (systemd: LimitNOFILE)"
        );
    }
    room.min(max_connections.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_files_are_not_for_connections() {
        assert_eq!(connections(20_000, 15_000, 2, 2), 15_000);
        assert_eq!(connections(1_024, 15_000, 2, 2), 1_024 - OTHERS - 2 * (PER_SHARD + 2));
        assert_eq!(connections(64, 15_000, 2, 2), 32, "nor is a node of use that takes none");
        assert_eq!(connections(u64::MAX, u32::MAX, 64, 1_024), u64::from(u32::MAX));
    }
}
