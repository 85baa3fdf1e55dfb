//! Who else stands on a port: the kernel's list of sockets, less our own.
//!
//! Asked by [`crate::live`] before a listener moves to another address of its own port. There the new sockets must
//! share the port with the old ones, and the kernel then lets in anybody of the same user who shares it, too. It must
//! never pass when the list cannot be read.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use echo_proto::spec::{Protocol, overlap};
use socket2::Socket;

/// State of a listening socket in the kernel's list (TCP_LISTEN).
const LISTENING: &str = "0A";

/// What tells a socket from all others of this host.
pub(crate) type Inode = u64;

/// The inode of a socket of ours.
///
/// # Errors
/// The kernel's, such as that no file is left.
pub(super) fn inode(socket: &Socket) -> io::Result<Inode> {
    let file = File::from(std::os::fd::OwnedFd::from(socket.try_clone()?));
    Ok(file.metadata()?.ino())
}

/// The address of a socket that is not `ours` and would share traffic for `wanted`, if there is one. Of TCP only those
/// that listen count. The list does not say whether `::` is of both families, so it counts as if it were.
///
/// # Errors
/// The list could not be read.
pub(crate) fn stranger(
    protocol: Protocol,
    wanted: SocketAddr,
    ours: &HashSet<Inode>,
) -> io::Result<Option<SocketAddr>> {
    for family in ["", "6"] {
        let path = format!("/proc/self/net/{}{family}", protocol.label());
        let list = match File::open(&path) {
            Ok(list) => list,
            // A host without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound && family == "6" => continue,
            Err(e) => return Err(io::Error::new(e.kind(), format!("{path}: {e}"))),
        };
        for line in BufReader::new(list).lines().skip(1) {
            let line = line?;
            let entry = entry(&line)
                .ok_or_else(|| io::Error::other(format!("{path}: not a list of sockets as Linux writes it")))?;
            let counts = protocol == Protocol::Udp || entry.state == LISTENING;
            let near = entry.address.port() == wanted.port() && overlap(entry.address.ip(), wanted.ip());
            if counts && near && !ours.contains(&entry.inode) {
                return Ok(Some(entry.address));
            }
        }
    }
    Ok(None)
}

/// A line of the list.
struct Entry<'a> {
    address: SocketAddr,
    state: &'a str,
    inode: Inode,
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let address = SocketAddr::new(ip_address(ip)?, u16::from_str_radix(port, 16).ok()?);
    Some(Entry { address, state: fields.nth(1)?, inode: fields.nth(5)?.parse().ok()? })
}

/// An address as the kernel writes it: each four bytes of it as a number of this machine, in hexadecimal.
fn ip_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn strangers_are_told_from_our_own_sockets() {
        for host in ["127.0.0.1", "::1"] {
            let host: IpAddr = host.parse().unwrap();
            // A host without IPv6 has nothing to tell here.
            let Ok(tcp) = TcpListener::bind((host, 0)) else { continue };
            let udp = UdpSocket::bind((host, 0)).unwrap();
            let sockets = [
                (Protocol::Tcp, tcp.local_addr().unwrap(), Socket::from(tcp)),
                (Protocol::Udp, udp.local_addr().unwrap(), Socket::from(udp)),
            ];
            for (protocol, address, socket) in &sockets {
                let any: IpAddr =
                    if host.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
                for wanted in [*address, SocketAddr::new(any, address.port())] {
                    assert_eq!(stranger(*protocol, wanted, &HashSet::new()).unwrap(), Some(*address));
                    let ours = HashSet::from([inode(socket).unwrap()]);
                    assert_eq!(stranger(*protocol, wanted, &ours).unwrap(), None);
                }
            }
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let v4 = word([127, 0, 0, 2]);
        assert_eq!(ip_address(&v4), Some("127.0.0.2".parse().unwrap()));
        let v6 = [word([0x20, 1, 0xd, 0xb8]), word([0; 4]), word([0; 4]), word([0, 0, 0, 7])].concat();
        assert_eq!(ip_address(&v6), Some("2001:db8::7".parse().unwrap()));
        for garbage in ["", "0", "7F0000010", "GGGGGGGG", "0123456789ABCDEF", "é234567"] {
            assert_eq!(ip_address(garbage), None, "{garbage}");
        }
        assert!(entry("  sl  local_address rem_address   st").is_none());
    }
}
