//! The bytes of `guard/ports` <-> sockets from which no datagram is served.
//!
//! Read by [`super::watch`], and kept by [`super::saved`] for a start without etcd. Pure. A port that is refused from
//! everywhere stands as one of the unspecified address.

use std::net::{Ipv4Addr, SocketAddr};

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;

/// Reads the fleet's ports.
///
/// # Errors
/// Why they can't be read.
pub fn read(json: &[u8]) -> Result<Vec<SocketAddr>, String> {
    let ports: v1::GuardPorts = codec::from_json(json, Strictness::Lenient).map_err(|errors| errors.to_string())?;
    let port = |port: &u32| match u16::try_from(*port) {
        Ok(port) => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        Err(_) => Err(format!("{port} is not a port")),
    };
    let socket = |text: &String| text.parse().map_err(|_| format!("{text:?} is not an address with a port"));
    ports.udp.iter().map(port).chain(ports.udp_sockets.iter().map(socket)).collect()
}

/// The ports as [`read`] takes them.
pub fn write(ports: &[SocketAddr]) -> String {
    let (everywhere, sockets): (Vec<&SocketAddr>, Vec<&SocketAddr>) =
        ports.iter().partition(|socket| socket.ip().is_unspecified());
    codec::to_json(&v1::GuardPorts {
        udp: everywhere.iter().map(|socket| socket.port().into()).collect(),
        udp_sockets: sockets.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let ports: Vec<SocketAddr> =
            ["0.0.0.0:7007", "10.0.0.1:41234", "[fd00::1]:5"].map(|s| s.parse().unwrap()).into();
        assert_eq!(read(write(&ports).as_bytes()).unwrap(), ports);
        assert!(read(br#"{"udp":[70000]}"#).unwrap_err().contains("not a port"));
        assert!(read(br#"{"udpSockets":["10.0.0.1"]}"#).unwrap_err().contains("not an address with a port"));
    }
}
