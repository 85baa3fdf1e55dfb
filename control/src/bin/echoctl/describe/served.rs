//! Which listeners the nodes of a pool have open, beside those that its template names.
//!
//! Used by the description of a pool. Pure.

use std::collections::BTreeMap;

use echo_proto::v1;

use crate::object::short_name;
use echo_control::words::count;

/// `2 of 3 nodes`: who has this listener open.
pub(super) fn by(listener: &v1::Listener, nodes: &[v1::Node]) -> String {
    let has = |node: &&v1::Node| bound(node).any(|b| is(listener, b));
    format!("{} of {}", nodes.iter().filter(has).count(), count(nodes.len(), "node"))
}

/// `echo-tcp 7007/TCP on 3 nodes`: listeners that nodes have open and the template does not name.
pub(super) fn others(listeners: &[v1::Listener], nodes: &[v1::Node]) -> Vec<String> {
    let mut others: BTreeMap<String, u64> = BTreeMap::new();
    for bound in nodes.iter().flat_map(bound).filter(|b| !listeners.iter().any(|l| is(l, b))) {
        let protocol = short_name(bound.protocol().as_str_name(), "PROTOCOL_");
        let port = bound.address.rsplit(':').next().unwrap_or_default();
        *others.entry(format!("{} {port}/{protocol}", bound.name)).or_default() += 1;
    }
    others.into_iter().map(|(listener, nodes)| format!("{listener} on {}", count(nodes, "node"))).collect()
}

/// What a node has open, as far as is known: a record that went away tells nothing of now.
fn bound(node: &v1::Node) -> impl Iterator<Item = &v1::BoundListener> {
    let status = node.status.as_ref().filter(|status| status.sync() != v1::SyncState::Lost);
    status.into_iter().flat_map(|status| &status.listeners)
}

/// Any port fits a listener that asks for any.
fn is(listener: &v1::Listener, bound: &v1::BoundListener) -> bool {
    let port = bound.address.rsplit(':').next().and_then(|port| port.parse().ok());
    listener.name == bound.name
        && listener.protocol == bound.protocol
        && (listener.port == 0 || port == Some(listener.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u32, sync: v1::SyncState) -> v1::Node {
        let address = format!("[::1]:{port}");
        let listeners = vec![v1::BoundListener { name: "a".to_owned(), protocol: 1, address, ..Default::default() }];
        let mut status = v1::NodeStatus { listeners, ..Default::default() };
        status.set_sync(sync);
        v1::Node { status: Some(status), ..Default::default() }
    }

    #[test]
    fn a_listener_on_another_port_is_not_the_one_that_was_asked_for() {
        let wanted = |port| v1::Listener { name: "a".to_owned(), protocol: 1, port, ..Default::default() };
        let [synced, lost] = [v1::SyncState::Synced, v1::SyncState::Lost];
        let nodes = [node(7007, synced), node(7008, synced), node(7008, synced), node(7008, lost)];
        assert_eq!(by(&wanted(7007), &nodes), "1 of 4 nodes");
        assert_eq!(others(&[wanted(7007)], &nodes), ["a 7008/TCP on 2 nodes"]);
        assert_eq!(by(&wanted(0), &nodes), "3 of 4 nodes");
        assert!(others(&[wanted(0)], &nodes).is_empty());
    }
}
