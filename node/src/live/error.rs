//! What can go wrong at the doorway, in words that an operator can act on.
//!
//! Made by [`super::Live`]; the agent puts [`ApplyError::listener`] and [`ApplyError::cause`] into the node's record
//! and [`ApplyError::label`] on metrics and spans. It must never name a peer's address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::ids::ListenerName;
use echo_proto::spec::Protocol;

/// The shards could not be started.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard}: start a thread: {}; fewer shards need less (--shards)", explain(.source))]
pub struct StartError {
    /// Which of them, from 0.
    pub shard: usize,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Why a plan was not applied; the one before it serves on.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A socket could not be had.
    #[error("listener {listener}: bind {address}: {}", explain(.source))]
    Bind {
        /// The listener at fault.
        listener: ListenerName,
        /// Its transport.
        protocol: Protocol,
        /// The address it asked for.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A shard could not take its sockets, or is gone.
    #[error("shard {shard}: {cause}")]
    Shard {
        /// Which of them, from 0.
        shard: usize,
        /// What it said.
        cause: String,
    },
    /// A shard did not answer.
    #[error("shard {shard}: no answer within {} s; the node is overloaded or stuck", .waited.as_secs())]
    Timeout {
        /// Which of them, from 0.
        shard: usize,
        /// How long it was given.
        waited: Duration,
    },
}

impl ApplyError {
    /// The listener at fault, when it is one.
    pub fn listener(&self) -> Option<&ListenerName> {
        match self {
            Self::Bind { listener, .. } => Some(listener),
            Self::Shard { .. } | Self::Timeout { .. } => None,
        }
    }

    /// The address that could not be had.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Bind { address, .. } => Some(*address),
            Self::Shard { .. } | Self::Timeout { .. } => None,
        }
    }

    /// The cause without the listener's name: `bind 0.0.0.0:7007: address in use`.
    pub fn cause(&self) -> String {
        match self {
            Self::Bind { address, source, .. } => format!("bind {address}: {}", explain(source)),
            Self::Shard { .. } | Self::Timeout { .. } => self.to_string(),
        }
    }

    /// Stable name for metrics and spans (`error.type`).
    pub fn label(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "bind",
            Self::Shard { .. } => "shard",
            Self::Timeout { .. } => "timeout",
        }
    }

    /// The same as the node's record tells it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => "AddressInUse",
            Self::Bind { .. } => "BindFailed",
            Self::Shard { .. } => "ShardFailed",
            Self::Timeout { .. } => "TimedOut",
        }
    }
}

/// A shard that ended though nobody asked it to: the process must not go on with the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} ended: {cause}")]
pub struct ShardFailure {
    /// Which of them, from 0.
    pub shard: usize,
    /// The panic's text, or what failed.
    pub cause: String,
}

/// An error of the kernel as an operator would say it; the kernel's own text where we know no better.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "address not available on this host".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned(),
        _ => match error.raw_os_error() {
            Some(libc::EMFILE) => "too many open files in this process (raise ulimit -n)".to_owned(),
            Some(libc::ENFILE) => "too many open files on this host (raise fs.file-max)".to_owned(),
            Some(libc::ENOBUFS | libc::ENOMEM) => "the kernel is out of memory for sockets".to_owned(),
            Some(libc::EAFNOSUPPORT) => "address family not supported by this host".to_owned(),
            _ => error.to_string(),
        },
    }
}
