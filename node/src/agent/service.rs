//! The Agent gRPC service: what a node knows about itself, also when etcd is gone.
//!
//! Served by [`crate::app`] together with grpc.health.v1 and reflection. It only reads cells, counters and sessions; a
//! call can change nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use echo_proto::telemetry::rpc;
use echo_proto::v1::agent_server::{Agent, AgentServer};
use echo_proto::{FILE_DESCRIPTOR_SET, STANDARD_SERVICES, v1};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder as Reflection;

use super::files::FileCount;
use super::identity::Identity;
use super::link::Link;
use super::losses::Losses;
use super::report::Report;
use super::sessions;
use crate::intake::{Connection, Intake, Patience};
use crate::live::{Counters, Sessions};
use crate::metrics::Load;

/// Our service, by its full name.
const SERVICE: &str = "echo.v1.Agent";
/// Longest time for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Most calls at once on one connection.
const MAX_STREAMS: u32 = 64;
/// Most connections at once: a few of each control, and of people. Together with the health pages' they must leave room
/// in the files that are kept from the data path.
const MAX_CONNECTIONS: usize = 24;
/// How often an idle connection is checked.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Names the services served here: the descriptors hold those of control as well. Each version of reflection tells of
/// both.
fn reflection() -> Reflection<'static> {
    let described = Reflection::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    [SERVICE].into_iter().chain(STANDARD_SERVICES).fold(described, Reflection::with_service_name)
}

/// What the data path tells of itself.
#[derive(Clone)]
pub struct DataPath {
    /// What it counted.
    pub counters: Counters,
    /// What has come of stamped sessions.
    pub sessions: Sessions,
    /// What it lost, and when.
    pub losses: Losses,
    /// How busy it is.
    pub load: Load,
    /// Cores that its shards may use.
    pub cores: usize,
    /// Files of its process.
    pub files: Arc<FileCount>,
}

/// What the service reads.
pub struct AgentService {
    identity: Arc<Identity>,
    report: watch::Receiver<Report>,
    link: watch::Receiver<Link>,
    data: DataPath,
}

impl AgentService {
    /// A service that tells of this node.
    pub fn new(
        identity: Arc<Identity>,
        report: watch::Receiver<Report>,
        link: watch::Receiver<Link>,
        data: DataPath,
    ) -> Self {
        Self { identity, report, link, data }
    }

    /// Serves on `listener` until the process ends.
    ///
    /// # Errors
    /// Why it can't serve on.
    pub async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let readiness = follow_readiness(health, self.report.clone());
        let (accepted, incoming) = mpsc::channel(1);
        let served = Server::builder()
            .timeout(CALL_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .layer(rpc::server_layer())
            .add_service(health_server)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(AgentServer::new(self))
            .serve_with_incoming(ReceiverStream::new(incoming));
        tokio::select! {
            served = served => Ok(served?),
            () = accept(Intake::new(listener, MAX_CONNECTIONS, Patience::Preface), accepted) => Ok(()),
            () = readiness => Ok(()),
        }
    }

    fn figures(&self) -> v1::LiveFigures {
        let DataPath { counters, losses, load, cores, .. } = &self.data;
        let total = counters.snapshot().total;
        let udp = counters.udp_flows();
        let last = losses.last_times(SystemTime::now());
        let last_loss_times = last.into_iter().map(|(reason, time)| (reason, time.into())).collect();
        v1::LiveFigures {
            connections: u32::try_from(total.active).unwrap_or(u32::MAX),
            connections_accepted: total.accepted,
            rate: load.per_second(),
            received_bytes: total.received_bytes,
            transmitted_bytes: total.transmitted_bytes,
            received_packets: total.received_packets,
            transmitted_packets: total.transmitted_packets,
            udp_flows: udp.flows,
            udp_flows_capped: udp.capped,
            dropped_packets: total.dropped.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            rejected_connections: total.rejected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            last_loss_times,
            paced_reads: total.paced,
            messages: total.exchanges,
            cpu: load.cores(),
            cores: *cores as f64,
            broken_connections: total.broken().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        }
    }
}

/// Hands connections to the server, which would itself ask for the next one at once after a failure.
async fn accept(mut intake: Intake, accepted: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let (connection, _) = intake.next().await;
        if accepted.send(Ok(connection)).await.is_err() {
            return;
        }
    }
}

/// Why the gRPC server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its connections can't be served.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors for reflection are damaged.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let files = self.data.files.get().await;
        let (mut report, link) = (self.report.borrow().clone(), self.link.borrow().clone());
        link.condition().into_iter().for_each(|condition| report.set(condition));
        Ok(Response::new(v1::GetStatusResponse {
            node: Some(self.identity.node(&report, self.figures())),
            time: Some(SystemTime::now().into()),
            open_files: files.open,
            max_files: files.max,
            registered: matches!(link, Link::Registered(_)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        sessions::list(&self.data.sessions, self.identity.incarnation.as_str(), request.get_ref())
            .await
            .map(Response::new)
    }
}

/// Health of the whole server (service "") is the node's readiness; that of the Agent service is that it answers.
async fn follow_readiness(health: HealthReporter, mut report: watch::Receiver<Report>) {
    health.set_serving::<AgentServer<AgentService>>().await;
    loop {
        let ready = report.borrow_and_update().not_ready().is_none();
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        if report.changed().await.is_err() {
            // Nobody can change it any more; the process is about to end.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests;
