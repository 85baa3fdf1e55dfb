//! New connections of one TCP listener on one shard.
//!
//! Run by [`super::shard`]; hands each connection to a task of its own. It must never spin: when the process is out of
//! files or memory, the kernel's queue holds what comes while we back off.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use echo_proto::backoff::Backoff;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::listener::Listener;
use super::reason::Refusal;
use super::shard::Shard;
use super::socket::BACKLOG;
use super::tcp::{self, Connection};
use super::ticket::Ticket;

/// First pause after the process ran out of files or memory; doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// Longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until `stop` is told or dropped, then takes what is queued and closes.
pub(super) async fn run(
    socket: TcpListener,
    listener: Rc<Listener>,
    shard: Rc<Shard>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = poll_fn(|cx| socket.poll_accept(cx)) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff.reset();
                admit(stream, peer, &listener, &shard);
            }
            Err(e) if listener.refused(Refusal::of(&e)).lasts() => {
                tokio::select! {
                    _ = &mut stop => break,
                    () = tokio::time::sleep(backoff.next_wait()) => {}
                }
            }
            Err(_) => {}
        }
    }
    take_queued(socket, &listener, &shard);
}

/// A connection left in the queue would be reset by the close. Asks the kernel itself, since the runtime may not have
/// heard of the last ones yet.
pub(super) fn take_queued(socket: TcpListener, listener: &Rc<Listener>, shard: &Rc<Shard>) {
    let Ok(socket) = socket.into_std() else { return };
    for _ in 0..BACKLOG {
        match socket.accept() {
            Ok((stream, peer)) => match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => admit(stream, peer, listener, shard),
                Err(e) => {
                    listener.refused(Refusal::of(&e));
                }
            },
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(e) if listener.refused(Refusal::of(&e)).lasts() => return,
            Err(_) => {}
        }
    }
}

/// Serves a connection, or closes it at once when there are as many as there may be.
fn admit(stream: TcpStream, peer: SocketAddr, listener: &Rc<Listener>, shard: &Rc<Shard>) {
    let Some(ticket) = Ticket::new(peer, listener, shard) else { return };
    shard.spin.stir();
    let place = ticket.place();
    let task = tokio::task::spawn_local(tcp::serve(Connection::new(stream, ticket)));
    shard.connections.attach(place, task.abort_handle());
}
