//! One TCP connection: read into the shard's buffer, let the service answer, write at once.
//!
//! Started by [`super::accept`]; the services drive it through [`Connection`]. An idle connection owns no buffer: only
//! what the peer has not taken yet is kept, at most one read, and nothing more is read meanwhile.

mod proxied;
pub(super) mod stamped;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::listener::Served;
use super::reason::End;
use super::service;
use super::ticket::{Ticket, plain};
use super::who::Who;
use proxied::Proxied;

/// The most a peer may still send after we ended a connection, in bytes; what comes beyond is answered with a reset.
const LINGER_BYTES: usize = 1 << 20;
/// How often a connection that is not read, for its rate, asks whether its limits still hold.
const LIMITS_PERIOD: Duration = Duration::from_millis(250);

/// Serves one connection to its end.
pub(super) async fn serve(mut connection: Connection) {
    let served = Rc::clone(&connection.ticket.served);
    // In a box: its memory is given back before the service begins.
    if served.proxy_protocol
        && let Err(refusal) = Box::pin(connection.read_header()).await
    {
        served.slot.refused.add(refusal, 1);
        connection.ticket.activity.end().set(End::Refused);
        return;
    }
    let end = service::serve(&served.service, &mut connection).await.unwrap_or_else(|e| End::of(&e));
    connection.ticket.activity.end().set(end);
}

/// A connection as a service sees it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Before the stream, so that whoever sees the close also sees it counted.
    ticket: Ticket,
    stream: TcpStream,
    /// What the peer has not taken yet; without capacity unless there is some.
    unsent: Vec<u8>,
    /// Set where a load balancer has begun it.
    proxied: Option<Box<Proxied>>,
}

impl Connection {
    /// Of a stream that has just come.
    pub(super) fn new(stream: TcpStream, ticket: Ticket) -> Self {
        Self { ticket, stream, unsent: Vec::new(), proxied: None }
    }

    /// Waits for bytes, at most `max_read`, and sends as many of them back as `respond` says, from the start of the
    /// buffer in which it may change them. Returns once the kernel has taken the answer: how many were read, 0 once the
    /// peer has closed its side.
    ///
    /// # Errors
    /// The kernel's, such as a reset.
    pub(super) async fn exchange(
        &mut self,
        max_read: usize,
        mut respond: impl FnMut(&mut [u8]) -> usize,
    ) -> io::Result<usize> {
        let read = poll_fn(|cx| self.poll_exchange(cx, max_read, &mut respond)).await?;
        self.flush().await?;
        if let Some(pause) = self.pace(read) {
            pause.await;
        }
        Ok(read)
    }

    /// Counts `read` bytes towards the rates, where there are any; above them, what to wait for before more is read. In
    /// a box, so that connections without a rate do not carry it.
    fn pace(&self, read: usize) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        let (wait, limits) = self.ticket.charge(read)?;
        Some(Box::pin(self.wait(wait, limits)))
    }

    /// Waits for so long, or until the listener's limits are others, or the peer has ended it: nobody keeps a place who
    /// is gone. Never longer than silence may last, whatever the rate.
    async fn wait(&self, wait: Duration, limits: Rc<Served>) {
        limits.slot.paced.add(1);
        self.ticket.activity.hold(true);
        let until = Instant::now() + wait.min(self.ticket.shard.ages.get().idle);
        while Instant::now() < until && self.ticket.listener.serves(&limits) && !self.is_at_end() {
            let pause = until.min(Instant::now() + LIMITS_PERIOD);
            if timeout_at(pause, self.stream.ready(Interest::ERROR)).await.is_ok() {
                break;
            }
        }
        self.ticket.activity.hold(false);
    }

    /// Whether the peer has closed its side, and all it sent was read.
    fn is_at_end(&self) -> bool {
        let mut byte = [0];
        // Nobody is to be woken: whoever reads next asks for that.
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.stream.poll_peek(&mut cx, &mut ReadBuf::new(&mut byte)), Poll::Ready(Ok(0) | Err(_)))
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        max_read: usize,
        respond: &mut impl FnMut(&mut [u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let shard = Rc::clone(&self.ticket.shard);
        let buffer = &mut *shard.read_buffer.borrow_mut();
        let room = buffer.len().min(max_read);
        let mut filled = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut filled))?;
        let bytes = filled.filled_mut();
        let read = bytes.len();
        if read > 0 {
            let slot = &self.ticket.served.slot;
            slot.received_bytes.add(read as u64);
            slot.exchanges.add(1);
            self.ticket.activity.touch();
            shard.spin.stir();
            let answer = respond(bytes).min(read);
            self.poll_send(cx, bytes.get(..answer).unwrap_or_default())?;
        }
        Poll::Ready(Ok(read))
    }

    /// Sends `bytes`, whatever the peer may have asked, and ends from our side.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<End> {
        poll_fn(|cx| Poll::Ready(self.poll_send(cx, bytes))).await?;
        self.flush().await?;
        self.finish(End::Served).await
    }

    /// Sends `text` again and again, as fast as the peer takes it, and drops what it sends, until it closes its side.
    ///
    /// # Errors
    /// The kernel's, such as a reset.
    pub(super) async fn pour(&mut self, text: &[u8]) -> io::Result<()> {
        let mut at = 0;
        poll_fn(|cx| self.poll_pour(cx, text, &mut at)).await
    }

    fn poll_pour(&mut self, cx: &mut Context<'_>, text: &[u8], at: &mut usize) -> Poll<io::Result<()>> {
        // Both end as pending, with the runtime told: when nothing is there, or when it is the turn of others.
        while let Poll::Ready(read) = self.poll_discard(cx) {
            if read? == 0 {
                return Poll::Ready(Ok(()));
            }
            self.ticket.activity.touch();
        }
        loop {
            let rest = text.get(*at..).unwrap_or_default();
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            *at = (*at + self.sent(sent)) % text.len().max(1);
        }
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
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(sent) => self.sent(sent?),
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        Ok(())
    }

    /// Waits until the peer has taken what is left.
    async fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let mut at = 0;
        while let Some(rest) = self.unsent.get(at..).filter(|rest| !rest.is_empty()) {
            let sent = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, rest)).await?;
            at += self.sent(sent);
        }
        self.unsent = Vec::new();
        Ok(())
    }

    fn sent(&self, n: usize) -> usize {
        self.ticket.served.slot.transmitted_bytes.add(n as u64);
        self.ticket.activity.touch();
        n
    }

    /// Ends from our side: closes it, then takes what the peer still sends, within bounds. A close with unread input
    /// would be a reset, and a reset destroys the answer that is still on its way (RFC 1122, section 4.2.2.13).
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn finish(&mut self, end: End) -> io::Result<End> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
        self.ticket.activity.touch();
        self.ticket.activity.linger(end);
        let mut taken = 0;
        while taken < LINGER_BYTES {
            match poll_fn(|cx| self.poll_discard(cx)).await {
                Ok(0) | Err(_) => break,
                Ok(n) => taken += n,
            }
        }
        Ok(end)
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let shard = &self.ticket.shard;
        let buffer = &mut *shard.read_buffer.borrow_mut();
        let mut filled = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut filled))?;
        let read = filled.filled().len();
        self.ticket.served.slot.received_bytes.add(read as u64);
        Poll::Ready(Ok(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: fn(Connection) -> F) -> usize {
        size_of::<F>()
    }

    /// What each open connection costs besides the kernel's part: 15,000 of them must stay a few megabytes.
    #[test]
    fn a_connection_is_small() {
        let size = size_of_future(serve);
        assert!(size <= 576, "{size} bytes");
    }
}
