//! Does what the schedule says, undoes it when it is due, and logs from when to when each node had a reason to fail.
//!
//! Used by the chaos run. A node's reason ends when its TCP and UDP echo are seen to answer again, in a living process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use echo_tests::cluster::READY;
use echo_tests::process::{alive, kill_pid};
use echo_tests::traffic::{Faults, Target};
use echo_tests::wait::{ensure, eventually, pause};
use echo_tests::{Cluster, Traffic, client};
use nix::sys::signal::Signal;

use super::schedule::{Harm, Step, Victim};

/// What is being done.
pub(super) struct Harms {
    cluster: Cluster,
    traffic: Traffic,
    targets: Vec<Target>,
    faults: Faults,
    open: Vec<Open>,
    done: BTreeMap<String, u32>,
}

/// A fault that is not mended yet.
struct Open {
    victim: Victim,
    harm: Harm,
    due: Instant,
    /// Of a node.
    pid: u32,
    /// A node's fault that is over, but for being seen to serve.
    recovering: bool,
}

impl Harms {
    pub(super) fn new(cluster: Cluster, traffic: Traffic) -> Self {
        let targets = Target::all(&cluster.nodes().expect("control lists its nodes"));
        Self { cluster, traffic, targets, faults: Faults::default(), open: Vec::new(), done: BTreeMap::new() }
    }

    /// Begins a fault, unless its victim suffers from another already.
    pub(super) fn begin(&mut self, step: Step) {
        if self.open.iter().any(|open| open.victim == step.victim) {
            return;
        }
        let (Harm::Kill(lasts) | Harm::Stop(lasts)) = step.harm;
        let pid = match step.victim {
            Victim::Node(number) => self.cluster.known_pid(&node(number)).filter(|pid| alive(*pid)),
            Victim::Etcd | Victim::Control => Some(0),
        };
        let Some(pid) = pid else { return };
        match (step.victim, step.harm) {
            (Victim::Node(number), harm) => {
                self.faults.begin(&node(number));
                kill_pid(pid, if matches!(harm, Harm::Kill(_)) { Signal::SIGKILL } else { Signal::SIGSTOP });
            }
            (Victim::Etcd, Harm::Kill(_)) => self.cluster.etcd.kill(),
            (Victim::Etcd, Harm::Stop(_)) => self.cluster.etcd.signal(Signal::SIGSTOP),
            (Victim::Control, Harm::Kill(_)) => self.cluster.control.kill(),
            (Victim::Control, Harm::Stop(_)) => self.cluster.control.signal(Signal::SIGSTOP),
        }
        *self.done.entry(step.to_string()).or_default() += 1;
        let due = Instant::now() + lasts;
        self.open.push(Open { victim: step.victim, harm: step.harm, due, pid, recovering: false });
    }

    /// Mends what is due, until then.
    pub(super) fn mend_until(&mut self, end: Instant) {
        while Instant::now() < end {
            self.mend(Instant::now());
            pause();
        }
    }

    /// Mends all, at once, and waits until every node serves.
    pub(super) fn mend_all(&mut self) {
        eventually("all that was harmed serves again", READY, || {
            self.mend(Instant::now() + Duration::from_secs(3600));
            ensure(self.open.is_empty(), || {
                self.open.iter().map(|open| format!("{:?} {:?}; ", open.victim, open.harm)).collect()
            })
        });
    }

    fn mend(&mut self, due: Instant) {
        let mut still = Vec::new();
        for mut open in std::mem::take(&mut self.open) {
            let over = match (open.victim, open.harm) {
                (Victim::Node(number), _) => self.node_serves(number, &mut open, due),
                _ if open.due > due => false,
                (victim, harm) => {
                    self.mend_process(victim, harm);
                    true
                }
            };
            if !over {
                still.push(open);
            }
        }
        self.open = still;
    }

    fn mend_process(&mut self, victim: Victim, harm: Harm) {
        match (victim, harm) {
            (Victim::Etcd, Harm::Kill(_)) => self.cluster.etcd.restart(),
            (Victim::Etcd, Harm::Stop(_)) => self.cluster.etcd.signal(Signal::SIGCONT),
            (_, Harm::Kill(_)) => self.cluster.replace_control(),
            (_, Harm::Stop(_)) => self.cluster.control.signal(Signal::SIGCONT),
        }
    }

    /// Whether a harmed node was mended, and serves again.
    fn node_serves(&mut self, number: u32, open: &mut Open, due: Instant) -> bool {
        let name = node(number);
        if !open.recovering {
            open.recovering = match open.harm {
                // Its supervisor starts it; until then there may be another's process of the old id.
                Harm::Kill(_) => !alive(open.pid) && self.cluster.known_pid(&name).is_some_and(|pid| pid != open.pid),
                Harm::Stop(_) if open.due <= due => {
                    kill_pid(open.pid, Signal::SIGCONT);
                    true
                }
                Harm::Stop(_) => false,
            };
        }
        let target = self.targets.iter().find(|target| target.node == name).expect("all nodes are targets");
        let serves = open.recovering && answers(target.tcp, target.udp);
        if serves {
            self.faults.end(&name);
        }
        serves
    }

    /// What was done so far.
    pub(super) fn summary(&self) -> String {
        let mut text =
            format!("{} echoes, {} failed or late; faults:", self.traffic.echoes(), self.traffic.losses().len());
        for (what, count) in &self.done {
            let _ = write!(text, " {what} {count},");
        }
        text.trim_end_matches(',').to_owned()
    }

    /// Hands all back.
    pub(super) fn finish(self) -> (Cluster, Traffic, Faults, String) {
        let done: Vec<String> = self.done.iter().map(|(what, count)| format!("{what} {count}")).collect();
        (self.cluster, self.traffic, self.faults, done.join(", "))
    }
}

fn node(number: u32) -> String {
    format!("node-{number}")
}

fn answers(tcp: SocketAddr, udp: SocketAddr) -> bool {
    client::tcp_echo(tcp, b"again").is_ok() && client::udp_echo(udp, b"again").is_ok()
}
