//! The start of a cluster, step by step: etcd, control, the pool, the nodes.
//!
//! Used by `up`. Everything together has one deadline.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use echo_proto::v1;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;

use super::cluster::Cluster;
use super::etcd;
use super::nodes::{self, Serving};
use crate::author::author;
use crate::connect::Control;
use crate::failure::Failure;
use crate::object::source::{Filter, Source as _};
use crate::object::{Object as _, replicas as wanted};
use crate::server::Server;
use echo_control::words::count;

/// Longest wait until everything serves, unless --timeout names one.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two questions whether something is there.
const POLL: Duration = Duration::from_millis(10);
/// Longest wait for one answer of control.
const ANSWER: Duration = Duration::from_secs(5);

/// How the cluster stands once its start is over.
pub(super) struct Standing {
    pub(super) control: Control,
    pub(super) serving: Serving,
    /// Time from the start of `up` to this.
    pub(super) after: Duration,
}

/// Starts etcd and control and waits for the nodes.
///
/// # Errors
/// A part ended, can't be started, or is not ready in time.
pub(super) async fn run(cluster: &mut Cluster<'_>) -> Result<Standing, Failure> {
    let by = Instant::now() + cluster.settings.timeout.unwrap_or(DEADLINE);
    start_etcd(cluster, by).await?;
    cluster.control.start(&cluster.children)?;
    let server = server(cluster.settings.listen)?;
    let mut control = within(cluster, by, "echo-control", async { Ok(connected(&server).await) }).await?;
    cluster.console.line(&format!("control: ready at {server}"));
    let name = cluster.settings.pool.name().to_owned();
    let pool = within(cluster, by, "the pool", stored_pool(&mut control, &name)).await?;
    tell_stored(cluster, &pool);
    if let Some(replicas) = cluster.settings.args.nodes
        && wanted(&pool) != Some(replicas)
    {
        let request = v1::ScaleRequest { name, replicas, author: author(), dry_run: false };
        let scaled = async { control.pools.scale(request).await.map_err(|status| control.explain(status)) };
        within(cluster, by, "the pool", scaled).await?;
    }
    let serving = nodes::wait(cluster, &mut control, by).await?;
    Ok(Standing { control, serving, after: cluster.began.monotonic.elapsed() })
}

/// An earlier run's state is continued: tells with how many nodes, or that its pool is made again, since that may
/// surprise.
fn tell_stored(cluster: &Cluster<'_>, pool: &v1::Pool) {
    let settings = &cluster.settings;
    let created = pool.metadata.as_ref().and_then(|m| m.create_time).and_then(|at| SystemTime::try_from(at).ok());
    let stored = created.is_some_and(|at| at < cluster.began.wall);
    let name = pool.path();
    if stored && settings.args.nodes.is_none() {
        let replicas = wanted(pool).unwrap_or_default();
        let dir = settings.state.root().display();
        let ruled = pool.spec.as_ref().is_some_and(|spec| spec.autoscale.is_some());
        let who = if ruled { "its autoscaler decides" } else { "--nodes N changes that" };
        cluster.console.line(&format!("{name}: {}, as stored in {dir}; {who}", count(replicas, "node")));
    }
    if !stored && settings.continued {
        let file = settings.state.pool_file();
        cluster.console.line(&format!("{name}: was not stored any more, and is made of {} again", file.display()));
    }
}

/// Waits for `work`, unless a part ends or the deadline comes first.
async fn within<T>(
    cluster: &mut Cluster<'_>,
    by: Instant,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let logs = cluster.settings.state.logs();
    let waited = cluster.began.monotonic.elapsed().as_secs();
    let late = |_| Err(Failure::Up(format!("{what} is not ready after {waited} s; logs are in {}", logs.display())));
    cluster.while_alive(async { timeout_at(by, work).await.unwrap_or_else(late) }).await
}

async fn start_etcd(cluster: &mut Cluster<'_>, by: Instant) -> Result<(), Failure> {
    let url = cluster.settings.etcd_urls.clone();
    let Some(etcd) = &mut cluster.etcd else {
        cluster.console.line("etcd: uses the one that runs already");
        return Ok(());
    };
    etcd.start(&cluster.children)?;
    let ready = async {
        etcd::ready(&url).await;
        Ok(())
    };
    within(cluster, by, "etcd", ready).await?;
    cluster.console.line("etcd: ready, on a port of its own");
    Ok(())
}

/// Where control is reached from here: it may listen on every address.
///
/// # Errors
/// The address makes no URL.
pub(super) fn server(listen: SocketAddr) -> Result<Server, Failure> {
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
