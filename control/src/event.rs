//! Events: what happened, to which object, by whom.
//!
//! Built by the API, the plans and the drive; stored in the transaction of the change they report
//! ([`crate::store::Change::event`]). Reasons are CamelCase and stable: people filter by them.

use std::time::SystemTime;

use echo_proto::ids::{NodeId, PoolName};
use echo_proto::keys::Keys;
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

/// `cluster/<name>`.
pub fn of_cluster(keys: &Keys) -> String {
    format!("cluster/{}", keys.cluster())
}

/// `node/<id>`.
pub fn of_node(node: &NodeId) -> String {
    format!("node/{node}")
}

/// An event about a node of this pool.
pub fn in_pool(pool: &PoolName, event: v1::Event) -> v1::Event {
    v1::Event { pool: pool.to_string(), ..event }
}

/// `key/<etcd key>`: for values of ours that cannot be read.
pub fn of_key(key: &str) -> String {
    format!("key/{key}")
}

/// The etcd key that an event of [`of_key`] is about.
pub fn key_of(event: &v1::Event) -> &str {
    event.object.strip_prefix("key/").unwrap_or_default()
}

/// The event with the name it is stored under, which sorts by time.
pub fn placed(event: v1::Event, keys: &Keys) -> v1::Event {
    let key = keys.event(SystemTime::now());
    let name = key.strip_prefix(&keys.events()).unwrap_or_default().to_owned();
    v1::Event { metadata: Some(v1::ObjectMeta { name, ..Default::default() }), ..event }
}

/// Where a placed event is stored.
pub fn key(event: &v1::Event, keys: &Keys) -> String {
    keys.events() + event.metadata.as_ref().map_or("", |m| m.name.as_str())
}

fn event(kind: v1::EventType, reason: &str, object: String, message: String) -> v1::Event {
    let now = SystemTime::now().into();
    v1::Event {
        api_version: API_VERSION.to_owned(),
        kind: "Event".to_owned(),
        r#type: kind.into(),
        reason: reason.to_owned(),
        pool: object.strip_prefix("pool/").unwrap_or_default().to_owned(),
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
