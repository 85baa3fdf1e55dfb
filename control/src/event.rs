//! Events: what happened, to which object, by whom.
//!
//! Built by the API, the plans and the drive; stored in the transaction of the change they report
//! ([`crate::store::Change::event`]). Reasons are CamelCase and stable: people filter by them.

use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::{API_VERSION, v1};

/// An event without a place yet: the store gives it its key.
pub fn normal(reason: &str, object: String, message: impl Into<String>) -> v1::Event {
    event(v1::EventType::Normal, reason, object, message.into())
}

/// As [`normal`], for what an operator should look at.
pub fn warning(reason: &str, object: String, message: impl Into<String>) -> v1::Event {
    event(v1::EventType::Warning, reason, object, message.into())
}

/// `pool/<name>`.
pub fn of_pool(pool: &PoolName) -> String {
    format!("pool/{pool}")
}

/// `node/<id>`.
pub fn of_node(node: &NodeId) -> String {
    format!("node/{node}")
}

/// `key/<etcd key>`: for values of ours that cannot be read.
pub fn of_key(key: &str) -> String {
    format!("key/{key}")
}

fn event(kind: v1::EventType, reason: &str, object: String, message: String) -> v1::Event {
    let now = SystemTime::now().into();
    v1::Event {
        api_version: API_VERSION.to_owned(),
        kind: "Event".to_owned(),
        r#type: kind.into(),
        reason: reason.to_owned(),
        object,
        message,
        actor: "echo-control".to_owned(),
        count: 1,
        first_time: Some(now),
        last_time: Some(now),
        trace: echo_proto::telemetry::context::current(),
        ..Default::default()
    }
}
