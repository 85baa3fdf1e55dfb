//! Pool files that nobody would write: every one is read, or refused in words; none makes a program panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use echo_proto::codec::{self, Strictness};
use echo_proto::{spec, v1};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// A pool with every kind of field in it.
const POOL: &str = "
apiVersion: echo/v1
kind: Pool
metadata: {name: edge, labels: {team: net}}
spec:
  replicas: 3
  template:
    listeners:
    - {name: a, protocol: TCP, port: 7007, address: 127.0.0.1, service: {echo: {maxRead: 1024, once: true}}}
    - {name: b, protocol: UDP, port: 40000, allowEphemeral: true, service: {discard: {}}}
    - {name: c, protocol: TCP, port: 0, service: {greet: {banner: hello}}}
    limits: {maxConnections: 10, idleTimeout: 300s}
    drain: {lameDuck: 0s, udpQuiet: 10s, deadline: 60s}
  rollout: {ackDeadline: 30s}
";

/// What stands in place of a value: what is nearly right for some field, and what is right for none.
fn a_value() -> impl Strategy<Value = Value> {
    let nearly = [
        "",
        "TCP",
        "PROTOCOL_UDP",
        "-1s",
        "1e9s",
        "99999999999999999999s",
        "0.0000000001s",
        "50us",
        "::1",
        "0.0.0.0",
        "10.0.0.0/33",
        "25%",
        "echo",
        "\0",
        "é",
        "2026-01-01T00:00:00Z",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(nearly.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((a_name(), inner), 0..4).prop_map(|pairs| Value::from(Map::from_iter(pairs))),
        ]
    })
}

/// Names of fields, of all places, and some that are none.
fn a_name() -> impl Strategy<Value = String> {
    let known = [
        "apiVersion",
        "spec",
        "template",
        "listeners",
        "name",
        "protocol",
        "port",
        "service",
        "echo",
        "guard",
        "allow",
        "limits",
        "perSource",
        "messages",
        "idleTimeout",
        "drain",
        "busyPoll",
        "rollout",
        "waves",
        "autoscale",
        "status",
    ];
    prop_oneof![select(known.to_vec()).prop_map(str::to_owned), ".{0,6}"]
}

/// Puts `new` in the place of the `at`-th value, counted from the top; with a name, into that place.
fn change(value: &mut Value, at: &mut usize, name: &Option<String>, new: &Value) {
    if *at == 0 {
        match (name, &mut *value) {
            (Some(name), Value::Object(fields)) => drop(fields.insert(name.clone(), new.clone())),
            _ => *value = new.clone(),
        }
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|inner| change(inner, at, name, new)),
        Value::Array(items) => items.iter_mut().for_each(|inner| change(inner, at, name, new)),
        _ => {}
    }
}

/// Reads a document as a pool: whatever is accepted is the same after it was stored.
fn read(document: &Value) -> Result<(), TestCaseError> {
    match spec::read_pool(document) {
        Ok((pool, plan)) => {
            let stored = codec::from_json::<v1::Pool>(codec::to_json(&pool).as_bytes(), Strictness::Strict);
            let again = spec::check_pool(&stored.map_err(|e| TestCaseError::fail(e.to_string()))?);
            prop_assert_eq!(again.map_err(|e| TestCaseError::fail(e.to_string()))?, plan);
        }
        Err(errors) => prop_assert!(!errors.0.is_empty() && !errors.to_string().is_empty()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_pool_with_some_values_changed(
        changes in vec((1..50_usize, proptest::option::of(a_name()), a_value()), 1..4),
    ) {
        let mut document = codec::parse_yaml(POOL).unwrap().remove(0);
        prop_assert!(spec::read_pool(&document).is_ok());
        for (mut at, name, new) in changes {
            change(&mut document, &mut at, &name, &new);
        }
        read(&document)?;
        let text = codec::yaml(&document);
        for document in codec::parse_yaml(&text).unwrap_or_default() {
            read(&document)?;
        }
    }

    #[test]
    fn a_pool_file_with_some_bytes_changed(changes in vec((0..POOL.len(), any::<char>()), 1..6), end in 0..POOL.len()) {
        let mut text: Vec<char> = POOL.chars().collect();
        for (at, new) in changes {
            text[at] = new;
        }
        text.truncate(end);
        for document in codec::parse_yaml(&String::from_iter(text)).unwrap_or_default() {
            read(&document)?;
        }
    }

    #[test]
    fn any_text(text in prop_oneof!["\\PC{0,80}", "[-{}\\[\\]:,&*!|>'\"%@`#a-c \n\t]{0,80}"]) {
        for document in codec::parse_yaml(&text).unwrap_or_default() {
            read(&document)?;
        }
        let _ = codec::from_json::<v1::Pool>(text.as_bytes(), Strictness::Lenient);
        let _ = codec::parse_duration(&text);
    }

    #[test]
    fn any_value(value in a_value()) {
        read(&value)?;
        read(&json!({"apiVersion": "echo/v1", "kind": "Pool", "metadata": {"name": "a"}, "spec": value}))?;
    }
}
