//! Waiting until the nodes of a fresh cluster serve, and what to say when they don't.
//!
//! Used by the start of `up`.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Duration;

use echo_proto::v1;
use nix::unistd::gethostname;
use tokio::time::{Instant, sleep, sleep_until};

use super::cluster::Cluster;
use super::fleet::Fleet;
use super::state::tail;
use crate::connect::Control;
use crate::failure::Failure;
use crate::follow::follow;
use crate::object::source::{Filter, Watched as _, list};

/// Between two looks at who refuses.
const POLL: Duration = Duration::from_millis(50);
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
    let (pools, _) = list::<v1::Pool>(control, &Filter::default()).await?;
    let host = gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    let fleet = RefCell::new(Fleet::new(&pools, cluster.began.wall, host));
    let console = cluster.console;
    let ready = follow(
        control,
        async |control| v1::Node::watch(control, &Filter::default()).await,
        |message| {
            let mut fleet = fleet.borrow_mut();
            fleet.take(v1::Node::change(message));
            console.gauge(fleet.ready(), fleet.wanted(), &format!("nodes: {}", fleet.summary()));
            let all = fleet.ready() == fleet.wanted();
            Ok(if all { ControlFlow::Break(Serving::All) } else { ControlFlow::Continue(()) })
        },
    );
    let outcome = async {
        tokio::select! {
            serving = ready => serving.map(Some),
            () = refused(&fleet) => Ok(Some(Serving::Some)),
            () = sleep_until(by) => Ok(None),
        }
    };
    match cluster.while_alive(outcome).await?? {
        Some(serving) => Ok(serving),
        None => Err(late(cluster, &fleet.borrow())),
    }
}

/// Waits until all nodes that don't serve have refused their config for [`REFUSED_FOR`].
async fn refused(fleet: &RefCell<Fleet>) {
    let mut since = Instant::now();
    while since.elapsed() < REFUSED_FOR {
        sleep(POLL).await;
        if !fleet.borrow().rest_is_rejected() {
            since = Instant::now();
        }
    }
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
