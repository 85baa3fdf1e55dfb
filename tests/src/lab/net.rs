//! A cluster on separate hosts of a lab: etcd, two controls that start no nodes, two nodes or more, and a client.
//!
//! Used by the tests of links and of processes that nobody supervises. Ports are the defaults: each host is its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Lab, Party};
use crate::cluster::{READY, name, pool_on, text};
use crate::tools::Scratch;
use crate::traffic::{Target, Traffic};
use crate::wait::{ensure, eventually};
use crate::{Echoctl, Etcd, Process, tools};

/// Of the nodes' leases: short enough to watch it end.
pub const TTL: Duration = Duration::from_secs(2);
const PORT: u16 = 7007;
/// The keys of the cluster.
const ROOT: &str = "/echo/v1/default/";

/// The running cluster.
#[derive(Debug)]
pub struct Net {
    // In the order in which they end.
    /// `node-a`, `node-b` and so on.
    pub nodes: Vec<Member>,
    /// Two controls; the leader is found by [`Net::leader`].
    pub controls: Vec<Member>,
    /// Its etcd, on `etcd_host`.
    pub etcd: Etcd,
    /// Where etcd runs.
    pub etcd_host: Party,
    /// Where traffic and `echoctl` come from.
    pub client: Party,
    dir: Scratch,
    changes: AtomicU32,
}

/// A process on a host of its own.
#[derive(Debug)]
pub struct Member {
    /// The process.
    pub process: Process,
    /// Its host.
    pub host: Party,
    dir: PathBuf,
    program: &'static str,
    args: Vec<String>,
}

impl Member {
    /// Starts it.
    fn start(host: Party, dir: &Path, program: &'static str, args: Vec<String>) -> Self {
        let process = spawn(&host, dir, program, &args);
        Self { process, host, dir: dir.to_owned(), program, args }
    }

    /// Starts it again, after its end.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.host, &self.dir, self.program, &self.args);
    }
}

impl Net {
    /// Starts all, with two nodes, and waits until they serve. Only within [`super::run`].
    pub fn start() -> Self {
        Self::of(&["node-a", "node-b"], TTL)
    }

    /// As [`Self::start`], with these nodes, whose leases live for `ttl`.
    pub fn of(nodes: &[&str], ttl: Duration) -> Self {
        let (mut lab, dir) = (Lab::new(), Scratch::new("lab"));
        std::fs::write(dir.join("pool.yaml"), pool(nodes.len())).expect("can write a pool file");
        let etcd_host = lab.party("etcd");
        let etcd = etcd_host.within(|| Etcd::start_on(&dir, etcd_host.address));
        let controls = ["control-a", "control-b"].map(|name| {
            let host = lab.party(name);
            let args = control(&host, &dir, etcd.url());
            Member::start(host, &dir, "echo-control", args)
        });
        let mut start = |name: &&str| {
            let host = lab.party(name);
            let args = node(&host, &dir, etcd.url(), ttl);
            Member::start(host, &dir, "echo-node", args)
        };
        let nodes = nodes.iter().map(&mut start).collect();
        let client = lab.party("client");
        let net = Self { etcd, etcd_host, controls: controls.into(), nodes, client, dir, changes: AtomicU32::new(0) };
        net.wait_synced(0);
        net
    }

    /// What `echoctl` prints about nodes, asked of a control from the client's host.
    ///
    /// # Errors
    /// What it printed, when it fails.
    pub fn nodes_by(&self, control: usize) -> Result<Vec<Value>, String> {
        self.echoctl(control, |echoctl| echoctl.items("get nodes"))
    }

    /// Runs `echoctl` on the client's host.
    pub fn echoctl<T: Send>(&self, control: usize, work: impl FnOnce(&Echoctl) -> T + Send) -> T {
        let echoctl = Echoctl::new(&format!("http://{}:7400", self.controls[control].host.address));
        self.client.within(|| work(&echoctl))
    }

    /// A process of `echoctl` on the client's host that knows all controls, this one first, and goes on while the test
    /// does other things.
    pub fn following(&self, first: usize, line: &str) -> Process {
        let others = self.controls.iter().enumerate().filter(|(index, _)| *index != first).map(|(_, control)| control);
        let all = std::iter::once(&self.controls[first]).chain(others);
        let servers = all.map(|control| format!("http://{}:7400", control.host.address)).collect::<Vec<_>>().join(",");
        let mut command = Command::new(tools::ours("echoctl"));
        command.env("ECHO_SERVER", servers).args(line.split_whitespace());
        self.client.within(|| Process::start("follow", &self.dir, command))
    }

    /// A node's sync state as a control tells it; empty when it does not list the node.
    ///
    /// # Errors
    /// What echoctl printed, when it fails.
    pub fn sync(&self, control: usize, node: &str) -> Result<String, String> {
        let nodes = self.nodes_by(control)?;
        let state = nodes.iter().find(|n| name(n) == node).map(|n| text(n, "/status/sync")).unwrap_or_default();
        Ok(state.trim_start_matches("SYNC_STATE_").to_owned())
    }

    /// Waits until a control tells this state of a node; returns how long that took.
    #[track_caller]
    pub fn wait_sync(&self, control: usize, node: &str, states: &[&str], deadline: Duration) -> Duration {
        let start = Instant::now();
        eventually(&format!("{node} is {states:?}"), deadline, || {
            let state = self.sync(control, node)?;
            ensure(states.contains(&state.as_str()), || state)
        });
        start.elapsed()
    }

    /// Waits until a control tells that all nodes serve what they should; returns how long that took.
    #[track_caller]
    pub fn wait_synced(&self, control: usize) -> Duration {
        let start = Instant::now();
        for node in &self.nodes {
            self.wait_sync(control, &node.host.name, &["SYNCED"], READY);
        }
        start.elapsed()
    }

    /// Which control leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        eventually("a control leads", READY, || self.leads().ok_or("nobody does"))
    }

    /// Which control leads, if one does.
    pub fn leads(&self) -> Option<usize> {
        let found = self.etcd_host.within(|| self.etcd.get_prefix("/echo/v1/default/leader"));
        let record = found.into_iter().next()?.1;
        // With the port: one address may be the beginning of the other.
        self.controls.iter().position(|c| record.contains(&format!("{}:", c.host.address)))
    }

    /// Whether a node's record is in etcd.
    pub fn is_registered(&self, node: &str) -> bool {
        let key = format!("/echo/v1/default/nodes/default/{node}");
        !self.etcd_host.within(|| self.etcd.get_prefix(&key)).is_empty()
    }

    /// Traffic from the client to all nodes.
    pub fn traffic(&self) -> Traffic {
        let nodes = self.nodes_by(0).expect("control tells its nodes");
        Traffic::start(Some(&self.client), &Target::all(&nodes))
    }

    /// Applies a change through a control, and waits until all nodes run it.
    #[track_caller]
    pub fn apply_a_change(&self, control: usize) -> Duration {
        let start = Instant::now();
        self.take_a_change(control).expect("a change is applied");
        start.elapsed()
    }

    /// As [`Self::apply_a_change`], where the control may not be able to yet.
    ///
    /// # Errors
    /// What echoctl printed, when it fails.
    pub fn take_a_change(&self, control: usize) -> Result<(), String> {
        let file = self.changed(&pool(self.nodes.len()));
        for command in [&format!("apply -f {file} --now"), "rollout status pool/default"] {
            let done = self.echoctl(control, |echoctl| echoctl.run(command));
            ensure(done.code == 0, || format!("{command}: {}", done.stderr))?;
        }
        Ok(())
    }

    /// Applies a change through a control that is rolled out by this policy, and waits until a canary runs it; returns
    /// which node that is.
    #[track_caller]
    pub fn begin_a_change(&self, control: usize, policy: &str) -> usize {
        let before = self.rollout()["id"].as_u64();
        let file = pool(self.nodes.len()).replace("minHealthy: 100ms", policy);
        let file = self.changed(&file);
        let applied = self.echoctl(control, |echoctl| echoctl.run(&format!("apply -f {file}")));
        assert_eq!(applied.code, 0, "{}", applied.stderr);
        eventually("the canary runs it", READY, || {
            let rollout = self.rollout();
            let canary = text(&rollout, "/canaries/0");
            let runs = rollout["id"].as_u64() != before && self.applied(&canary) == rollout.pointer("/to/n").cloned();
            let node = self.nodes.iter().position(|node| node.host.name == canary);
            node.filter(|_| runs).ok_or_else(|| rollout.to_string())
        })
    }

    /// The number of the revision that a node's record says it runs; `None`: there is no record, or it runs none.
    pub fn applied(&self, node: &str) -> Option<Value> {
        self.record(&format!("nodes/default/{node}")).pointer("/status/applied/n").cloned()
    }

    /// A record as it is stored; `null` where there is none.
    pub fn record(&self, key: &str) -> Value {
        let found = self.etcd_host.within(|| self.etcd.get_prefix(&format!("{ROOT}{key}")));
        found.first().and_then(|(_, value)| serde_json::from_str(value).ok()).unwrap_or_default()
    }

    /// The pool's rollout as it is stored.
    pub fn rollout(&self) -> Value {
        self.record("rollouts/default")
    }

    /// Waits until the pool's rollout is in this phase; returns how long that took.
    #[track_caller]
    pub fn wait_rollout(&self, phase: &str, deadline: Duration) -> Duration {
        let start = Instant::now();
        eventually(&format!("the rollout is {phase}"), deadline, || {
            let rollout = self.rollout();
            ensure(text(&rollout, "/phase") == format!("ROLLOUT_PHASE_{phase}"), || rollout.to_string())
        });
        start.elapsed()
    }

    /// A file of this pool with another limit each time: another revision, which changes no socket.
    fn changed(&self, pool: &str) -> String {
        let limit = 10_000 + self.changes.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.join("changed.yaml");
        std::fs::write(&file, format!("{pool}    limits: {{maxConnections: {limit}}}\n")).expect("can write a file");
        file.display().to_string()
    }
}

/// The pool file of so many nodes.
fn pool(nodes: usize) -> String {
    pool_on(u32::try_from(nodes).expect("a lab is small"), PORT)
}

fn spawn(host: &Party, dir: &Path, program: &str, args: &[String]) -> Process {
    let mut command = Command::new(tools::ours(program));
    command.args(args);
    host.within(|| Process::start(&host.name, dir, command))
}

fn control(host: &Party, dir: &Path, etcd: &str) -> Vec<String> {
    common(host, etcd).chain(words(&["--bootstrap-pool", &dir.join("pool.yaml").display().to_string()])).collect()
}

fn node(host: &Party, dir: &Path, etcd: &str, ttl: Duration) -> Vec<String> {
    let (ttl, state) = (format!("{}s", ttl.as_secs()), dir.join(&host.name).display().to_string());
    let own = ["--id", &host.name, "--address", &host.address.to_string(), "--lease-ttl", &ttl, "--state-dir", &state];
    common(host, etcd).chain(words(&own)).collect()
}

fn common(host: &Party, etcd: &str) -> impl Iterator<Item = String> {
    let [grpc, http] = [7400, 7480].map(|port| format!("{}:{port}", host.address));
    words(&["--etcd", etcd, "--insecure", "--lifeline", "--grpc", &grpc, "--http", &http])
}

fn words(words: &[&str]) -> std::vec::IntoIter<String> {
    words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().into_iter()
}
