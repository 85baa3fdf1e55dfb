//! The gRPC server and the signals that end it.
//!
//! Run by the app. The API's streams end with `stop`, so that the server, which waits for open streams, can end; what
//! is still open at the deadline is cut.

use std::io;
use std::time::Duration;

use echo_proto::telemetry::rpc;
use echo_proto::{FILE_DESCRIPTOR_SET, STANDARD_SERVICES};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::server::Builder as Reflection;

use crate::api::Api;
use crate::stop::Stop;
use crate::view::View;

/// Our services, by their full names.
const SERVICES: [&str; 4] = ["echo.v1.Pools", "echo.v1.Nodes", "echo.v1.Events", "echo.v1.Cluster"];
/// Calls and streams of one connection.
const MAX_STREAMS: u32 = 256;
/// Longest wait for all tasks to end.
pub(super) const STOP_DEADLINE: Duration = Duration::from_millis(700);
/// Longest wait for open calls and streams.
const DRAIN_DEADLINE: Duration = Duration::from_millis(400);
/// Idle connections are probed, so that a vanished client frees its streams.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Longest wait for the nodes to say that they live, before anything is told of them.
const CALL_DEADLINE: Duration = Duration::from_secs(1);

/// Serves the API, grpc.health.v1 and reflection until `stop`. Calls that come sooner wait: a control that has only just
/// begun to look would say that no node is ready.
pub(super) async fn grpc(listener: TcpListener, view: View, api: Api, mut stop: Stop) {
    let called = view.until(|state| state.called || state.away.is_some());
    tokio::select! {
        _ = tokio::time::timeout(CALL_DEADLINE, called) => {}
        () = stop.wait() => return,
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    for service in SERVICES {
        health.set_service_status(service, tonic_health::ServingStatus::Serving).await;
    }
    let routes = api.routes().add_service(health_service);
    let routes = match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        // Only a descriptor set that protoc did not write can fail; the API is worth serving without.
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "no reflection");
            routes
        }
    };
    let mut ended = stop.clone();
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .max_concurrent_streams(MAX_STREAMS)
        .layer(rpc::server_layer())
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
            ended.wait().await;
        });
    let deadline = async {
        stop.wait().await;
        tokio::time::sleep(DRAIN_DEADLINE).await;
    };
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::error!(%error, "the gRPC server failed");
        },
        () = deadline => tracing::warn!("open calls were cut"),
    }
}

/// Names the services served here: the descriptors hold those of the nodes as well, and what errors carry. Each version
/// of reflection tells of both.
fn reflection() -> Reflection<'static> {
    let described = Reflection::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    SERVICES.into_iter().chain(STANDARD_SERVICES).fold(described, Reflection::with_service_name)
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// The name of the signal that came.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
