//! Load over one TCP connection: a message, its answer, the next.
//!
//! Called by [`super::run`].

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{ANSWER_TIMEOUT, Load, Report};
use crate::pattern;

/// Sends messages as `sender` until `end`.
pub(super) async fn send(load: Load, sender: u64, end: Instant) -> Report {
    let mut report = Report::new();
    // One timer for all: a timer a message would cost the client more than the message.
    match timeout_at(end + ANSWER_TIMEOUT, exchange(load, sender, end, &mut report)).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => report.failed(e),
        Err(_) => report.lost += 1,
    }
    report
}

async fn exchange(load: Load, sender: u64, end: Instant, report: &mut Report) -> io::Result<()> {
    let mut stream = TcpStream::connect(load.address).await?;
    stream.set_nodelay(true)?;
    let (mut message, mut answer) = (vec![0; load.size], vec![0; load.size]);
    for number in 0.. {
        pattern::fill(&mut message, sender, number);
        let start = Instant::now();
        if start >= end {
            break;
        }
        stream.write_all(&message).await?;
        stream.read_exact(&mut answer).await?;
        if answer == message {
            report.echoed(start.elapsed());
        } else {
            report.mismatches += 1;
        }
    }
    Ok(())
}
