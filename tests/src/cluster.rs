//! A whole cluster: etcd, one control with the process scaler, and the nodes it spawns.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::ports::{free_port, own_loopback_address};
use crate::wait::{ensure, eventually};
use crate::{Echoctl, Etcd, Process, tools};

/// Until a cluster serves; two seconds on an idle machine.
pub const READY: Duration = Duration::from_secs(30);
/// Until any one change has reached every node; well under a second on an idle machine.
pub const SETTLED: Duration = Duration::from_secs(20);
/// A lease short enough to watch it end.
const LEASE_TTL: &str = "2s";

/// How the nodes of a test's pool leave: soon after the last datagram.
pub const DRAIN: &str = "{udpQuiet: 100ms}";

/// A pool of `replicas` nodes with one TCP and one UDP echo, on any free port.
pub fn pool_file(replicas: u32) -> String {
    pool_on(replicas, 0)
}

/// A pool of `replicas` nodes with one TCP and one UDP echo on this port.
pub fn pool_on(replicas: u32, port: u16) -> String {
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  replicas: {replicas}\n  \
         rollout: {{minHealthy: 100ms}}\n  template:\n    drain: {DRAIN}\n    listeners:\n    \
         - {{name: echo-tcp, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}\n    \
         - {{name: echo-udp, protocol: UDP, port: {port}, service: {{echo: {{}}}}}}\n"
    )
}

/// A running cluster; everything ends with it.
#[derive(Debug)]
pub struct Cluster {
    /// The control process.
    pub control: Process,
    /// Its etcd.
    pub etcd: Etcd,
    dir: PathBuf,
    address: SocketAddr,
    env: Vec<(String, String)>,
    retired: Vec<Process>,
}

impl Cluster {
    /// Starts a cluster of `nodes` nodes and waits until they serve.
    pub fn start(nodes: u32) -> Self {
        Self::start_with(&pool_file(nodes), &[])
    }

    /// Starts a cluster with this pool file, and these variables in every process' environment.
    pub fn start_with(pool: &str, env: &[(&str, &str)]) -> Self {
        let dir = tools::scratch("cluster");
        std::fs::write(dir.join("pool.yaml"), pool).expect("can write a pool file");
        let etcd = Etcd::start(&dir);
        let ip = own_loopback_address();
        let address = SocketAddr::from((ip, free_port(ip)));
        let env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let control = spawn_control(&dir, etcd.url(), address, &env);
        let cluster = Self { control, etcd, dir, address, env, retired: Vec::new() };
        cluster.wait_ready();
        cluster
    }

    /// The admin command line of this cluster.
    pub fn echoctl(&self) -> Echoctl {
        let echoctl = Echoctl::new(&format!("http://{}", self.address));
        self.env.iter().fold(echoctl, |echoctl, (name, value)| echoctl.env(name, value))
    }

    /// Where control serves gRPC.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file of this cluster's folder, written.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("can write a file");
        path.display().to_string()
    }

    /// The folder that holds its logs and state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts another control in the place of the one that was killed.
    pub fn replace_control(&mut self) {
        let next = spawn_control(&self.dir, self.etcd.url(), self.address, &self.env);
        // The nodes still hang on the lifeline that the dead one passed on to them.
        self.retired.push(std::mem::replace(&mut self.control, next));
    }

    /// All nodes as `get nodes -o json` tells them.
    ///
    /// # Errors
    /// What echoctl printed, when it fails.
    pub fn nodes(&self) -> Result<Vec<Value>, String> {
        self.echoctl().items("get nodes")
    }

    /// Waits until the pool has exactly `count` nodes, all ready and in sync.
    #[track_caller]
    pub fn wait_nodes(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} nodes serve"), READY, || {
            let nodes = self.nodes()?;
            let states: Vec<_> = nodes.iter().map(|n| (text(n, "/status/phase"), text(n, "/status/sync"))).collect();
            let good = states.iter().all(|(phase, sync)| phase == "NODE_PHASE_READY" && sync == "SYNC_STATE_SYNCED");
            ensure(nodes.len() == count && good, || format!("{states:?}"))?;
            Ok::<_, String>(nodes)
        })
    }

    /// The process id of a node, from the scaler's own file.
    ///
    /// # Panics
    /// When the scaler knows no such node.
    #[track_caller]
    pub fn node_pid(&self, node: &str) -> u32 {
        self.known_pid(node).unwrap_or_else(|| panic!("the scaler knows no {node}"))
    }

    /// The same, if the scaler knows such a node.
    pub fn known_pid(&self, node: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.dir.join(format!("nodes/{node}.json"))).ok()?;
        let value: Value = serde_json::from_str(&text).expect("the scaler writes JSON");
        value["pid"].as_u64()?.try_into().ok()
    }

    fn wait_ready(&self) {
        let wanted = eventually("the pool is stored", READY, || {
            let pools = self.echoctl().items("get pools")?;
            let wanted = |pool: &Value| pool.pointer("/spec/replicas").or(pool.pointer("/status/desired"))?.as_u64();
            pools.first().and_then(wanted).ok_or("no pool yet".to_owned())
        });
        self.wait_nodes(usize::try_from(wanted).expect("a test's pool is small"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The nodes end with control's lifeline; then nobody writes to the folder any more.
        let names = self.nodes().unwrap_or_default().iter().map(name).collect::<Vec<_>>();
        let spawned = names.iter().filter(|name| self.dir.join(format!("nodes/{name}.json")).exists());
        let nodes: Vec<u32> = spawned.map(|name| self.node_pid(name)).collect();
        self.control.signal(Signal::SIGKILL);
        self.control.cut_lifeline();
        self.retired.clear();
        for node in nodes {
            crate::process::gone(node, SETTLED);
        }
        self.etcd.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Starts a control with the process scaler; its pool file is `pool.yaml` in `dir`.
pub fn spawn_control(dir: &Path, etcd: &str, address: SocketAddr, env: &[(String, String)]) -> Process {
    let mut command = Command::new(tools::ours("echo-control"));
    command.envs(env.iter().cloned());
    command.args(["--grpc", &address.to_string(), "--http", "127.0.0.1:0", "--etcd", etcd, "--scaler", "process"]);
    command.arg("--state-dir").arg(dir).arg("--bootstrap-pool").arg(dir.join("pool.yaml"));
    command.args(["--lifeline", "--node-grpc-port", "0", "--node-http-port", "0", "--node-lease-ttl", LEASE_TTL]);
    Process::start("control", dir, command)
}

/// Text at a JSON pointer; empty when it is not there.
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The name of an object.
pub fn name(object: &Value) -> String {
    text(object, "/metadata/name")
}

/// Where a node's listener is really bound.
///
/// # Panics
/// When the node has no such listener.
#[track_caller]
pub fn bound(node: &Value, listener: &str) -> SocketAddr {
    let listeners = node.pointer("/status/listeners").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = listeners.iter().find(|l| l["name"] == listener).unwrap_or_else(|| panic!("no {listener} in {node}"));
    text(found, "/address").parse().expect("a bound address is ip:port")
}
