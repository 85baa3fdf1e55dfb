//! Bounds of a node: `template.limits` as written -> a plan with the defaults filled in.
//!
//! Called by [`super`] for each template. Pure.

use std::time::Duration;

use super::{Check, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_CONNECTIONS, MAX_CONNECTIONS, MAX_DATAGRAM, RatePlan};
use crate::v1;

/// Shortest idle timeout and lifetime.
const SHORTEST: Duration = Duration::from_millis(1);

/// Bounds of a node; changed live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsPlan {
    /// TCP connections over all listeners.
    pub max_connections: u32,
    /// TCP connections of one source over all listeners; `None`: no limit.
    pub max_connections_per_source: Option<u32>,
    /// A TCP connection without traffic for so long is closed.
    pub idle_timeout: Duration,
    /// A TCP connection is closed so long after it was accepted; `None`: never.
    pub max_lifetime: Option<Duration>,
    /// Rates of one source, as given; [`Self::source_rate`] tells which of them hold.
    pub per_source: RatePlan,
    /// Rates of each listener, as given; [`Self::listener_rate`] tells which of them hold.
    pub per_listener: RatePlan,
    /// Longest UDP datagram that is served.
    pub max_datagram: usize,
}

impl Default for LimitsPlan {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_connections_per_source: None,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            max_lifetime: None,
            per_source: RatePlan::default(),
            per_listener: RatePlan::default(),
            max_datagram: MAX_DATAGRAM as usize,
        }
    }
}

impl Check {
    pub(super) fn limits(&mut self, path: &str, limits: &v1::Limits) -> LimitsPlan {
        let max_connections = limits.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        self.connections(&format!("{path}.maxConnections"), max_connections);
        if let Some(most) = limits.max_connections_per_source {
            self.connections(&format!("{path}.maxConnectionsPerSource"), most);
        }
        let idle_timeout = limits.idle_timeout.map(|given| self.age(&format!("{path}.idleTimeout"), given));
        let max_lifetime = limits.max_lifetime.map(|given| self.age(&format!("{path}.maxLifetime"), given));
        let max_datagram = limits.max_datagram.unwrap_or(MAX_DATAGRAM);
        self.at_most(&format!("{path}.maxDatagram"), max_datagram.into(), MAX_DATAGRAM.into());
        LimitsPlan {
            max_connections,
            max_connections_per_source: limits.max_connections_per_source,
            idle_timeout: idle_timeout.unwrap_or(DEFAULT_IDLE_TIMEOUT),
            max_lifetime,
            per_source: self.rate(&format!("{path}.perSource"), limits.per_source.as_ref()),
            per_listener: self.rate(&format!("{path}.perListener"), limits.per_listener.as_ref()),
            max_datagram: max_datagram as usize,
        }
    }

    fn connections(&mut self, path: &str, most: u32) {
        self.at_most(path, most.into(), MAX_CONNECTIONS.into());
        if most == 0 {
            self.fail(path, "must be at least 1");
        }
    }

    fn age(&mut self, path: &str, given: prost_types::Duration) -> Duration {
        let age = self.duration(path, Some(given), SHORTEST);
        if age < SHORTEST {
            self.fail(path, "must be at least 1ms");
        }
        age
    }
}
