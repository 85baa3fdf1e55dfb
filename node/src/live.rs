//! The one doorway between control and data: the agent puts a validated plan in, the shards serve it.
//!
//! Owned by the node's control side; nobody else talks to the shards. A plan is applied whole or not at all, and no
//! call waits without a limit. It must never make the data path wait: shards take what is handed to them between two
//! packets.

mod error;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use echo_proto::ids::ListenerName;
use echo_proto::spec::{Plan, Protocol};

pub use crate::data::counters::Counters;
pub use error::{ApplyError, ShardFailure, StartError, explain};

/// How to start.
#[derive(Debug, Clone, Copy)]
pub struct LiveOptions {
    /// Threads that serve; [`usable_cores`] by default.
    pub shards: NonZeroUsize,
    /// Address of listeners that name none.
    pub address: IpAddr,
}

/// A listener as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its name in the plan.
    pub name: ListenerName,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address really bound; the port is never 0.
    pub address: SocketAddr,
}

/// Cores this process may use: its affinity and its cgroup's quota counted.
pub fn usable_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The shards and what they serve.
#[derive(Debug)]
pub struct Live;

impl Live {
    /// Starts the shards; they serve nothing yet. Needs no runtime.
    ///
    /// # Errors
    /// A thread or its event queue could not be had.
    pub fn start(options: LiveOptions) -> Result<Self, StartError> {
        let _ = options;
        unimplemented!()
    }

    /// Serves `plan` in place of what was served before: whole or not at all.
    ///
    /// # Errors
    /// What was served before goes on untouched.
    pub async fn apply(&mut self, plan: &Arc<Plan>) -> Result<Vec<Bound>, ApplyError> {
        let _ = plan;
        unimplemented!()
    }

    /// Closes every listening and UDP socket, after taking what is queued; open connections go on.
    pub async fn close_listeners(&mut self) {
        unimplemented!()
    }

    /// TCP connections open now.
    pub fn connections(&self) -> u64 {
        unimplemented!()
    }

    /// Waits until no connection is open, for `deadline` at most; returns how many are left.
    pub async fn wait_idle(&self, deadline: Duration) -> u64 {
        let _ = deadline;
        unimplemented!()
    }

    /// Closes what is open and ends the shards.
    pub async fn stop(self) {
        unimplemented!()
    }

    /// A handle to read the counters with; cheap to clone, and good beyond [`Self::stop`].
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }

    /// Resolves when a shard ended that should not have.
    pub fn failure(&self) -> impl Future<Output = ShardFailure> + Send + 'static {
        std::future::pending()
    }
}
