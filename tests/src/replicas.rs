//! Several controls over one etcd, none of which starts nodes, and nodes that run by themselves.
//!
//! Used by the tests of a control plane whose leader dies or freezes. What is stored is read from etcd itself, since a
//! control that is frozen answers nobody.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{READY, text};
use crate::ports::{free_port, own_loopback_address};
use crate::tools::Scratch;
use crate::wait::{ensure, eventually, pause};
use crate::{Echoctl, Etcd, Process, node, tools};

/// The keys of the cluster.
const ROOT: &str = "/echo/v1/default/";
/// Of the leader's lease: short enough to watch it end.
const LEADER_TTL: &str = "1s";
/// Of the nodes': a node that is frozen for a while must not be lost.
const NODE_TTL: &str = "60s";
/// How long a change may take that is driven by a new leader.
pub const DRIVEN: Duration = Duration::from_secs(30);
/// Looks within which nothing may be written, for etcd to count as quiet.
const QUIET_LOOKS: u32 = 25;

/// The running cluster; everything ends with it.
#[derive(Debug)]
pub struct Replicas {
    // In the order in which they end.
    /// `node-1` and so on.
    pub nodes: Vec<Process>,
    /// The controls.
    pub controls: Vec<Control>,
    /// Its etcd.
    pub etcd: Etcd,
    dir: Scratch,
    /// Of each control.
    env: Vec<Env>,
}

/// Variables of a process' environment.
pub type Env = Vec<(&'static str, String)>;

/// One control.
#[derive(Debug)]
pub struct Control {
    /// The process.
    pub process: Process,
    address: SocketAddr,
}

impl Replicas {
    /// Starts them with this pool file, and waits until its nodes serve.
    ///
    /// # Panics
    /// When they do not.
    pub fn start(pool: &str, controls: usize, nodes: usize) -> Self {
        Self::start_each(pool, vec![Env::new(); controls], nodes)
    }

    /// The same, of one control with each of these variables.
    ///
    /// # Panics
    /// When the nodes do not serve.
    pub fn start_each(pool: &str, env: Vec<Env>, nodes: usize) -> Self {
        let dir = Scratch::new("replicas");
        std::fs::write(dir.join("bootstrap.yaml"), pool).expect("can write a pool file");
        let etcd = Etcd::start(&dir);
        let ip = own_loopback_address();
        let addresses = std::iter::repeat_with(|| SocketAddr::from((ip, free_port(ip)))).take(env.len());
        let mut replicas = Self { nodes: Vec::new(), controls: Vec::new(), etcd, dir, env };
        replicas.controls = addresses
            .enumerate()
            .map(|(index, address)| Control { process: replicas.spawn(index, address), address })
            .collect();
        let id = |index: usize| format!("node-{}", index + 1);
        let start = |index| node::start(&replicas.dir, replicas.etcd.url(), &id(index), &["--lease-ttl", NODE_TTL]);
        replicas.nodes = (0..nodes).map(start).collect();
        for index in 0..nodes {
            eventually(&format!("{} serves", id(index)), READY, || {
                ensure(replicas.applied(&id(index)) > 0, || replicas.nodes[index].log())
            });
        }
        replicas
    }

    fn spawn(&self, index: usize, address: SocketAddr) -> Process {
        let mut command = Command::new(tools::ours("echo-control"));
        command.args([
            "--grpc",
            &address.to_string(),
            "--http",
            "127.0.0.1:0",
            "--etcd",
            self.etcd.url(),
            "--lifeline",
        ]);
        command.env("ECHO_LEADER_TTL", LEADER_TTL).envs(self.env[index].iter().cloned());
        command.arg("--bootstrap-pool").arg(self.dir.join("bootstrap.yaml"));
        Process::start(&format!("control-{index}"), &self.dir, command)
    }

    /// Starts a control that was killed again.
    pub fn restart(&mut self, control: usize) {
        self.controls[control].process.kill();
        self.controls[control].process = self.spawn(control, self.controls[control].address);
    }

    /// The addresses of all controls, this one first.
    pub fn servers(&self, first: usize) -> String {
        let others = self.controls.iter().enumerate().filter(|(index, _)| *index != first).map(|(_, control)| control);
        let all = std::iter::once(&self.controls[first]).chain(others);
        all.map(|control| format!("http://{}", control.address)).collect::<Vec<_>>().join(",")
    }

    /// `echoctl` that knows all controls, this one first.
    pub fn echoctl(&self, first: usize) -> Echoctl {
        Echoctl::new(&self.servers(first))
    }

    /// A process of `echoctl` that goes on while the test does other things.
    pub fn following(&self, first: usize, line: &str) -> Process {
        let mut command = Command::new(tools::ours("echoctl"));
        command.env("ECHO_SERVER", self.servers(first)).args(line.split_whitespace());
        Process::start("follow", &self.dir, command)
    }

    /// A file of the cluster's folder, written.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("can write a file");
        path.display().to_string()
    }

    /// Which control leads, if one does.
    pub fn leads(&self) -> Option<usize> {
        let record = self.record("leader")?;
        self.controls.iter().position(|control| text(&record, "/address") == control.address.to_string())
    }

    /// Which control leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        eventually("a control leads", READY, || self.leads().ok_or("nobody does"))
    }

    /// A record as it is stored.
    pub fn record(&self, key: &str) -> Option<Value> {
        let found = self.etcd.get_prefix(&format!("{ROOT}{key}"));
        found.into_iter().next().and_then(|(_, value)| serde_json::from_str(&value).ok())
    }

    /// The pool's rollout as it is stored; `null` where there is none.
    pub fn rollout(&self) -> Value {
        self.record("rollouts/default").unwrap_or_default()
    }

    /// The revision that a node says it runs; 0: none.
    pub fn applied(&self, node: &str) -> u64 {
        let record = self.record(&format!("nodes/default/{node}"));
        record.and_then(|record| record.pointer("/status/applied/n")?.as_u64()).unwrap_or(0)
    }

    /// Sends a signal to these nodes.
    pub fn signal_nodes(&self, nodes: &[usize], signal: Signal) {
        nodes.iter().for_each(|index| self.nodes[*index].signal(signal));
    }

    /// Waits until nothing more is written; returns etcd's revision then.
    #[track_caller]
    pub fn quiet(&self) -> i64 {
        eventually("nobody writes any more", READY, || {
            let before = self.revision();
            (0..QUIET_LOOKS).for_each(|_| pause());
            ensure(self.revision() == before, || format!("revision {before}")).map(|()| before)
        })
    }

    /// etcd's revision: it counts the writes.
    ///
    /// # Panics
    /// When etcd does not answer.
    pub fn revision(&self) -> i64 {
        let status = self.etcd.etcdctl(&["get", "any", "-w", "json"]);
        let status: Value = serde_json::from_str(&status).expect("etcdctl writes JSON");
        status["header"]["revision"].as_i64().expect("etcd tells its revision")
    }
}
