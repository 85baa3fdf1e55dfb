//! Discard, RFC 863: what comes is dropped.
//!
//! Called by [`super`].

use std::io;

use super::super::reason::End;
use super::super::tcp::Connection;

/// TCP: reads and drops until the peer closes.
pub(super) async fn serve(connection: &mut Connection) -> io::Result<End> {
    while connection.exchange(usize::MAX, |_| 0).await? > 0 {}
    Ok(End::Peer)
}

/// UDP: no answer.
pub(super) fn respond(_request: &mut [u8]) -> Option<usize> {
    None
}
