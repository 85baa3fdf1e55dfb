//! The fleet's own UDP ports: what pools say, what nodes are assigned and what they have bound -> `guard/ports`, which
//! all nodes watch.
//!
//! Part of the drive; one fenced transaction when they change. A node answers no datagram from these ports, or two
//! nodes could answer each other for ever. It must never leave out a port that a node may still serve.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use echo_proto::spec::{answering_ports, answers_datagrams};
use echo_proto::v1;

use super::Pass;
use crate::store::election::Leadership;
use crate::store::{Change, Store, StoreError};
use crate::view::{PoolState, Slot, State, View};

/// One leader's work on the ports.
pub(super) struct Guarded {
    store: Store,
    leadership: Leadership,
    /// Revision of an own write that the view has yet to show.
    written: i64,
}

impl Guarded {
    pub(super) fn new(store: Store, leadership: Leadership) -> Self {
        Self { store, leadership, written: 0 }
    }

    pub(super) async fn pass(&mut self, view: &View) -> Pass {
        let (revision, known, change) =
            view.read(|state| (state.revision, state.guard_ports.mod_revision(), due(state)));
        let Some(ports) = change.filter(|_| self.written <= revision) else { return Pass::Done(None) };
        match self.write(known, &ports).await {
            Ok(true) => Pass::Done(None),
            Ok(false) => Pass::Again,
            Err(error) => {
                tracing::warn!(%error, "the fleet's ports were not written");
                Pass::Again
            }
        }
    }

    /// `false`: someone else was faster.
    async fn write(&mut self, known: i64, ports: &v1::GuardPorts) -> Result<bool, StoreError> {
        let (keys, key) = (self.store.keys(), self.store.keys().guard_ports());
        let change = Change::new().fenced(keys, &self.leadership).require(&key, known).put(&key, ports);
        let written = self.store.commit(change).await?;
        self.written = written.unwrap_or(self.written);
        Ok(written.is_some())
    }
}

/// What is to be written; `None` where it stands there already.
fn due(state: &State) -> Option<v1::GuardPorts> {
    let mut ports: BTreeSet<u32> = state.pools.values().flat_map(templates).flat_map(answering_ports).collect();
    let (everywhere, sockets): (Vec<_>, Vec<_>) =
        state.pools.values().flat_map(bound).partition(|socket| socket.ip().is_unspecified());
    ports.extend(everywhere.iter().map(|socket| u32::from(socket.port())));
    let mut sockets: BTreeSet<String> = sockets.iter().map(SocketAddr::to_string).collect();
    let stands = state.guard_ports.valid().map(|stored| &stored.value);
    if let Some(stands) = stands.filter(|_| state.pools.values().any(is_unreadable)) {
        ports.extend(&stands.udp);
        sockets.extend(stands.udp_sockets.iter().cloned());
    }
    // Whose port is refused from everywhere need not be named.
    sockets.retain(|socket| socket.parse::<SocketAddr>().is_ok_and(|socket| !ports.contains(&socket.port().into())));
    let ports = v1::GuardPorts { udp: ports.into_iter().collect(), udp_sockets: sockets.into_iter().collect() };
    // No key is no port.
    let none = || ports == v1::GuardPorts::default() && state.guard_ports.mod_revision() == 0;
    let same = stands.map_or_else(none, |stands| *stands == ports);
    (state.synced && !same).then_some(ports)
}

/// All that nodes of a pool may run, now or soon.
fn templates(pool: &PoolState) -> impl Iterator<Item = &v1::PoolTemplate> {
    let wanted = pool.pool.valid().and_then(|pool| pool.value.record.spec.as_ref()?.template.as_ref());
    wanted.into_iter().chain(assigned(pool).filter_map(|revision| revision.config.as_ref()))
}

fn assigned(pool: &PoolState) -> impl Iterator<Item = &v1::AssignedRevision> {
    let assigned = pool.assignment.valid().map(|assignment| &assignment.value.record);
    assigned.into_iter().flat_map(|assigned| assigned.stable.iter().chain(&assigned.next))
}

/// Where nodes of a pool really answer, also with port 0, and also those that went away and may serve on. What a node
/// runs that is not assigned any more may answer.
fn bound(pool: &PoolState) -> impl Iterator<Item = SocketAddr> {
    pool.fleet.iter().flat_map(|node| {
        let applied = node.status.applied.as_ref();
        let runs = applied.and_then(|applied| assigned(pool).find(|revision| revision.digest == applied.digest));
        let listeners = runs.and_then(|revision| revision.config.as_ref()).map_or(&[][..], |config| &config.listeners);
        let silent = |name: &str| listeners.iter().any(|known| known.name == name && !answers_datagrams(known));
        let answers = move |bound: &&v1::BoundListener| bound.protocol() == v1::Protocol::Udp && !silent(&bound.name);
        node.status.listeners.iter().filter(answers).filter_map(|bound| bound.address.parse().ok())
    })
}

/// Whether nodes of a pool may serve what can't be read here.
fn is_unreadable(pool: &PoolState) -> bool {
    matches!(pool.pool, Slot::Invalid(_)) || matches!(pool.assignment, Slot::Invalid(_))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Entry, Update};

    /// The ports that are due with these values by key, and no sockets.
    #[track_caller]
    fn due_with(values: &[(&str, &str)]) -> Option<Vec<u32>> {
        let due = all_due_with(values)?;
        assert!(due.udp_sockets.is_empty(), "{due:?}");
        Some(due.udp)
    }

    fn all_due_with(values: &[(&str, &str)]) -> Option<v1::GuardPorts> {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let entry = |(key, value): &(&str, &str)| Entry {
            key: format!("/echo/v1/test/{key}").into_bytes(),
            value: (*value).into(),
            mod_revision: 3,
            ..Entry::default()
        };
        view.apply(Update::Reset(values.iter().map(entry).collect()), 3);
        view.read(due)
    }

    fn listener(protocol: &str, port: u16, service: &str) -> String {
        format!(r#"{{"name":"l{port}","protocol":"PROTOCOL_{protocol}","port":{port},"service":{{"{service}":{{}}}}}}"#)
    }

    fn pool(name: &str, listeners: &[String]) -> String {
        let listeners = listeners.join(",");
        format!(
            r#"{{"metadata":{{"name":"{name}","uid":"u"}},"revision":{{"uid":"u","n":1}},
                "spec":{{"template":{{"listeners":[{listeners}]}}}}}}"#
        )
    }

    #[test]
    fn ports_that_answer_datagrams_are_told_once_and_in_order() {
        let edge =
            pool("edge", &[listener("UDP", 7007, "echo"), listener("UDP", 9, "discard"), listener("TCP", 80, "echo")]);
        let core =
            pool("core", &[listener("UDP", 19, "chargen"), listener("UDP", 7007, "echo"), listener("UDP", 0, "echo")]);
        let pools = [("pools/edge", edge.as_str()), ("pools/core", core.as_str())];
        assert_eq!(due_with(&pools), Some(vec![19, 7007]));
        let told = |ports| due_with(&[&pools[..], &[("guard/ports", ports)]].concat());
        assert_eq!(told(r#"{"udp":[19,7007]}"#), None);
        assert_eq!(told(r#"{"udp":[19]}"#), Some(vec![19, 7007]));
        assert_eq!(told("garbage{"), Some(vec![19, 7007]), "what can't be read is written anew");
    }

    #[test]
    fn a_port_that_nodes_may_still_serve_stays() {
        let assigned = format!(
            r#"{{"uid":"u","stable":{{"n":1,"digest":"d","config":{{"listeners":[{}]}}}}}}"#,
            listener("UDP", 7007, "echo")
        );
        let now = pool("edge", &[listener("UDP", 7008, "echo")]);
        assert_eq!(due_with(&[("pools/edge", &now), ("assignments/edge", &assigned)]), Some(vec![7007, 7008]));
        let told = ("guard/ports", r#"{"udp":[7007]}"#);
        assert_eq!(due_with(&[("pools/edge", &now), ("assignments/edge", "garbage{"), told]), Some(vec![7007, 7008]));
    }

    #[test]
    fn ports_that_nodes_have_really_bound_are_told_but_for_those_that_discard() {
        let listeners = [listener("UDP", 0, "echo"), listener("UDP", 9, "discard")].join(",");
        let assigned =
            format!(r#"{{"uid":"u","stable":{{"n":1,"digest":"d","config":{{"listeners":[{listeners}]}}}}}}"#);
        let node = |digest: &str, protocol: &str, ip: &str, port: u16| {
            let bound = |name: &str, port| {
                format!(r#"{{"name":"{name}","protocol":"PROTOCOL_{protocol}","address":"{ip}:{port}"}}"#)
            };
            let listeners = [bound("l0", port), bound("l9", 9)].join(",");
            format!(
                r#"{{"metadata":{{"name":"n"}},"status":{{"applied":{{"uid":"u","n":1,"digest":"{digest}"}},
                    "listeners":[{listeners}]}}}}"#
            )
        };
        let told = |a: &str, b: &str| {
            let due =
                all_due_with(&[("assignments/edge", assigned.as_str()), ("nodes/edge/a", a), ("nodes/edge/b", b)]);
            due.map(|due| (due.udp, due.udp_sockets)).unwrap()
        };
        let (one, other) = (node("d", "UDP", "10.0.0.1", 53_111), node("d", "UDP", "10.0.0.2", 41_234));
        let sockets = ["10.0.0.1:53111".to_owned(), "10.0.0.2:41234".to_owned()];
        assert_eq!(told(&one, &other), (vec![], sockets.to_vec()));
        assert_eq!(told(&one, &node("d", "TCP", "10.0.0.2", 41_234)), (vec![], sockets[..1].to_vec()));
        assert_eq!(told(&one, &node("d", "UDP", "0.0.0.0", 53_111)), (vec![53_111], vec![]), "from anywhere");
        let (ports, sockets) = told(&node("older", "UDP", "10.0.0.1", 53_111), "garbage{");
        assert_eq!(
            (ports, sockets),
            (vec![], vec!["10.0.0.1:53111".into(), "10.0.0.1:9".into()]),
            "it may answer there"
        );
    }

    #[test]
    fn without_pools_nothing_is_written() {
        assert_eq!(due_with(&[]), None);
        assert_eq!(due_with(&[("guard/ports", r#"{"udp":[7]}"#)]), Some(Vec::new()), "the last pool is gone");
    }
}
