//! The end of a cluster: control first, so that nothing is started any more, then the nodes, then etcd, which the nodes
//! need to leave in order.
//!
//! Used by `up`. No child that can be killed is left when it returns.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use tokio::time::{Instant, timeout_at};

use super::agents::Agents;
use super::cluster::Cluster;
use super::procfs::{self, Process};
use super::service::{KILLED, Service};
use super::signals::Signals;
use super::start;
use crate::failure::Failure;
use crate::output::console::Console;
use echo_control::words::count;

/// Longest wait for control, which only gives up its leadership.
const CONTROL_GRACE: Duration = Duration::from_secs(1);
/// Longest wait for etcd, which closes its files.
const ETCD_GRACE: Duration = Duration::from_secs(2);
/// From the second SIGTERM, which ends a drain at once, to the kill: to leave the registry.
const LAST_GRACE: Duration = Duration::from_secs(1);
/// Between two lines about what is left.
const TELL: Duration = Duration::from_millis(500);

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
        console.settle();
        cluster.control.kill().await;
        signal_all(&others(&cluster), Signal::SIGKILL);
        if let Some(etcd) = &mut cluster.etcd {
            etcd.kill().await;
        }
        wait_until_gone(&mut cluster, Instant::now() + KILLED).await;
    }
    outcome
}

async fn orderly(cluster: &mut Cluster<'_>, console: &Console) {
    let agents = match start::server(cluster.settings.listen) {
        Ok(server) if cluster.control.pid().is_some() => Agents::of(&server).await,
        _ => Agents::default(),
    };
    cluster.control.stop(CONTROL_GRACE).await;
    drain(cluster, console, &agents).await;
    if let Some(etcd) = &mut cluster.etcd {
        etcd.stop(ETCD_GRACE).await;
    }
    console.line("all processes have ended");
}

/// Ends the nodes, which are children of this process since control's end.
async fn drain(cluster: &mut Cluster<'_>, console: &Console, agents: &Agents) {
    let nodes = others(cluster);
    if nodes.is_empty() {
        return;
    }
    let limit = cluster.settings.args.drain_deadline;
    let deadline = Instant::now() + limit;
    let seconds = limit.as_secs_f64();
    let draining = count(nodes.len(), "node");
    console.progress(&format!("draining {draining} for at most {seconds} s; Ctrl-C ends them at once"));
    signal_all(&nodes, Signal::SIGTERM);
    while !wait_until_gone(cluster, deadline.min(Instant::now() + TELL)).await {
        // The names of the beginning: a process that is about to end has lost its command line.
        let now: Vec<_> = others(cluster).iter().map(|process| process.pid).collect();
        let left: Vec<_> = nodes.iter().filter(|process| now.contains(&process.pid)).cloned().collect();
        let left = agents.describe(&left).await;
        if Instant::now() >= deadline {
            console.line(&format!("{left}: still draining after {seconds} s; ending at once"));
            return force(cluster).await;
        }
        console.progress(&format!("waiting for {left}"));
    }
}

/// Ends nodes that did not end by themselves.
async fn force(cluster: &mut Cluster<'_>) {
    signal_all(&others(cluster), Signal::SIGTERM);
    if !wait_until_gone(cluster, Instant::now() + LAST_GRACE).await {
        signal_all(&others(cluster), Signal::SIGKILL);
        wait_until_gone(cluster, Instant::now() + KILLED).await;
    }
}

/// Waits until no child but etcd and control is left; false at the deadline.
async fn wait_until_gone(cluster: &mut Cluster<'_>, deadline: Instant) -> bool {
    while !others(cluster).is_empty() {
        if timeout_at(deadline, cluster.children.changed()).await.is_err() {
            return false;
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
