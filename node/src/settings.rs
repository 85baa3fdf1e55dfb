//! What a node is told at its start: flags and `ECHO_*` variables -> settings that cannot be wrong.
//!
//! Called once by `main`. Every bad value is reported at once; nothing here opens a socket or a file.

mod args;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use echo_proto::ids::{ClusterName, NodeId, PoolName};

pub use args::Args;

/// Shortest lease: below it etcd's own election timeout decides.
pub const MIN_LEASE_TTL: Duration = Duration::from_secs(1);
/// Longest lease: a node that died would be listed for so long.
pub const MAX_LEASE_TTL: Duration = Duration::from_secs(3600);
/// Shortest interval of reading the assignment again: etcd has many nodes to answer.
pub const MIN_REREAD: Duration = Duration::from_secs(1);
/// Most shards: more threads than any machine has cores.
pub const MAX_SHARDS: usize = 1024;

/// Valid settings of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Cluster that it belongs to.
    pub cluster: ClusterName,
    /// Pool whose assignment it runs.
    pub pool: PoolName,
    /// Its id, unique in the pool.
    pub id: NodeId,
    /// Name of the host that it runs on.
    pub host: String,
    /// Bound by listeners that name no address.
    pub address: IpAddr,
    /// The Agent service.
    pub grpc: SocketAddr,
    /// `/livez`, `/readyz` and `/metrics`.
    pub http: SocketAddr,
    /// Where its config comes from.
    pub source: Source,
    /// Holds what must survive a restart.
    pub state_dir: Option<PathBuf>,
    /// Failure domain; may be empty.
    pub zone: String,
    /// Free-form, matched by selectors.
    pub labels: BTreeMap<String, String>,
    /// `host` or `host:port` under which others reach the Agent service.
    pub advertise: Option<String>,
    /// Threads of the data path.
    pub shards: NonZeroUsize,
    /// End with standard input.
    pub lifeline: bool,
    /// How long the drain at the end may take, whatever the template says.
    pub drain_deadline: Option<Duration>,
    /// How long a config serves before it counts as good: it is saved then, and no crash is put down to it any more.
    pub good_after: Duration,
    /// How far off the host's clock may be; `None`: what the kernel tells.
    pub clock_error: Option<Duration>,
}

/// Where the config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The pool's assignment in etcd, where the node registers.
    Etcd {
        /// `http://host:port`, at least one.
        endpoints: Vec<String>,
        /// Life of the registration without a heartbeat; whole seconds.
        lease_ttl: Duration,
        /// How often the assignment is read though nothing was heard: a watch can be silently dead.
        reread: Duration,
    },
    /// A pool file; no etcd at all.
    File(PathBuf),
}

/// All that is wrong with the flags and the environment, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);
