//! Who may bind what: the sockets of one address, one a shard.
//!
//! Used by [`crate::live`]. The first socket is bound without `SO_REUSEPORT`, so that any other process on the port is
//! an error, also one of the same user that would share it; then it is set, and the others join. TCP sockets set
//! `SO_REUSEADDR`, so that connections in TIME_WAIT are none; UDP sockets never do, since there it means sharing. Two
//! TCP sockets that do not listen yet may both bind, so there the first one also listens before it lets others join. It
//! must never listen before everything is bound.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use echo_proto::spec::Protocol;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use super::order::NewSocket;
use super::owner::{self, Inode};

/// Connections that the kernel holds for a socket until they are accepted; it lowers this to net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4096;

/// A connection that is silent for so long is asked by the kernel whether its peer is still there, and again after
/// [`PROBES_APART`]: before most firewalls and address translators forget it.
const KEEPALIVE: Duration = Duration::from_secs(60);
const PROBES_APART: Duration = Duration::from_secs(10);
/// A connection ends when its peer acknowledges nothing for so long, neither data nor such a question, or does not make
/// room for data: the kernel's own limit would be a quarter of an hour, or none.
const USER_TIMEOUT: Duration = Duration::from_secs(300);

/// What the kernel may hold of datagrams for one UDP socket, in bytes, so that a burst is not lost while a shard is
/// elsewhere; it lowers this to net.core.rmem_max.
const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// The most datagrams that this holds: the kernel doubles it for its own needs, and spends at least 512 bytes on each.
pub(super) const MAX_QUEUED: usize = 2 * UDP_RECEIVE_BUFFER / 512;

/// What the kernel may hold of answers that the network has not taken, in bytes: a batch of the longest datagrams. It
/// lowers this to net.core.wmem_max.
const UDP_SEND_BUFFER: usize = 4 << 20;

/// Any port would do to learn what the kernel thinks of an address.
const DISCARD: u16 = 9;

/// Whose address it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody's.
    Free,
    /// Also held by a socket of ours that is about to close, for a part or more of the addresses. Its sockets share the
    /// port from the start, so a stranger who shares it must have been looked for before ([`super::owner`]).
    Successor,
}

/// What the kernel holds for one UDP socket, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// Datagrams before they are read.
    pub receive: usize,
    /// Answers before the network takes them.
    pub send: usize,
}

impl Buffers {
    /// As the kernel granted them: it tells twice as much, the rest of which is for its own needs.
    fn of(socket: &Socket) -> io::Result<Self> {
        Ok(Self { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 })
    }

    /// Why that is less than was asked for, in words with the next step; `None` if it is not.
    pub(crate) fn shortage(self) -> Option<String> {
        let Self { receive, send } = self;
        (receive < UDP_RECEIVE_BUFFER || send < UDP_SEND_BUFFER).then(|| {
            format!(
                "the kernel holds {receive} bytes received and {send} to send for a UDP socket, where {UDP_RECEIVE_BUFFER} \
                 and {UDP_SEND_BUFFER} were asked for: longer bursts are lost; raise net.core.rmem_max and \
                 net.core.wmem_max"
            )
        })
    }
}

/// Bound sockets of one address, one a shard.
#[derive(Debug)]
pub(crate) struct Group {
    protocol: Protocol,
    claim: Claim,
    sockets: Vec<Socket>,
    inodes: Vec<Inode>,
    buffers: Option<Buffers>,
    address: SocketAddr,
    listening: bool,
}

impl Group {
    /// Binds `shards` sockets to one address; with port 0, to the port that the first of them gets.
    ///
    /// # Errors
    /// The kernel's; nothing stays bound.
    pub(crate) fn bind(protocol: Protocol, wanted: SocketAddr, shards: usize, claim: Claim) -> io::Result<Self> {
        let (mut sockets, mut inodes) = (Vec::with_capacity(shards), Vec::with_capacity(shards));
        let mut address = wanted;
        for index in 0..shards {
            let socket = open(protocol, wanted)?;
            // A TCP socket joins at `listen`; until then SO_REUSEADDR lets it in.
            let joins = index > 0 && protocol == Protocol::Udp;
            socket.set_reuse_port(joins || claim == Claim::Successor)?;
            socket.bind(&SockAddr::from(address))?;
            if index == 0 {
                address = socket.local_addr()?.as_socket().unwrap_or(wanted);
                socket.set_reuse_port(protocol == Protocol::Udp || claim == Claim::Successor)?;
            }
            inodes.push(owner::inode(&socket)?);
            sockets.push(socket);
        }
        if protocol == Protocol::Udp && is_broadcast(wanted.ip())? {
            let cause = "a broadcast address: many hosts would answer each datagram; use one of this host's own";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
        }
        let buffers = match (protocol, sockets.first()) {
            (Protocol::Udp, Some(socket)) => Some(Buffers::of(socket)?),
            _ => None,
        };
        Ok(Self { protocol, claim, sockets, inodes, buffers, address, listening: false })
    }

    /// Lets TCP sockets listen; the first of them alone, which fails if anybody else does.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        if self.protocol == Protocol::Udp {
            return Ok(());
        }
        for (index, socket) in self.sockets.iter().enumerate() {
            if index > 0 {
                socket.set_reuse_port(true)?;
            }
            socket.listen(BACKLOG)?;
            if index == 0 && self.claim == Claim::Free {
                socket.set_reuse_port(true)?;
            }
            self.listening = true;
        }
        Ok(())
    }

    /// Whether traffic may have come in.
    pub(crate) fn hears(&self) -> bool {
        self.listening || self.protocol == Protocol::Udp
    }

    /// What the kernel's lists know its sockets by.
    pub(crate) fn inodes(&self) -> &[Inode] {
        &self.inodes
    }

    /// What the kernel granted each of its sockets, if they are of UDP.
    pub(crate) fn buffers(&self) -> Option<Buffers> {
        self.buffers
    }

    /// The address really bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The sockets, in the order of the shards.
    pub(crate) fn into_sockets(self) -> impl Iterator<Item = NewSocket> {
        let protocol = self.protocol;
        self.sockets.into_iter().map(move |socket| match protocol {
            Protocol::Tcp => NewSocket::Tcp(socket.into()),
            Protocol::Udp => NewSocket::Udp(socket.into()),
        })
    }
}

/// Whether many hosts get what is sent to `address`, which the kernel lets anybody bind. What it does not let anybody do
/// without having asked is to send there: it says so when a socket is connected, and nothing is sent.
fn is_broadcast(address: IpAddr) -> io::Result<bool> {
    let IpAddr::V4(v4) = address else { return Ok(false) };
    let sender = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let connected = sender.connect(&SockAddr::from(SocketAddr::new(address, DISCARD)));
    Ok(v4.is_broadcast() || connected.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
}

/// An unbound, non-blocking socket with all that connections inherit.
fn open(protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        // `::` is every address of both families, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    match protocol {
        Protocol::Tcp => {
            socket.set_reuse_address(true)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PROBES_APART))?;
            socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        }
        Protocol::Udp => {
            socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER)?;
            socket.set_send_buffer_size(UDP_SEND_BUFFER)?;
            ask_for_destination(&socket, address.ip())?;
        }
    }
    Ok(socket)
}

/// Where a socket has many addresses, asks the kernel to tell with each datagram which of them was hit.
fn ask_for_destination(socket: &Socket, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        IpAddr::V6(v6) if v6.is_unspecified() => {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            // Of a datagram of IPv4 this also tells whether it was broadcast.
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        _ => {}
    }
    Ok(())
}

/// Has the kernel tell of each datagram when it came, with which TTL and which traffic class, or no longer. Asked for by
/// whoever tells clients, since each costs something a datagram.
pub(super) fn ask_for_envelope(socket: &impl AsFd, address: IpAddr, ask: bool) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &ask)?;
    if address.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &ask)?;
        setsockopt(socket, sockopt::Ipv6RecvTClass, &ask)?;
    }
    if address.is_ipv4() || address.is_unspecified() {
        setsockopt(socket, sockopt::Ipv4RecvTtl, &ask)?;
        setsockopt(socket, sockopt::IpRecvTos, &ask)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
