//! What the kernel knows of a datagram: when it left, when it came, what it had no room for, and who refused one.
//!
//! Used by [`super::udp`]. A socket that is not given these times works without.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use nix::cmsg_space;
use nix::libc::{in_addr, sock_extended_err, sockaddr_in, sockaddr_in6};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt,
};

use tokio::time::{sleep, timeout};

/// Longest wait for the kernel to note times.
const WARM: Duration = Duration::from_millis(200);
/// Between two looks whether it does.
const AGAIN: Duration = Duration::from_millis(1);

/// Who reports an error, as `linux/errqueue.h` has it.
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;
const ORIGIN_TIMESTAMPING: u8 = 4;

/// Room for what is asked for.
pub(super) type Control = Vec<u8>;

/// As much room as all that may come with one datagram takes.
pub(super) fn control() -> Control {
    cmsg_space!(Timestamps, sock_extended_err, sockaddr_in6, u64)
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) len: usize,
    /// In Unix nanoseconds.
    pub(super) time: Option<u64>,
}

/// What the error queue holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// The datagram of this number, counted from 0 since [`arm`], has left.
    Left { key: u32, time: u64 },
    /// Somebody refused a datagram, of which so many bytes are quoted.
    Refused { cause: String, quoted: usize },
    /// What we know from elsewhere.
    Other,
}

/// Asks for times of coming and leaving, counts the leaving ones from 0 on, and for the words of who refuses.
pub(super) fn arm(socket: &impl AsFd, v6: bool) -> nix::Result<()> {
    if v6 {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    }
    let times = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
    // The count begins when it is switched on.
    setsockopt(socket, sockopt::Timestamping, &times)?;
    setsockopt(socket, sockopt::Timestamping, &(times | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID))
}

/// Waits until the kernel notes when datagrams come. It begins a while after the first socket of the machine asks for it,
/// and until then the first answers had no time. Where it does not begin, ours are taken.
pub(super) async fn warm() {
    let _ = timeout(WARM, warmed()).await;
}

async fn warmed() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(socket.local_addr()?)?;
    socket.set_nonblocking(true)?;
    arm(&socket, false)?;
    let (mut buffer, mut control) = ([0; 1], control());
    loop {
        socket.send(&buffer)?;
        match receive(&socket, &mut buffer, &mut control) {
            Ok(datagram) if datagram.time.is_some() => return Ok(()),
            _ => sleep(AGAIN).await,
        }
    }
}

/// Takes a datagram, if one is there.
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8], control: &mut Control) -> io::Result<Datagram> {
    let mut parts = [IoSliceMut::new(buffer)];
    let fd = socket.as_fd().as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let mut datagram = Datagram { len: message.bytes, time: None };
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampsns(times) = part {
            datagram.time = nanos(&times);
        }
    }
    Ok(datagram)
}

/// Takes a notice from the error queue, if one is there.
pub(super) fn notice(socket: &impl AsFd, buffer: &mut [u8], control: &mut Control) -> io::Result<Notice> {
    let mut parts = [IoSliceMut::new(buffer)];
    let fd = socket.as_fd().as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(control), flags)?;
    let (quoted, mut time, mut error) = (message.bytes, None, None);
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::ScmTimestampsns(times) => time = nanos(&times),
            ControlMessageOwned::Ipv4RecvErr(told, by) => error = Some((told, by.and_then(v4))),
            ControlMessageOwned::Ipv6RecvErr(told, by) => error = Some((told, by.and_then(v6))),
            _ => {}
        }
    }
    Ok(match (error, time) {
        (Some((told, _)), Some(time)) if told.ee_origin == ORIGIN_TIMESTAMPING => {
            Notice::Left { key: told.ee_data, time }
        }
        (Some((told, by)), _) if matches!(told.ee_origin, ORIGIN_ICMP | ORIGIN_ICMP6) => {
            Notice::Refused { cause: explain(&told, by), quoted }
        }
        _ => Notice::Other,
    })
}

fn explain(told: &sock_extended_err, by: Option<IpAddr>) -> String {
    let errno = i32::try_from(told.ee_errno).unwrap_or_default();
    let what = match errno {
        libc::ECONNREFUSED => "port unreachable; nobody listens there".to_owned(),
        libc::EHOSTUNREACH => "host unreachable".to_owned(),
        libc::ENETUNREACH => "network unreachable".to_owned(),
        libc::EMSGSIZE => format!("too large for the path, which takes packets of {} bytes", told.ee_info),
        errno => io::Error::from_raw_os_error(errno).to_string(),
    };
    by.map_or_else(|| what.clone(), |by| format!("{by} says: {what}"))
}

fn nanos(times: &Timestamps) -> Option<u64> {
    let (s, ns) = (u64::try_from(times.system.tv_sec()).ok()?, u64::try_from(times.system.tv_nsec()).ok()?);
    s.checked_mul(1_000_000_000)?.checked_add(ns).filter(|time| *time > 0)
}

fn v4(by: sockaddr_in) -> Option<IpAddr> {
    let in_addr { s_addr } = by.sin_addr;
    let address = Ipv4Addr::from(u32::from_be(s_addr));
    (!address.is_unspecified()).then_some(address.into())
}

fn v6(by: sockaddr_in6) -> Option<IpAddr> {
    let address = Ipv6Addr::from(by.sin6_addr.s6_addr);
    (!address.is_unspecified()).then_some(address.to_canonical())
}
