//! A swarm: thousands of a node's real agents in one process, without the data path behind them.
//!
//! Each registers, keeps its lease, watches its keys, applies what it is assigned, answers in its record and serves its
//! Agent; they share a few connections to etcd, a few threads, and nothing else. Used by the test of 1,000 and by
//! `echo-bench fleet`.

mod agent;
mod null;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use echo_node::agent::etcd::Etcd;
use echo_node::agent::losses::Losses;
use echo_node::agent::service::DataPath;
use echo_node::live::{Counters, Sessions};
use echo_node::metrics::Load;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use opentelemetry::global;
use tokio::runtime::Runtime;

use agent::{Agent, Shared};

/// Connections to etcd that they share: a single one is one task at either end, which all would wait for.
const CONNECTIONS: usize = 16;
/// Threads that they share.
const THREADS: usize = 2;
/// Most that join at the same time, as a machine starts no process before it has started others. A herd settles, too, but
/// comes apart over half of a lease's life first, which is no figure of etcd or of control.
pub const JOINING: usize = 256;
/// Longest wait for one to join, before another one starts in any case.
const JOINS_WITHIN: Duration = Duration::from_secs(30);
/// Most reasons that are told.
const REASONS: usize = 3;
/// Zones that they are spread over.
const ZONES: usize = 3;

/// Agents that run until it is dropped.
pub struct Swarm {
    agents: Vec<Agent>,
    // After the agents: dropped, it ends all their tasks at once, as a death of all the nodes would.
    _runtime: Runtime,
}

impl Swarm {
    /// Starts so many agents, whose registrations live for `ttl`, and of which `joining` at most are under way at the same
    /// time: the last of them may not have registered yet.
    ///
    /// # Panics
    /// When there are not as many sockets as agents.
    pub fn start(etcd: &str, size: usize, ttl: Duration, joining: usize) -> Self {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit of open files");
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a process may take what it is allowed");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let runtime = runtime.expect("threads are left");
        let agents = runtime.block_on(async {
            let counters = Counters::new(0);
            let (sessions, losses) = (Sessions::none(), Losses::default());
            let load = Load::sample(counters.clone());
            let data = DataPath { counters, sessions, losses, load, cores: 1, files: Arc::default() };
            // Nobody reads it: what ran out is seen in etcd.
            let expired = global::meter("swarm").u64_counter("expired").build();
            let mut shared = Vec::new();
            for _ in 0..CONNECTIONS.min(size) {
                let etcd = Etcd::connect(etcd).await.expect("etcd has an URL");
                shared.push(Shared { etcd, data: data.clone(), ttl, expired: expired.clone() });
            }
            let mut agents: Vec<Agent> = Vec::with_capacity(size);
            for (index, shared) in (0..size).zip(shared.iter().cycle()) {
                if let Some(before) = index.checked_sub(joining) {
                    agents[before].joined(JOINS_WITHIN).await;
                }
                agents.push(Agent::start(&name(index), &format!("z{}", index % ZONES), shared.clone()).await);
            }
            agents
        });
        Self { agents, _runtime: runtime }
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.agents.len()
    }

    /// How many have a record that tells the state they are in.
    pub fn told(&self) -> usize {
        self.agents.iter().filter(|agent| agent.has_told()).count()
    }

    /// How many have a record that tells that they serve revision `n`.
    pub fn running(&self, n: u32) -> usize {
        self.agents.iter().filter(|agent| agent.told_revision() == Some(n)).count()
    }

    /// Why agents have no record, by how many say the same: the commonest reasons.
    pub fn troubles(&self) -> String {
        let mut causes = BTreeMap::<_, usize>::new();
        self.agents.iter().filter_map(Agent::trouble).for_each(|cause| *causes.entry(cause).or_default() += 1);
        let mut causes: Vec<_> = causes.into_iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let told: Vec<_> =
            causes.iter().take(REASONS).map(|(cause, count)| format!("{count} of them: {cause}")).collect();
        format!("{} of {} have a record; {}", self.told(), self.size(), told.join("; "))
    }

    /// The agent of this index refuses revision `n` from now on.
    pub fn refuse(&self, index: usize, n: u32) {
        self.agents[index].refuse(n);
    }

    /// The agent of this index is gone without a word, for good: its lease runs out.
    pub fn crash(&self, index: usize) {
        self.agents[index].crash();
    }

    /// The first `count` agents have something to say at the same moment.
    pub fn stir(&self, count: usize, what: &str) {
        self.agents.iter().take(count).for_each(|agent| agent.stir(what.to_owned()));
    }
}

/// The name of the agent of this index.
pub fn name(index: usize) -> String {
    format!("n{index:05}")
}
