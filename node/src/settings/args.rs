//! The command line of `echo-node`, as text; [`super::read`] gives it its meaning.
//!
//! Values stay text here, so that all bad ones can be reported in one go instead of clap's one.

/// A worker of the echo cluster: serves raw TCP and UDP traffic.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "echo-node", version)]
pub struct Args {
    /// Cluster to join
    #[arg(long, env = "ECHO_CLUSTER", default_value = "default", value_name = "NAME")]
    pub cluster: String,
    /// Pool whose listeners to serve
    #[arg(long, env = "ECHO_POOL", default_value = "default", value_name = "NAME")]
    pub pool: String,
    /// Id of this node, unique in its pool [default: the host's name]
    #[arg(long, env = "ECHO_ID", value_name = "ID")]
    pub id: Option<String>,
    /// Address of listeners that name none
    #[arg(long, env = "ECHO_ADDRESS", default_value = "0.0.0.0", value_name = "IP")]
    pub address: String,
    /// Where the Agent service listens
    #[arg(long, env = "ECHO_GRPC", default_value = "127.0.0.1:7401", value_name = "IP:PORT")]
    pub grpc: String,
    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "ECHO_HTTP", default_value = "127.0.0.1:7481", value_name = "IP:PORT")]
    pub http: String,
    /// etcd's endpoints, separated by commas
    #[arg(
        long,
        env = "ECHO_ETCD",
        default_value = "http://127.0.0.1:2379",
        value_name = "URLS",
        value_delimiter = ','
    )]
    pub etcd: Vec<String>,
    /// Directory for what must survive a restart of this node; without it, a config that kills the node is applied again
    /// at its next start
    #[arg(long, env = "ECHO_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<std::path::PathBuf>,
    /// Zone (failure domain) of this node
    #[arg(long, env = "ECHO_ZONE", default_value = "", value_name = "ZONE")]
    pub zone: String,
    /// Label of this node; may be repeated
    #[arg(long = "label", env = "ECHO_LABEL", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Address under which others reach the Agent service [default: that of --grpc]
    #[arg(long, env = "ECHO_ADVERTISE", value_name = "HOST[:PORT]")]
    pub advertise: Option<String>,
    /// Serve this pool file; no etcd, no registration
    #[arg(long, env = "ECHO_CONFIG", value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// Life of the registration without a heartbeat
    #[arg(long, env = "ECHO_LEASE_TTL", default_value = "10s", value_name = "DURATION")]
    pub lease_ttl: String,
    /// Read the pool's assignment again so often though etcd told of no change
    #[arg(long, env = "ECHO_REREAD_INTERVAL", default_value = "60s", value_name = "DURATION")]
    pub reread_interval: String,
    /// Threads of the data path [default: one per usable core]
    #[arg(long, env = "ECHO_SHARDS", value_name = "N")]
    pub shards: Option<String>,
    /// Longest drain when the process is told to end [default: the pool's drain.lameDuck and drain.deadline]
    #[arg(long, env = "ECHO_DRAIN_DEADLINE", value_name = "DURATION")]
    pub drain_deadline: Option<String>,
    /// A config that served so long is good: it is saved in --state-dir, and a crash is not put down to it any more
    #[arg(long, env = "ECHO_GOOD_AFTER", default_value = "10s", value_name = "DURATION")]
    pub good_after: String,
    /// How far off this host's clock may be; stamps tell it [default: what the kernel knows from a time daemon]
    #[arg(long, env = "ECHO_CLOCK_ERROR", value_name = "DURATION")]
    pub clock_error: Option<String>,
    /// Allow plaintext gRPC on other than loopback addresses
    #[arg(long, env = "ECHO_INSECURE")]
    pub insecure: bool,
    /// End at once when standard input ends
    #[arg(long, env = "ECHO_LIFELINE")]
    pub lifeline: bool,
}
