//! The PROXY protocol's header, version 1 and 2: whom a load balancer speaks for.
//!
//! Read by [`super::tcp`] where a listener asks for it. Pure: bytes in, a verdict out. The crate reads the addresses; what
//! it leaves open is decided here, after HAProxy's proxy-protocol.txt: how long a header may be, that bytes which can't
//! become one are refused at once, and that a balancer speaking for itself may say anything. It must never take a byte
//! that comes after the header.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};

/// Longest header of version 1, its end included: the specification's figure.
const MAX_V1: usize = 107;
/// First bytes of version 2: signature, version and command, family, length.
const V2_HEAD: usize = 16;
/// Most bytes that may follow them: addresses, and what balancers add, of which TLS names are the longest.
const MAX_V2_REST: usize = 2048;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2: the balancer speaks for itself, as in a health check.
const V2_LOCAL: u8 = 0x20;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// 1 or 2.
    pub(super) version: u8,
    /// Client and address that it reached; `None`: the balancer speaks for itself, or does not know.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
}

/// What some first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A part of a header.
    Partial,
    /// A header, and where it ends.
    Whole(Header, usize),
    /// Anything else.
    Broken,
}

/// Reads the header that `bytes` begin with.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    if begins(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else if begins(bytes, V1_SIGNATURE) {
        let line = bytes.get(..MAX_V1).unwrap_or(bytes);
        match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => read(line.get(..=end).unwrap_or_default(), 1),
            None if line.len() < MAX_V1 => Parsed::Partial,
            None => Parsed::Broken,
        }
    } else {
        Parsed::Broken
    }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some([.., command, _family, high, low]) = bytes.first_chunk::<V2_HEAD>() else { return Parsed::Partial };
    let rest = usize::from(u16::from_be_bytes([*high, *low]));
    match bytes.get(..V2_HEAD + rest) {
        _ if rest > MAX_V2_REST => Parsed::Broken,
        None => Parsed::Partial,
        Some(whole) if *command == V2_LOCAL => Parsed::Whole(Header { version: 2, ends: None }, whole.len()),
        Some(whole) => read(whole, 2),
    }
}

/// Reads a header that is complete.
fn read(whole: &[u8], version: u8) -> Parsed {
    let config = ParseConfig { include_tlvs: false, allow_v1: version == 1, allow_v2: version == 2 };
    let parsed: Result<(ProxyHeader<'_>, usize), Error> = ProxyHeader::parse(whole, config);
    match parsed {
        Ok((header, len)) if len == whole.len() => {
            let ends = header.proxied_address().map(|ends| (ends.source, ends.destination));
            Parsed::Whole(Header { version, ends }, len)
        }
        _ => Parsed::Broken,
    }
}

/// Whether `bytes` are, or may become, something that begins with `signature`.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

#[cfg(test)]
mod tests;
