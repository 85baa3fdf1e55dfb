//! `echoctl up`: a whole cluster on this machine, from one command to Ctrl-C.
//!
//! Called by `main`. It starts a private etcd and control; control starts the nodes. It must leave nothing running: it
//! ends what it started in order, reaps what was orphaned, and if it is killed itself, the lifeline and the
//! parent-death signal end the rest.

mod agents;
mod children;
mod clash;
mod cluster;
mod control;
mod deaths;
mod etcd;
mod fleet;
mod nodes;
mod ports;
mod probes;
mod procfs;
mod programs;
mod report;
mod service;
mod settings;
mod shutdown;
mod signals;
mod start;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::args::{Global, address, count, duration};
use crate::failure::Failure;
use crate::output::console::Console;
use cluster::Cluster;
use settings::Settings;
use signals::Signals;

/// Shown at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  echoctl up                                   three nodes that echo TCP and UDP on port 7007
  echoctl up --nodes 5 --pool edge.yaml        five nodes of a pool of your own
  echoctl up --etcd http://10.0.0.5:2379       with an etcd that runs already";

/// Flags of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Nodes of the pool; what is stored or in the file, unless given.
    #[arg(short, long, env = "ECHO_NODES", value_parser = count, allow_negative_numbers = true, value_name = "N")]
    nodes: Option<u32>,
    /// The pool of a fresh cluster; the default one echoes TCP and UDP on port 7007.
    #[arg(short, long, env = "ECHO_POOL", value_name = "FILE")]
    pool: Option<String>,
    /// An etcd that runs already, instead of a private one; several URLs with commas.
    #[arg(long, env = "ECHO_ETCD", value_name = "URL")]
    etcd: Option<String>,
    /// Where the cluster lives between two runs: data, logs, ports [default: ~/.local/state/echo].
    #[arg(long, env = "ECHO_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Name of the cluster: the first part of its keys in etcd.
    #[arg(long, env = "ECHO_CLUSTER", default_value = "default", value_name = "NAME")]
    cluster: String,
    /// Address of control's gRPC, which echoctl talks to; port 0 is any free one.
    #[arg(long, env = "ECHO_LISTEN", default_value = "127.0.0.1:7400", value_parser = address, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address of control's /livez, /readyz and /metrics; port 0 is any free one.
    #[arg(long, env = "ECHO_HTTP", default_value = "127.0.0.1:7480", value_parser = address, value_name = "ADDRESS")]
    http: SocketAddr,
    /// Serve gRPC without TLS on an address that is not loopback.
    #[arg(long, env = "ECHO_INSECURE")]
    insecure: bool,
    /// Longest drain when the cluster ends; a single node that leaves drains as its pool says.
    #[arg(long, env = "ECHO_DRAIN_DEADLINE", default_value = "5s", value_parser = duration, value_name = "TIME")]
    drain_deadline: Duration,
    /// Port of every node's Agent, on its own address; 0 is any free one.
    #[arg(long, env = "ECHO_NODE_GRPC_PORT", default_value_t = 7401, value_name = "PORT", hide_short_help = true)]
    node_grpc_port: u16,
    /// Port of every node's /livez, /readyz and /metrics; 0 is any free one.
    #[arg(long, env = "ECHO_NODE_HTTP_PORT", default_value_t = 7481, value_name = "PORT", hide_short_help = true)]
    node_http_port: u16,
    /// Time after which a silent node is gone.
    #[arg(long, env = "ECHO_NODE_LEASE_TTL", default_value = "10s", value_parser = duration, value_name = "TIME")]
    #[arg(hide_short_help = true)]
    node_lease_ttl: Duration,
}

/// When this run began: what came before belongs to another one.
#[derive(Debug, Clone, Copy)]
struct Began {
    wall: SystemTime,
    monotonic: Instant,
}

/// Runs a cluster until Ctrl-C.
///
/// # Errors
/// Something is missing or taken, or a part did not come up; all that was started is ended then.
pub(crate) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    if global.given.server || global.given.context {
        return Err(Failure::Usage("`up` starts a control of its own; --listen says where".to_owned()));
    }
    let began = Began { wall: SystemTime::now(), monotonic: Instant::now() };
    let mut signals = Signals::new()?;
    let console = Console::new();
    let settings = tokio::select! {
        biased;
        () = signals.stop() => return Ok(()),
        settings = Settings::check(global, args) => settings?,
    };
    let mut cluster = Cluster::new(settings, began, &console)?;
    let outcome = tokio::select! {
        biased;
        () = signals.stop() => Ok(()),
        outcome = cluster.run() => outcome,
    };
    let ended = shutdown::run(cluster, &mut signals, &console).await;
    outcome.and(ended)
}
