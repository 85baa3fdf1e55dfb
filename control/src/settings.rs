//! Flags and `ECHO_*` variables -> checked settings, with every bad value in one report.
//!
//! Called by `main` once. Pure but for the search of the node binary; nothing is bound or connected here.

mod check;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use echo_proto::ids::ClusterName;

/// The control plane of an echo cluster: scales, configures and traces its nodes.
#[derive(Debug, Parser)]
#[command(name = "echo-control", version)]
pub struct Flags {
    /// Cluster to control: the first part of every key in etcd
    #[arg(long, env = "ECHO_CLUSTER", default_value = "default")]
    cluster: String,
    /// Address of the gRPC API; plaintext, so loopback only without --insecure
    #[arg(long, env = "ECHO_GRPC", default_value = "127.0.0.1:7400")]
    grpc: String,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "ECHO_HTTP", default_value = "127.0.0.1:7480")]
    http: String,
    /// URLs of etcd, separated by commas
    #[arg(long, env = "ECHO_ETCD", default_value = "http://127.0.0.1:2379")]
    etcd: String,
    /// Directory for what must outlive this process: records, state and logs of the nodes it started
    #[arg(long, env = "ECHO_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Who starts nodes: process (this host) or none
    #[arg(long, env = "ECHO_SCALER", default_value = "none")]
    scaler: String,
    /// Folder of pool files (*.yaml, *.yml, *.json) that own their pools: the leader applies them when it begins to lead,
    /// and each again when what it says changes. --bootstrap-pool, in contrast, only makes a pool that is not there yet
    #[arg(long, env = "ECHO_POOLS_FROM", value_name = "DIR")]
    pools_from: Option<PathBuf>,
    /// How far this folder may be behind that of the control that led before: for so long a control that begins to lead
    /// takes nothing from a file that it did not see change, before or since, but where its pool was applied from the
    /// same folder of the same host last. 0s where all read the same files
    #[arg(long, env = "ECHO_POOLS_BEHIND", default_value = "3m")]
    pools_behind: String,
    /// Pool file that is applied once, where no pool of its name exists; later changes of the file are not looked at
    #[arg(long, env = "ECHO_BOOTSTRAP_POOL")]
    bootstrap_pool: Option<PathBuf>,
    /// Replicas of the bootstrap pool, in place of the file's
    #[arg(long, env = "ECHO_BOOTSTRAP_REPLICAS")]
    bootstrap_replicas: Option<String>,
    /// Exit when standard input ends; nodes inherit it
    #[arg(long, env = "ECHO_LIFELINE")]
    lifeline: bool,
    /// Serve plaintext gRPC on any address
    #[arg(long, env = "ECHO_INSECURE")]
    insecure: bool,
    /// TTL of the leader's lease
    #[arg(long, env = "ECHO_LEADER_TTL", default_value = "5s")]
    leader_ttl: String,
    /// The echo-node executable; default: beside this one, else in PATH
    #[arg(long, env = "ECHO_NODE_BINARY")]
    node_binary: Option<PathBuf>,
    /// gRPC port of started nodes; 0: any free one
    #[arg(long, env = "ECHO_NODE_GRPC_PORT", default_value = "7401")]
    node_grpc_port: String,
    /// HTTP port of started nodes; 0: any free one
    #[arg(long, env = "ECHO_NODE_HTTP_PORT", default_value = "7481")]
    node_http_port: String,
    /// TTL of started nodes' leases
    #[arg(long, env = "ECHO_NODE_LEASE_TTL", default_value = "10s")]
    node_lease_ttl: String,
    /// Zones of started nodes, separated by commas: they take turns
    #[arg(long, env = "ECHO_NODE_ZONES", value_delimiter = ',')]
    node_zones: Vec<String>,
    /// Longest drain of started nodes
    #[arg(long, env = "ECHO_NODE_DRAIN_DEADLINE")]
    node_drain_deadline: Option<String>,
}

/// Settings that can be worked with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster.
    pub cluster: ClusterName,
    /// Where the API is served.
    pub grpc: SocketAddr,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    /// etcd's URLs; at least one.
    pub etcd: Vec<String>,
    /// What outlives the process lives here.
    pub state_dir: Option<PathBuf>,
    /// Who starts nodes.
    pub scaler: ScalerSettings,
    /// Applied where no pool of its name exists.
    pub bootstrap: Option<Bootstrap>,
    /// Of the files that own their pools.
    pub pools_from: Option<PoolsFrom>,
    /// Exit when standard input ends.
    pub lifeline: bool,
    /// Of the leader's lease; whole seconds.
    pub leader_ttl: Duration,
}

/// The pool of a new cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Its file.
    pub file: PathBuf,
    /// In place of the file's replicas.
    pub replicas: Option<u32>,
}

/// Where the files are that own their pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolsFrom {
    /// Their folder, as an absolute path.
    pub folder: PathBuf,
    /// How far it may be behind that of another control.
    pub behind: Duration,
}

/// Who starts nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScalerSettings {
    /// Others.
    None,
    /// This process, on this host.
    Process {
        /// The executable.
        binary: PathBuf,
        /// Holds their records, state and logs.
        state_dir: PathBuf,
        /// Of each node's Agent; 0: any free one.
        grpc_port: u16,
        /// Of each node's health and metrics; 0: any free one.
        http_port: u16,
        /// Of their leases; whole seconds.
        lease_ttl: Duration,
        /// Where they are, in turn; may be empty.
        zones: Vec<String>,
        /// Of their drains.
        drain_deadline: Option<Duration>,
    },
}

/// All that is wrong with the flags.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);
