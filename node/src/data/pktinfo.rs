//! Control messages of datagrams: which of our addresses was hit.
//!
//! Used by [`super::mmsg`]. An answer must leave from the address that its request was sent to (RFC 1122, section
//! 4.1.3.5), or the client does not know it; `IP_PKTINFO` and `IPV6_PKTINFO` tell that address and set it.

use std::mem::{size_of, zeroed};
use std::ptr;

use libc::{c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, msghdr};

/// Bytes for control messages: the larger of the two, with its header, and some to spare.
pub(super) const CONTROL_BYTES: usize = 64;

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

    /// Reads what the kernel has written, `len` bytes; it says nothing where the socket has one address only.
    pub(super) fn read(&mut self, len: usize) -> Option<Hit> {
        if len == 0 {
            return None;
        }
        // SAFETY: numbers and raw pointers, for which zero is a value.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_control = self.as_mut_ptr();
        message.msg_controllen = len.min(CONTROL_BYTES) as _;
        let mut hit = None;
        // SAFETY: `message` names an aligned buffer and no more than its length; so does CMSG_NXTHDR below.
        let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        while !at.is_null() {
            // SAFETY: not null means a whole header, whose length the kernel has set; and both are plain numbers.
            unsafe {
                match ((*at).cmsg_level, (*at).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => hit = data(at).map(Hit::V4),
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => hit = data(at).map(Hit::V6),
                    _ => {}
                }
            }
            // SAFETY: as at CMSG_FIRSTHDR.
            at = unsafe { libc::CMSG_NXTHDR(&raw const message, at) };
        }
        hit
    }

    fn put<T: Copy>(&mut self, level: c_int, kind: c_int, data: T) -> usize {
        const { assert!(space::<T>() <= CONTROL_BYTES) };
        let header: *mut cmsghdr = self.as_mut_ptr().cast();
        // SAFETY: the buffer is aligned for a cmsghdr, and long enough for it and the data, as asserted; zero is a
        // value of a cmsghdr; the data need not be aligned.
        unsafe {
            ptr::write_bytes(header.cast::<u8>(), 0, space::<T>());
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast::<T>(), data);
        }
        space::<T>()
    }
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
        control.read(len).unwrap()
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
            let s6_addr = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr }, ipi6_ifindex: 3 };
            let Hit::V6(info) = back(Hit::V6(info)) else { unreachable!("written as V6") };
            assert_eq!((info.ipi6_ifindex, info.ipi6_addr.s6_addr), (interface, s6_addr), "{address}");
        }
    }

    #[test]
    fn nothing_told_is_nothing_read() {
        assert!(Control::default().read(0).is_none());
    }
}
