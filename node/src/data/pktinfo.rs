//! Control messages of datagrams: which of our addresses was hit, and what else only the kernel has seen.
//!
//! Used by [`super::mmsg`]; [`super::socket`] asks for them, since each costs something a datagram. An answer must
//! leave from the address that its request was sent to (RFC 1122, section 4.1.3.5), or the client does not know it;
//! `IP_PKTINFO` and `IPV6_PKTINFO` tell that address and set it.

use std::fmt;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, msghdr, timespec};

/// Bytes for control messages: all that a socket of both families gets with a datagram of IPv4 (152), and some to spare.
pub(super) const CONTROL_BYTES: usize = 192;

/// A buffer for control messages, aligned as the kernel writes them.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

/// What the kernel told of a datagram besides its data and its sender; as much as the socket asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// Where it was sent to.
    pub(super) hit: Option<Hit>,
    /// TTL or hop limit with which it came.
    pub(super) ttl: Option<u8>,
    /// DSCP and ECN with which it came.
    pub(super) traffic_class: Option<u8>,
    /// When the kernel received it, since 1970-01-01 UTC.
    pub(super) received: Option<Duration>,
}

/// The address that a datagram was sent to.
#[derive(Clone, Copy)]
pub(super) enum Hit {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%{}", self.address(), self.interface())
    }
}

impl Hit {
    /// That address; one of IPv4 in IPv6's clothes without them.
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::V4(info) => Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into(),
            Self::V6(info) => Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical(),
        }
    }

    /// Number of the interface that it came by.
    pub(super) fn interface(self) -> u32 {
        match self {
            Self::V4(info) => info.ipi_ifindex.cast_unsigned(),
            Self::V6(info) => info.ipi6_ifindex,
        }
    }

    /// Whether others may have got it as well: broadcast, also of a network, or multicast.
    pub(super) fn is_shared(self) -> bool {
        // The kernel tells both the address of the header and the one of ours that it stands for.
        let stands_for_another = match self {
            Self::V4(info) => ![0, info.ipi_addr.s_addr].contains(&info.ipi_spec_dst.s_addr),
            Self::V6(_) => false,
        };
        let address = self.address();
        stands_for_another || address.is_multicast() || address == Ipv4Addr::BROADCAST
    }
}

impl Default for Control {
    fn default() -> Self {
        Self([0; CONTROL_BYTES])
    }
}

impl Control {
    pub(super) fn as_mut_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Writes the one message that makes an answer leave from `hit`; returns its length.
    ///
    /// The route decides the interface, as it does for TCP; but a link-local address means nothing without one.
    pub(super) fn write(&mut self, hit: Hit) -> usize {
        match hit {
            Hit::V4(info) => self.put(0, libc::IPPROTO_IP, libc::IP_PKTINFO, in_pktinfo { ipi_ifindex: 0, ..info }),
            Hit::V6(info) => {
                let [high, low, ..] = info.ipi6_addr.s6_addr;
                let link_local = high == 0xfe && low & 0xc0 == 0x80;
                let ipi6_ifindex = if link_local { info.ipi6_ifindex } else { 0 };
                self.put(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, in6_pktinfo { ipi6_ifindex, ..info })
            }
        }
    }

    /// Reads what the kernel has written, `len` bytes; nothing where the socket asked for nothing.
    pub(super) fn read(&mut self, len: usize) -> Told {
        let mut told = Told::default();
        if len == 0 {
            return told;
        }
        // SAFETY: numbers and raw pointers, for which zero is a value.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_control = self.as_mut_ptr();
        message.msg_controllen = len.min(CONTROL_BYTES) as _;
        // SAFETY: `message` names an aligned buffer and no more than its length; so does CMSG_NXTHDR below.
        let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        while !at.is_null() {
            // SAFETY: not null means a whole header, whose length the kernel has set.
            unsafe { told.add(at) };
            // SAFETY: as at CMSG_FIRSTHDR.
            at = unsafe { libc::CMSG_NXTHDR(&raw const message, at) };
        }
        told
    }

    /// Writes, behind the `after` bytes of other messages, the one that has the kernel cut a message into datagrams of
    /// `len` bytes; returns its length.
    pub(super) fn cut(&mut self, after: usize, len: u16) -> usize {
        self.put(after, libc::SOL_UDP, libc::UDP_SEGMENT, len)
    }

    /// Writes a message at `at`; returns its length, 0 if there is no room.
    fn put<T: Copy>(&mut self, at: usize, level: c_int, kind: c_int, data: T) -> usize {
        let Some(room) = self.0.get_mut(at..at + space::<T>()) else { return 0 };
        room.fill(0);
        // SAFETY: numbers, for which zero is a value; its padding differs between C libraries.
        let mut head: cmsghdr = unsafe { zeroed() };
        // SAFETY: arithmetic on a length.
        head.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<T>() as u32) } as _;
        (head.cmsg_level, head.cmsg_type) = (level, kind);
        let header: *mut cmsghdr = room.as_mut_ptr().cast();
        // SAFETY: `room` is long enough for both; neither need be aligned.
        unsafe {
            ptr::write_unaligned(header, head);
            ptr::write_unaligned(libc::CMSG_DATA(header).cast::<T>(), data);
        }
        space::<T>()
    }
}

impl Told {
    /// Takes one control message.
    ///
    /// # Safety
    /// As for [`data`].
    unsafe fn add(&mut self, at: *const cmsghdr) {
        // SAFETY: the caller's promise; each of these is plain numbers.
        unsafe {
            match ((*at).cmsg_level, (*at).cmsg_type) {
                // A socket of both families is told both of a datagram of IPv4; this one tells more.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => self.hit = data(at).map(Hit::V4).or(self.hit),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => self.hit = self.hit.or_else(|| data(at).map(Hit::V6)),
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    self.ttl = data::<c_int>(at).and_then(|ttl| ttl.try_into().ok());
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => self.traffic_class = data(at),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    self.traffic_class = data::<c_int>(at).and_then(|class| class.try_into().ok());
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => self.received = data(at).and_then(since_1970),
                _ => {}
            }
        }
    }
}

fn since_1970(time: timespec) -> Option<Duration> {
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// Bytes of a control message that holds a `T`, with its header and padding.
const fn space<T>() -> usize {
    // SAFETY: arithmetic on a length.
    unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) as usize }
}

/// The data of a control message, if it is as long as a `T`.
///
/// # Safety
/// `at` is a whole header, followed by as much data as it says; any bytes are a `T`.
unsafe fn data<T: Copy>(at: *const cmsghdr) -> Option<T> {
    // SAFETY: the caller's promise; the data need not be aligned.
    unsafe {
        let len = libc::CMSG_LEN(size_of::<T>() as u32) as usize;
        ((*at).cmsg_len >= len).then(|| ptr::read_unaligned(libc::CMSG_DATA(at).cast()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use libc::{in_addr, in6_addr};

    use super::*;

    fn back(hit: Hit) -> Hit {
        let mut control = Control::default();
        let len = control.write(hit);
        control.read(len).hit.unwrap()
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_hit_by_any_interface() {
        let spec = in_addr { s_addr: 7 };
        let Hit::V4(info) = back(Hit::V4(in_pktinfo { ipi_ifindex: 3, ipi_spec_dst: spec, ipi_addr: spec })) else {
            unreachable!("written as V4");
        };
        assert_eq!((info.ipi_ifindex, info.ipi_spec_dst.s_addr), (0, 7));
    }

    #[test]
    fn only_a_link_local_address_keeps_its_interface() {
        for (address, interface) in [("fe80::1", 3), ("2001:db8::1", 0), ("::ffff:192.0.2.1", 0)] {
            let s6_addr = address.parse::<Ipv6Addr>().unwrap().octets();
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr }, ipi6_ifindex: 3 };
            let Hit::V6(info) = back(Hit::V6(info)) else { unreachable!("written as V6") };
            assert_eq!((info.ipi6_ifindex, info.ipi6_addr.s6_addr), (interface, s6_addr), "{address}");
        }
    }

    #[test]
    fn what_was_sent_to_a_broadcast_or_multicast_address_is_shared() {
        let number = |address: &str| in_addr { s_addr: address.parse::<Ipv4Addr>().unwrap().to_bits().to_be() };
        for (sent_to, ours, shared) in [
            ("192.0.2.1", "192.0.2.1", false),
            ("192.0.2.1", "0.0.0.0", false),
            ("192.0.2.255", "192.0.2.1", true),
            ("255.255.255.255", "0.0.0.0", true),
            ("224.0.0.1", "192.0.2.1", true),
        ] {
            let info = in_pktinfo { ipi_ifindex: 1, ipi_spec_dst: number(ours), ipi_addr: number(sent_to) };
            assert_eq!(Hit::V4(info).is_shared(), shared, "{sent_to}");
            assert_eq!(Hit::V4(info).address().to_string(), sent_to);
        }
        for (sent_to, shared) in [("ff02::1", true), ("2001:db8::1", false), ("::ffff:224.0.0.1", true)] {
            let s6_addr = sent_to.parse::<Ipv6Addr>().unwrap().octets();
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr }, ipi6_ifindex: 3 };
            assert_eq!((Hit::V6(info).is_shared(), Hit::V6(info).interface()), (shared, 3), "{sent_to}");
        }
    }

    #[test]
    fn nothing_told_is_nothing_read() {
        assert!(Control::default().read(0).hit.is_none());
    }
}
