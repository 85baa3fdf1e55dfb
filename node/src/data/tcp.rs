//! One TCP connection: read into the shard's buffer, let the service answer, write at once.
//!
//! Started by [`super::accept`]; the services drive it through [`Connection`]. An idle connection owns no buffer: only
//! what the peer has not taken yet is kept, at most one read, and nothing more is read meanwhile.

// What an `async fn` is given has its place in the future twice, what an async block captures has it once.
#![allow(clippy::manual_async_fn)]

mod paced;
mod proxied;
pub(super) mod stamped;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{self, RecvFlags, SendFlags};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

use super::reason::End;
use super::service;
use super::ticket::{Ticket, plain};
use super::who::Who;
use proxied::Proxied;

/// The most a peer may still send after we ended a connection, in bytes; what comes beyond is answered with a reset.
const LINGER_BYTES: usize = 1 << 20;

/// Serves one connection to its end.
pub(super) fn serve(mut connection: Connection) -> impl Future<Output = ()> {
    async move {
        let served = Rc::clone(&connection.ticket.served);
        // In a box: its memory is given back before the service begins.
        if served.balancers.is_some()
            && let Err(refusal) = Box::pin(connection.read_header()).await
        {
            served.slot.refused.add(refusal, 1);
            connection.ticket.activity.end().set(End::Refused);
            return;
        }
        let end = service::serve(&served.service, &mut connection).await.unwrap_or_else(|e| End::of(&e));
        connection.ticket.activity.end().set(end);
    }
}

/// A connection as a service sees it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Before the stream, so that whoever sees the close also sees it counted.
    ticket: Ticket,
    stream: TcpStream,
    /// What the peer has not taken yet, if anything.
    unsent: Option<Box<Unsent>>,
    /// Set where a load balancer has begun it.
    proxied: Option<Box<Proxied>>,
}

/// Bytes that are to be sent, and how many of them are.
#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// Of a stream that has just come.
    pub(super) fn new(stream: TcpStream, ticket: Ticket) -> Self {
        Self { ticket, stream, unsent: None, proxied: None }
    }

    /// Waits until the peer has taken what is left of earlier answers, then for bytes, at most `max_read`, and sends as
    /// many of them back as `respond` says, from the start of the buffer in which it may change them. Returns how many
    /// were read, 0 once the peer has closed its side.
    ///
    /// # Errors
    /// The kernel's, such as a reset.
    pub(super) fn exchange(
        &mut self,
        max_read: usize,
        mut respond: impl FnMut(&mut [u8]) -> usize,
    ) -> impl Future<Output = io::Result<usize>> {
        async move {
            loop {
                match poll_fn(|cx| self.poll_exchange(cx, max_read, &mut respond)).await? {
                    Some(read) => return Ok(read),
                    // In a box, so that connections without a rate do not carry it.
                    None => Box::pin(self.wait()).await?,
                }
            }
        }
    }

    /// [`Self::exchange`], or `None` if it is above its rates.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        max_read: usize,
        respond: &mut impl FnMut(&mut [u8]) -> usize,
    ) -> Poll<io::Result<Option<usize>>> {
        if self.unsent.is_some() {
            ready!(self.poll_flush(cx))?;
        }
        let shard = Rc::clone(&self.ticket.shard);
        let buffer = &mut *shard.read_buffer.borrow_mut();
        let room = buffer.len().min(max_read);
        let room = buffer.get_mut(..room).unwrap_or_default();
        let Some(read) = ready!(self.poll_take(cx, |stream| receive_now(stream, room)))? else {
            return Poll::Ready(Ok(None));
        };
        if read > 0 {
            self.ticket.served.slot.exchanges.add(1);
            self.ticket.activity.touch();
            shard.spin.stir();
            let bytes = room.get_mut(..read).unwrap_or_default();
            let answer = respond(bytes).min(read);
            self.send(bytes.get(..answer).unwrap_or_default())?;
        }
        Poll::Ready(Ok(Some(read)))
    }

    /// Sends `bytes`, whatever the peer may have asked, and ends from our side.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn say(&mut self, bytes: Vec<u8>) -> impl Future<Output = io::Result<End>> {
        self.unsent = Some(Box::new(Unsent { bytes, sent: 0 }));
        self.finish(End::Served)
    }

    /// Sends `text` again and again, as fast as the peer takes it and its rates allow, and drops what it sends, until it
    /// closes its side.
    ///
    /// # Errors
    /// The kernel's, such as a reset.
    pub(super) fn pour(&mut self, text: &'static [u8]) -> impl Future<Output = io::Result<()>> {
        async move {
            let mut at = 0;
            while poll_fn(|cx| self.poll_pour(cx, text, &mut at)).await? {
                Box::pin(self.wait()).await?;
            }
            Ok(())
        }
    }

    /// [`Self::pour`], until it is above its rates; false at its end.
    fn poll_pour(&mut self, cx: &mut Context<'_>, text: &[u8], at: &mut usize) -> Poll<io::Result<bool>> {
        // Both end as pending, with the runtime told: when nothing is there, or when it is the turn of others.
        while let Poll::Ready(read) = self.poll_discard(cx) {
            match read? {
                Some(0) => return Poll::Ready(Ok(false)),
                Some(_) => self.ticket.activity.touch(),
                None => return Poll::Ready(Ok(true)),
            }
        }
        while self.over().is_none() {
            let rest = text.get(*at..).unwrap_or_default();
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            self.ticket.charge(sent);
            *at = (*at + self.ticket.sent(sent)) % text.len().max(1);
        }
        Poll::Ready(Ok(true))
    }

    /// Who the node is, by now.
    pub(super) fn who(&self) -> Arc<Who> {
        Arc::clone(&self.ticket.shard.who.borrow())
    }

    /// Our end.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr().map(plain)
    }

    /// The other end, or the client that a load balancer has named.
    pub(super) fn peer(&self) -> SocketAddr {
        self.ticket.peer
    }

    /// What a load balancer has said, where the listener asks for it.
    pub(super) fn proxied(&self) -> Option<&Proxied> {
        self.proxied.as_deref()
    }

    /// Hands the kernel what it takes now and keeps the rest.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = match send_now(&self.stream, bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            sent => self.ticket.sent(sent?),
        };
        if let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            self.unsent = Some(Box::new(Unsent { bytes: rest.to_vec(), sent: 0 }));
        }
        Ok(())
    }

    /// Waits until the peer has taken what is left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = &mut self.unsent {
            let rest = unsent.bytes.get(unsent.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.unsent = None;
                break;
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            unsent.sent += self.ticket.sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends from our side: sends what is left, closes it, then takes what the peer still sends, within bounds. A close
    /// with unread input would be a reset, and a reset destroys the answer that is still on its way (RFC 1122, section
    /// 4.2.2.13).
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn finish(&mut self, end: End) -> io::Result<End> {
        poll_fn(|cx| self.poll_flush(cx)).await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
        self.ticket.activity.touch();
        self.ticket.activity.linger(end);
        let mut taken = 0;
        while taken < LINGER_BYTES {
            match poll_fn(|cx| self.poll_discard(cx)).await {
                Ok(Some(0)) | Err(_) => break,
                Ok(Some(n)) => taken += n,
                Ok(None) if Box::pin(self.wait()).await.is_ok() => {}
                Ok(None) => break,
            }
        }
        Ok(end)
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let shard = Rc::clone(&self.ticket.shard);
        let buffer = &mut *shard.read_buffer.borrow_mut();
        self.poll_take(cx, |stream| receive_now(stream, buffer))
    }
}

/// One read, if there is something to read. One that does not fill its room has emptied the socket: the runtime is told
/// so, which saves a system call that would find nothing.
fn receive_now(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut came = None;
    let tried = stream.try_io(Interest::READABLE, || {
        let (_, bytes) = net::recv(stream, &mut *room, RecvFlags::DONTWAIT)?;
        came = Some(bytes);
        if bytes == 0 || bytes == room.len() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    match came {
        Some(bytes) => Ok(bytes),
        None => tried.map(|()| 0),
    }
}

/// One write, of as much as the kernel takes now.
fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    stream.try_io(Interest::WRITABLE, || Ok(net::send(stream, bytes, flags)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: fn(Connection) -> F) -> usize {
        size_of::<F>()
    }

    /// Tokio keeps a task in multiples of 128 bytes, and adds 104 of its own: this makes it three. With what it keeps of
    /// the socket, what the table does, and what the allocator adds, 15,000 idle connections cost 0.88 KiB each.
    #[test]
    fn a_connection_is_small() {
        let size = size_of_future(serve);
        assert!(size <= 3 * 128 - 104, "{size} bytes");
    }
}
