//! Pools: whether their nodes take clients, how their newest rollout ended or why it waits, and whom operators took out of
//! service or pinned.
//!
//! Part of the diagnosis. It repeats nothing that a node's own finding says. Pure.

use std::collections::{BTreeMap, BTreeSet};

use echo_proto::ids::PoolName;
use echo_proto::v1::{self, Finding, NodePhase, RolloutPhase};

use super::finding::{error, ok, warning};
use super::named;
use crate::event::of_pool;
use crate::fleet::{Node, natural_order};
use crate::plan::intent;
use crate::present;
use crate::scaler::FAILED;
use crate::view::{PoolState, State};
use crate::words::count;

/// What there is to say of each pool.
pub(super) fn judge(state: &State) -> Vec<Finding> {
    state.pools.iter().flat_map(|(name, pool)| of_one(name, pool)).collect()
}

fn of_one(name: &PoolName, pool: &PoolState) -> Vec<Finding> {
    // One that can't be read is told as such, and of one that is deleted only nodes are left.
    let Some(entry) = pool.pool.valid() else { return Vec::new() };
    let object = of_pool(name);
    let (wanted, status) = (pool.desired().unwrap_or(entry.value.plan.replicas), present::status(pool));
    let ready = ready(&object, wanted, status.ready, &lack(pool, wanted, &status.conditions));
    let size = size(&object, pool, wanted, &status);
    [Some(ready), size, rollout(&object, pool), out_of_service(&object, pool)].into_iter().flatten().collect()
}

fn ready(object: &str, wanted: u32, ready: u32, lack: &str) -> Finding {
    let why = if ready < wanted && !lack.is_empty() { format!(": {lack}") } else { String::new() };
    let text = format!("{ready} of {} ready{why}", count(wanted, "node"));
    let hint = format!("see who is missing, and why: `echoctl describe {object}`");
    match ready {
        0 if wanted > 0 => error("PoolReady", object, text, hint),
        _ if ready < wanted => warning("PoolReady", object, text, hint),
        _ => ok("PoolReady", object, text),
    }
}

/// More nodes than wanted, or what the scaler fails at though enough are ready.
fn size(object: &str, pool: &PoolState, wanted: u32, status: &v1::PoolStatus) -> Option<Finding> {
    let there = pool.fleet.staying(&BTreeSet::new());
    let failed = status.conditions.iter().find(|condition| condition.r#type == FAILED);
    let surplus = (there > wanted as usize).then(|| format!("{there} nodes run, and {wanted} are wanted"));
    let told = failed.filter(|_| status.ready >= wanted).map(|condition| condition.message.clone());
    let text = [surplus, told].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let hint = format!("see `echoctl describe {object}`; `echoctl delete node/NAME` ends a node");
    (!text.is_empty()).then(|| warning("PoolSize", object, text, hint))
}

/// `2 not there, 1 cordoned; 2 nodes not started: ...`: why a pool has fewer nodes that take clients than it wants.
fn lack(pool: &PoolState, wanted: u32, conditions: &[v1::PoolCondition]) -> String {
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    pool.fleet.live().filter_map(|node| unready(node)).for_each(|reason| *why.entry(reason).or_default() += 1);
    let absent = (wanted as usize).saturating_sub(pool.fleet.live().count());
    let vanished = pool.fleet.vanished().count().min(absent);
    for (reason, nodes) in [("vanished", vanished), ("not there", absent - vanished)] {
        if nodes > 0 {
            why.insert(reason, nodes);
        }
    }
    let told = why.into_iter().map(|(reason, nodes)| format!("{nodes} {reason}")).collect::<Vec<_>>().join(", ");
    let failures = conditions.iter().filter(|condition| condition.r#type == FAILED);
    [told].into_iter().chain(failures.map(|failure| failure.message.clone())).collect::<Vec<_>>().join("; ")
}

/// Why a node that has a record takes no clients; `None`: it does.
fn unready(node: &Node) -> Option<&'static str> {
    match node.status.phase() {
        _ if node.doubt().is_some() => Some("in doubt since etcd came back"),
        NodePhase::Ready if node.status.cordoned_by.is_empty() => None,
        NodePhase::Ready => Some("cordoned"),
        NodePhase::Unspecified | NodePhase::Starting => Some("starting"),
        NodePhase::Draining => Some("draining"),
        NodePhase::Drained => Some("drained"),
        NodePhase::Rejected => Some("refusing what they should run"),
        NodePhase::NoPool => Some("without a pool"),
    }
}

/// A change that did not stay, or waits for somebody.
fn rollout(object: &str, pool: &PoolState) -> Option<Finding> {
    let rollout = &pool.rollout.valid()?.value;
    let what = match rollout.phase() {
        RolloutPhase::Reverting => "is being taken back",
        RolloutPhase::Reverted => "was taken back",
        RolloutPhase::RevertIncomplete => "was taken back, but not by all nodes",
        RolloutPhase::Paused => "waits for somebody to decide",
        _ => return None,
    };
    let n = rollout.to.as_ref().map_or(0, |to| to.n);
    let why = if rollout.reason.is_empty() { String::new() } else { format!(": {}", rollout.reason) };
    let hint = match rollout.phase() {
        RolloutPhase::Paused if present::refusing(pool).is_some() => {
            format!("`echoctl rollout abort {object}` takes it back; then apply again what it can run")
        }
        RolloutPhase::Paused => {
            format!("`echoctl rollout resume {object}` goes on, `echoctl rollout abort {object}` takes it back")
        }
        _ => format!("see `echoctl rollout status {object}`; then apply a mended file, or the one before"),
    };
    Some(warning("Rollout", object, format!("revision {n} {what}{why}"), hint))
}

/// That somebody wanted it so is no fault, and easily forgotten.
fn out_of_service(object: &str, pool: &PoolState) -> Option<Finding> {
    let drained = |node: &Node| intent::carries_out(&node.status, v1::IntentKind::Drain);
    let cordoned = |node: &Node| !node.status.cordoned_by.is_empty() && !drained(node);
    let pinned = |node: &Node| present::pinned_revision(pool, node) > 0;
    let told = |verb: &str, back: &str, is: &dyn Fn(&Node) -> bool| {
        let nodes = pool.fleet.live().filter(|node| is(node));
        let mut names: Vec<&str> = nodes.map(|node| node.id.as_str()).collect();
        names.sort_by(|a, b| natural_order(a, b));
        let (verb, names) = (verb.to_owned(), (!names.is_empty()).then(|| named(&names))?);
        Some(format!("{verb}: {names} (`echoctl {back} NODE` takes it back)"))
    };
    let notes = [
        told("cordoned", "uncordon", &cordoned),
        told("drained", "undrain", &drained),
        told("pinned to a revision", "unpin", &pinned),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    (!notes.is_empty()).then(|| ok("OutOfService", object, notes.join("; ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use echo_proto::v1::Severity;

    use super::*;
    use crate::store::{Delta, Entry, Update};
    use crate::view::View;

    /// What is found of a pool of two nodes with these statuses, and this rollout.
    fn found(nodes: [&str; 2], rollout: &str) -> Vec<(String, Severity, String)> {
        found_with(nodes, rollout, "[]")
    }

    /// The same with these pins.
    fn found_with(nodes: [&str; 2], rollout: &str, pins: &str) -> Vec<(String, Severity, String)> {
        let config = r#"{"listeners":[{"name":"a","protocol":"PROTOCOL_TCP","port":7007,"service":{"echo":{}}}]}"#;
        let pool = format!(
            r#"{{"metadata":{{"name":"edge","uid":"u"}},"revision":{{"uid":"u","n":2,"digest":"e"}},
                "spec":{{"replicas":2,"template":{config}}},"pins":{pins}}}"#
        );
        let [one, two] = nodes.map(|status| format!(r#"{{"status":{{{status}}}}}"#));
        let values = [("nodes/edge/node-10", one), ("nodes/edge/node-2", two), ("pools/edge", pool)];
        let rollout = ("rollouts/edge", rollout.to_owned());
        let findings = view(values.into_iter().chain([rollout]).collect()).read(judge);
        findings.into_iter().map(|f| (f.check.clone(), f.severity(), f.message)).collect()
    }

    /// A view of these keys and values.
    fn view(values: Vec<(&str, String)>) -> View {
        let put = |(key, value): (&str, String)| {
            let key = format!("/echo/v1/test/{key}").into_bytes();
            Delta::Put(Entry { key, value: value.into_bytes(), ..Entry::default() })
        };
        let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
        view.apply(Update::Reset(Vec::new()), 2);
        view.apply(Update::Changes(values.into_iter().map(put).collect()), 3);
        view
    }

    const READY: &str = r#""phase":"NODE_PHASE_READY""#;
    const CORDONED: &str = r#""phase":"NODE_PHASE_READY","cordonedBy":"ann""#;
    const DRAINED: &str = r#""phase":"NODE_PHASE_DRAINED","drain":{"stage":"DRAIN_STAGE_DRAINED"}"#;

    #[test]
    fn a_pool_that_lacks_nodes_is_told_and_one_that_has_none_is_an_error() {
        let told = |nodes| found(nodes, r#"{"phase":"ROLLOUT_PHASE_COMPLETED"}"#).swap_remove(0);
        let ready = |severity, text: &str| ("PoolReady".to_owned(), severity, text.to_owned());
        assert_eq!(told([READY, READY]), ready(Severity::Ok, "2 of 2 nodes ready"));
        assert_eq!(told([READY, CORDONED]), ready(Severity::Warning, "1 of 2 nodes ready: 1 cordoned"));
        assert_eq!(told([DRAINED, CORDONED]), ready(Severity::Error, "0 of 2 nodes ready: 1 cordoned, 1 drained"));
    }

    #[test]
    fn why_nodes_are_missing_is_told() {
        let nodes = [("nodes/edge/node-1", READY), ("nodes/edge/node-2", r#""phase":"NODE_PHASE_REJECTED""#)];
        let view = view(nodes.map(|(key, status)| (key, format!(r#"{{"status":{{{status}}}}}"#))).to_vec());
        view.apply(Update::Changes(vec![Delta::Gone(b"/echo/v1/test/nodes/edge/node-1".to_vec())]), 4);
        let failed = v1::PoolCondition {
            r#type: FAILED.into(),
            message: "2 nodes not started: no address is left".into(),
            ..Default::default()
        };
        let name = "edge".parse().unwrap();
        let told =
            |wanted, conditions: &[_]| view.read(|state| lack(state.pools.get(&name).unwrap(), wanted, conditions));
        assert_eq!(told(2, &[]), "1 refusing what they should run, 1 vanished");
        let all = "2 not there, 1 refusing what they should run, 1 vanished; 2 nodes not started: no address is left";
        assert_eq!(told(4, &[failed]), all);
    }

    #[test]
    fn more_nodes_than_wanted_and_what_the_scaler_fails_at_are_told() {
        let nodes = [READY, READY, READY].map(|status| format!(r#"{{"status":{{{status}}}}}"#));
        let keys = ["nodes/edge/node-1", "nodes/edge/node-2", "nodes/edge/node-3"];
        let name = "edge".parse().unwrap();
        let told = |wanted, message: &str| {
            let failed = v1::PoolCondition { r#type: FAILED.into(), message: message.into(), ..Default::default() };
            let conditions = if message.is_empty() { Vec::new() } else { vec![failed] };
            let status = v1::PoolStatus { ready: 3, conditions, ..Default::default() };
            let view = view(keys.into_iter().zip(nodes.clone()).collect());
            view.read(|state| size("pool/edge", state.pools.get(&name).unwrap(), wanted, &status)).map(|f| f.message)
        };
        assert_eq!(told(3, ""), None);
        assert_eq!(told(2, "").as_deref(), Some("3 nodes run, and 2 are wanted"));
        assert_eq!(told(2, "not ours").as_deref(), Some("3 nodes run, and 2 are wanted: not ours"));
        assert_eq!(told(3, "they end again").as_deref(), Some("they end again"));
        assert_eq!(told(4, "no room"), None, "told with the nodes that lack");
    }

    #[test]
    fn a_change_that_was_taken_back_is_told_with_its_cause() {
        let rollout = r#"{"phase":"ROLLOUT_PHASE_REVERTED","to":{"n":2},"reason":"node-2: address in use"}"#;
        let told = found([READY, READY], rollout);
        let expected = "revision 2 was taken back: node-2: address in use";
        assert_eq!(told.last(), Some(&("Rollout".to_owned(), Severity::Warning, expected.to_owned())));
        assert_eq!(found([READY, READY], r#"{"phase":"ROLLOUT_PHASE_PROGRESSING"}"#).len(), 1);
        let paused = r#"{"phase":"ROLLOUT_PHASE_PAUSED","to":{"n":2},"reason":"paused by ann"}"#;
        let (_, severity, text) = found([READY, READY], paused).pop().unwrap();
        assert_eq!(
            (severity, text.as_str()),
            (Severity::Warning, "revision 2 waits for somebody to decide: paused by ann")
        );
    }

    #[test]
    fn who_was_taken_out_of_service_is_a_note() {
        let note = |nodes| found(nodes, r#"{"phase":"ROLLOUT_PHASE_COMPLETED"}"#).pop().unwrap();
        let (check, severity, text) = note([CORDONED, CORDONED]);
        assert_eq!((check.as_str(), severity), ("OutOfService", Severity::Ok));
        assert_eq!(text, "cordoned: node-2, node-10 (`echoctl uncordon NODE` takes it back)");
        let (_, _, text) = note([CORDONED, DRAINED]);
        assert!(text.contains("cordoned: node-10 (") && text.contains("; drained: node-2 ("), "{text}");
        let (_, _, text) = found_with([READY, READY], "{}", r#"[{"node":"node-2","revision":1}]"#).pop().unwrap();
        assert_eq!(text, "pinned to a revision: node-2 (`echoctl unpin NODE` takes it back)");
    }
}
