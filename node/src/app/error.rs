//! Why a node could not start, or had to stop; each message says what to do.
//!
//! Made by [`super::build`] and [`super::App::run`], printed by `main`.

use std::io;
use std::net::SocketAddr;

use crate::agent::register::HeldByOther;
use crate::agent::state_dir::StateDirError;
use crate::live::{ApplyError, StartError, explain};

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The kernel takes no signal handlers.
    #[error("signal handlers: {0}")]
    Signals(#[source] io::Error),
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
