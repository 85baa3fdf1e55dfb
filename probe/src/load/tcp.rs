//! Load over one TCP connection: a window of messages in flight, written and read as the kernel takes and gives them.
//!
//! Called by [`super::run`]. It must never wait for one direction only: with both buffers full, both sides would wait.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::pace::{Pace, wait};
use super::queue::Queue;
use super::watch::Progress;
use super::{Load, Report};
use crate::pattern;

/// Most that is read at once: as much as a node does.
const READ_AT_ONCE: usize = 64 * 1024;

/// Exchanges messages over `stream` as `sender` until the pace ends and all answers are there.
pub(super) async fn exchange(
    load: &Load,
    mut stream: TcpStream,
    sender: u64,
    pace: &mut Pace,
    progress: &Progress,
    report: &mut Report,
) -> io::Result<()> {
    let mut talk = Talk::new(load, sender);
    loop {
        let next = talk.fill(pace, progress, report);
        if talk.times.is_empty() && next.is_none() {
            return Ok(());
        }
        wait(|cx| talk.poll(&mut stream, cx), next).await?;
        talk.judge(progress, report)?;
    }
}

/// Both directions of one connection.
struct Talk {
    sender: u64,
    size: usize,
    in_flight: usize,
    /// Messages sent so far.
    sent: u64,
    /// When those without an answer were meant to go, oldest first.
    times: VecDeque<Instant>,
    /// What the kernel has not yet taken.
    out: Queue,
    /// Answers that are being read: less than one whole, once they are judged.
    answers: Queue,
    /// Most that they are.
    room: usize,
}

impl Talk {
    fn new(load: &Load, sender: u64) -> Self {
        let Load { size, in_flight, .. } = *load;
        // One byte more than can come: a read that leaves room tells the runtime that there is no more.
        let room = size.saturating_mul(in_flight).min(READ_AT_ONCE).max(size) + 1;
        let (times, out, answers) = (VecDeque::new(), Queue::default(), Queue::default());
        Self { sender, size, in_flight, sent: 0, times, out, answers, room }
    }

    /// Adds the messages that are due and have room; returns when the next one is meant to go, if time is all it waits
    /// for.
    fn fill(&mut self, pace: &mut Pace, progress: &Progress, report: &mut Report) -> Option<Instant> {
        let (now, before) = (Instant::now(), self.sent);
        let mut next = None;
        while self.times.len() < self.in_flight
            && let Some(intended) = pace.intended(self.sent, now)
        {
            if intended > now {
                next = Some(intended);
                break;
            }
            pace.sent(intended, now, report);
            pattern::fill(self.out.room(self.size), self.sender, self.sent);
            self.out.add(self.size);
            self.times.push_back(intended);
            self.sent += 1;
        }
        progress.sent(self.sent - before);
        next
    }

    /// Writes what the kernel takes, and reads what is there.
    fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(stream);
        while !self.out.waiting().is_empty()
            && let Poll::Ready(taken) = stream.as_mut().poll_write(cx, self.out.waiting())?
        {
            self.out.take(taken);
        }
        let mut read = ReadBuf::new(self.answers.room(self.room - self.answers.waiting().len()));
        ready!(stream.poll_read(cx, &mut read))?;
        let len = read.filled().len();
        self.answers.add(len);
        Poll::Ready(if len > 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) })
    }

    /// Compares each answer that is complete.
    fn judge(&mut self, progress: &Progress, report: &mut Report) -> io::Result<()> {
        let (now, before) = (Instant::now(), self.times.len());
        // What the kernel has not yet taken nobody can have answered.
        let talks_unasked = self.answers.waiting().len() + self.out.waiting().len() > before * self.size;
        for answer in self.answers.waiting().chunks_exact(self.size) {
            let Some(intended) = self.times.pop_front() else { break };
            let number = self.sent - 1 - self.times.len() as u64;
            report.judged(pattern::matches(answer, self.sender, number), intended, now);
        }
        let answered = before - self.times.len();
        self.answers.take(answered * self.size);
        progress.answered(answered as u64);
        if talks_unasked {
            report.strays += 1;
            // No echo: it may go on for ever.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it sends more than it was sent"));
        }
        Ok(())
    }
}
