//! Why a node could not start, or had to stop; each message says what to do.
//!
//! Made by [`super::build`] and [`super::App::run`], printed by `main`.

use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use echo_proto::v1;

use crate::agent::register::HeldByOther;
use crate::agent::report::{DATA_PATH, PROCESS, wrong};
use crate::agent::state_dir::StateDirError;
use crate::live::{ApplyError, StartError, explain};

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The kernel takes no signal handlers.
    #[error("signal handlers: {0}")]
    Signals(#[source] io::Error),
    /// Nobody would end the node when whoever started it is gone.
    #[error("lifeline: {0}")]
    Lifeline(#[source] io::Error),
    /// A port of the control side is not to be had.
    #[error("{flag} {address}: {}; is another echo-node running? choose another {flag}", explain(.source))]
    Bind {
        /// Whose address it is.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The state directory can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The shards could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The pool file can't be served.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Why a node had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task that the node can't be without has ended.
    #[error("{task} ended: {reason}")]
    Critical {
        /// Which.
        task: &'static str,
        /// Why.
        reason: String,
    },
    /// Another process has this node's id.
    #[error(transparent)]
    Held(#[from] HeldByOther),
    /// A second signal came before the node had drained.
    #[error("ended at once by a second {0}; open connections were cut")]
    Forced(&'static str),
}

/// Name of the task that ends with the first shard.
pub(super) const DATA_PATH_TASK: &str = "data path";

impl RunError {
    /// What the node's record says before it goes, where a part of the node has ended.
    pub(super) fn last_words(&self) -> Option<v1::Condition> {
        let (kind, reason) = match self {
            Self::Critical { task: DATA_PATH_TASK, .. } => (DATA_PATH, "ShardEnded"),
            Self::Critical { .. } => (PROCESS, "TaskEnded"),
            Self::Held(_) | Self::Forced(_) => return None,
        };
        Some(wrong(kind, reason, self.to_string(), SystemTime::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_that_ended_has_last_words() {
        let ended = |task| RunError::Critical { task, reason: "it panicked".into() }.last_words();
        let told = |task| ended(task).map(|c| (c.r#type, c.reason, c.message));
        let words = |kind: &str, reason: &str, message: &str| Some((kind.into(), reason.into(), message.into()));
        assert_eq!(told(DATA_PATH_TASK), words("DataPath", "ShardEnded", "data path ended: it panicked"));
        assert_eq!(told("metrics"), words("Process", "TaskEnded", "metrics ended: it panicked"));
        assert_eq!(RunError::Forced("SIGTERM").last_words(), None);
    }
}
