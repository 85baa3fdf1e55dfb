//! A TCP echo on raw epoll: one thread, one buffer of 64 KiB, no accounting, no limits, no timeouts.
//!
//! What others are measured by. It must stay as small as it is.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::SockRef;

use super::{ANY_PORT, BUFFER, tell};
use crate::Failure;

/// Events that one wait takes at most.
const EVENTS: usize = 256;

pub(super) fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind(ANY_PORT)?;
    listener.set_nonblocking(true)?;
    // Connections inherit it.
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let listening = listener.as_raw_fd() as u64;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listening))?;
    tell("tcp", listener.local_addr()?);
    // By descriptor.
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = vec![EpollEvent::empty(); EVENTS];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(ready) {
            if event.data() == listening {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    let place = stream.as_raw_fd() as usize;
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
                    connections.resize_with(connections.len().max(place + 1), || None);
                    if let Some(of) = connections.get_mut(place) {
                        *of = Some(stream);
                    }
                }
            } else if let Some(place) = connections.get_mut(event.data() as usize)
                && place.as_mut().is_none_or(|stream| echo(stream, &mut buffer).is_err())
            {
                // Closed with it, which also ends its events.
                *place = None;
            }
        }
    }
}

/// One read, and as many writes as it takes; an error is the connection's end.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let n = match stream.read(buffer) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(n) => n,
        Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(e) => return Err(e),
    };
    let mut rest = buffer.get(..n).unwrap_or_default();
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            // Only a peer that does not read gets here; the load always reads.
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
