//! The bytes of `guard/ports` <-> ports from which no datagram is served.
//!
//! Read by [`super::watch`], and kept by [`super::saved`] for a start without etcd. Pure.

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;

/// Reads the fleet's ports.
///
/// # Errors
/// Why they can't be read.
pub fn read(json: &[u8]) -> Result<Vec<u16>, String> {
    let ports: v1::GuardPorts = codec::from_json(json, Strictness::Lenient).map_err(|errors| errors.to_string())?;
    let port = |port: &u32| u16::try_from(*port).map_err(|_| format!("{port} is not a port"));
    ports.udp.iter().map(port).collect()
}

/// The ports as [`read`] takes them.
pub fn write(ports: &[u16]) -> String {
    codec::to_json(&v1::GuardPorts { udp: ports.iter().copied().map(u32::from).collect() })
}
