//! Load from one UDP socket: a window of datagrams in flight.
//!
//! Called by [`super::run`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::time::{Duration, Instant, timeout_at};

use super::pace::{Pace, wait};
use super::watch::Progress;
use super::{Load, MAX_SIZE, Report};
use crate::pattern;

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
    let mut window = Window::new(sender, load);
    let mut expiry = Instant::now() + EXPIRY_PERIOD;
    loop {
        let next = window.send(&socket, pace, progress, report).await?;
        if window.is_empty() && next.is_none() {
            return Ok(());
        }
        if let Ok(ready) = timeout_at(expiry, wait(socket.readable(), next)).await {
            ready?;
        }
        window.take(&socket, progress, report)?;
        let now = Instant::now();
        if now >= expiry {
            window.expire(now);
            expiry = now + EXPIRY_PERIOD;
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
    message: Vec<u8>,
    answer: Vec<u8>,
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
    fn new(sender: u64, load: &Load) -> Self {
        let places = (0..load.in_flight as u64).map(|number| Place { number, sent: None }).collect();
        let free = (0..load.in_flight).rev().collect();
        // One byte more, so that a longer answer shows.
        let (message, answer) = (vec![0; load.size], vec![0; MAX_SIZE + 1]);
        Self { sender, timeout: load.timeout, places, free, count: 0, message, answer }
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
        while let Some(place) = self.free.last().and_then(|index| self.places.get_mut(*index)) {
            let at = Instant::now();
            let Some(intended) = pace.intended(self.count, at) else { break };
            if intended > at {
                return Ok(Some(intended));
            }
            pace.sent(intended, at, report);
            self.count += 1;
            pattern::fill(&mut self.message, self.sender, place.number);
            match socket.send(&self.message).await {
                Ok(_) => {
                    place.sent = Some(Sent { intended, at });
                    self.free.pop();
                    progress.sent();
                }
                // The kernel had no room: it is not sent, and nothing waits for it.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => report.refused += 1,
                Err(e) => return Err(e),
            }
        }
        Ok(None)
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

    /// Takes all answers that are there.
    fn take(&mut self, socket: &UdpSocket, progress: &Progress, report: &mut Report) -> io::Result<()> {
        loop {
            match socket.try_recv(&mut self.answer) {
                Ok(len) => self.judge(len, progress, report),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    fn judge(&mut self, len: usize, progress: &Progress, report: &mut Report) {
        let Some(number) = self.answer.get(..len).and_then(pattern::number) else {
            report.mismatches += 1;
            return;
        };
        pattern::fill(&mut self.message, self.sender, number);
        let right = self.answer.get(..len) == Some(&self.message);
        match self.land(number) {
            Some(sent) => {
                progress.answered();
                report.judged(right, sent.intended);
            }
            None if right => report.strays += 1,
            None => report.mismatches += 1,
        }
    }
}
