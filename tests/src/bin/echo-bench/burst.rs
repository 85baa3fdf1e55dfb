//! A load whose messages may be stamped: bursts, each of which is sent whole and answered whole.
//!
//! Used by [`crate::features`] for plain and for stamped messages of one length, so that only the stamp differs. Every
//! byte is compared, but for the node's part of a stamp.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use echo_probe::pattern;
use echo_proto::stamp::{Answer, Request, STAMP_BYTES};

use crate::Failure;

/// Room for a stamp, and some payload.
const SIZE: usize = STAMP_BYTES + 56;
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What one burst is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) udp: bool,
    pub(crate) connections: u32,
    /// Messages of each of them.
    pub(crate) messages: usize,
    pub(crate) stamped: bool,
}

enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// Connections that are open, and what goes over them.
pub(crate) struct Bursts {
    shape: Shape,
    sockets: Vec<Socket>,
    /// Of the next message.
    number: u64,
    message: [u8; SIZE],
    answer: [u8; SIZE],
}

impl Bursts {
    /// Opens all connections.
    pub(crate) fn open(address: SocketAddr, shape: Shape) -> Result<Self, Failure> {
        let sockets = (0..shape.connections).map(|_| Socket::open(address, shape.udp)).collect::<Result<_, _>>()?;
        Ok(Self { shape, sockets, number: 0, message: [0; SIZE], answer: [0; SIZE] })
    }

    /// Sends bursts for so long; returns how many messages were answered.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<u64, Failure> {
        let (first, end) = (self.number, Instant::now() + duration);
        while Instant::now() < end {
            self.burst()?;
        }
        Ok(self.number - first)
    }

    fn burst(&mut self) -> Result<(), Failure> {
        let first = self.number;
        for (flow, socket) in (0..).zip(&mut self.sockets) {
            for _ in 0..self.shape.messages {
                write(&mut self.message, self.shape.stamped, flow, self.number);
                socket.send(&self.message)?;
                self.number += 1;
            }
        }
        let mut number = first;
        for (flow, socket) in (0..).zip(&mut self.sockets) {
            for _ in 0..self.shape.messages {
                write(&mut self.message, self.shape.stamped, flow, number);
                socket.receive(&mut self.answer)?;
                if !answers(&self.answer, &self.message, self.shape.stamped) {
                    return Err(format!("message {number} came back wrong").into());
                }
                number += 1;
            }
        }
        Ok(())
    }
}

fn write(message: &mut [u8; SIZE], stamped: bool, flow: u32, number: u64) {
    pattern::fill(message, flow.into(), number);
    if stamped {
        // There is room for it.
        Request { flow, sequence: number, ..Request::default() }.write(message);
    }
}

fn answers(answer: &[u8], message: &[u8], stamped: bool) -> bool {
    if !stamped {
        return answer == message;
    }
    let asked = Answer::read(answer).map(|answer| answer.request);
    asked.is_some() && asked == Request::read(message) && answer.get(STAMP_BYTES..) == message.get(STAMP_BYTES..)
}

impl Socket {
    fn open(address: SocketAddr, udp: bool) -> Result<Self, Failure> {
        if udp {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(LIMIT))?;
            return Ok(Self::Udp(socket));
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self::Tcp(stream))
    }

    fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Tcp(stream) => stream.write_all(message)?,
            Self::Udp(socket) => drop(socket.send(message)?),
        }
        Ok(())
    }

    fn receive(&mut self, answer: &mut [u8]) -> Result<(), Failure> {
        match self {
            Self::Tcp(stream) => stream.read_exact(answer)?,
            Self::Udp(socket) if socket.recv(answer)? == answer.len() => {}
            Self::Udp(_) => return Err("an answer of another length".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_echo_of_a_stamped_request_is_no_answer() {
        let mut message = [0; SIZE];
        write(&mut message, true, 3, 7);
        assert!(!answers(&message, &message, true), "nobody stamped it");
        write(&mut message, false, 3, 7);
        assert!(answers(&message, &message, false));
        let mut other = message;
        write(&mut other, false, 3, 8);
        assert!(!answers(&other, &message, false));
    }
}
