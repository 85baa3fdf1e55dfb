//! Servers that `echo-node` is compared with and that are our own: as little as an echo can be.
//!
//! Run as processes by [`crate::server`]; each tells its address and ends with its standard input.

mod epoll;
mod plain_tokio;
mod udp;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};

use crate::Failure;

/// What one read takes at most, as in `echo-node`.
const BUFFER: usize = 65_536;
/// What a UDP socket asks the kernel for, so that the load's window fits.
pub(crate) const RECEIVE_BUFFER: usize = 4 << 20;
const ANY_PORT: &str = "127.0.0.1:0";

/// Which of them.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Own {
    /// One thread, epoll, level-triggered
    Epoll,
    /// As in tokio's README, on one thread
    Tokio,
    /// The same for datagrams
    TokioUdp,
    /// One thread, one recvfrom and one sendto for each datagram
    UdpBlocking,
    /// The same on epoll, level-triggered
    UdpEpoll,
}

/// Serves until standard input ends.
pub(crate) fn serve(rival: Own) -> Result<(), Failure> {
    thread::spawn(|| {
        // An error is an end as well.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match rival {
        Own::Epoll => epoll::serve(),
        Own::Tokio => plain_tokio::tcp(),
        Own::TokioUdp => plain_tokio::udp(),
        Own::UdpBlocking => udp::blocking(),
        Own::UdpEpoll => udp::on_epoll(),
    }
}

fn tell(protocol: &str, address: SocketAddr) {
    println!("echo-{protocol} {address}");
}

fn make_room(socket: &impl AsFd) -> Result<(), Failure> {
    Ok(setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?)
}
