//! A real echo over TCP and UDP to every node, as a proof and a first measurement.
//!
//! Used by `up` once the nodes are ready.

use std::net::SocketAddr;
use std::time::Duration;

use echo_proto::v1::{self, Protocol, service::Kind};

use crate::object::Object as _;
use crate::output::human::{NONE, round_trip};

/// What is sent: 64 bytes.
const PAYLOAD: &[u8; 64] = b"echoctl up: 0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMN";
/// Longest wait for an answer from this machine.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the echoes of one node gave.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) node: String,
    pub(super) tcp: Echo,
    pub(super) udp: Echo,
}

/// One echo.
#[derive(Debug)]
pub(super) enum Echo {
    /// The pool has no such listener.
    None,
    /// The round trip.
    Answered(SocketAddr, Duration),
    /// Why not.
    Failed(SocketAddr, String),
}

impl Probed {
    /// Titles of the table.
    pub(super) const TITLES: [&'static str; 5] = ["ECHO", "TCP", "ROUND TRIP", "UDP", "ROUND TRIP"];

    /// One row.
    pub(super) fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.node.clone()];
        for echo in [&self.tcp, &self.udp] {
            cells.extend(match echo {
                Echo::None => [NONE.to_owned(), NONE.to_owned()],
                Echo::Answered(address, time) => [address.to_string(), round_trip(*time)],
                Echo::Failed(address, _) => [address.to_string(), "failed".to_owned()],
            });
        }
        cells
    }

    /// Why an echo failed, if one did.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        [&self.tcp, &self.udp].into_iter().filter_map(|echo| match echo {
            Echo::Failed(_, cause) => Some(format!("{}: {cause}", self.node)),
            _ => None,
        })
    }
}

impl Echo {
    /// Where it was answered.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Answered(address, _) => Some(*address),
            _ => None,
        }
    }
}

/// Probes the nodes one after the other: at once, they would measure each other.
pub(super) async fn run(nodes: &[v1::Node], pools: &[v1::Pool]) -> Vec<Probed> {
    let mut all = Vec::new();
    for node in nodes {
        let status = node.status.clone().unwrap_or_default();
        if status.phase() != v1::NodePhase::Ready {
            continue;
        }
        let template = pools.iter().find(|p| p.name() == status.pool).and_then(|p| p.spec.as_ref()?.template.as_ref());
        let target = |protocol| target(template?, &status, protocol);
        let tcp = match target(Protocol::Tcp) {
            None => Echo::None,
            Some((address, bytes)) => {
                let payload = PAYLOAD.get(..bytes).unwrap_or(PAYLOAD);
                judge(address, echo_probe::tcp_echo(address, payload, TIMEOUT).await)
            }
        };
        let udp = match target(Protocol::Udp) {
            None => Echo::None,
            Some((address, _)) => judge(address, echo_probe::udp_echo(address, PAYLOAD, TIMEOUT).await),
        };
        all.push(Probed { node: node.name().to_owned(), tcp, udp });
    }
    all
}

fn judge(address: SocketAddr, outcome: Result<Duration, echo_probe::ProbeError>) -> Echo {
    match outcome {
        Ok(time) => Echo::Answered(address, time),
        Err(e) => Echo::Failed(address, e.to_string()),
    }
}

/// The node's first echo over `protocol`: where it is bound, and how many bytes it answers at once.
fn target(template: &v1::PoolTemplate, node: &v1::NodeStatus, protocol: Protocol) -> Option<(SocketAddr, usize)> {
    template.listeners.iter().filter(|listener| listener.protocol() == protocol).find_map(|listener| {
        let Some(Kind::Echo(echo)) = &listener.service.as_ref()?.kind else { return None };
        let bound = node.listeners.iter().find(|bound| bound.name == listener.name)?;
        let first_read = echo.max_read.filter(|_| echo.once).map_or(PAYLOAD.len(), |max| max as usize);
        Some((bound.address.parse().ok()?, first_read))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::documents::parse_pools;

    #[test]
    fn only_echo_listeners_that_are_bound_are_probed() {
        let pool = parse_pools(
            "test",
            "
apiVersion: echo/v1
kind: Pool
metadata: {name: edge}
spec:
  template:
    listeners:
    - {name: greet, protocol: TCP, port: 1, service: {greet: {}}}
    - {name: unbound, protocol: TCP, port: 2, service: {echo: {}}}
    - {name: once, protocol: TCP, port: 0, service: {echo: {maxRead: 5, once: true}}}
",
        )
        .unwrap()
        .pop()
        .unwrap();
        let template = pool.spec.unwrap().template.unwrap();
        let bound = v1::BoundListener { name: "once".into(), address: "127.0.0.3:4567".into(), ..Default::default() };
        let status = v1::NodeStatus { listeners: vec![bound], ..Default::default() };
        let expected = ("127.0.0.3:4567".parse().unwrap(), 5);
        assert_eq!(target(&template, &status, Protocol::Tcp), Some(expected));
        assert_eq!(target(&template, &status, Protocol::Udp), None);
    }
}
