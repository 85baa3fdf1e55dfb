//! Echo, RFC 862: what comes goes back.
//!
//! Called by [`super`].

use std::io;

use echo_proto::stamp;

use super::super::reason::End;
use super::super::tcp::{Connection, stamped};

/// TCP: every byte back, in reads of at most `max_read`, until the peer closes its side; with `once`, only the first
/// read. If that begins with the stamp's magic, the connection is stamped for its life.
pub(super) async fn serve(connection: &mut Connection, max_read: usize, once: bool) -> io::Result<End> {
    let mut read = match first(connection, max_read).await? {
        First::Plain(read) => read,
        First::Stamped(bytes) => return Box::pin(stamped::serve(connection, max_read, once, bytes)).await,
    };
    while read > 0 {
        if once {
            return connection.finish(End::Served).await;
        }
        read = connection.exchange(max_read, |bytes| bytes.len()).await?;
    }
    Ok(End::Peer)
}

/// The first read of a connection.
enum First {
    /// So many bytes, which are answered.
    Plain(usize),
    /// These, which are not answered yet.
    Stamped(Vec<u8>),
}

async fn first(connection: &mut Connection, max_read: usize) -> io::Result<First> {
    let mut marked = Vec::new();
    let read = connection.exchange(max_read, |bytes| {
        if !stamp::is_marked(bytes) {
            return bytes.len();
        }
        marked.extend_from_slice(bytes);
        0
    });
    let read = read.await?;
    Ok(if marked.is_empty() { First::Plain(read) } else { First::Stamped(marked) })
}

/// UDP: the same data, also when there is none.
pub(super) fn respond(request: &mut [u8]) -> Option<usize> {
    Some(request.len())
}
