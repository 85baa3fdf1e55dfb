//! Load from one UDP socket: a window of datagrams in flight.
//!
//! Called by [`super::run`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::{ANSWER_TIMEOUT, Load, MAX_SIZE, Report};
use crate::pattern;

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
    loop {
        if Instant::now() < end {
            while let Some(message) = window.next() {
                socket.send(message).await?;
            }
        }
        if window.is_empty() {
            return Ok(());
        }
        match timeout(ANSWER_TIMEOUT, socket.readable()).await {
            Ok(ready) => ready?,
            Err(_) => report.lost += window.give_up(),
        }
        window.take(&socket, report)?;
    }
}

/// Datagrams in flight.
struct Window {
    sender: u64,
    next: u64,
    /// By number, modulo its length: the number, and when it was sent.
    flying: Vec<Option<(u64, Instant)>>,
    /// How many of them are.
    count: usize,
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Window {
    fn new(sender: u64, load: Load) -> Self {
        let flying = vec![None; load.in_flight];
        // One byte more, so that a longer answer shows.
        Self { sender, next: 0, flying, count: 0, message: vec![0; load.size], answer: vec![0; MAX_SIZE + 1] }
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The next message, if its place in the window is free.
    fn next(&mut self) -> Option<&[u8]> {
        let number = self.next;
        let place = self.place(number)?;
        if place.is_some() {
            return None;
        }
        *place = Some((number, Instant::now()));
        self.next += 1;
        self.count += 1;
        pattern::fill(&mut self.message, self.sender, number);
        Some(&self.message)
    }

    fn place(&mut self, number: u64) -> Option<&mut Option<(u64, Instant)>> {
        let len = self.flying.len() as u64;
        self.flying.get_mut(number.checked_rem(len)? as usize)
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
        let waiting = self.place(number).and_then(|place| place.take_if(|(flying, _)| *flying == number));
        let Some((_, sent)) = waiting else {
            report.strays += 1;
            return;
        };
        self.count -= 1;
        pattern::fill(&mut self.message, self.sender, number);
        if self.answer.get(..len) == Some(&self.message) {
            report.echoed(sent.elapsed());
        } else {
            report.mismatches += 1;
        }
    }

    /// Waits no longer for any; returns how many that were.
    fn give_up(&mut self) -> u64 {
        self.flying.fill(None);
        std::mem::take(&mut self.count) as u64
    }
}
