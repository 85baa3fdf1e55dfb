//! The start of a load: its connections are made first, not all at once, and then all senders begin together.
//!
//! Used by [`super`]. What connecting takes is none of the load's time, nor of its latencies.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore};
use tokio::time::Instant;

use super::Load;
use super::pace::in_time;

/// Connections that are made at the same time: more may overflow a listener's queue, which costs each a second.
const CONNECTING: usize = 128;

/// Where senders wait for each other.
#[derive(Debug)]
pub(super) struct Gate {
    connecting: Semaphore,
    barrier: Barrier,
    start: OnceLock<Instant>,
}

impl Gate {
    /// For so many senders.
    pub(super) fn new(senders: usize) -> Self {
        let (connecting, barrier) = (Semaphore::new(CONNECTING), Barrier::new(senders));
        Self { connecting, barrier, start: OnceLock::new() }
    }

    /// A connection, made when it is its turn.
    pub(super) async fn connect(&self, load: &Load, address: SocketAddr) -> io::Result<TcpStream> {
        let _turn = self.connecting.acquire().await.map_err(io::Error::other)?;
        let stream = in_time(load, TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Waits for the others; returns when it all began. Who has failed to connect must pass as well.
    pub(super) async fn pass(&self) -> Instant {
        self.barrier.wait().await;
        *self.start.get_or_init(Instant::now)
    }
}
