//! Who this node is: what its record says at all times.
//!
//! Made once by [`crate::app`], read by the session and the Agent service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use echo_proto::ids::{ClusterName, Incarnation, NodeId, PoolName};
use echo_proto::{API_VERSION, VERSION, v1};

use super::report::Report;
use crate::settings::{Settings, Source};

/// Identity of one process.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Cluster that it belongs to.
    pub cluster: ClusterName,
    /// Pool that it serves.
    pub pool: PoolName,
    /// Its id in the pool.
    pub id: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    labels: BTreeMap<String, String>,
    zone: String,
    host: String,
    agent_address: String,
    http_address: String,
    lease_ttl: Option<Duration>,
    started: SystemTime,
}

impl Identity {
    /// The identity of a process that starts now and has bound these addresses.
    pub fn new(settings: &Settings, grpc: SocketAddr, http: SocketAddr) -> Self {
        let advertise = settings.advertise.as_deref();
        Self {
            cluster: settings.cluster.clone(),
            pool: settings.pool.clone(),
            id: settings.id.clone(),
            incarnation: Incarnation::random(),
            labels: settings.labels.clone(),
            zone: settings.zone.clone(),
            host: settings.host.clone(),
            agent_address: reachable(advertise, &settings.host, grpc, true),
            http_address: reachable(advertise, &settings.host, http, false),
            lease_ttl: match settings.source {
                Source::Etcd { lease_ttl, .. } => Some(lease_ttl),
                Source::File(_) => None,
            },
            started: SystemTime::now(),
        }
    }

    /// The node as its record holds it.
    pub fn record(&self, report: &Report, trace: Option<v1::TraceContext>) -> v1::NodeRecord {
        v1::NodeRecord { metadata: Some(self.metadata()), status: Some(self.status(report)), trace }
    }

    /// The node as an API object, with what only the Agent can tell.
    pub fn node(&self, report: &Report, live: v1::LiveFigures) -> v1::Node {
        let status = v1::NodeStatus { live: Some(live), ..self.status(report) };
        v1::Node {
            api_version: API_VERSION.to_owned(),
            kind: "Node".to_owned(),
            metadata: Some(self.metadata()),
            status: Some(status),
        }
    }

    fn metadata(&self) -> v1::ObjectMeta {
        v1::ObjectMeta {
            name: self.id.to_string(),
            labels: self.labels.clone(),
            create_time: Some(self.started.into()),
            ..Default::default()
        }
    }

    fn status(&self, report: &Report) -> v1::NodeStatus {
        v1::NodeStatus {
            pool: self.pool.to_string(),
            zone: self.zone.clone(),
            host: self.host.clone(),
            incarnation: self.incarnation.as_str().to_owned(),
            version: VERSION.to_owned(),
            agent_address: self.agent_address.clone(),
            http_address: self.http_address.clone(),
            phase: report.phase.into(),
            applied: report.applied.clone(),
            rejection: report.rejection.clone(),
            listeners: report.listeners.clone(),
            conditions: report.told_conditions(),
            drain: report.drain.clone(),
            cordoned_by: report.cordoned_by.clone(),
            lease_ttl: self.lease_ttl.and_then(|ttl| ttl.try_into().ok()),
            ..Default::default()
        }
    }
}

/// `host:port` under which others reach what is bound at `bound`: the advertised host, else the bound address, else,
/// where that is every address, the host's name. An advertised port is that of the Agent service alone.
fn reachable(advertise: Option<&str>, host: &str, bound: SocketAddr, agent: bool) -> String {
    let port = bound.port();
    let Some(advertise) = advertise else {
        return if bound.ip().is_unspecified() { format!("{host}:{port}") } else { bound.to_string() };
    };
    match split_port(advertise) {
        (_, true) if agent => advertise.to_owned(),
        (host, _) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        (host, _) => format!("{host}:{port}"),
    }
}

/// The host of `text`, and whether a port follows it; a bare IPv6 address has none.
fn split_port(text: &str) -> (&str, bool) {
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) => {
            (host, true)
        }
        _ => (text, false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_others_reach() {
        let bound = |text: &str| text.parse::<SocketAddr>().unwrap();
        let agent = |advertise, at| reachable(advertise, "host-7", bound(at), true);
        assert_eq!(agent(None, "127.0.0.2:7401"), "127.0.0.2:7401");
        assert_eq!(agent(None, "0.0.0.0:7401"), "host-7:7401");
        assert_eq!(agent(Some("10.0.0.9"), "0.0.0.0:7401"), "10.0.0.9:7401");
        assert_eq!(agent(Some("gate:9000"), "0.0.0.0:7401"), "gate:9000");
        assert_eq!(agent(Some("fd00::9"), "[::]:7401"), "[fd00::9]:7401");
        assert_eq!(agent(Some("[fd00::9]:9000"), "[::]:7401"), "[fd00::9]:9000");
        let http = reachable(Some("gate:9000"), "host-7", bound("0.0.0.0:7481"), false);
        assert_eq!(http, "gate:7481", "an advertised port is the Agent's");
    }
}
