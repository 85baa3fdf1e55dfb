//! A UDP echo with one call for each datagram in each direction, and nothing else.

use std::net::UdpSocket;

use super::{ANY_PORT, BUFFER, make_room, tell};
use crate::Failure;

pub(super) fn serve() -> Result<(), Failure> {
    let socket = UdpSocket::bind(ANY_PORT)?;
    make_room(&socket)?;
    tell("udp", socket.local_addr()?);
    let mut buffer = vec![0; BUFFER];
    loop {
        let (n, client) = socket.recv_from(&mut buffer)?;
        socket.send_to(buffer.get(..n).unwrap_or_default(), client)?;
    }
}
