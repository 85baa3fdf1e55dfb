//! Echo, RFC 862: what comes goes back.
//!
//! Called by [`super`].

use std::io;

use echo_proto::stamp;

use super::super::reason::End;
use super::super::tcp::{Connection, stamped};

/// TCP: every byte back, in reads of at most `max_read`, until the peer closes its side; with `once`, only the first
/// read. If that begins with the stamp's magic, the connection is stamped for its life.
pub(super) fn serve(connection: &mut Connection, max_read: usize, once: bool) -> impl Future<Output = io::Result<End>> {
    async move {
        let mut marked = None;
        let mut read = connection.exchange(max_read, |bytes| unless_marked(bytes, &mut marked)).await?;
        if let Some(marked) = marked {
            return Box::pin(stamped::serve(connection, max_read, once, marked)).await;
        }
        while read > 0 {
            if once {
                return connection.finish(End::Served).await;
            }
            read = connection.exchange(max_read, |bytes| bytes.len()).await?;
        }
        Ok(End::Peer)
    }
}

/// How much of a connection's first read is answered at once: all of it, but for what begins with the magic.
fn unless_marked(bytes: &[u8], marked: &mut Option<Vec<u8>>) -> usize {
    if stamp::is_marked(bytes) {
        *marked = Some(bytes.to_vec());
        return 0;
    }
    bytes.len()
}

/// UDP: the same data, also when there is none.
pub(super) fn respond(request: &mut [u8]) -> Option<usize> {
    Some(request.len())
}
