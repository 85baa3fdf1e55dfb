//! What is told of nodes: once, by whoever leads, and a storm as one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::store::{Delta, Entry, Update};

/// Changes a view as etcd would, and tells what a leader tells of it.
struct Scene {
    view: View,
    nodes: Nodes,
    /// Stored, with etcd's revision of it.
    events: Vec<Stored<v1::Event>>,
    revision: i64,
    /// When the record of each node was made.
    made: BTreeMap<String, i64>,
}

fn key(node: &str) -> Vec<u8> {
    format!("/echo/v1/test/nodes/edge/{node}").into_bytes()
}

fn new_view() -> View {
    let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
    view.apply(Update::Reset(Vec::new()), 1);
    view
}

impl Scene {
    fn new() -> Self {
        Self { view: new_view(), nodes: Nodes::recall(&[]), events: Vec::new(), revision: 1, made: BTreeMap::new() }
    }

    fn write(&mut self, node: &str, status: &str) {
        self.revision += 1;
        let (value, at) = (format!(r#"{{"status":{{{status}}}}}"#).into_bytes(), self.revision);
        let create_revision = *self.made.entry(node.to_owned()).or_insert(at);
        let entry = Entry { key: key(node), value, mod_revision: at, create_revision, version: 1 };
        self.view.apply(Update::Changes(vec![Delta::Put(entry)]), at);
    }

    fn gone(&mut self, node: &str) {
        self.revision += 1;
        self.made.remove(node);
        self.view.apply(Update::Changes(vec![Delta::Gone(key(node))]), self.revision);
    }

    fn asked(&self, node: &str, answer: crate::fleet::Answer) {
        let (pool, node) = ("edge".parse().unwrap(), node.parse().unwrap());
        let mod_revision =
            self.view.read(|state| state.pools.get(&pool).unwrap().fleet.get(&node).unwrap().record.mod_revision);
        self.view.judge(vec![crate::view::Verdict { pool, node, mod_revision, answer }]);
    }

    /// Tells what there is to tell: `reason from>to`.
    fn told(&mut self) -> Vec<String> {
        let told = self.told_events();
        told.iter().map(|event| format!("{} {}>{}", event.reason, event.from, event.to)).collect()
    }

    fn told_events(&mut self) -> Vec<v1::Event> {
        let items = self.view.read(|state| self.nodes.items(state));
        let mut told = Vec::new();
        for (Item { name, step }, event) in events(items) {
            self.nodes.note(name, step.after);
            let Some(value) = event else { continue };
            told.push(value.clone());
            self.revision += 1;
            self.events.push(Stored { value, mod_revision: self.revision, create_revision: self.revision });
        }
        self.nodes.forget();
        told
    }

    /// Another process leads, which has seen nothing yet but what stands in etcd.
    fn succeeded(&mut self, standing: &[(&str, &str)]) {
        self.view = new_view();
        for (node, status) in standing {
            self.write(node, status);
        }
        self.nodes = Nodes::recall(&self.events);
    }
}

const STARTING: &str = r#""incarnation":"a","phase":"NODE_PHASE_STARTING""#;
const READY: &str = r#""incarnation":"a","phase":"NODE_PHASE_READY""#;

#[test]
fn a_life_is_told_step_by_step() {
    let mut scene = Scene::new();
    scene.write("n", STARTING);
    assert_eq!(scene.told(), ["NodeJoined >STARTING"]);
    scene.write("n", READY);
    assert_eq!(scene.told(), ["NodeReady STARTING>READY"]);
    scene.write("n", READY);
    assert!(scene.told().is_empty(), "nothing new");
    scene.write("n", r#""incarnation":"a","phase":"NODE_PHASE_DRAINED""#);
    assert_eq!(scene.told(), ["NodeDrained READY>DRAINED"]);
    scene.write("n", READY);
    assert_eq!(scene.told(), ["NodeReady DRAINED>READY"]);
    scene.write("n", r#""incarnation":"a","phase":"NODE_PHASE_DRAINING","drain":{"exits":true,"reason":"SIGTERM"}"#);
    scene.gone("n");
    assert_eq!(scene.told(), ["NodeLeft READY>LEFT"]);
    assert!(scene.events.last().unwrap().value.message.ends_with("SIGTERM"));
    assert!(scene.told().is_empty());
}

#[test]
fn a_node_that_is_seen_late_has_joined_and_is_ready() {
    let mut scene = Scene::new();
    scene.write("n", READY);
    assert_eq!(scene.told(), ["NodeJoined >STARTING", "NodeReady STARTING>READY"]);
}

#[test]
fn who_vanished_is_told_once_it_was_asked() {
    let mut scene = Scene::new();
    scene.write(
        "n",
        &format!(r#"{READY},"conditions":[{{"type":"DataPath","reason":"ShardEnded","message":"shard 1"}}]"#),
    );
    assert_eq!(scene.told().last().unwrap(), "ShardEnded DataPath=True>DataPath=False");
    scene.gone("n");
    assert!(scene.told().is_empty());
    scene.asked("n", crate::fleet::Answer::Silent);
    assert_eq!(scene.told(), ["NodeVanished READY>LOST"]);
    let event = &scene.events.last().unwrap().value;
    assert!(event.message.ends_with("ShardEnded: shard 1") && event.r#type() == v1::EventType::Warning, "{event:?}");
    scene.write("n", r#""incarnation":"b","phase":"NODE_PHASE_READY""#);
    assert_eq!(scene.told(), ["NodeReturned LOST>READY"]);
    scene.write("n", r#""incarnation":"c","phase":"NODE_PHASE_STARTING""#);
    assert_eq!(scene.told(), ["NodeReturned READY>STARTING"], "another life, and nobody saw the end of the last one");
}

#[test]
fn conditions_and_refusals_come_and_go() {
    let mut scene = Scene::new();
    scene.write("n", READY);
    scene.told();
    let clock = r#""conditions":[{"type":"ClockSynchronized","reason":"Unsynchronized"},{"type":"Assigned","status":true,"reason":"Fine"}]"#;
    scene.write("n", &format!("{READY},{clock}"));
    assert_eq!(scene.told(), ["Unsynchronized ClockSynchronized=True>ClockSynchronized=False"]);
    let refused = r#""rejection":{"revision":{"n":2},"cause":"in use","listener":"a"}"#;
    scene.write("n", &format!("{READY},{refused}"));
    let gone = "Unsynchronized ClockSynchronized=False>ClockSynchronized=True";
    assert_eq!(scene.told(), ["NodeRejected >revision 2", gone]);
    assert_eq!(scene.events.iter().rev().nth(1).unwrap().value.message, "refused revision 2: listener a: in use");
    scene.write("n", READY);
    assert!(scene.told().is_empty(), "what came of it is told as a rollout");
    scene.write("n", &format!("{READY},{refused}"));
    assert_eq!(scene.told(), ["NodeRejected >revision 2"], "once more");
}

#[test]
fn a_new_leader_repeats_nothing_and_misses_nothing() {
    let mut scene = Scene::new();
    for node in ["a", "b", "c", "e"] {
        scene.write(node, READY);
    }
    scene.told();
    let drained = r#""incarnation":"a","phase":"NODE_PHASE_DRAINED""#;
    let asked = event::in_pool(&"edge".parse().unwrap(), event::normal("NodeDrainRequested", "node/b".into(), ""));
    let value = v1::Event { to: "DRAIN".into(), ..asked };
    scene.events.push(Stored { value, mod_revision: 99, create_revision: 99 });
    // It was started again.
    scene.made.remove("e");
    let standing =
        [("a", READY), ("b", drained), ("d", STARTING), ("e", r#""incarnation":"x","phase":"NODE_PHASE_READY""#)];
    scene.succeeded(&standing);
    let told =
        ["NodeDrained READY>DRAINED", "NodeJoined >STARTING", "NodeReturned READY>READY", "NodeVanished READY>UNKNOWN"];
    assert_eq!(scene.told(), told);
    assert_eq!(scene.events.last().unwrap().value.object, "node/c");
    scene.succeeded(&standing);
    assert!(scene.told().is_empty());
}

#[test]
fn who_was_there_before_the_oldest_event_is_not_news() {
    let mut scene = Scene::new();
    scene.write("old", READY);
    scene.write("new", READY);
    let value = event::normal("PoolScaled", "pool/edge".into(), "");
    scene.events = vec![Stored { value, mod_revision: 3, create_revision: 3 }];
    scene.nodes = Nodes::recall(&scene.events);
    assert_eq!(scene.told(), ["NodeJoined >STARTING", "NodeReady STARTING>READY"]);
    assert_eq!(scene.events.last().unwrap().value.object, "node/new");
}

#[test]
fn a_storm_is_few_events_and_the_next_leader_knows_whom_they_are_about() {
    let mut scene = Scene::new();
    let all = MAX_TOGETHER + MAX_SINGLE;
    for n in 0..all {
        scene.write(&format!("node-{n}"), STARTING);
    }
    let told = scene.told_events();
    assert_eq!(told.iter().map(|event| event.count as usize).collect::<Vec<_>>(), [MAX_TOGETHER, MAX_SINGLE]);
    assert_eq!((told[0].object.as_str(), told[0].pool.as_str()), ("pool/edge", "edge"));
    assert_eq!(told[0].message, "256 nodes: node-0, node-1, node-10, node-100, node-101 and 251 more");
    assert_eq!(told[0].nodes.len(), MAX_TOGETHER);
    // One of each event is gone.
    let gone = [told[0].nodes[7].clone(), told[1].nodes[0].clone()];
    let names: Vec<String> = (0..all).map(|n| format!("node-{n}")).filter(|name| !gone.contains(name)).collect();
    scene.succeeded(&names.iter().map(|name| (name.as_str(), STARTING)).collect::<Vec<_>>());
    assert_eq!(scene.told(), ["NodeVanished STARTING>UNKNOWN"; 2]);
}

#[test]
fn many_are_told_singly_up_to_a_number_and_apart_where_they_differ() {
    let mut scene = Scene::new();
    for n in 0..MAX_SINGLE {
        scene.write(&format!("node-{n}"), STARTING);
    }
    assert_eq!(scene.told_events().len(), MAX_SINGLE);
    let refused = |n: usize| format!(r#"{STARTING},"rejection":{{"revision":{{"n":{}}},"cause":"in use"}}"#, n % 2);
    for n in 0..2 * MAX_SINGLE {
        scene.write(&format!("node-{n}"), &refused(n));
    }
    let rejected = scene.told_events().into_iter().filter(|event| event.reason == "NodeRejected");
    assert_eq!(rejected.map(|event| event.to).filter(|to| to == "revision 1").count(), MAX_SINGLE);
}

#[test]
fn the_words_of_a_node_are_cut() {
    let mut scene = Scene::new();
    let long = "x".repeat(100_000);
    let rejection = format!(r#""rejection":{{"revision":{{"n":2}},"cause":"in use","listener":"{long}"}}"#);
    scene.write("n", &format!(r#"{READY},"host":"{long}","agentAddress":"{long}","version":"{long}",{rejection}"#));
    scene.told();
    scene.write("n", &format!(r#""incarnation":"a","phase":"NODE_PHASE_NO_POOL","pool":"{long}","host":"{long}""#));
    scene.told();
    assert_eq!(scene.events.len(), 4);
    for Stored { value, .. } in &scene.events {
        let texts = [&value.message, &value.from, &value.to, &value.actor, &value.object];
        assert!(texts.iter().all(|text| text.len() <= 1_024), "{}", value.reason);
    }
}
