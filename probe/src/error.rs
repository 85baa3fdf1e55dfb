//! Why an echo failed, in words for a person.
//!
//! Made by [`crate::echo`]; shown by `echoctl`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why an echo failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No answer in time. Over UDP also when nobody listens, since nothing tells.
    #[error("{transport} echo from {address}: no answer within {} ms", .timeout.as_millis())]
    Timeout {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// How long it was given.
        timeout: Duration,
    },
    /// The kernel refused, or the peer reset the connection.
    #[error("{transport} echo from {address}: {}", explain(.source))]
    Io {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The peer closed before all had come back.
    #[error("{transport} echo from {address}: closed after {received} of {sent} bytes")]
    Closed {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// Bytes that came back.
        received: usize,
        /// Bytes that were sent.
        sent: usize,
    },
    /// Something else came back.
    #[error("{transport} echo from {address}: {received} bytes came back for {sent}, the first wrong one at {at}")]
    Mismatch {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// Place of the first byte that differs or is missing, from 0.
        at: usize,
        /// Bytes that came back.
        received: usize,
        /// Bytes that were sent.
        sent: usize,
    },
}

impl ProbeError {
    /// Stable name for metrics and tables.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Io { .. } => "io",
            Self::Closed { .. } => "closed",
            Self::Mismatch { .. } => "mismatch",
        }
    }
}

/// What the kernel says of a connection, in words for a person.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused; nobody listens there".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by the peer".to_owned(),
        _ => error.to_string(),
    }
}
