//! Load from one UDP socket: a window of datagrams in flight.
//!
//! Called by [`super::run`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;
use tokio::time::{Duration, Instant, timeout};

use super::{ANSWER_TIMEOUT, Load, MAX_SIZE, Report};
use crate::pattern;

/// How often datagrams without an answer are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_millis(50);

/// Sends datagrams as `sender` until `end`, then waits for the last answers.
pub(super) async fn send(load: Load, sender: u64, end: Instant) -> Report {
    let mut report = Report::new();
    if let Err(e) = exchange(load, sender, end, &mut report).await {
        report.failed(e);
    }
    report
}

async fn exchange(load: Load, sender: u64, end: Instant, report: &mut Report) -> io::Result<()> {
    let own: IpAddr = if load.address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(load.address).await?;
    let mut window = Window::new(sender, load);
    let mut expiry = Instant::now() + EXPIRY_PERIOD;
    loop {
        if Instant::now() < end {
            while let Some(message) = window.next() {
                socket.send(message).await?;
            }
        }
        if window.is_empty() {
            return Ok(());
        }
        if let Ok(ready) = timeout(EXPIRY_PERIOD, socket.readable()).await {
            ready?;
        }
        window.take(&socket, report)?;
        let now = Instant::now();
        if now >= expiry {
            report.lost += window.expire(now);
            expiry = now + EXPIRY_PERIOD;
        }
    }
}

/// Datagrams in flight, each in a place of its own, so that one that is lost keeps no other waiting.
struct Window {
    sender: u64,
    places: Vec<Place>,
    /// Places where none is.
    free: Vec<usize>,
    message: Vec<u8>,
    answer: Vec<u8>,
}

/// One datagram's place, used again and again.
struct Place {
    /// Of the datagram that is there, or comes next. Modulo the window's length it is the place's own index.
    number: u64,
    /// When it was sent, if it is there.
    sent: Option<Instant>,
}

impl Window {
    fn new(sender: u64, load: Load) -> Self {
        let places = (0..load.in_flight as u64).map(|number| Place { number, sent: None }).collect();
        let free = (0..load.in_flight).rev().collect();
        // One byte more, so that a longer answer shows.
        Self { sender, places, free, message: vec![0; load.size], answer: vec![0; MAX_SIZE + 1] }
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// The next message, if a place is free.
    fn next(&mut self) -> Option<&[u8]> {
        let place = self.places.get_mut(self.free.pop()?)?;
        place.sent = Some(Instant::now());
        pattern::fill(&mut self.message, self.sender, place.number);
        Some(&self.message)
    }

    /// Frees the place of a datagram; returns when it was sent, or `None` if nobody waits for it.
    fn land(&mut self, number: u64) -> Option<Instant> {
        let len = self.places.len() as u64;
        let index = number.checked_rem(len)? as usize;
        let place = self.places.get_mut(index).filter(|place| place.number == number)?;
        let sent = place.sent.take()?;
        place.number += len;
        self.free.push(index);
        Some(sent)
    }

    /// Gives up those that were sent too long before `now`; returns how many that were.
    fn expire(&mut self, now: Instant) -> u64 {
        let late = |place: &&Place| place.sent.is_some_and(|sent| now.duration_since(sent) >= ANSWER_TIMEOUT);
        let numbers: Vec<u64> = self.places.iter().filter(late).map(|place| place.number).collect();
        numbers.into_iter().filter_map(|number| self.land(number)).count() as u64
    }

    /// Takes all answers that are there.
    fn take(&mut self, socket: &UdpSocket, report: &mut Report) -> io::Result<()> {
        loop {
            match socket.try_recv(&mut self.answer) {
                Ok(len) => self.judge(len, report),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    fn judge(&mut self, len: usize, report: &mut Report) {
        let Some(number) = self.answer.get(..len).and_then(pattern::number) else {
            report.mismatches += 1;
            return;
        };
        let Some(sent) = self.land(number) else {
            report.strays += 1;
            return;
        };
        pattern::fill(&mut self.message, self.sender, number);
        if self.answer.get(..len) == Some(&self.message) {
            report.echoed(sent.elapsed());
        } else {
            report.mismatches += 1;
        }
    }
}
