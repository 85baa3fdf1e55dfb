//! Builds the control plane, binds what can fail, then runs it until a signal or a failure.
//!
//! Called by `main`. A critical task that ends stops the process with its name: a control plane that half lives would
//! be worse than one that is restarted. Nodes are left running in any case.

mod bootstrap;
mod error;
mod http;
mod intake;
pub mod lifeline;
mod metrics;
mod serve;
mod state_dir;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use echo_proto::telemetry::Metrics;
use echo_proto::v1;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::error::AppError;
use self::state_dir::StateDir;
use crate::api::{About, Api};
use crate::drive::{Absences, Drive, Inbox};
use crate::figures::Figures;
use crate::pool_files::PoolFiles;
use crate::roll_call;
use crate::scaler::process::{Launcher, ProcessScaler, Supervisor};
use crate::scaler::{NoScaler, Notices, Scaler};
use crate::settings::{ScalerSettings, Settings};
use crate::stop::{Stop, stop};
use crate::store::election::Election;
use crate::store::{LeaseFile, Store};
use crate::view::View;

/// Everything bound, nothing running yet.
pub struct Bound {
    /// Addresses really bound.
    pub addresses: Addresses,
    settings: Settings,
    /// Of the process scaler.
    launcher: Option<Launcher>,
    instance: String,
    metrics: Metrics,
    grpc: TcpListener,
    http: TcpListener,
    store: Store,
    bootstrap: Option<v1::ApplyRequest>,
    /// Locked for as long as the process lives.
    state_dir: Option<StateDir>,
}

/// Where it is served.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The gRPC API.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
}

/// Reads files and binds ports: everything that a wrong setting makes fail. etcd may still be away.
///
/// # Errors
/// The first file or port that can't be had, by its name.
pub async fn build(settings: Settings, instance: String, metrics: Metrics) -> Result<Bound, AppError> {
    let bootstrap = settings.bootstrap.as_ref().map(bootstrap::read).transpose()?;
    if let Some(from) = &settings.pools_from {
        std::fs::read_dir(&from.folder).map_err(|cause| AppError::Folder { path: from.folder.clone(), cause })?;
    }
    let lock = |path| StateDir::lock(path, &settings.cluster);
    let state_dir = settings.state_dir.as_deref().map(lock).transpose()?;
    let launcher = launcher(&settings);
    if let Some(cause) = launcher.as_ref().and_then(Launcher::refused) {
        return Err(AppError::StateDir { path: settings.state_dir.unwrap_or_default(), cause });
    }
    let grpc = bind(settings.grpc, "grpc").await?;
    let http = bind(settings.http, "http").await?;
    let local = |listener: &TcpListener| listener.local_addr().map_err(AppError::Io);
    let addresses = Addresses { grpc: local(&grpc)?, http: local(&http)? };
    let store = Store::new(&settings.cluster, &settings.etcd).await.map_err(AppError::Etcd)?;
    Ok(Bound { addresses, settings, launcher, instance, metrics, grpc, http, store, bootstrap, state_dir })
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|cause| AppError::Bind { address, flag, cause })
}

impl Bound {
    /// Runs until SIGTERM or SIGINT, or until a critical task ends.
    ///
    /// # Errors
    /// The task that ended first, by name.
    pub async fn run(mut self) -> Result<(), AppError> {
        // Unlocked when all tasks have ended.
        let state_dir = self.state_dir.take();
        let mut signals = serve::Signals::new().map_err(AppError::Io)?;
        let (trigger, stop) = stop();
        let mut tasks = self.start(LeaseFile::new(state_dir.as_ref().map(StateDir::lease_file)), &stop);
        let result = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping; the nodes go on");
                Ok(())
            }
            ended = tasks.join_next() => Err(ended_early(ended)),
        };
        trigger.set();
        // Each task ends by itself soon after; one that does not is left behind.
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(serve::STOP_DEADLINE, all).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        result
    }

    fn start(self, memory: LeaseFile, stop: &Stop) -> JoinSet<&'static str> {
        let Self { addresses, settings, launcher, instance, metrics, store, .. } = self;
        let view = View::new(store.keys().clone());
        let (notices, notices_taken) = Notices::channel(view.clone());
        let figures = Figures::default();
        let (scaler, supervisor) = scaler(launcher, figures.clone(), notices);
        let (leadership, leads) = watch::channel(None);
        let about = About {
            cluster: settings.cluster.to_string(),
            instance: instance.clone(),
            etcd: settings.etcd.clone(),
            scaler: scaler.clone(),
            started: SystemTime::now(),
        };
        let api = Api::new(store.clone(), view.clone(), leads.clone(), stop.clone(), about);
        metrics::observe(&metrics.meter(), &view, &instance);
        let record = leader_record(instance, addresses.grpc, scaler.name());
        let ttl = settings.leader_ttl;
        let election = Election { store: store.clone(), view: view.clone(), record, ttl, leadership, memory };
        let followed = leads.clone();
        let (inbox, absences) = (Inbox::new(notices_taken), Absences::default());
        let drive = Drive {
            store: store.clone(),
            view: view.clone(),
            scaler,
            figures: figures.clone(),
            leadership: leads,
            inbox,
            absences,
        };

        let mut tasks = JoinSet::new();
        let mut spawn = |name: &'static str, task: Pin<Box<dyn Future<Output = ()> + Send>>| {
            tasks.spawn(async move {
                task.await;
                name
            });
        };
        spawn("the view", Box::pin(view.clone().run(store, stop.clone())));
        spawn("the roll call", Box::pin(roll_call::run(view.clone(), stop.clone())));
        spawn("the figures", Box::pin(figures.run(view.clone(), stop.clone())));
        spawn("the election", Box::pin(election.run(stop.clone())));
        spawn("the drive", Box::pin(drive.run(stop.clone())));
        if let Some(supervisor) = supervisor {
            spawn("the process scaler", Box::pin(supervisor.run(stop.clone())));
        }
        if let Some(request) = self.bootstrap {
            spawn("the bootstrap", Box::pin(bootstrap::run(api.clone(), request, stop.clone())));
        }
        if let Some(from) = settings.pools_from {
            let files = PoolFiles::new(api.clone(), from, followed);
            spawn("the pool files", Box::pin(files.run(stop.clone())));
        }
        spawn("the gRPC server", Box::pin(serve::grpc(self.grpc, view.clone(), api, stop.clone())));
        spawn("the HTTP server", Box::pin(http::serve(self.http, metrics, view, stop.clone())));
        tracing::info!(grpc = %addresses.grpc, http = %addresses.http, "serving");
        tasks
    }
}

fn ended_early(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> AppError {
    match ended {
        Some(Ok(name)) => AppError::TaskEnded(name.to_owned()),
        Some(Err(error)) => AppError::TaskEnded(format!("a task ({error})")),
        None => AppError::TaskEnded("every task".to_owned()),
    }
}

fn leader_record(instance: String, grpc: SocketAddr, scaler: &str) -> v1::LeaderRecord {
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    v1::LeaderRecord { instance, address: grpc.to_string(), host, since: None, scaler: scaler.to_owned() }
}

fn launcher(settings: &Settings) -> Option<Launcher> {
    match &settings.scaler {
        ScalerSettings::None => None,
        ScalerSettings::Process { binary, state_dir, grpc_port, http_port, lease_ttl, zones, drain_deadline } => {
            Some(Launcher {
                binary: binary.clone(),
                // It exists: this process has locked it.
                state_dir: state_dir.canonicalize().unwrap_or_else(|_| state_dir.clone()),
                cluster: settings.cluster.clone(),
                etcd: settings.etcd.clone(),
                grpc_port: *grpc_port,
                http_port: *http_port,
                lease_ttl: *lease_ttl,
                zones: zones.clone(),
                drain_deadline: *drain_deadline,
                lifeline: settings.lifeline,
            })
        }
    }
}

fn scaler(launcher: Option<Launcher>, figures: Figures, notices: Notices) -> (Arc<dyn Scaler>, Option<Supervisor>) {
    match launcher {
        None => (Arc::new(NoScaler::default()), None),
        Some(launcher) => {
            let (scaler, supervisor) = ProcessScaler::new(launcher, figures, notices);
            (Arc::new(scaler), Some(supervisor))
        }
    }
}
