//! UDP echoes with one call for each datagram in each direction: alone on a thread, and on epoll.
//!
//! The first is what others are measured by. They must stay as small as they are.

use std::io::ErrorKind;
use std::net::UdpSocket;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{ANY_PORT, BUFFER, make_room, tell};
use crate::Failure;

/// Asleep in the call: the least there can be, for a server of one socket that does nothing else.
pub(super) fn blocking() -> Result<(), Failure> {
    let socket = bind()?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (n, client) = socket.recv_from(&mut buffer)?;
        socket.send_to(buffer.get(..n).unwrap_or_default(), client)?;
    }
}

/// On epoll, as a server with more than one socket has to: one read for each event, as over TCP.
pub(super) fn on_epoll() -> Result<(), Failure> {
    let socket = bind()?;
    socket.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut buffer = vec![0; BUFFER];
    let mut events = [EpollEvent::empty()];
    loop {
        epoll.wait(&mut events, EpollTimeout::NONE)?;
        match socket.recv_from(&mut buffer) {
            Ok((n, client)) => drop(socket.send_to(buffer.get(..n).unwrap_or_default(), client)?),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn bind() -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind(ANY_PORT)?;
    make_room(&socket)?;
    tell("udp", socket.local_addr()?);
    Ok(socket)
}
