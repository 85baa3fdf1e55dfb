//! Ports: two nodes of one host that want the same, or a node and a foreign program.
//!
//! Part of the diagnosis. A node whose listener could not be bound says so itself; this finds who has the port. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use echo_proto::spec::{ListenerPlan, Protocol};
use echo_proto::v1::{self, Finding};

use super::finding::error;
use super::nodes::Seen;
use crate::event::of_node;
use crate::view::State;

const HINT: &str = "give the pools different ports, or the nodes different addresses (--address)";

/// Nodes that share an address and port, and nodes whose port another one has.
pub(super) fn judge(seen: &[Seen], state: &State) -> Vec<Finding> {
    let mut findings = shared(seen);
    for one in seen {
        let Some((listener, ip)) = refused(one, state) else { continue };
        let is_other = |other: &&Seen| (&other.pool, &other.node.id) != (&one.pool, &one.node.id);
        let other = seen.iter().filter(is_other).find(|other| has(other, one, listener, ip));
        let (protocol, port) = (listener.protocol.label(), listener.port);
        if let Some(other) = other {
            let text = format!("it wants {protocol} port {port}, which {} has on the same host", full_name(other));
            findings.push(error("PortClash", of_node(&one.node.id), text, HINT));
        } else if let Some(wanted) = in_use(one) {
            let text = format!("it wants {protocol} {wanted}, which a program has that is no node of this cluster");
            let hint = format!("see who has port {port} on that host: `ss -lnp 'sport = :{port}'`");
            findings.push(error("PortTaken", of_node(&one.node.id), text, hint));
        }
    }
    findings
}

/// Nodes that are bound to the very same address: each gets a part of what is meant for one.
fn shared(seen: &[Seen]) -> Vec<Finding> {
    let mut bound: BTreeMap<(&str, i32, &str), Vec<&Seen>> = BTreeMap::new();
    for one in seen.iter().filter(|one| !one.node.has_vanished()) {
        let status = &one.node.status;
        for listener in &status.listeners {
            let place = (status.host.as_str(), listener.protocol, listener.address.as_str());
            bound.entry(place).or_default().push(one);
        }
    }
    let clash = |((host, _, address), nodes): (&(&str, i32, &str), &Vec<&Seen>)| {
        let names: Vec<String> = nodes.iter().map(|node| full_name(node)).collect();
        let text = format!("{} have {address} on host {host} at the same time", names.join(" and "));
        error("PortClash", nodes.first().map(|node| of_node(&node.node.id)).unwrap_or_default(), text, HINT)
    };
    bound.iter().filter(|(_, nodes)| nodes.len() > 1).map(clash).collect()
}

/// Ids are unique in a pool only.
fn full_name(seen: &Seen) -> String {
    format!("{} of pool/{}", of_node(&seen.node.id), seen.pool)
}

/// The listener that a node could not bind, and where it would be.
fn refused<'a>(one: &Seen, state: &'a State) -> Option<(&'a ListenerPlan, Option<IpAddr>)> {
    let rejection = one.node.status.rejection.as_ref()?;
    let pool = state.pools.get(&one.pool)?.pool.valid()?;
    let listener = pool.value.plan.template.listeners.iter().find(|l| l.name.as_str() == rejection.listener)?;
    let own = one.node.status.listeners.first().and_then(|l| l.address.parse::<SocketAddr>().ok());
    let wanted = in_use(one).or(own).map(|address| address.ip());
    Some((listener, listener.address.or(wanted)))
}

/// The address that somebody else has.
fn in_use(one: &Seen) -> Option<SocketAddr> {
    let rejection = one.node.status.rejection.as_ref().filter(|rejection| rejection.reason == "AddressInUse")?;
    rejection.address.parse().ok()
}

/// Whether `other` has what `one` wants.
fn has(other: &Seen, one: &Seen, listener: &ListenerPlan, ip: Option<IpAddr>) -> bool {
    let protocol = match listener.protocol {
        Protocol::Tcp => v1::Protocol::Tcp,
        Protocol::Udp => v1::Protocol::Udp,
    };
    let meets = |bound: SocketAddr| {
        let any = bound.ip().is_unspecified() || ip.is_none_or(|ip| ip.is_unspecified() || ip == bound.ip());
        bound.port() == listener.port && any
    };
    let listeners = other.node.status.listeners.iter().filter(|l| l.protocol() == protocol);
    one.node.status.host == other.node.status.host && listeners.filter_map(|l| l.address.parse().ok()).any(meets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};
    use crate::view::View;

    const POOL: &str = r#"{"metadata":{"name":"edge","uid":"u"},"revision":{"uid":"u","n":1,"digest":"d"},"spec":
        {"template":{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}}}"#;

    fn node(host: &str, address: &str, refused: &str) -> String {
        let bound = format!(r#"[{{"name":"b","protocol":"PROTOCOL_TCP","address":"{address}"}}]"#);
        let listeners = if address.is_empty() { "[]" } else { &bound };
        format!(r#"{{"status":{{"host":"{host}","listeners":{listeners},"rejection":{{"listener":"{refused}"}}}}}}"#)
    }

    fn clashes(nodes: &[(&str, String)]) -> Vec<String> {
        let root = "/echo/v1/test/";
        let entry = |key: String, value: &str| Entry { key: key.into(), value: value.into(), ..Default::default() };
        let mut entries = vec![entry(format!("{root}pools/edge"), POOL)];
        entries.extend(nodes.iter().map(|(key, value)| entry(format!("{root}nodes/{key}"), value)));
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        view.apply(Update::Reset(entries), 3);
        view.read(|state| {
            let fleets = state.pools.iter().map(|(name, pool)| (name, &pool.fleet));
            let nodes = fleets.flat_map(|(name, fleet)| fleet.iter().map(|node| (name.clone(), node.clone())));
            let seen: Vec<Seen> = nodes.map(|(pool, node)| Seen { pool, node, answer: None }).collect();
            judge(&seen, state).into_iter().map(|finding| format!("{}: {}", finding.object, finding.message)).collect()
        })
    }

    #[test]
    fn who_has_the_port_that_a_node_could_not_bind_is_named() {
        let found = clashes(&[("edge/node-1", node("h", "", "a")), ("web/node-9", node("h", "0.0.0.0:7007", ""))]);
        assert_eq!(found, ["node/node-1: it wants tcp port 7007, which node/node-9 of pool/web has on the same host"]);
        let namesake = clashes(&[("edge/node-1", node("h", "", "a")), ("web/node-1", node("h", "0.0.0.0:7007", ""))]);
        assert_eq!(namesake.len(), 1, "a node of the same name in another pool is another node");
        let elsewhere = node("other", "0.0.0.0:7007", "");
        assert!(clashes(&[("edge/node-1", node("h", "", "a")), ("web/node-9", elsewhere)]).is_empty());
        let other_port = node("h", "0.0.0.0:7008", "");
        assert!(clashes(&[("edge/node-1", node("h", "", "a")), ("web/node-9", other_port)]).is_empty());
        let other_address = node("h", "127.0.0.2:7007", "");
        assert!(clashes(&[("edge/node-1", node("h", "127.0.0.1:1", "a")), ("web/node-9", other_address)]).is_empty());
    }

    #[test]
    fn a_port_that_no_node_has_is_somebody_elses() {
        let cause = r#""listener":"a","reason":"AddressInUse","address":"127.0.0.7:7007""#;
        let refused = node("h", "", "a").replace(r#""listener":"a""#, cause);
        let found = |other: &str| clashes(&[("edge/node-1", refused.clone()), ("web/node-9", node("h", other, ""))]);
        let taken = "node/node-1: it wants tcp 127.0.0.7:7007, which a program has that is no node of this cluster";
        assert_eq!(found("127.0.0.5:7007"), [taken], "another address is no clash");
        for same in ["127.0.0.7:7007", "0.0.0.0:7007"] {
            assert!(found(same).iter().all(|text| text.contains("node/node-9 of pool/web")), "{same}");
        }
    }

    #[test]
    fn two_nodes_on_one_address_are_told_once() {
        let node = || node("h", "127.0.0.1:7007", "");
        assert_eq!(clashes(&[("edge/node-1", node()), ("edge/node-2", node())]).len(), 1);
        let namesakes = clashes(&[("edge/node-1", node()), ("web/node-1", node())]);
        let text = "node/node-1: node/node-1 of pool/edge and node/node-1 of pool/web have 127.0.0.1:7007 on host h at the same time";
        assert_eq!(namesakes, [text]);
        assert!(clashes(&[("edge/node-1", node())]).is_empty());
    }
}
