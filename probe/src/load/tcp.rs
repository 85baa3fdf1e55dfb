//! Load over one TCP connection: a message, its answer, the next.
//!
//! Called by [`super::run`].

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{ANSWER_TIMEOUT, Load, Report};
use crate::pattern;

/// Sends messages as `sender` until `end`.
pub(super) async fn send(load: Load, sender: u64, end: Instant) -> Report {
    let mut report = Report::new();
    let answers = AtomicU64::new(0);
    let result = {
        let exchange = exchange(load, sender, end, &answers, &mut report);
        tokio::pin!(exchange);
        loop {
            // One timer for many messages: one for each would cost the client more than the message.
            let seen = answers.load(Ordering::Relaxed);
            match timeout(ANSWER_TIMEOUT, &mut exchange).await {
                Ok(result) => break Some(result),
                Err(_) if answers.load(Ordering::Relaxed) == seen => break None,
                Err(_) => {}
            }
        }
    };
    match result {
        Some(Ok(())) => {}
        Some(Err(e)) => report.failed(e),
        None => report.lost += 1,
    }
    report
}

/// Counts `answers` as they come.
async fn exchange(load: Load, sender: u64, end: Instant, answers: &AtomicU64, report: &mut Report) -> io::Result<()> {
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
        answers.fetch_add(1, Ordering::Relaxed);
        if answer == message {
            report.echoed(start.elapsed());
        } else {
            report.mismatches += 1;
        }
    }
    Ok(())
}
