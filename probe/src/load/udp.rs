//! Load from one UDP socket: a window of datagrams in flight, sent and taken in bursts.
//!
//! Called by [`super::run`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use super::pace::{Pace, wait};
use super::watch::Progress;
use super::{Load, MAX_SIZE, Report, burst};
use crate::pattern;

/// Batches of answers after which others have their turn, and the time is looked at.
const BATCHES_PER_TURN: usize = 64;
/// How often datagrams without an answer are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_millis(50);

/// Sends datagrams as `sender` until the pace ends, then waits for the last answers.
pub(super) async fn exchange(
    load: &Load,
    address: SocketAddr,
    sender: u64,
    pace: &mut Pace,
    progress: &Progress,
    report: &mut Report,
) -> io::Result<()> {
    let own: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(address).await?;
    let mut window = Window::new(sender, load, burst::is_possible(&socket, load.size));
    let mut expiry = interval(EXPIRY_PERIOD);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = window.send(&socket, pace, progress, report).await?;
        if window.is_empty() && next.is_none() {
            // What came too much with the last answer.
            let mut more = (0..BATCHES_PER_TURN).map(|_| window.batch(&socket, progress, report));
            more.find(Result::is_err);
            return Ok(());
        }
        tokio::select! {
            biased;
            now = expiry.tick() => {
                window.expire(now);
                // A host on the way may say that no answer will come, which a peer's silence would not.
                socket.take_error()?.map_or(Ok(()), Err)?;
            }
            ready = wait(|cx| socket.poll_recv_ready(cx), next) => {
                ready?;
                match socket.try_io(Interest::READABLE, || window.take(&socket, progress, report)) {
                    Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                    _ => {}
                }
            }
        }
    }
}

/// Datagrams in flight, each in a place of its own, so that one that is lost keeps no other waiting.
struct Window {
    sender: u64,
    timeout: Duration,
    places: Vec<Place>,
    /// Places where none is.
    free: Vec<usize>,
    /// Datagrams sent so far.
    count: u64,
    size: usize,
    /// Whether those that leave at once go as one message, which the kernel cuts.
    together: bool,
    /// Messages that are about to be sent, and their places.
    out: Vec<u8>,
    leaving: Vec<usize>,
    /// Answers that were taken, and their lengths.
    answers: Vec<u8>,
    lens: Vec<usize>,
}

/// One datagram's place, used again and again.
struct Place {
    /// Of the datagram that is there, or comes next. Modulo the window's length it is the place's own index.
    number: u64,
    /// When it was sent, if it is there.
    sent: Option<Sent>,
}

/// When one datagram went, and when it was meant to.
#[derive(Clone, Copy)]
struct Sent {
    intended: Instant,
    at: Instant,
}

impl Window {
    fn new(sender: u64, load: &Load, together: bool) -> Self {
        let places = (0..load.in_flight as u64).map(|number| Place { number, sent: None }).collect();
        let free = (0..load.in_flight).rev().collect();
        let batch = (MAX_SIZE / load.size).min(burst::MOST).min(load.in_flight).max(1);
        Self {
            sender,
            timeout: load.timeout,
            places,
            free,
            count: 0,
            size: load.size,
            together,
            out: vec![0; batch * load.size],
            leaving: Vec::with_capacity(batch),
            // One byte more, so that a longer answer shows.
            answers: vec![0; batch * (load.size + 1)],
            lens: Vec::with_capacity(batch),
        }
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Sends what is due and has a place; returns when the next one is meant to go, if time is all it waits for.
    async fn send(
        &mut self,
        socket: &UdpSocket,
        pace: &mut Pace,
        progress: &Progress,
        report: &mut Report,
    ) -> io::Result<Option<Instant>> {
        loop {
            let next = self.fill(pace, report);
            if self.leaving.is_empty() {
                return Ok(next);
            }
            self.flush(socket, progress, report).await?;
        }
    }

    /// Writes a batch of those that are due and have a place; returns when the next one is meant to go, if time is all
    /// it waits for.
    fn fill(&mut self, pace: &mut Pace, report: &mut Report) -> Option<Instant> {
        let at = Instant::now();
        self.leaving.clear();
        for message in self.out.chunks_exact_mut(self.size) {
            let index = *self.free.last()?;
            let place = self.places.get_mut(index)?;
            let intended = pace.intended(self.count, at)?;
            if intended > at {
                return Some(intended);
            }
            pace.sent(intended, at, report);
            self.count += 1;
            pattern::fill(message, self.sender, place.number);
            place.sent = Some(Sent { intended, at });
            self.leaving.push(index);
            self.free.pop();
        }
        None
    }

    /// Sends that batch.
    async fn flush(&mut self, socket: &UdpSocket, progress: &Progress, report: &mut Report) -> io::Result<()> {
        let mut done = 0;
        while done < self.leaving.len() {
            let count = if self.together { self.leaving.len() - done } else { 1 };
            let messages = self.out.get(done * self.size..(done + count) * self.size).unwrap_or_default();
            match socket.try_io(Interest::WRITABLE, || burst::send(socket, messages, self.size)) {
                Ok(()) => progress.sent(count as u64),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable().await?;
                    continue;
                }
                // The kernel had no room: they are not sent, and nothing waits for them.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    report.refused += count as u64;
                    for index in self.leaving.iter().copied().skip(done).take(count) {
                        self.places.get_mut(index).into_iter().for_each(|place| place.sent = None);
                        self.free.push(index);
                    }
                }
                Err(e) if count > 1 && burst::is_refusal(&e) => {
                    self.together = false;
                    continue;
                }
                Err(e) => return Err(e),
            }
            done += count;
        }
        Ok(())
    }

    /// Frees the place of a datagram; returns when it went, or `None` if nobody waits for it.
    fn land(&mut self, number: u64) -> Option<Sent> {
        let len = self.places.len() as u64;
        let index = number.checked_rem(len)? as usize;
        let place = self.places.get_mut(index).filter(|place| place.number == number)?;
        let sent = place.sent.take()?;
        place.number += len;
        self.free.push(index);
        Some(sent)
    }

    /// Gives up those that were sent too long before `now`.
    fn expire(&mut self, now: Instant) {
        let late = |place: &&Place| place.sent.is_some_and(|sent| now.duration_since(sent.at) >= self.timeout);
        let numbers: Vec<u64> = self.places.iter().filter(late).map(|place| place.number).collect();
        for number in numbers {
            self.land(number);
        }
    }

    /// Takes the answers that are there.
    ///
    /// # Errors
    /// `WouldBlock` once there are no more, or none is waited for: what then comes too much is seen with the next one.
    fn take(&mut self, socket: &UdpSocket, progress: &Progress, report: &mut Report) -> io::Result<()> {
        for _ in 0..BATCHES_PER_TURN {
            let full = self.batch(socket, progress, report)?;
            if !full || self.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    /// Takes one batch of answers; returns whether it is full, so that there may be more.
    fn batch(&mut self, socket: &UdpSocket, progress: &Progress, report: &mut Report) -> io::Result<bool> {
        let room = self.size + 1;
        self.lens.clear();
        burst::receive(socket, &mut self.answers, room, &mut self.lens)?;
        let (now, before) = (Instant::now(), self.free.len());
        let (answers, lens) = (std::mem::take(&mut self.answers), std::mem::take(&mut self.lens));
        for (answer, len) in answers.chunks_exact(room).zip(&lens) {
            self.judge(answer.get(..*len).unwrap_or_default(), now, report);
        }
        (self.answers, self.lens) = (answers, lens);
        progress.answered((self.free.len() - before) as u64);
        Ok(self.lens.len() == self.answers.len() / room)
    }

    fn judge(&mut self, answer: &[u8], now: Instant, report: &mut Report) {
        let Some(number) = pattern::number(answer) else {
            report.mismatches += 1;
            return;
        };
        let right = answer.len() == self.size && pattern::matches(answer, self.sender, number);
        match self.land(number) {
            Some(sent) => report.judged(right, sent.intended, now),
            None if right => report.strays += 1,
            None => report.mismatches += 1,
        }
    }
}
