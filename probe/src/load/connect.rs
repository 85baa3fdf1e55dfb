//! Load that makes a TCP connection for each message: connect, one echo, close.
//!
//! Called by [`super::run`].

use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use echo_proto::backoff::Backoff;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

use super::pace::{Pace, in_time, wait};
use super::watch::Progress;
use super::{Load, Report};
use crate::pattern;

/// The wait after a connection that failed, at first and at most: a far end that is away is looked for, not stormed.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

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
    let (mut message, mut answer) = (vec![0; load.size], vec![0; load.size]);
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
            Ok(mut stream) => {
                backoff.reset();
                progress.answered(1);
                report.judged(answer == message, intended, Instant::now());
                // The peer's end, or what it said too much, or nothing in time.
                let more = in_time(load, close(&mut stream, &mut answer)).await;
                report.strays += u64::from(more.is_ok_and(|more| more != 0));
            }
            Err(error) => {
                progress.failed(&error, address, report);
                sleep(backoff.next_wait()).await;
            }
        }
    }
}

/// One connection up to its answer.
async fn ask(address: SocketAddr, message: &[u8], answer: &mut [u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(message).await?;
    stream.read_exact(answer).await?;
    Ok(stream)
}

/// Its end; returns how much came after the answer.
async fn close(stream: &mut TcpStream, rest: &mut [u8]) -> io::Result<usize> {
    stream.shutdown().await?;
    stream.read(rest).await
}
