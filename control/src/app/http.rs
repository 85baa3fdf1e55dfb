//! `/livez`, `/readyz` and `/metrics`, in plaintext: kubelet's gRPC probes can't do TLS.
//!
//! Served by a task of the app. Liveness never depends on etcd: restarting this process would not bring it back.
//! Readiness does, as nothing can be asked of a control plane that has not read its state.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use echo_proto::telemetry::Metrics;
use tokio::net::TcpListener;

use super::intake::Intake;
use crate::stop::Stop;
use crate::view::View;

/// The content type of the Prometheus text format, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, metrics: Metrics, view: View, mut stop: Stop) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(view))
        .route("/metrics", get(|| async move { ([(header::CONTENT_TYPE, PROMETHEUS)], metrics.text()) }));
    let served = tokio::select! {
        served = async { axum::serve(Intake::new(listener), router).await } => served,
        () = stop.wait() => Ok(()),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP server failed");
    }
}

async fn ready(State(view): State<View>) -> impl IntoResponse {
    view.read(|state| match &state.away {
        Some(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        None if state.synced => (StatusCode::OK, "ok\n".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the cluster's state is not read yet\n".to_owned()),
    })
}
