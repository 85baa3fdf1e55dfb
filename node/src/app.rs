//! The node as a whole: everything that can fail is bound first, then it runs until it is told to leave.
//!
//! Called by `main`. The control side is one runtime; the shards have threads of their own. A critical task that ends stops
//! the process with its name and reason: no half-living node keeps a registration.

mod critical;
mod error;
mod run;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;

use echo_proto::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::applier::{Applier, Inbox, Own};
use crate::agent::clock;
use crate::agent::endpoints::Endpoints;
use crate::agent::identity::Identity;
use crate::agent::instruments;
use crate::agent::losses::Losses;
use crate::agent::owner::Owner;
use crate::agent::refused;
use crate::agent::saved::SavedConfig;
use crate::agent::service::{AgentService, DataPath};
use crate::agent::session::Session;
use crate::agent::state_dir::StateDir;
use crate::agent::trial::Trials;
use crate::agent::wires::Wires;
use crate::drain::Wish;
use crate::health::Health;
use crate::lifeline;
use crate::live::{Live, LiveOptions, ShardFailure, Who, usable_cores};
use crate::metrics::{self, Load};
use crate::pool_file::PoolFile;
use crate::settings::{Settings, Source};

use critical::Critical;
pub use error::{BuildError, RunError};
use signals::Signals;

/// The addresses of the control side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The Agent service.
    pub grpc: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`.
    pub http: SocketAddr,
}

/// A node that has all it needs; see [`App::run`].
pub struct App {
    /// `pool/id`, for people.
    name: String,
    bound: Bound,
    signals: Signals,
    critical: Critical,
    applier: Applier,
    /// `None` with `--config`.
    session: Option<Session>,
    agent: (TcpListener, AgentService),
    health: (TcpListener, Health),
    inbox: Inbox,
    /// Tells the applier to drain, and to end.
    leave: watch::Sender<Option<Wish>>,
    /// Ours, and locked, as long as the node is.
    state_dir: Option<Arc<StateDir>>,
}

/// Binds and opens everything; a pool file, where there is one, is applied as well.
///
/// # Errors
/// What could not be had; nothing is left behind.
pub async fn build(settings: Settings, file: Option<PoolFile>, metrics: Metrics) -> Result<App, BuildError> {
    let signals = Signals::new().map_err(BuildError::Signals)?;
    let (grpc, grpc_address) = bind("--grpc", settings.grpc).await?;
    let (http, http_address) = bind("--http", settings.http).await?;
    let state_dir = settings.state_dir.as_deref().map(|dir| StateDir::open(dir, Owner::of(&settings))).transpose()?;
    let state_dir = state_dir.map(Arc::new);
    if settings.lifeline {
        let trials = state_dir.clone().map(Trials::new);
        lifeline::watch(move || trials.iter().for_each(Trials::call_off)).map_err(BuildError::Lifeline)?;
    }
    let identity = Arc::new(Identity::new(&settings, grpc_address, http_address));
    let who = who(&settings);
    let clock_error = who.clock_error.clone();
    let live = Live::start(LiveOptions { shards: settings.shards, address: settings.address, who })?;
    let counters = live.counters();
    let mut critical = Critical::default();
    critical.spawn(error::DATA_PATH_TASK, failed(live.failure()));

    let Wires { cells, inbox, report: report_cell, leave } = Wires::new();
    let (report, link) = (cells.report.clone(), inbox.link.clone());
    let meter = metrics.meter();
    critical.spawn("clock", clock::watch(report_cell.clone(), clock_error, settings.clock_error));
    critical.spawn("refused sources", refused::watch(report_cell.clone(), counters.clone()));
    critical.spawn("metrics", metrics::register(&meter, &counters, settings.pool.as_str()));
    instruments::observe_revision(&meter, &settings.pool, report.clone());
    let expired = instruments::lease_expired(&meter);
    let losses = Losses::default();
    critical.spawn("losses", losses.clone().watch(counters.clone(), report_cell.clone()));
    let (load, cores) = (Load::sample(counters.clone()), settings.shards.min(usable_cores()).get());
    let data = DataPath { counters, sessions: live.sessions(), losses, load, cores, files: Arc::default() };
    let service = AgentService::new(Arc::clone(&identity), report.clone(), link.clone(), data);
    let health = Health { report, link, metrics };
    // Who serves from a file must not fall back on what etcd once told.
    let saved = state_dir.clone().filter(|_| file.is_none()).map(SavedConfig::new);
    let mut applier = Applier::new(live, Own::of(&settings, &identity), report_cell, saved);
    if let Some(file) = file {
        applier.serve(&file.plan, file.revision).await?;
    }
    let session = match settings.source {
        Source::File(_) => None,
        Source::Etcd { endpoints, lease_ttl, reread } => {
            let endpoints = Endpoints::new(endpoints);
            Some(Session::new(identity, endpoints, lease_ttl, reread, state_dir.clone(), cells, expired))
        }
    };
    Ok(App {
        name: format!("{}/{}", settings.pool, settings.id),
        bound: Bound { grpc: grpc_address, http: http_address },
        signals,
        critical,
        applier,
        session,
        agent: (grpc, service),
        health: (http, health),
        inbox,
        leave,
        state_dir,
    })
}

fn who(settings: &Settings) -> Who {
    Who {
        node: settings.id.to_string(),
        pool: settings.pool.to_string(),
        zone: settings.zone.clone(),
        labels: settings.labels.clone(),
        ..Who::default()
    }
}

async fn failed(failure: impl Future<Output = ShardFailure>) -> Result<(), ShardFailure> {
    Err(failure.await)
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BuildError> {
    let refused = |source| BuildError::Bind { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}
