//! One echo: sent, read back, compared.
//!
//! Used through [`crate::tcp_echo`] and [`crate::udp_echo`]. It must never wait longer than it was told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::ProbeError;

/// Longest datagram there is, and one more byte, so that a longer answer than the request shows.
const DATAGRAM_BUFFER: usize = 65_536;

/// Sends `payload` over a new TCP connection and compares what comes back; returns the echo's round trip, without the
/// time to connect. `timeout` is for all of it.
///
/// # Errors
/// No answer in time, another answer, or the kernel's refusal.
pub async fn tcp_echo(address: SocketAddr, payload: &[u8], timeout: Duration) -> Result<Duration, ProbeError> {
    let probe = Probe { transport: "tcp", address, payload };
    probe.within(timeout, probe.tcp()).await
}

/// Sends `payload` in one datagram and compares what comes back; returns the round trip.
///
/// # Errors
/// No answer in time, another answer, or the kernel's refusal.
pub async fn udp_echo(address: SocketAddr, payload: &[u8], timeout: Duration) -> Result<Duration, ProbeError> {
    let probe = Probe { transport: "udp", address, payload };
    probe.within(timeout, probe.udp()).await
}

/// What is asked of whom.
#[derive(Clone, Copy)]
struct Probe<'a> {
    transport: &'static str,
    address: SocketAddr,
    payload: &'a [u8],
}

impl Probe<'_> {
    async fn within(
        &self,
        timeout: Duration,
        echo: impl Future<Output = Result<Duration, ProbeError>>,
    ) -> Result<Duration, ProbeError> {
        let Self { transport, address, .. } = *self;
        let late = |_| ProbeError::Timeout { transport, address, timeout };
        timeout_at(Instant::now() + timeout, echo).await.map_err(late)?
    }

    async fn tcp(&self) -> Result<Duration, ProbeError> {
        let mut stream = TcpStream::connect(self.address).await.map_err(|e| self.io(e))?;
        stream.set_nodelay(true).map_err(|e| self.io(e))?;
        let start = Instant::now();
        let (mut reader, mut writer) = stream.split();
        // At once: a payload longer than all buffers on the way would never end otherwise.
        let (sent, received) = tokio::join!(writer.write_all(self.payload), self.read_back(&mut reader));
        received?;
        sent.map_err(|e| self.io(e))?;
        Ok(start.elapsed())
    }

    /// Reads as much as was sent and compares it.
    async fn read_back(&self, reader: &mut (impl AsyncReadExt + Unpin)) -> Result<(), ProbeError> {
        let mut answer = vec![0; self.payload.len()];
        let mut received = 0;
        while let Some(rest) = answer.get_mut(received..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest).await.map_err(|e| self.io(e))? {
                0 => return Err(self.closed(received)),
                n => received += n,
            }
        }
        self.compare(&answer)
    }

    async fn udp(&self) -> Result<Duration, ProbeError> {
        let own: IpAddr = match self.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((own, 0)).await.map_err(|e| self.io(e))?;
        // A connected socket hears only the address that was asked, and the host's refusal.
        socket.connect(self.address).await.map_err(|e| self.io(e))?;
        let mut answer = vec![0; DATAGRAM_BUFFER];
        let start = Instant::now();
        socket.send(self.payload).await.map_err(|e| self.io(e))?;
        let received = socket.recv(&mut answer).await.map_err(|e| self.io(e))?;
        let elapsed = start.elapsed();
        self.compare(answer.get(..received).unwrap_or_default())?;
        Ok(elapsed)
    }

    fn compare(&self, answer: &[u8]) -> Result<(), ProbeError> {
        if answer == self.payload {
            return Ok(());
        }
        let Self { transport, address, payload } = *self;
        let at = answer.iter().zip(payload).take_while(|(a, b)| a == b).count();
        Err(ProbeError::Mismatch { transport, address, at, received: answer.len(), sent: payload.len() })
    }

    fn io(&self, source: io::Error) -> ProbeError {
        ProbeError::Io { transport: self.transport, address: self.address, source }
    }

    fn closed(&self, received: usize) -> ProbeError {
        ProbeError::Closed { transport: self.transport, address: self.address, received, sent: self.payload.len() }
    }
}

#[cfg(test)]
mod tests;
