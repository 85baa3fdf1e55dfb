//! `/livez`, `/readyz` and `/metrics` over plain HTTP, for probes and scrapers.
//!
//! Served by [`crate::app`]. Readiness does not depend on etcd once the node serves; liveness depends on nothing but that
//! this task answers. Nothing here may change the node.

use std::io;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use echo_proto::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::report::Report;
use crate::agent::session::Link;

/// What the pages show.
#[derive(Debug, Clone)]
pub struct Health {
    /// Phase and reasons.
    pub report: watch::Receiver<Report>,
    /// How the node stands with etcd.
    pub link: watch::Receiver<Link>,
    /// All metrics of the process.
    pub metrics: Metrics,
}

/// Serves the pages on `listener` until the process ends.
///
/// # Errors
/// Why it can't serve on.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    axum::serve(listener, router(health)).await
}

fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let reason = health.report.borrow().not_ready();
    let Some(mut reason) = reason else { return (StatusCode::OK, "ok\n".to_owned()) };
    if let Link::Lost { cause, .. } = &*health.link.borrow() {
        reason = format!("{reason}: {cause}");
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n"))
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.text())
}
