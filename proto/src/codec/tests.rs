//! What the codec accepts, refuses and writes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::v1;

fn read<M: Message>(yaml: &str) -> Decoded<M> {
    decode(&parse_yaml(yaml).unwrap()[0], Strictness::Strict)
}

fn errors(yaml: &str) -> Vec<String> {
    read::<v1::Pool>(yaml).errors.iter().map(ToString::to_string).collect()
}

const POOL: &str = r#"
apiVersion: echo/v1
kind: Pool
metadata: {name: edge, labels: {b: "2", a: "1"}}
spec:
  replicas: 3
  template:
    listeners:
    - {name: echo-tcp, protocol: TCP, port: 7007, service: {echo: {maxRead: 100, once: true}}}
    - name: greet
      protocol: PROTOCOL_TCP
      port: 7008
      service: {greet: {}}
    limits: {idleTimeout: 300s}
"#;

#[test]
fn reads_both_forms_and_writes_each() {
    let pool = read::<v1::Pool>(POOL).strictly().unwrap();
    let template = pool.spec.as_ref().unwrap().template.as_ref().unwrap();
    assert_eq!(template.listeners[0].protocol(), v1::Protocol::Tcp);
    assert_eq!(template.listeners[1].protocol(), v1::Protocol::Tcp);
    assert_eq!(template.limits.as_ref().unwrap().idle_timeout.unwrap().seconds, 300);

    let canonical = to_json(&pool);
    assert!(canonical.contains(r#""protocol":"PROTOCOL_TCP""#), "{canonical}");
    assert!(canonical.contains(r#""idleTimeout":"300s""#), "{canonical}");
    assert!(canonical.contains(r#""labels":{"a":"1","b":"2"}"#), "{canonical}");
    assert!(canonical.contains(r#""greet":{}"#), "an empty service is kept: {canonical}");

    let human = yaml(&to_human_value(&pool));
    assert!(human.contains("protocol: TCP") && human.contains("idleTimeout: 300s"), "{human}");
    assert_eq!(read::<v1::Pool>(&human).strictly().unwrap(), pool, "what is shown can be applied again");
    assert_eq!(from_json::<v1::Pool>(canonical.as_bytes(), Strictness::Strict).unwrap(), pool);
}

#[test]
fn the_full_form_tells_what_is_zero_and_reads_back() {
    let pool = read::<v1::Pool>(POOL).strictly().unwrap();
    let full = to_full_value(&pool);
    let listener = &full["spec"]["template"]["listeners"][0];
    assert_eq!((&listener["address"], &listener["allowEphemeral"]), (&"".into(), &false.into()));
    assert!(full.get("status").is_none(), "a message that is not there stays away: {full}");
    assert_eq!(decode::<v1::Pool>(&full, Strictness::Strict).strictly().unwrap(), pool);

    let condition = v1::Condition { r#type: "ClockSynchronized".into(), ..Default::default() };
    assert_eq!(to_full_value(&condition)["status"], Value::Bool(false));
    assert_eq!(to_full_value(&v1::LiveFigures::default())["receivedBytes"], "0");
    let status = v1::NodeStatus::default();
    let unset = to_full_value(&status);
    assert_eq!(unset["phase"], "NODE_PHASE_UNSPECIFIED");
    assert_eq!(decode::<v1::NodeStatus>(&unset, Strictness::Strict).strictly().unwrap(), status);
}

#[test]
fn human_durations_and_numbers_survive() {
    let mut pool = v1::Pool::default();
    let drain = v1::DrainPolicy {
        lame_duck: Some(prost_types::Duration { seconds: 0, nanos: 50_000 }),
        udp_quiet: Some(prost_types::Duration { seconds: 5_400, nanos: 0 }),
        deadline: None,
    };
    let template = v1::PoolTemplate { drain: Some(drain), ..Default::default() };
    pool.spec = Some(v1::PoolSpec { template: Some(template), ..Default::default() });
    assert!(to_json(&pool).contains(r#""lameDuck":"0.000050s","udpQuiet":"5400s""#));
    let human = to_human_value(&pool).to_string();
    assert!(human.contains(r#""lameDuck":"50us","udpQuiet":"90m""#), "{human}");

    let assignment = v1::Assignment { cut: u64::MAX, ..Default::default() };
    assert_eq!(to_json(&assignment), r#"{"cut":"18446744073709551615"}"#);
    assert_eq!(to_human_value(&assignment).to_string(), r#"{"cut":18446744073709551615}"#);
}

#[test]
fn every_mistake_is_told_with_its_path() {
    let found = errors(
        r#"
apiVersion: echo/v1
kind: 7
spec:
  replica: 3
  replicas: lots
  template:
    listeners:
    - {name: a, protocol: SCTP, port: -1, service: {echo: {maxread: x}, greet: {}}}
    - just text
    limits: {idleTimeout: 5 minutes}
    drain: [1]
"#,
    );
    let expected = [
        "kind: expected text, got 7; put it in quotes",
        "spec.replica: unknown field; did you mean replicas?",
        "spec.replicas: expected a whole number from 0 to 4294967295, got \"lots\"",
        "spec.template.listeners[0].protocol: expected one of TCP, UDP, got \"SCTP\"",
        "spec.template.listeners[0].port: expected a whole number from 0 to 4294967295, got -1",
        "spec.template.listeners[0].service.echo.maxread: unknown field; did you mean maxRead?",
        "spec.template.listeners[0].service: only one of echo, greet may be given",
        "spec.template.listeners[1]: expected a mapping, got \"just text\"",
        "spec.template.limits.idleTimeout: expected a duration such as 300s, 50us or 1h30m, got \"5 minutes\"",
        "spec.template.drain: expected a mapping, got a list",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_share_without_its_sign_is_not_put_in_quotes() {
    let rules = "{rollout: {waves: [5, 100%], maxFailures: 1}, autoscale: {tolerance: 2, target: {cpu: 70}}}";
    let told = |path: &str, n: u32| format!("spec.{path}: expected a share such as {n}%, got {n}");
    let found: Vec<String> =
        read::<v1::Pool>(&format!("{{spec: {rules}}}")).errors.iter().map(ToString::to_string).collect();
    let expected = [
        told("rollout.waves[0]", 5),
        told("rollout.maxFailures", 1),
        told("autoscale.tolerance", 2),
        told("autoscale.target.cpu", 70),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_bomb_of_aliases_is_refused_in_words() {
    let level = |n: u32| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    let bomb = "a0: &a0 [x]\n".to_owned() + &(1..8).map(level).collect::<String>();
    let told = parse_yaml(&bomb).unwrap_err().to_string();
    assert_eq!(told, "not YAML of ours: aliases or nesting make it larger than anything that is read");
}

#[test]
fn a_mistake_leaves_the_rest_readable() {
    let decoded = read::<v1::Pool>("{apiVersion: echo/v1, metadata: {name: edge, colour: red}}");
    assert_eq!(decoded.errors.len(), 1);
    assert_eq!(decoded.message.metadata.unwrap().name, "edge");
}

#[test]
fn lenient_passes_over_what_is_new_but_not_what_is_wrong() {
    let json = br#"{"type":"EVENT_TYPE_LATER","reason":"X","colour":1,"count":2}"#;
    let event: v1::Event = from_json(json, Strictness::Lenient).unwrap();
    assert_eq!((event.r#type(), event.reason.as_str(), event.count), (v1::EventType::Unspecified, "X", 2));
    assert!(from_json::<v1::Event>(br#"{"count":"many"}"#, Strictness::Lenient).is_err());
}

#[test]
fn garbage_is_an_error_not_a_panic() {
    for text in
        ["", "\0", "{", "[1,2", "null", "\"x\"", "{\"spec\":{\"template\":[]}}", "\u{feff}", "a: &a [*a]", "- - -"]
    {
        for document in parse_yaml(text).unwrap_or_default() {
            assert!(!decode::<v1::Pool>(&document, Strictness::Strict).errors.is_empty(), "{text:?}");
        }
        assert!(from_json::<v1::Pool>(text.as_bytes(), Strictness::Strict).is_err(), "{text:?}");
    }
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(from_json::<v1::Pool>(deep.as_bytes(), Strictness::Lenient).is_err());
    assert!(parse_yaml(&deep).is_err());
    let long = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert!(parse_yaml(&long).unwrap_err().cause.contains("at most 1048576 are read"));
    assert!(parse_yaml("a: 1\na: 2\n").is_err(), "a key given twice is a mistake");
    assert_eq!(parse_yaml("a: [\n").unwrap_err().cause, "not YAML: line 1 column 4: unclosed bracket '['");
}

#[test]
fn what_is_told_of_a_document_is_bounded() {
    let keys: Vec<String> = (0..10_000).map(|i| format!("key{i}: 1")).collect();
    let found = errors(&format!("{{apiVersion: echo/v1, {}}}", keys.join(", ")));
    assert_eq!((found.len(), found[100].as_str()), (101, "9900 more mistakes are not shown"));
    let long = "k".repeat(500_000);
    let found = errors(&format!("{{? {long} : 1, metadata: {{labels: {{? {long} : 2}}}}}}"));
    assert!(found.len() == 2 && found.iter().all(|error| error.len() < 200), "{found:?}");
}

#[test]
fn several_documents_are_several_values() {
    let docs = parse_yaml("kind: Pool\n---\nkind: Pool\n").unwrap();
    assert_eq!(docs.len(), 2);
}

/// `descriptor` may expect every generated message to be there: go through those that are written to etcd or shown.
#[test]
fn every_record_has_a_descriptor() {
    fn check<M: Message>() {
        assert_eq!(to_json(&M::default()), "{}", "{}", M::full_name());
    }
    check::<v1::Pool>();
    check::<v1::PoolRecord>();
    check::<v1::PoolTemplate>();
    check::<v1::Revision>();
    check::<v1::Assignment>();
    check::<v1::Rollout>();
    check::<v1::Node>();
    check::<v1::NodeRecord>();
    check::<v1::Intent>();
    check::<v1::Event>();
    check::<v1::LeaderRecord>();
    check::<v1::GetInfoResponse>();
}
