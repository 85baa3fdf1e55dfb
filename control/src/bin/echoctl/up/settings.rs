//! The flags of `up`, checked: everything that can be wrong is told before a process is started or a file is changed.
//!
//! Used by `up`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_control::plan::change;
use echo_control::plan::scale::MAX_PER_HOST;
use echo_proto::codec;
use echo_proto::ids::ClusterName;
use echo_proto::spec::{self, Protocol};
use echo_proto::v1;

use super::clash::{self, Wanted};
use super::ports::Ports;
use super::state::{StateDir, default_root};
use super::{Args, control, etcd, programs};
use crate::args::Global;
use crate::context::Context;
use crate::documents::{parse_pools, read_pools};
use crate::failure::Failure;
use crate::files::write_whole;

/// The pool of a fresh state dir, where no file is named.
const DEFAULT_POOL: &str = include_str!("default-pool.yaml");
/// What the default pool is called in messages.
const DEFAULT_POOL_NAME: &str = "the default pool";

/// What `up` needs to run a cluster.
pub(super) struct Settings {
    pub(super) args: Args,
    pub(super) state: StateDir,
    pub(super) control_program: PathBuf,
    pub(super) node_program: PathBuf,
    /// The private etcd, unless another is named.
    pub(super) etcd: Option<etcd::Private>,
    /// URLs of the etcd in use, with commas.
    pub(super) etcd_urls: String,
    /// Control's gRPC address, with a real port.
    pub(super) listen: SocketAddr,
    /// Control's HTTP address, with a real port.
    pub(super) http: SocketAddr,
    /// The pool that a fresh cluster begins with.
    pub(super) pool: v1::Pool,
    /// `--pool` was given.
    pub(super) pool_given: bool,
    /// Where a command without --server goes; empty where nowhere.
    pub(super) usual_server: String,
    /// Nothing is stored yet: the pool will be the one above.
    fresh: bool,
    /// The private etcd holds an earlier run's state.
    pub(super) continued: bool,
    /// Longest wait until everything serves, where one was given.
    pub(super) timeout: Option<Duration>,
}

impl Settings {
    /// Finds what is needed, takes the state dir and chooses the ports.
    ///
    /// # Errors
    /// The first of these that is not to be had, with the way out.
    pub(super) async fn check(global: &Global, args: Args) -> Result<Self, Failure> {
        check_flags(&args)?;
        let given = args.pool.as_deref().map(one_pool).transpose()?;
        let pool_given = given.is_some();
        check_replicas(&args, given.as_ref())?;
        let control_program = programs::ours("echo-control")?;
        let node_program = programs::ours("echo-node")?;
        let etcd_program = if args.etcd.is_none() { Some(programs::etcd()?) } else { None };
        let root = args.state_dir.clone().map_or_else(default_root, Ok)?;
        let state = StateDir::open(&root, &args.cluster)?;
        let stored = state.etcd_data().join("member").exists();
        let (fresh, continued) = (args.etcd.is_none() && !stored, args.etcd.is_none() && stored);

        let mut ports = Ports::read(&state.ports_file());
        let listen = address(args.listen, "grpc", &mut ports)?;
        let http = address(args.http, "http", &mut ports)?;
        let private = |program| etcd::Private::new(program, state.etcd_data(), &mut ports);
        let etcd = etcd_program.map(private).transpose()?;
        ports.write(&state.ports_file())?;
        let etcd_urls = match (&etcd, &args.etcd) {
            (Some(etcd), _) => etcd.url(),
            (None, urls) => urls.clone().unwrap_or_default(),
        };
        if etcd.is_none() {
            etcd::check(&etcd_urls).await?;
        }
        let pool = bootstrap_pool(given, &state.pool_file())?;
        let usual_server = Context::resolve(global).map(|context| context.servers.to_string()).unwrap_or_default();
        let settings = Self {
            args,
            state,
            control_program,
            node_program,
            etcd,
            etcd_urls,
            listen,
            http,
            pool,
            pool_given,
            usual_server,
            fresh,
            continued,
            timeout: global.timeout,
        };
        control::check(&settings)?;
        clash::check(settings.wanted()).await?;
        Ok(settings)
    }

    /// Every port that is certain to be needed. What a stored pool wants is known once its etcd runs.
    fn wanted(&self) -> Vec<Wanted> {
        let Self { args, listen, http, .. } = self;
        let wanted = |owner: String, protocol, address, advice| Wanted { owner, protocol, address, advice };
        let mut ports = vec![
            wanted("control's gRPC".to_owned(), Protocol::Tcp, *listen, "choose another with --listen"),
            wanted("control's HTTP".to_owned(), Protocol::Tcp, *http, "choose another with --http"),
        ];
        let plan = spec::check_pool(&self.pool).ok().filter(|_| self.fresh);
        let nodes = args.nodes.or(plan.as_ref().map(|plan| plan.replicas)).unwrap_or_default();
        for index in 1..=u8::try_from(nodes.min(MAX_PER_HOST)).unwrap_or_default() {
            let ip = IpAddr::from([127, 0, 0, index]);
            let mut node = |what: &str, protocol, address, advice| {
                ports.push(wanted(format!("node-{index}'s {what}"), protocol, address, advice));
            };
            node("Agent", Protocol::Tcp, (ip, args.node_grpc_port).into(), "choose another with --node-grpc-port");
            node("HTTP", Protocol::Tcp, (ip, args.node_http_port).into(), "choose another with --node-http-port");
            for listener in plan.iter().flat_map(|plan| &plan.template.listeners) {
                let address = (listener.address.unwrap_or(ip), listener.port).into();
                let what = format!("listener {}", listener.name);
                node(&what, listener.protocol, address, "end that process, or begin with another pool by --pool");
            }
        }
        ports
    }
}

/// What can be judged from the flags alone.
fn check_flags(args: &Args) -> Result<(), Failure> {
    args.cluster.parse::<ClusterName>().map_err(|e| Failure::Usage(format!("--cluster: {e}")))?;
    if args.nodes.is_some_and(|nodes| nodes > MAX_PER_HOST) {
        return Err(Failure::Usage(format!("--nodes: at most {MAX_PER_HOST}, each on a loopback address of its own")));
    }
    if !args.listen.ip().is_loopback() && !args.insecure {
        let cause = format!("{} is no loopback address, and gRPC here has no TLS", args.listen);
        return Err(Failure::Usage(format!("--listen: {cause}; add --insecure if everyone there may command it")));
    }
    Ok(())
}

/// A pool of a file may want more nodes than this machine can run, unless --nodes wants others; one that is autoscaled has
/// no number that --nodes could change.
fn check_replicas(args: &Args, given: Option<&v1::Pool>) -> Result<(), Failure> {
    let replicas = given.and_then(|pool| pool.spec.as_ref()?.replicas).filter(|_| args.nodes.is_none());
    let rule = given.and_then(|pool| pool.spec.as_ref()?.autoscale.as_ref()).filter(|_| args.nodes.is_some());
    if let (Some(rule), Some(file)) = (rule, &args.pool) {
        let (least, most) = change::bounds(rule);
        let next = "leave --nodes out, or give spec.replicas in place of it";
        return Err(Failure::Usage(format!("{file}: spec.autoscale: decides, from {least} to {most} nodes; {next}")));
    }
    match (replicas, &args.pool) {
        (Some(replicas), Some(file)) if replicas > MAX_PER_HOST => Err(Failure::Usage(format!(
            "{file}: spec.replicas: {replicas} nodes are too many for one machine; give --nodes, at most {MAX_PER_HOST}"
        ))),
        _ => Ok(()),
    }
}

/// The address with a port of our choice, if it leaves that open.
fn address(given: SocketAddr, name: &str, ports: &mut Ports) -> Result<SocketAddr, Failure> {
    let port = if given.port() == 0 { ports.choose(name)? } else { given.port() };
    Ok(SocketAddr::new(given.ip(), port))
}

/// The one pool of a file.
fn one_pool(file: &str) -> Result<v1::Pool, Failure> {
    let mut pools = read_pools(&[file.to_owned()])?;
    match (pools.pop(), pools.is_empty()) {
        (Some(pool), true) => Ok(pool),
        _ => Err(Failure::Usage(format!("{file} holds several pools; start with one and `echoctl apply` the others"))),
    }
}

/// The given pool, else the one that this state dir began with, else the default one; kept in the state dir, where
/// control finds it at every start.
///
/// A kept one that has become unreadable is not replaced by itself: the default pool may have another name, and would be
/// a second pool beside the stored one.
fn bootstrap_pool(given: Option<v1::Pool>, file: &Path) -> Result<v1::Pool, Failure> {
    let pool = match given {
        Some(pool) => pool,
        None if file.exists() => {
            let next = "name the pool's file with --pool, or delete this one to begin with the default pool";
            let unreadable = |e| Failure::Up(format!("cannot use {}: {e}\n{next}", file.display()));
            return one_pool(&file.display().to_string()).map_err(unreadable);
        }
        None => {
            let mut pools = parse_pools(DEFAULT_POOL_NAME, DEFAULT_POOL)?;
            pools.pop().unwrap_or_default()
        }
    };
    let text = codec::yaml(&codec::to_human_value(&pool));
    write_whole(file, &text).map_err(|e| Failure::unwritable(file, &e))?;
    Ok(pool)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pool_is_valid() {
        let pools = parse_pools(DEFAULT_POOL_NAME, DEFAULT_POOL).unwrap();
        let plan = spec::check_pool(pools.first().unwrap()).unwrap();
        assert_eq!((plan.name.as_str(), plan.replicas, plan.template.listeners.len()), ("default", 3, 2));
    }
}
