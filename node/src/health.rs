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

use crate::agent::link::Link;
use crate::agent::report::Report;
use crate::intake::{Intake, Patience};

/// Most connections at once: probes and scrapers are few. Together with the Agent service's they must leave room in the
/// files that are kept from the data path.
const MAX_CONNECTIONS: usize = 24;

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
    axum::serve(Intake::new(listener, MAX_CONNECTIONS, Patience::EachAnswer), router(health)).await
}

fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match not_ready(&health.report.borrow(), &health.link.borrow()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

/// Why the node is not ready. That etcd is gone is only ever a part of the reason, never the reason.
fn not_ready(report: &Report, link: &Link) -> Option<String> {
    let reason = report.not_ready()?;
    match link {
        Link::Lost { cause, .. } => Some(format!("{reason}; {cause}")),
        Link::Joining | Link::Registered(_) => Some(reason),
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.text())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use echo_proto::v1::NodePhase;

    use super::*;

    #[test]
    fn a_node_that_serves_is_ready_without_etcd() {
        let lost = Link::Lost { since: SystemTime::UNIX_EPOCH, reason: "EtcdLost", cause: "etcd: refused".into() };
        let mut report = Report::starting();
        assert_eq!(not_ready(&report, &lost).as_deref(), Some("no config is applied yet; etcd: refused"));
        assert_eq!(not_ready(&report, &Link::Joining).as_deref(), Some("no config is applied yet"));
        report.phase = NodePhase::Ready;
        assert_eq!(not_ready(&report, &lost), None);
        report.phase = NodePhase::Draining;
        assert_eq!(not_ready(&report, &Link::Joining).as_deref(), Some("draining"));
    }
}
