//! Load over one TCP connection: a window of messages in flight, written and read as the kernel takes and gives them.
//!
//! Called by [`super::run`]. It must never wait for one direction only: with both buffers full, both sides would wait.

use std::collections::VecDeque;
use std::io;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::pace::{Pace, wait};
use super::watch::Progress;
use super::{Load, Report};
use crate::pattern;

/// Most that is read at once: as much as a node does.
const READ_AT_ONCE: usize = 64 * 1024;
/// Reads after which others have their turn, and the time is looked at.
const READS_PER_TURN: usize = 64;

/// Exchanges messages over `stream` as `sender` until the pace ends and all answers are there.
pub(super) async fn exchange(
    load: &Load,
    stream: TcpStream,
    sender: u64,
    pace: &mut Pace,
    progress: &Progress,
    report: &mut Report,
) -> io::Result<()> {
    let mut talk = Talk::new(load, sender);
    loop {
        let next = talk.fill(pace, progress, report);
        talk.write(&stream)?;
        if talk.times.is_empty() && next.is_none() {
            return Ok(());
        }
        let interest = if talk.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        wait(stream.ready(interest), next).await?;
        talk.read(&stream, progress, report)?;
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
    out: VecDeque<u8>,
    message: Vec<u8>,
    /// Answers that are being read, and how much of them is there: less than one whole.
    answers: Vec<u8>,
    read: usize,
}

impl Talk {
    fn new(load: &Load, sender: u64) -> Self {
        let (times, out) = (VecDeque::new(), VecDeque::new());
        let (size, in_flight) = (load.size, load.in_flight);
        let at_once = size.saturating_mul(in_flight).min(READ_AT_ONCE).max(size);
        let (message, answers) = (vec![0; size], vec![0; at_once]);
        Self { sender, size, in_flight, sent: 0, times, out, message, answers, read: 0 }
    }

    /// Adds the messages that are due and have room; returns when the next one is meant to go, if time is all it waits
    /// for.
    fn fill(&mut self, pace: &mut Pace, progress: &Progress, report: &mut Report) -> Option<Instant> {
        let now = Instant::now();
        while self.times.len() < self.in_flight {
            let intended = pace.intended(self.sent, now)?;
            if intended > now {
                return Some(intended);
            }
            pace.sent(intended, now, report);
            pattern::fill(&mut self.message, self.sender, self.sent);
            self.out.extend(&self.message);
            self.times.push_back(intended);
            self.sent += 1;
            progress.sent();
        }
        None
    }

    fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.out.is_empty() {
            match stream.try_write(self.out.make_contiguous()) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads what is there and compares each answer that is complete.
    fn read(&mut self, stream: &TcpStream, progress: &Progress, report: &mut Report) -> io::Result<()> {
        for _ in 0..READS_PER_TURN {
            let rest = self.answers.get_mut(self.read..).unwrap_or_default();
            match stream.try_read(rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.read += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
            let whole = self.read - self.read % self.size;
            for answer in self.answers.get(..whole).unwrap_or_default().chunks_exact(self.size) {
                let Some(intended) = self.times.pop_front() else {
                    report.strays += 1;
                    // No echo: it may go on for ever.
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it sends more than it was sent"));
                };
                progress.answered();
                let number = self.sent - 1 - self.times.len() as u64;
                pattern::fill(&mut self.message, self.sender, number);
                report.judged(answer == self.message, intended);
            }
            self.answers.copy_within(whole..self.read, 0);
            self.read -= whole;
        }
        Ok(())
    }
}
