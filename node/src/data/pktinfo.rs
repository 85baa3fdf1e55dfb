//! Control messages of datagrams: which of our addresses was hit, and what the kernel had to drop.
//!
//! Used by [`super::mmsg`]. An answer must leave from the address that its request was sent to (RFC 1122, section
//! 4.1.3.5), or the client does not know it; `IP_PKTINFO` and `IPV6_PKTINFO` tell that address and set it.

use std::mem::{size_of, zeroed};
use std::ptr;

use libc::{c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, msghdr};

/// Bytes for control messages: the larger of the two, and the count of drops, with their headers.
pub(super) const CONTROL_BYTES: usize = 96;

/// A buffer for control messages, aligned as the kernel writes them.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

/// The address that a datagram was sent to.
#[derive(Clone, Copy)]
pub(super) enum Hit {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// What a datagram's control messages say.
#[derive(Default)]
pub(super) struct Details {
    /// Absent where the socket has one address only.
    pub(super) hit: Option<Hit>,
    /// Datagrams that the socket has dropped so far, if any (`SO_RXQ_OVFL`).
    pub(super) lost: Option<u32>,
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
            Hit::V4(info) => self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, in_pktinfo { ipi_ifindex: 0, ..info }),
            Hit::V6(info) => {
                let [high, low, ..] = info.ipi6_addr.s6_addr;
                let link_local = high == 0xfe && low & 0xc0 == 0x80;
                let ipi6_ifindex = if link_local { info.ipi6_ifindex } else { 0 };
                self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, in6_pktinfo { ipi6_ifindex, ..info })
            }
        }
    }

    /// Reads what the kernel has written, `len` bytes.
    pub(super) fn read(&mut self, len: usize) -> Details {
        let mut details = Details::default();
        // SAFETY: numbers and raw pointers, for which zero is a value.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_control = self.as_mut_ptr();
        message.msg_controllen = len.min(CONTROL_BYTES) as _;
        // SAFETY: `message` names an aligned buffer and no more than its length; so does CMSG_NXTHDR below.
        let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        while !at.is_null() {
            // SAFETY: not null means that a whole header is there.
            let header = unsafe { *at };
            match (header.cmsg_level, header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => details.hit = data(at).map(Hit::V4),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => details.hit = data(at).map(Hit::V6),
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => details.lost = data(at),
                _ => {}
            }
            // SAFETY: as at CMSG_FIRSTHDR.
            at = unsafe { libc::CMSG_NXTHDR(&raw const message, at) };
        }
        details
    }

    fn put<T: Copy>(&mut self, level: c_int, kind: c_int, data: T) -> usize {
        let len = size_of::<T>() as u32;
        // SAFETY: pure arithmetic on a length.
        let (space, used) = unsafe { (libc::CMSG_SPACE(len) as usize, libc::CMSG_LEN(len)) };
        assert!(space <= CONTROL_BYTES, "holds for both types that are put");
        let header: *mut cmsghdr = self.as_mut_ptr().cast();
        // SAFETY: the buffer is aligned for a cmsghdr and long enough for it and the data, as asserted; zero is a value
        // of a cmsghdr, and the data may be unaligned.
        unsafe {
            ptr::write_bytes(header.cast::<u8>(), 0, space);
            (*header).cmsg_len = used as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast::<T>(), data);
        }
        space
    }
}

/// The data of a control message, if it is as long as a `T`, which must be plain numbers.
fn data<T: Copy>(at: *const cmsghdr) -> Option<T> {
    // SAFETY: arithmetic; and `at` is a whole header, see the only caller. Its length has been checked by the kernel.
    unsafe {
        let len = libc::CMSG_LEN(size_of::<T>() as u32) as usize;
        ((*at).cmsg_len >= len).then(|| ptr::read_unaligned(libc::CMSG_DATA(at).cast()))
    }
}
