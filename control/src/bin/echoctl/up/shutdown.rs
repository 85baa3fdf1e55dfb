//! The end of a cluster: control first, so that nothing is started any more, then the nodes, then etcd, which the nodes
//! need to leave in order.
//!
//! Used by `up`. Whatever happens, no child is left when it returns.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use tokio::time::{Instant, timeout_at};

use super::cluster::Cluster;
use super::console::Console;
use super::procfs::{self, Process};
use super::service::Service;
use super::signals::Signals;
use crate::failure::Failure;

/// Longest wait for control, which only gives up its leadership.
const CONTROL_GRACE: Duration = Duration::from_secs(1);
/// Longest wait for etcd, which closes its files.
const ETCD_GRACE: Duration = Duration::from_secs(2);
/// What nodes get beyond the drain deadline, to leave the registry by themselves.
const NODE_GRACE: Duration = Duration::from_secs(1);
/// From the second SIGTERM to the kill.
const LAST_GRACE: Duration = Duration::from_millis(500);
/// Longest wait for what was killed; only a process that hangs in the kernel needs it.
const KILLED: Duration = Duration::from_secs(2);
/// The number of names that a line has room for.
const MAX_NAMED: usize = 8;

/// Ends everything in order; at once if another signal comes.
///
/// # Errors
/// The second signal came first.
pub(super) async fn run(mut cluster: Cluster<'_>, signals: &mut Signals, console: &Console) -> Result<(), Failure> {
    let outcome = tokio::select! {
        biased;
        () = signals.stop() => Err(Failure::Up("ended at once; open connections were cut".to_owned())),
        () = orderly(&mut cluster, console) => Ok(()),
    };
    if outcome.is_err() {
        cluster.control.kill().await;
        signal_all(&others(&cluster), Signal::SIGKILL);
        if let Some(etcd) = &mut cluster.etcd {
            etcd.kill().await;
        }
        wait_until_gone(&mut cluster, Instant::now() + KILLED, |_| {}).await;
    }
    outcome
}

async fn orderly(cluster: &mut Cluster<'_>, console: &Console) {
    cluster.control.stop(CONTROL_GRACE).await;
    drain(cluster, console).await;
    if let Some(etcd) = &mut cluster.etcd {
        etcd.stop(ETCD_GRACE).await;
    }
    console.line("all processes have ended");
}

/// Ends the nodes, which are children of this process since control's end.
async fn drain(cluster: &mut Cluster<'_>, console: &Console) {
    let nodes = others(cluster);
    if nodes.is_empty() {
        return;
    }
    let deadline = cluster.settings.args.drain_deadline;
    console.progress(&format!(
        "draining {} nodes for at most {} s; Ctrl-C ends them at once",
        nodes.len(),
        deadline.as_secs_f64()
    ));
    signal_all(&nodes, Signal::SIGTERM);
    let left = |nodes: &[Process]| console.progress(&format!("waiting for {}", names(nodes)));
    if wait_until_gone(cluster, Instant::now() + deadline + NODE_GRACE, left).await {
        return;
    }
    let stubborn = others(cluster);
    console.line(&format!("{} did not end in time; ending at once", names(&stubborn)));
    signal_all(&stubborn, Signal::SIGTERM);
    if wait_until_gone(cluster, Instant::now() + LAST_GRACE, |_| {}).await {
        return;
    }
    signal_all(&others(cluster), Signal::SIGKILL);
    wait_until_gone(cluster, Instant::now() + KILLED, |_| {}).await;
}

/// Waits until no child but etcd is left; tells what is left whenever that changes.
async fn wait_until_gone(cluster: &mut Cluster<'_>, deadline: Instant, tell: impl Fn(&[Process])) -> bool {
    let mut left = others(cluster);
    while !left.is_empty() {
        if timeout_at(deadline, cluster.children.changed()).await.is_err() {
            return false;
        }
        let pids: Vec<_> = others(cluster).iter().map(|process| process.pid).collect();
        let before = left.len();
        // The names of before: a process that is about to end has lost its command line.
        left.retain(|process| pids.contains(&process.pid));
        if !left.is_empty() && left.len() != before {
            tell(&left);
        }
    }
    true
}

/// All living children but etcd and control.
fn others(cluster: &Cluster<'_>) -> Vec<Process> {
    let known = [cluster.etcd.as_ref().and_then(Service::pid), cluster.control.pid()];
    procfs::children().into_iter().filter(|process| !known.contains(&Some(process.pid))).collect()
}

fn signal_all(processes: &[Process], signal: Signal) {
    for process in processes {
        // A child that ended meanwhile is not reaped before the next wait: the pid is still its own.
        let _ = kill(process.pid, signal);
    }
}

fn names(processes: &[Process]) -> String {
    let named: Vec<&str> = processes.iter().take(MAX_NAMED).map(|process| process.name.as_str()).collect();
    match processes.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
