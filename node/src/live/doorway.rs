//! What the agent needs of a data path: the doorway without the shards behind it.
//!
//! Asked by the applier only. A node has [`Live`]; a swarm of agents, which shows what a fleet asks of etcd and control,
//! has none that costs anything. What each call promises is told there.

use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::spec::Plan;
use echo_proto::v1;

use super::{ApplyError, Bound, Live};

/// A data path as the agent sees it.
pub trait Doorway: Send + 'static {
    /// Serves this plan in place of what was served before: whole or not at all.
    ///
    /// # Errors
    /// What was served before goes on.
    fn apply(
        &mut self,
        plan: &Plan,
        revision: &v1::RevisionRef,
    ) -> impl Future<Output = Result<Vec<Bound>, ApplyError>> + Send;

    /// From now on no datagram is served that comes from one of these sockets.
    fn set_fleet_ports(&mut self, fleet: Vec<SocketAddr>) -> impl Future<Output = ()> + Send;

    /// Closes the TCP listeners; open connections and UDP go on.
    fn close_tcp(&mut self) -> impl Future<Output = ()> + Send;

    /// Closes all listeners.
    fn close_listeners(&mut self) -> impl Future<Output = ()> + Send;

    /// Closes every open connection; returns how many.
    fn cut(&mut self) -> impl Future<Output = u64> + Send;

    /// What is served, in the order of the plan.
    fn bound(&self) -> Vec<Bound>;

    /// Whether any socket is open.
    fn serves(&self) -> bool;

    /// Set while the plan asks for more connections than this process may open: how many, and how many it may.
    fn clamped(&self) -> Option<(u32, u64)>;

    /// TCP connections open now.
    fn connections(&self) -> u64;

    /// How long no datagram has come; `None` if none ever did, or no socket is there for any.
    fn udp_idle(&self) -> Option<Duration>;

    /// Closes what is open, and ends.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

impl Doorway for Live {
    async fn apply(&mut self, plan: &Plan, revision: &v1::RevisionRef) -> Result<Vec<Bound>, ApplyError> {
        Self::apply(self, plan, revision).await
    }

    async fn set_fleet_ports(&mut self, fleet: Vec<SocketAddr>) {
        Self::set_fleet_ports(self, fleet).await;
    }

    async fn close_tcp(&mut self) {
        Self::close_tcp(self).await;
    }

    async fn close_listeners(&mut self) {
        Self::close_listeners(self).await;
    }

    async fn cut(&mut self) -> u64 {
        Self::cut(self).await
    }

    fn bound(&self) -> Vec<Bound> {
        Self::bound(self)
    }

    fn serves(&self) -> bool {
        Self::serves(self)
    }

    fn clamped(&self) -> Option<(u32, u64)> {
        Self::clamped(self)
    }

    fn connections(&self) -> u64 {
        Self::connections(self)
    }

    fn udp_idle(&self) -> Option<Duration> {
        Self::udp_idle(self)
    }

    async fn stop(self) {
        Self::stop(self).await;
    }
}
