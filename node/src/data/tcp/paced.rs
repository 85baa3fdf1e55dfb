//! A TCP connection under rates: what is above them is not read until its time has come.
//!
//! Asked by [`super`] before each read. Who has to wait loses nothing, since the kernel keeps what comes, and in the end
//! holds the peer up. It must never keep a place for a peer that is gone.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Connection;

/// How often one that waits asks whether its limits still hold, and its peer is still there.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

impl Connection {
    /// Takes bytes by `receive`, and counts them; `None`: some are there, but it is above its rates, and has to
    /// [`Self::wait`]. One that finds nothing after all has told the runtime so.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<Option<usize>>> {
        loop {
            // Who has nothing to read is asked for no more than that.
            ready!(self.stream.poll_read_ready(cx))?;
            let limiter = self.ticket.limiter();
            let turn = limiter.as_deref().and_then(|limiter| self.ticket.turn(limiter));
            if turn.as_ref().is_some_and(|turn| turn.over().is_some()) {
                let at_end = ready!(self.poll_end(cx))?;
                return Poll::Ready(Ok(at_end.then_some(0)));
            }
            match receive(&self.stream) {
                Ok(bytes @ 1..) => {
                    turn.inspect(|turn| turn.charge(bytes));
                    self.ticket.served.slot.received_bytes.add(bytes as u64);
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                ended => return Poll::Ready(ended.map(Some)),
            }
        }
    }

    /// How long nothing may be taken, by the rates that hold now.
    pub(super) fn over(&self) -> Option<Duration> {
        let limiter = self.ticket.limiter()?;
        self.ticket.turn(&limiter)?.over()
    }

    /// When it may ask again, by the rates that hold now.
    fn again(&self) -> Option<Duration> {
        let limiter = self.ticket.limiter()?;
        self.ticket.turn(&limiter)?.again()
    }

    /// Waits until more may be taken. For as long as its rates ask for, but not for a peer that may be gone: whose side is
    /// closed with bytes unread becomes idle.
    ///
    /// # Errors
    /// The peer's end, such as a reset.
    pub(super) async fn wait(&self) -> io::Result<()> {
        self.ticket.served.slot.paced.add(1);
        let _counted = self.ticket.limiter().and_then(|limiter| self.ticket.queue(&limiter));
        while let Some(over) = self.again() {
            self.ticket.activity.hold(!self.peer_has_closed().await);
            if timeout(over.min(LOOK_PERIOD), self.stream.ready(Interest::ERROR)).await.is_ok() {
                return Err(self.stream.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
            }
        }
        self.ticket.activity.hold(false);
        Ok(())
    }

    /// Waits for bytes, or the end of what the peer sends; whether it is the end.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut byte = [0];
        let peeked = ready!(self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)))?;
        Poll::Ready(Ok(peeked == 0))
    }

    /// Whether the peer has closed its side, which bytes that are still unread hide from a read.
    async fn peer_has_closed(&self) -> bool {
        let mut state = pin!(self.stream.ready(Interest::READABLE));
        let state = poll_fn(|cx| Poll::Ready(state.as_mut().poll(cx))).await;
        matches!(state, Poll::Ready(Ok(state)) if state.is_read_closed())
    }
}
