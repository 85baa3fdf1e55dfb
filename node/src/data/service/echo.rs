//! Echo, RFC 862: what comes goes back.
//!
//! Called by [`super`].

use std::io;

use super::super::reason::End;
use super::super::tcp::Connection;

/// TCP: every byte back, in reads of at most `max_read`, until the peer closes its side; with `once`, only the first
/// read.
pub(super) async fn serve(connection: &mut Connection, max_read: usize, once: bool) -> io::Result<End> {
    loop {
        match connection.exchange(max_read, |bytes| bytes.len()).await? {
            0 => return Ok(End::Peer),
            _ if once => return connection.finish().await,
            _ => {}
        }
    }
}

/// UDP: the same data, also when there is none.
pub(super) fn respond(request: &mut [u8]) -> Option<usize> {
    Some(request.len())
}
