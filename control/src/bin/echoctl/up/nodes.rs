//! Waiting until the nodes of a fresh cluster serve, and what to say when they don't.
//!
//! Used by the start of `up`.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use echo_control::plan::scale::MAX_PER_HOST;
use echo_proto::v1;
use nix::unistd::gethostname;
use tokio::time::{Instant, sleep, sleep_until};

use super::cluster::Cluster;
use super::fleet::{Fleet, ThisRun};
use super::state::tail;
use crate::connect::Control;
use crate::failure::Failure;
use crate::follow::follow;
use crate::object::source::{Filter, Watched as _, list};
use echo_control::words::count;

/// Between two looks at who refuses.
const POLL: Duration = Duration::from_millis(50);
/// Events are asked for only when the nodes take so long: usually they are there by then, and events may be many.
const EVENTS_AFTER: Duration = Duration::from_secs(2);
/// Nodes that refuse their config for so long will not change their mind in a moment: an earlier process on the same
/// port would have ended by then.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// Lines of each log that are shown when nodes don't come up.
const TAIL_LINES: usize = 4;
/// Most logs that are shown: control's and a few nodes'.
const MAX_LOGS: usize = 4;

/// Which nodes serve once the waiting is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// All that are wanted.
    All,
    /// Not those that refuse their config; they go on trying.
    Some,
}

/// Waits until all nodes serve, or those that don't have refused their config for a while.
///
/// # Errors
/// Nodes are missing or not ready at the deadline, or a part of the cluster ended.
pub(super) async fn wait(cluster: &mut Cluster<'_>, control: &mut Control, by: Instant) -> Result<Serving, Failure> {
    let listed = async { list::<v1::Pool>(control, &Filter::default()).await };
    let (pools, _) = cluster.while_alive(listed).await?;
    let fleet = RefCell::new(Fleet::new(&pools, this_run(cluster.began.wall)));
    let console = cluster.console;
    if let more @ 1.. = fleet.borrow().beyond_host() {
        console.line(&format!("note: {} not started: a host runs at most {MAX_PER_HOST}", count(more, "node")));
    }
    let mut events = control.clone();
    let ready = follow(
        control,
        async |control| v1::Node::watch(control, &Filter::default(), "").await,
        |message| {
            let mut fleet = fleet.borrow_mut();
            fleet.take(v1::Node::change(message));
            console.gauge(fleet.ready(), fleet.wanted(), &format!("nodes: {}", fleet.summary()));
            let all = fleet.is_full() && fleet.surplus() == 0;
            Ok(if all { ControlFlow::Break(Serving::All) } else { ControlFlow::Continue(()) })
        },
    );
    let outcome = async {
        tokio::select! {
            serving = ready => serving.map(Some),
            // More than that may be somebody else's, who stays.
            () = steadily(&fleet, Fleet::is_full) => Ok(Some(Serving::All)),
            () = steadily(&fleet, Fleet::rest_is_rejected) => Ok(Some(Serving::Some)),
            () = steadily(&fleet, Fleet::rest_is_hopeless) => Ok(None),
            () = hear(&mut events, &fleet) => Ok(None),
            () = sleep_until(by) => Ok(None),
        }
    };
    match cluster.while_alive(outcome).await? {
        Some(serving) => Ok(serving),
        None => Err(late(cluster, &fleet.borrow())),
    }
}

/// The run that began at `since` on this host.
pub(super) fn this_run(since: SystemTime) -> ThisRun {
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    ThisRun::new(since, host.unwrap_or_default())
}

/// Waits until `holds` has held for [`REFUSED_FOR`].
async fn steadily(fleet: &RefCell<Fleet>, holds: impl Fn(&Fleet) -> bool) {
    let mut since = Instant::now();
    while since.elapsed() < REFUSED_FOR {
        sleep(POLL).await;
        if !holds(&fleet.borrow()) {
            since = Instant::now();
        }
    }
}

/// Hands the fleet what control tells of its nodes' ends, for ever. Without events the deadline decides alone.
async fn hear(control: &mut Control, fleet: &RefCell<Fleet>) {
    sleep(EVENTS_AFTER).await;
    if let Ok(mut stream) = v1::Event::watch(control, &Filter::default(), "").await {
        while let Ok(Some(message)) = stream.message().await {
            if let Some(event) = v1::Event::change(message).object {
                fleet.borrow_mut().heard(&event);
            }
        }
    }
    std::future::pending().await
}

/// Who is not ready, and what the logs say.
fn late(cluster: &Cluster<'_>, fleet: &Fleet) -> Failure {
    let state = &cluster.settings.state;
    let waited = cluster.began.monotonic.elapsed().as_secs();
    let mut text = format!("nodes: {} after {waited} s; logs are in {}", fleet.summary(), state.logs().display());
    for line in fleet.blockers() {
        text += &format!("\n  {line}");
    }
    let entries = std::fs::read_dir(state.logs()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log").map(str::to_owned));
    let mut names: Vec<_> = names.filter(|name| name != "etcd" && !fleet.is_ready(name)).collect();
    names.sort();
    for name in names.iter().take(MAX_LOGS) {
        let log = state.log(name);
        text += &format!("\n  the end of {}:{}", log.display(), tail(&log, 0, TAIL_LINES));
    }
    Failure::Up(text)
}
