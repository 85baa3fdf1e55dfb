//! Load that makes a TCP connection for each message: connect, one echo, close.
//!
//! Called by [`super::run`].

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::pace::{Pace, in_time, wait};
use super::watch::Progress;
use super::{Load, Report};
use crate::pattern;

/// Makes one connection after the other as `sender` until the pace ends. Latency is from before the connect.
pub(super) async fn exchange(
    load: &Load,
    address: SocketAddr,
    sender: u64,
    pace: &mut Pace,
    progress: &Progress,
    report: &mut Report,
) -> io::Result<()> {
    let (mut message, mut answer) = (vec![0; load.size], vec![0; load.size]);
    let mut number = 0;
    loop {
        let now = Instant::now();
        let Some(intended) = pace.intended(number, now) else { return Ok(()) };
        if intended > now {
            wait(std::future::pending::<io::Result<()>>(), Some(intended)).await?;
            continue;
        }
        pace.sent(intended, now, report);
        pattern::fill(&mut message, sender, number);
        number += 1;
        progress.sent();
        let mut stream = in_time(load, TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&message).await?;
        stream.read_exact(&mut answer).await?;
        progress.answered();
        report.judged(answer == message, intended);
        stream.shutdown().await?;
        // The peer's end, or what it said too much.
        report.strays += u64::from(stream.read(&mut answer).await? != 0);
    }
}
