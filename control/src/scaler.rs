//! Who makes nodes come and go, so that each pool has as many as it wants.
//!
//! Told by the drive of the leader; each implementation does its work in a task of its own and never makes the drive
//! wait. It counts what really runs, never records in etcd.

pub mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::fleet::natural_order;
use crate::plan::scale::Usage;
use crate::view::View;
use crate::words::count;

/// What the pools want.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Nodes, by pool. A pool that is not named keeps what it has: a key that is missing may be a restored backup.
    pub replicas: BTreeMap<PoolName, u32>,
    /// How long a node may drain, by pool.
    pub drains: BTreeMap<PoolName, Duration>,
    /// Nodes that do not serve everybody: they go first. Ids are unique in a pool only.
    pub idle: BTreeMap<(PoolName, NodeId), Usage>,
    /// Nodes that are named as scalers name theirs, and may live.
    pub registered: BTreeMap<(PoolName, NodeId), Registered>,
}

/// A node, by its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Which life of it.
    pub incarnation: String,
    /// Where it runs.
    pub host: String,
    /// Where it was told that it is; empty: nowhere.
    pub zone: String,
    /// It is on its way out.
    pub leaves: bool,
    /// It lives for certain.
    pub sure: bool,
}

/// Name of the scaler that runs nodes as processes of its host.
pub(crate) const PROCESS: &str = "process";
/// Name of the scaler that runs none.
pub(crate) const NONE: &str = "none";
/// Type of the condition of a pool whose scaler can't do what it wants.
pub(crate) const FAILED: &str = "ScalerFailed";
/// Reason of the event of a node that was no longer wanted, and is gone.
pub(crate) const RETIRED: &str = "NodeRetired";
/// Nodes that one message names.
const MAX_NAMED: usize = 8;
/// Events that wait for the drive to store them; beyond, they are only logged.
const MAX_NOTICES: usize = 256;

/// Something that runs nodes. One that leaves them to an orchestrator, which has its own idea of who goes first, needs no
/// more of [`Wanted`] than the numbers.
pub trait Scaler: Debug + Send + Sync {
    /// As in `--scaler`.
    fn name(&self) -> &'static str;

    /// Whether it makes nodes come and go at all.
    fn acts(&self) -> bool;

    /// Why pools do not have as many nodes as they want, in words, as far as this scaler knows; lives as long as it.
    fn failures(&self) -> watch::Receiver<Failures>;

    /// What the pools want from now on; `None`: hands off, another process leads. Must return at once.
    fn want(&self, wanted: Option<Wanted>);

    /// The nodes of a pool that run here and were not told to go, whatever is stored, whoever leads. May read files.
    fn living(&self, pool: &PoolName) -> BTreeSet<NodeId>;
}

/// How many nodes a pool has that stay: where nothing that is stored tells how many it wants. A record may be missing
/// that a living process is about to write again.
pub(crate) async fn there(scaler: &Arc<dyn Scaler>, view: &View, pool: &PoolName) -> u32 {
    let living = living(scaler, pool).await;
    view.read(|state| state.pools.get(pool).map_or(living.len(), |pool| pool.fleet.staying(&living)))
        .try_into()
        .unwrap_or(u32::MAX)
}

/// As [`Scaler::living`], on a thread of its own.
pub(crate) async fn living(scaler: &Arc<dyn Scaler>, pool: &PoolName) -> BTreeSet<NodeId> {
    let (here, name) = (scaler.clone(), pool.clone());
    let living = spawn_blocking(move || here.living(&name)).await;
    living.inspect_err(|error| tracing::error!(%error, %pool, "who runs is not known")).unwrap_or_default()
}

/// That nobody starts nodes, and who should: the leader's scaler is [`NONE`].
pub(crate) fn idle(leader: &v1::LeaderRecord) -> String {
    format!(
        "the control that leads, {} on {}, runs with --scaler none: it starts and ends no nodes",
        leader.address, leader.host
    )
}

/// That so many are too many of those that the leader can't end, who they are, by name and host, and who ends them.
pub(crate) fn elsewhere<'a>(many: u32, nodes: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut told: Vec<_> = nodes.collect();
    told.sort_by(|(a, _), (b, _)| natural_order(a, b));
    let named: Vec<_> = told.iter().take(MAX_NAMED).map(|(name, host)| format!("{name} on {host}")).collect();
    let more = match told.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let end = told.last().map_or("NAME", |(name, _)| *name);
    format!(
        "{} too many, which the control that leads did not start and does not stop: {}{more}; \
         `echoctl delete node/{end}` ends one",
        count(many, "node"),
        named.join(", ")
    )
}

/// What a scaler can't do, by pool.
pub type Failures = BTreeMap<PoolName, Failure>;

/// Why a pool does not have as many nodes as it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In CamelCase.
    pub reason: &'static str,
    /// In words, with what to do.
    pub message: String,
}

/// Nodes are started by others, or by hand.
#[derive(Debug, Default)]
pub struct NoScaler(watch::Sender<Failures>);

impl Scaler for NoScaler {
    fn name(&self) -> &'static str {
        NONE
    }

    fn acts(&self) -> bool {
        false
    }

    fn failures(&self) -> watch::Receiver<Failures> {
        self.0.subscribe()
    }

    fn want(&self, _: Option<Wanted>) {}

    fn living(&self, _: &PoolName) -> BTreeSet<NodeId> {
        BTreeSet::new()
    }
}

/// What a scaler tells.
#[derive(Debug, Clone)]
pub struct Notice {
    /// To be stored.
    pub event: v1::Event,
    /// etcd's revision, as far as this process knew it when that came about.
    pub revision: i64,
}

/// Where a scaler reports; cheap to clone.
#[derive(Clone)]
pub struct Notices {
    sender: mpsc::Sender<Notice>,
    view: View,
}

impl Notices {
    /// The reporting end, which notes what is known just then, and the one that the drive reads.
    pub fn channel(view: View) -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(MAX_NOTICES);
        (Self { sender, view }, receiver)
    }

    fn send(&self, event: v1::Event) {
        tracing::info!(object = event.object, reason = event.reason, "{}", event.message);
        let notice = Notice { event, revision: self.view.read(|state| state.revision) };
        if self.sender.try_send(notice).is_err() {
            tracing::warn!("an event was not stored: {MAX_NOTICES} wait already");
        }
    }
}
