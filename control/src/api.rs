//! The gRPC services: request -> plan and store -> reply, one service a file.
//!
//! Any replica serves them; none of them needs the leader. What is stored is read from etcd itself, so that a caller
//! sees its own writes; what nodes say comes from the view. Nothing a caller sends may panic or wait without a
//! deadline.

mod cluster;
mod conflict;
mod diagnose;
mod error;
mod events;
mod files;
mod nodes;
mod pages;
mod pools;
mod request;
mod revisions;
mod watch;
mod write;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::sync::watch::Receiver;
use tonic::service::Routes;
use v1::cluster_server::ClusterServer;
use v1::events_server::EventsServer;
use v1::nodes_server::NodesServer;
use v1::pools_server::PoolsServer;

use self::diagnose::Doctor;
pub(crate) use self::error::ApiError;
pub(crate) use self::files::{Complaint, FileApplied, FilesApplied};
use self::watch::Watchers;
use crate::agents::Agents;
use crate::scaler::Scaler;
use crate::selector::Selector;
use crate::stop::Stop;
use crate::store::Store;
use crate::store::election::Leadership;
use crate::view::View;

/// Largest request: a pool file is read up to 1 MiB.
const MAX_REQUEST_BYTES: usize = 2 << 20;

/// What all services share; cheap to clone.
#[derive(Clone)]
pub struct Api {
    store: Store,
    view: View,
    agents: Agents,
    doctor: Doctor,
    /// Whether this process leads.
    leadership: Receiver<Option<Leadership>>,
    watchers: Watchers,
    stop: Stop,
    about: Arc<About>,
    /// What is wrong with the pool files, as far as this control applies them.
    file_complaints: Arc<Mutex<Vec<Complaint>>>,
}

/// What this process tells about itself, and does beside.
#[derive(Debug)]
pub struct About {
    /// Its cluster.
    pub cluster: String,
    /// Its id.
    pub instance: String,
    /// Where etcd is.
    pub etcd: Vec<String>,
    /// Who makes nodes come and go here.
    pub scaler: Arc<dyn Scaler>,
    /// When it started.
    pub started: SystemTime,
}

impl Api {
    /// The services over this store and view; streams end at `stop`.
    pub fn new(store: Store, view: View, leadership: Receiver<Option<Leadership>>, stop: Stop, about: About) -> Self {
        let (agents, doctor, watchers) = (Agents::default(), Doctor::default(), Watchers::default());
        let (about, file_complaints) = (Arc::new(about), Arc::default());
        Self { store, view, agents, doctor, leadership, watchers, stop, about, file_complaints }
    }

    /// All services, for a tonic server.
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::builder();
        routes
            .add_service(PoolsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(NodesServer::new(self.clone()))
            .add_service(EventsServer::new(self.clone()))
            .add_service(ClusterServer::new(self.clone()));
        routes.routes()
    }

    /// Nodes are only known once the view has read etcd, and only as long as etcd answers.
    pub(crate) fn current(&self) -> Result<(), ApiError> {
        self.view.read(|state| match &state.away {
            Some(error) => Err(ApiError::Store(error.clone())),
            None if state.synced => Ok(()),
            None => Err(ApiError::Starting),
        })
    }
}

fn pool_name(text: &str) -> Result<PoolName, ApiError> {
    text.parse().map_err(|e| ApiError::argument("pool", format!("{e}")))
}

/// The pool that a list or watch is about; `None`: all.
fn filter(pool: &str) -> Result<Option<PoolName>, ApiError> {
    if pool.is_empty() { Ok(None) } else { pool_name(pool).map(Some) }
}

fn selector(text: &str) -> Result<Selector, ApiError> {
    text.parse().map_err(|e| ApiError::argument("selector", format!("{e}")))
}
