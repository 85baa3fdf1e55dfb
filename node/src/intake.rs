//! Connections to the control side's own ports: so many at once, and none that may be silent for ever.
//!
//! Used by the health pages and the Agent service in place of a bare listener. What comes beyond the limit waits in the
//! kernel's queue. It must never take the files that the data path needs, and never spin where there are none left.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use echo_proto::backoff::Backoff;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

/// First wait after an accept that failed, and the longest: nothing is gained by asking before a file is free.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long a client may keep us waiting; see [`Patience`].
const LIMIT: Duration = Duration::from_secs(5);
/// What every HTTP/2 client sends first, in bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// What a client has to do within 5 s, so that its connection is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// HTTP/1: ask for a page and take it, counted from the connection's start or the page before.
    EachAnswer,
    /// HTTP/2: say that it speaks it. From then on the server's pings find out who is gone.
    Preface,
}

/// A bounded listener.
#[derive(Debug)]
pub struct Intake {
    listener: TcpListener,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Intake {
    /// Takes connections from `listener`, at most `limit` at once.
    pub fn new(listener: TcpListener, limit: usize, patience: Patience) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(limit)), patience }
    }

    /// The next connection, once there is room for it. A failure is waited out.
    pub async fn next(&mut self) -> (Connection, SocketAddr) {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        let mut told = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Connection::new(stream, self.patience, permit), peer),
                Err(error) => {
                    if !told {
                        warn!(%error, "a control connection can't be accepted; trying again");
                    }
                    told = true;
                    sleep(retry.next_wait()).await;
                }
            }
        }
    }
}

impl axum::serve::Listener for Intake {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that has its place, and its deadline.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    patience: Patience,
    /// Bytes read so far, as far as they matter.
    read: usize,
    /// When it is closed; `None` once pings look after it.
    deadline: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, patience: Patience, permit: OwnedSemaphorePermit) -> Self {
        // Small answers; without it they may wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        Self { stream, patience, read: 0, deadline: Some(Box::pin(sleep(LIMIT))), _permit: permit }
    }

    /// An error once the deadline has passed; wakes the task then.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if late { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn has_read(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes);
        if self.patience == Patience::Preface && self.read >= PREFACE_BYTES {
            self.deadline = None;
        }
    }

    fn has_written(&mut self, bytes: usize) {
        if let (Patience::EachAnswer, Some(deadline), 1..) = (self.patience, &mut self.deadline, bytes) {
            deadline.as_mut().reset(Instant::now() + LIMIT);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.has_read(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.has_written(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let bytes = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.has_written(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests;
