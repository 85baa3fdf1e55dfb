//! The last good config: kept once it has served for a while, used when a start finds no etcd, or no config in it. And
//! the fleet's ports: kept at once, used from the start.
//!
//! Used by the applier only. A config that etcd has always goes before it; a key that is missing or garbage does not.

use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::ids::NodeId;
use echo_proto::telemetry::context;
use echo_proto::v1;
use tokio::time::Instant;
use tracing::{Instrument as _, info, info_span, warn};

use super::Applier;
use super::guard::Guard;
use crate::agent::assignment::Assignment;
use crate::agent::ports::FleetPorts;
use crate::agent::saved::SavedConfig;
use crate::live::Doorway;

/// How long a start waits for etcd.
const ETCD_FIRST: Duration = Duration::from_secs(2);
/// How soon a file that could not be removed is tried again.
pub(super) const FORGET_AGAIN: Duration = Duration::from_secs(30);

/// The saved config, and when to do something about it.
#[derive(Debug)]
pub(super) struct Fallback {
    saved: SavedConfig,
    /// What it holds, as far as this process knows.
    pub(super) holds: Option<v1::RevisionRef>,
    /// The fleet's ports, as they were told last ...
    ports: Option<Vec<SocketAddr>>,
    /// ... and whether they could not be saved.
    unsaved: bool,
    /// When to serve it without etcd; `None` once that is decided.
    pub(super) use_at: Option<Instant>,
    /// When to replace it by what is served then; `None` if nothing is new.
    pub(super) keep_at: Option<Instant>,
    /// When to try again to remove what must not be served.
    pub(super) forget_at: Option<Instant>,
    pub(super) guard: Guard,
    /// How long a config serves before it counts as good.
    good_after: Duration,
}

impl Fallback {
    pub(super) fn new(saved: SavedConfig, good_after: Duration) -> Self {
        let (use_at, guard) = (Some(Instant::now() + ETCD_FIRST), Guard::new(saved.trials(), good_after));
        let (holds, ports, unsaved, keep_at, forget_at) = (None, None, false, None, None);
        Self { saved, holds, ports, unsaved, use_at, keep_at, forget_at, guard, good_after }
    }

    /// What was saved, if it is valid.
    pub(super) async fn load(&self, node: &NodeId) -> Option<Assignment> {
        self.saved.load(node).await
    }

    /// Notes what was saved.
    pub(super) async fn recall(&mut self, node: &NodeId) {
        self.holds = self.load(node).await.map(|saved| saved.stable.revision);
    }
}

impl<D: Doorway> Applier<D> {
    /// The saved config is not needed.
    pub(super) fn no_fallback(&mut self) {
        if let Some(fallback) = &mut self.fallback {
            fallback.use_at = None;
        }
    }

    /// Something new is served: if it still is in a while, it is good.
    pub(super) fn keep_later(&mut self) {
        if let Some(fallback) = &mut self.fallback {
            (fallback.keep_at, fallback.forget_at) = (Some(Instant::now() + fallback.good_after), None);
        }
    }

    /// Guards from the ports that were saved, until etcd tells others: before anything is served.
    pub(super) async fn recall_ports(&mut self) {
        let Some(fallback) = &mut self.fallback else { return };
        match fallback.saved.load_ports().await {
            Ok(None) => {}
            Ok(Some(ports)) => {
                fallback.ports = Some(ports.clone());
                self.live.set_fleet_ports(ports).await;
            }
            Err(error) => {
                warn!(%error, "until etcd tells them, the guard does not know the ports at which the fleet answers");
            }
        }
    }

    /// Guards from these ports, also after a start without etcd.
    pub(super) async fn guard_from(&mut self, FleetPorts { sockets, trace }: FleetPorts) {
        let span = info_span!("guard_ports", echo.pool = %self.own.pool, echo.node = %self.own.node);
        context::set_parent(&span, trace.as_ref());
        self.live.set_fleet_ports(sockets.clone()).instrument(span).await;
        let Some(fallback) = &mut self.fallback else { return };
        if fallback.ports.as_ref() == Some(&sockets) && !fallback.unsaved {
            return;
        }
        let stored = fallback.saved.store_ports(&sockets).await;
        (fallback.ports, fallback.unsaved) = (Some(sockets), stored.is_err());
        if let Err(error) = stored {
            warn!(%error, "a start without etcd will not know all ports at which the fleet answers");
        }
    }

    /// Serves the saved config, if there is one.
    pub(super) async fn fall_back(&mut self) {
        let Some(fallback) = &mut self.fallback else { return };
        fallback.use_at = None;
        if fallback.ports.is_none() {
            // The disk may have been too slow at the start.
            self.recall_ports().await;
        }
        let Some(fallback) = &mut self.fallback else { return };
        let Some(assignment) = fallback.load(&self.own.node).await else { return };
        warn!(revision = assignment.stable.revision.n, "no config from etcd; serving the one of the state directory");
        fallback.holds = Some(assignment.stable.revision.clone());
        self.current = Some(assignment);
        self.settle(false).await;
    }

    /// Saves what is served.
    pub(super) async fn keep(&mut self) {
        let Some(fallback) = &mut self.fallback else { return };
        // First of all: a time that has come would come again at once.
        fallback.keep_at = None;
        let Some(assignment) = &self.current else { return };
        let mut offers = assignment.next.iter().chain([&assignment.stable]);
        let Some(good) = offers.find(|offer| self.held.applied.as_ref() == Some(&offer.revision)) else { return };
        if fallback.holds.as_ref() == Some(&good.revision) {
            return;
        }
        match fallback.saved.store(good).await {
            Ok(()) => {
                info!(revision = good.revision.n, "saved for a start without etcd");
                fallback.holds = Some(good.revision.clone());
            }
            Err(error) => warn!(%error, "a start without etcd will not find this config"),
        }
    }

    /// What was saved must not be served any more: the pool is gone, or the node was drained.
    pub(super) async fn forget(&mut self) {
        let Some(fallback) = &mut self.fallback else { return };
        (fallback.holds, fallback.keep_at, fallback.forget_at) = (None, None, None);
        if let Err(error) = fallback.saved.remove().await {
            warn!(%error, "a start without etcd would serve what must not be served; will try again");
            fallback.forget_at = Some(Instant::now() + FORGET_AGAIN);
        }
    }
}

#[cfg(test)]
mod tests;
