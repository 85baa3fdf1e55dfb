//! The start of a cluster, step by step: etcd, control, the pool, the nodes.
//!
//! Used by `up`. The caller sets the deadline.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use echo_proto::v1;
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::cluster::Cluster;
use super::etcd;
use super::nodes::Fleet;
use super::state::tail;
use crate::author::author;
use crate::connect::{Control, Server};
use crate::failure::Failure;
use crate::follow::follow;
use crate::object::Object as _;
use crate::object::source::{Filter, Source, Watched, list};

/// Between two questions whether something is there.
const POLL: Duration = Duration::from_millis(10);
/// Longest wait for one answer of control.
const ANSWER: Duration = Duration::from_secs(5);
/// Nodes that refuse their config for so long will not change their mind in a moment: an earlier process on the same port
/// would have ended by then.
const REJECTED_FOR: Duration = Duration::from_secs(3);
/// Lines of each log that are shown when nodes don't come up.
const TAIL_LINES: usize = 4;
/// Most logs that are shown: control's, etcd's and a few nodes'.
const MAX_LOGS: usize = 5;

/// How the cluster stands once its start is over.
pub(super) struct Standing {
    pub(super) control: Control,
    /// What keeps nodes from serving; empty: all do.
    pub(super) blockers: Vec<String>,
    /// Time from the start of `up` to this.
    pub(super) after: Duration,
}

/// Starts etcd and control and waits for the nodes.
///
/// # Errors
/// A part ended, or can't be started.
pub(super) async fn run(cluster: &mut Cluster<'_>) -> Result<Standing, Failure> {
    start_etcd(cluster).await?;
    cluster.control.start(&cluster.children)?;
    let server = server(cluster.settings.listen)?;
    let mut control = cluster.while_alive(connected(&server)).await?;
    cluster.console.line(&format!("control: serves at {server}"));
    let name = cluster.settings.pool.name().to_owned();
    let pool = cluster.while_alive(stored_pool(&mut control, &name)).await??;
    if let Some(replicas) = cluster.settings.args.nodes
        && pool.spec.as_ref().and_then(|s| s.replicas) != Some(replicas)
    {
        let request = v1::ScaleRequest { name, replicas, author: author() };
        control.pools.scale(request).await.map_err(|status| control.explain(status))?;
    }
    nodes(cluster, control).await
}

async fn start_etcd(cluster: &mut Cluster<'_>) -> Result<(), Failure> {
    let url = cluster.settings.etcd_urls.clone();
    let Some(etcd) = &mut cluster.etcd else {
        cluster.console.line("etcd: the one that runs already");
        return Ok(());
    };
    etcd.start(&cluster.children)?;
    cluster.while_alive(etcd::ready(&url)).await?;
    cluster.console.line("etcd: serves on a port of its own");
    Ok(())
}

/// Where control is reached from here: it may listen on every address.
fn server(listen: SocketAddr) -> Result<Server, Failure> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port())).parse().map_err(Failure::Usage)
}

async fn connected(server: &Server) -> Control {
    loop {
        match Control::open(server, ANSWER).await {
            Ok(control) => return control,
            Err(_) => sleep(POLL).await,
        }
    }
}

/// The pool that control makes at its first start, or has stored.
async fn stored_pool(control: &mut Control, name: &str) -> Result<v1::Pool, Failure> {
    loop {
        match v1::Pool::find(control, name, &Filter::default()).await {
            // Control serves before it has reached etcd and made the pool.
            Err(Failure::NotFound { .. }) => {}
            Err(Failure::Refused(status)) if status.code() == Code::Unavailable => {}
            other => return other,
        }
        sleep(POLL).await;
    }
}

/// Waits until all nodes serve, or those that don't have refused their config for a while.
async fn nodes(cluster: &mut Cluster<'_>, mut control: Control) -> Result<Standing, Failure> {
    let (pools, _) = list::<v1::Pool>(&mut control, &Filter::default()).await?;
    let host = nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_default();
    let fleet = RefCell::new(Fleet::new(&pools, cluster.began.wall, host));
    let console = cluster.console;
    let ready = follow(
        &mut control,
        async |control| v1::Node::watch(control, &Filter::default()).await,
        |message| {
            let mut fleet = fleet.borrow_mut();
            fleet.take(v1::Node::change(message));
            console.progress(&format!("nodes: {}", fleet.summary()));
            let all = fleet.ready() == fleet.wanted();
            Ok(if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        },
    );
    let refused = async {
        let mut since = Instant::now();
        while since.elapsed() < REJECTED_FOR {
            sleep(POLL).await;
            if !fleet.borrow().rest_is_rejected() {
                since = Instant::now();
            }
        }
    };
    let either = async {
        tokio::select! {
            ready = ready => ready,
            () = refused => Ok(()),
        }
    };
    cluster.while_alive(either).await??;
    let after = cluster.began.monotonic.elapsed();
    let fleet = fleet.into_inner();
    let blockers = if fleet.ready() == fleet.wanted() { Vec::new() } else { fleet.blockers() };
    Ok(Standing { control, blockers, after })
}

/// What to say when the cluster did not come up in time: the end of each log.
pub(super) fn too_late(cluster: &Cluster<'_>, waited: Duration) -> Failure {
    let logs = cluster.settings.state.logs();
    let mut text = format!("not ready after {} s; logs are in {}", waited.as_secs(), logs.display());
    let entries = std::fs::read_dir(&logs).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    for log in logs.iter().take(MAX_LOGS) {
        text += &format!("\n  the end of {}:{}", log.display(), tail(log, 0, TAIL_LINES));
    }
    Failure::Up(text)
}
