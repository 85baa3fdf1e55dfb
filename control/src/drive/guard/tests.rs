//! What is told of the fleet's ports, and when that is written.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::{Entry, Update};

/// The ports that are due with these values by key, and no sockets.
#[track_caller]
fn due_with(values: &[(&str, &str)]) -> Option<Vec<u32>> {
    let due = all_due_with(values)?;
    assert!(due.udp_sockets.is_empty(), "{due:?}");
    Some(due.udp)
}

/// As if each of the values had been written after the one before it.
fn all_due_with(values: &[(&str, &str)]) -> Option<v1::GuardPorts> {
    let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
    let entry = |((key, value), revision): (&(&str, &str), i64)| Entry {
        key: format!("/echo/v1/test/{key}").into_bytes(),
        value: (*value).into(),
        mod_revision: revision,
        ..Entry::default()
    };
    view.apply(Update::Reset(values.iter().zip(3..).map(entry).collect()), 3 + values.len() as i64);
    view.read(due).map(|(ports, _)| ports)
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
    let assigned = format!(r#"{{"uid":"u","stable":{{"n":1,"digest":"d","config":{{"listeners":[{listeners}]}}}}}}"#);
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
        let due = all_due_with(&[("assignments/edge", assigned.as_str()), ("nodes/edge/a", a), ("nodes/edge/b", b)]);
        due.map(|due| (due.udp, due.udp_sockets)).unwrap()
    };
    let (one, other) = (node("d", "UDP", "10.0.0.1", 53_111), node("d", "UDP", "10.0.0.2", 41_234));
    let sockets = ["10.0.0.1:53111".to_owned(), "10.0.0.2:41234".to_owned()];
    assert_eq!(told(&one, &other), (vec![], sockets.to_vec()));
    assert_eq!(told(&one, &node("d", "TCP", "10.0.0.2", 41_234)), (vec![], sockets[..1].to_vec()));
    assert_eq!(told(&one, &node("d", "UDP", "0.0.0.0", 53_111)), (vec![53_111], vec![]), "from anywhere");
    let (ports, sockets) = told(&node("older", "UDP", "10.0.0.1", 53_111), "garbage{");
    assert_eq!((ports, sockets), (vec![], vec!["10.0.0.1:53111".into(), "10.0.0.1:9".into()]), "it may answer there");
}

#[test]
fn the_trace_is_that_of_the_change_which_brings_something_new() {
    let traced =
        |record: &str, id: &str| format!(r#"{{"trace":{{"traceparent":"{id}"}},{}"#, record.strip_prefix('{').unwrap());
    let edge = traced(&pool("edge", &[listener("UDP", 7007, "echo")]), "edge");
    let node = r#"{"metadata":{"name":"n"},"status":{"listeners":[
        {"name":"any","protocol":"PROTOCOL_UDP","address":"10.0.0.1:5000"}]}}"#;
    let node = traced(node, "node");
    let (pool, node) = (("pools/edge", edge.as_str()), ("nodes/edge/n", node.as_str()));
    let due = |ports: &str| all_due_with(&[pool, node, ("guard/ports", ports)]);
    let traced_to = |due: Option<v1::GuardPorts>| due.unwrap().trace.map(|trace| trace.traceparent);
    let trace = |ports: &str| traced_to(due(ports));
    assert_eq!(traced_to(all_due_with(&[pool, node])).as_deref(), Some("node"), "both are new: the newest");
    assert_eq!(traced_to(all_due_with(&[node, pool])).as_deref(), Some("edge"), "both are new: the newest");
    assert_eq!(trace(r#"{"udpSockets":["10.0.0.1:5000"]}"#).as_deref(), Some("edge"));
    assert_eq!(trace(r#"{"udp":[7007]}"#).as_deref(), Some("node"));
    assert_eq!(trace(r#"{"udp":[7007,7008],"udpSockets":["10.0.0.1:5000"]}"#), None, "a port that only goes");
    let stands = traced(r#"{"udp":[7007],"udpSockets":["10.0.0.1:5000"]}"#, "before");
    assert_eq!(due(&stands), None, "a trace is no difference");
}

#[test]
fn only_what_no_node_was_told_of_is_news() {
    let revision = |digest: &str| Some(v1::AssignedRevision { digest: digest.into(), ..Default::default() });
    let stable = v1::Assignment { stable: revision("5"), ..Default::default() };
    let next = v1::Assignment { next: revision("6"), ..stable.clone() };
    assert!(is_news(Some(&stable), &next) && is_news(None, &stable));
    let further = v1::Assignment { picked: vec!["n".into()], cut: 7, ..next.clone() };
    assert!(!is_news(Some(&next), &further), "its ports were told before it was assigned");
    let passed = v1::Assignment { stable: revision("6"), ..Default::default() };
    assert!(!is_news(Some(&next), &stable) && !is_news(Some(&next), &passed));
    let pinned = v1::Assignment { pinned: revision("4").into_iter().collect(), ..stable.clone() };
    assert!(is_news(Some(&stable), &pinned) && !is_news(Some(&pinned), &stable));
}

#[test]
fn without_pools_nothing_is_written() {
    assert_eq!(due_with(&[]), None);
    assert_eq!(due_with(&[("guard/ports", r#"{"udp":[7]}"#)]), Some(Vec::new()), "the last pool is gone");
}
