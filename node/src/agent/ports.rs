//! The bytes of `guard/ports` <-> sockets from which no datagram is served.
//!
//! Read by [`super::watch`], and kept by [`super::saved`] for a start without etcd. Pure. A port that is refused from
//! everywhere stands as one of the unspecified address.

use std::net::{Ipv4Addr, SocketAddr};

use echo_proto::codec::{self, Strictness};
use echo_proto::v1;

/// Where the fleet answers datagrams.
#[derive(Debug, Clone)]
pub struct FleetPorts {
    /// From these no datagram is served.
    pub sockets: Vec<SocketAddr>,
    /// The change that told so.
    pub trace: Option<v1::TraceContext>,
}

/// Reads the fleet's ports.
///
/// # Errors
/// Why they can't be read.
pub fn read(json: &[u8]) -> Result<FleetPorts, String> {
    let ports: v1::GuardPorts = codec::from_json(json, Strictness::Lenient).map_err(|errors| errors.to_string())?;
    let port = |port: &u32| match u16::try_from(*port) {
        Ok(port) => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        Err(_) => Err(format!("{port} is not a port")),
    };
    let socket = |text: &String| text.parse().map_err(|_| format!("{text:?} is not an address with a port"));
    let sockets = ports.udp.iter().map(port).chain(ports.udp_sockets.iter().map(socket)).collect::<Result<_, _>>()?;
    Ok(FleetPorts { sockets, trace: ports.trace })
}

/// The ports as [`read`] takes them.
pub fn write(ports: &[SocketAddr]) -> String {
    let (everywhere, sockets): (Vec<&SocketAddr>, Vec<&SocketAddr>) =
        ports.iter().partition(|socket| socket.ip().is_unspecified());
    codec::to_json(&v1::GuardPorts {
        udp: everywhere.iter().map(|socket| socket.port().into()).collect(),
        udp_sockets: sockets.iter().map(ToString::to_string).collect(),
        // What is recalled at a start is part of no change.
        trace: None,
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
        assert_eq!(read(write(&ports).as_bytes()).unwrap().sockets, ports);
        assert!(read(br#"{"udp":[70000]}"#).unwrap_err().contains("not a port"));
        assert!(read(br#"{"udpSockets":["10.0.0.1"]}"#).unwrap_err().contains("not an address with a port"));
    }
}
