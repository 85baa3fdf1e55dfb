//! The fleet's own UDP ports: what pools say and what nodes are assigned -> `guard/ports`, which all nodes watch.
//!
//! Part of the drive; one fenced transaction when they change. A node answers no datagram from these ports, or two nodes
//! could answer each other for ever. It must never leave out a port that a node may still serve.

use std::collections::BTreeSet;

use echo_proto::spec::answering_ports;
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
    let stands = state.guard_ports.valid().map(|stored| &stored.value);
    if state.pools.values().any(is_unreadable) {
        ports.extend(stands.into_iter().flat_map(|stands| &stands.udp));
    }
    let ports = v1::GuardPorts { udp: ports.into_iter().collect() };
    // No key is no port.
    let same = stands.map_or(ports.udp.is_empty() && state.guard_ports.mod_revision() == 0, |stands| *stands == ports);
    (state.synced && !same).then_some(ports)
}

/// All that nodes of a pool may run, now or soon.
fn templates(pool: &PoolState) -> impl Iterator<Item = &v1::PoolTemplate> {
    let wanted = pool.pool.valid().and_then(|pool| pool.value.record.spec.as_ref()?.template.as_ref());
    let assigned = pool.assignment.valid().map(|assignment| &assignment.value.record);
    let assigned = assigned.into_iter().flat_map(|assigned| [&assigned.stable, &assigned.next]);
    wanted.into_iter().chain(assigned.filter_map(|revision| revision.as_ref()?.config.as_ref()))
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

    /// What is due with these values by key.
    fn due_with(values: &[(&str, &str)]) -> Option<Vec<u32>> {
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        let entry = |(key, value): &(&str, &str)| Entry {
            key: format!("/echo/v1/test/{key}").into_bytes(),
            value: (*value).into(),
            mod_revision: 3,
            ..Entry::default()
        };
        view.apply(Update::Reset(values.iter().map(entry).collect()), 3);
        view.read(due).map(|ports| ports.udp)
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
    fn without_pools_nothing_is_written() {
        assert_eq!(due_with(&[]), None);
        assert_eq!(due_with(&[("guard/ports", r#"{"udp":[7]}"#)]), Some(Vec::new()), "the last pool is gone");
    }
}
