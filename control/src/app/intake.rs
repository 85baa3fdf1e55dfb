//! Connections to the HTTP port: so many at once, and none that may keep us waiting.
//!
//! Used by the HTTP server in place of a bare listener. The port may be open to everybody, and the files of this process
//! are few: what comes beyond the limit waits in the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Most connections at once: probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;
/// Time to ask for a page and take it, from the start of the connection or from the page before.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bounded listener.
pub(super) struct Intake {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

/// A connection that has its place, and its deadline.
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Intake {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl Listener for Intake {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        // Axum's own way for a bare listener: a failure is waited out.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Connection { stream, deadline: Box::pin(sleep(PATIENCE)), _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// An error once the deadline has passed; wakes the task then.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.deadline.as_mut().poll(cx).is_ready() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.deadline.as_mut().reset(Instant::now() + PATIENCE);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_nothing_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, mut intake) = (listener.local_addr().unwrap(), Intake::new(listener));
        let mut open = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let client = TcpStream::connect(address).await.unwrap();
            open.push((client, intake.accept().await.0));
        }
        let _waiting = TcpStream::connect(address).await.unwrap();
        assert!(tokio::time::timeout(PATIENCE / 2, intake.accept()).await.is_err(), "one too many");
        let (_client, mut silent) = open.pop().unwrap();
        let end = silent.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::TimedOut);
        assert!(silent.write(b"late").await.is_err());
        drop(silent);
        intake.accept().await;
    }
}
