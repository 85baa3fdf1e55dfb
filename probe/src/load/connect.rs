//! Load that makes a TCP connection for each message: connect, one echo, close.
//!
//! Called by [`super::run`].

use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use echo_proto::backoff::Backoff;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

use super::pace::{Pace, in_time, wait};
use super::watch::Progress;
use super::{Load, Report};
use crate::pattern;

/// The wait after a connection that failed, at first and at most: a far end that is away is looked for, not stormed.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// The segment that every host takes, options included (RFC 9293, 3.7.1).
const LEAST_SEGMENT: usize = 536;
/// Most that TCP's options take of it.
const MOST_OPTIONS: usize = 40;
/// What surely goes as one segment. The end of a longer message would wait for the peer to have seen its beginning.
const SEGMENT: usize = LEAST_SEGMENT - MOST_OPTIONS;

/// Makes one connection after the other as `sender` until the pace ends. Latency is from before the connect. One that
/// fails costs its message, and the next one is made.
pub(super) async fn exchange(
    load: &Load,
    address: SocketAddr,
    sender: u64,
    pace: &mut Pace,
    progress: &Progress,
    report: &mut Report,
) -> io::Result<()> {
    // One byte more, so that a longer answer shows, and a read that leaves it tells the runtime that there is no more.
    let (mut message, mut answer) = (vec![0; load.size], vec![0; load.size + 1]);
    let (mut number, mut backoff) = (0, Backoff::new(RETRY.0, RETRY.1));
    loop {
        let now = Instant::now();
        let Some(intended) = pace.intended(number, now) else { return Ok(()) };
        if intended > now {
            wait(|_| Poll::Pending, Some(intended)).await?;
            continue;
        }
        pace.sent(intended, now, report);
        pattern::fill(&mut message, sender, number);
        number += 1;
        progress.sent(1);
        match in_time(load, ask(address, &message, &mut answer)).await {
            Ok((mut stream, len)) => {
                backoff.reset();
                progress.answered(1);
                report.judged(answer.starts_with(&message), intended, Instant::now());
                // The peer's end, or what it said too much, or nothing in time.
                let more = in_time(load, close(&mut stream, &mut answer)).await;
                report.strays += u64::from(len > load.size || more.is_ok_and(|more| more != 0));
            }
            Err(error) => {
                progress.failed(&error, address, report);
                sleep(backoff.next_wait()).await;
            }
        }
    }
}

/// One connection up to its answer; returns how long that is.
async fn ask(address: SocketAddr, message: &[u8], answer: &mut [u8]) -> io::Result<(TcpStream, usize)> {
    let (mut stream, taken) = begin(address, message)?;
    stream.write_all(message.get(taken..).unwrap_or_default()).await?;
    let mut len = 0;
    while len < message.len() {
        len += match stream.read(answer.get_mut(len..).unwrap_or_default()).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => more,
        };
    }
    Ok((stream, len))
}

/// A connection that is made, or on its way; returns how much of the message the kernel has taken already, as it does
/// at once where the peer is near. A wait for the connection would cost this client as much as the one for the answer.
fn begin(address: SocketAddr, message: &[u8]) -> io::Result<(TcpStream, usize)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if message.len() > SEGMENT {
        socket.set_tcp_nodelay(true)?;
    }
    match socket.connect(&address.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => return Err(e),
        _ => {}
    }
    let taken = match socket.send(message) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
        taken => taken?,
    };
    Ok((TcpStream::from_std(socket.into())?, taken))
}

/// Its end; returns how much came after the answer.
async fn close(stream: &mut TcpStream, rest: &mut [u8]) -> io::Result<usize> {
    stream.shutdown().await?;
    stream.read(rest).await
}
