//! A single node that nobody scales, and how its record stands in etcd.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use echo_proto::codec;
use echo_proto::ids::Digest;
use echo_proto::v1;
use serde_json::Value;

use crate::wait::{ensure, eventually};
use crate::{Etcd, Process, tools};

/// Until a node has registered or said something; well under a second on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Starts `echo-node` with these arguments on ports of its own.
pub fn start(dir: &Path, etcd: &str, id: &str, args: &[&str]) -> Process {
    start_as(id, dir, etcd, id, args)
}

/// The same with another name for its log than its id.
pub fn start_as(log: &str, dir: &Path, etcd: &str, id: &str, args: &[&str]) -> Process {
    let mut command = Command::new(tools::ours("echo-node"));
    command.args(["--id", id, "--etcd", etcd, "--lifeline", "--shards", "1"]);
    command.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args);
    Process::start(log, dir, command)
}

/// Waits until the node has written this to its log.
#[track_caller]
pub fn wait_log(node: &Process, what: &str) {
    eventually(what, SOON, || ensure(node.log().contains(what), || node.log()));
}

/// A record as it stands in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// etcd's revision of the last write.
    pub revision: i64,
    /// Lease that holds it.
    pub lease: i64,
}

/// At which revision of etcd each node of the cluster `default` wrote its record.
///
/// # Panics
/// When etcd doesn't answer.
pub fn writes(etcd: &Etcd) -> Vec<i64> {
    let told = etcd.etcdctl(&["get", "--prefix", "/echo/v1/default/nodes/", "-w", "json"]);
    let found: Value = serde_json::from_str(&told).expect("etcdctl writes JSON");
    let records = found["kvs"].as_array().cloned().unwrap_or_default();
    records.iter().map(|record| record["mod_revision"].as_i64().expect("a key has a revision")).collect()
}

/// The record at `key`, if there is one.
pub fn record(etcd: &Etcd, key: &str) -> Option<Record> {
    let found: Value = serde_json::from_str(&etcd.etcdctl(&["get", key, "-w", "json"])).expect("etcdctl writes JSON");
    let number = |field: &str| found["kvs"][0][field].as_i64();
    Some(Record { revision: number("mod_revision")?, lease: number("lease").unwrap_or_default() })
}

/// Waits for a record at `key` of which `holds` is true.
#[track_caller]
pub fn wait_record(etcd: &Etcd, key: &str, holds: impl Fn(&Record) -> bool) -> Record {
    eventually(&format!("{key} is written"), SOON, || {
        record(etcd, key).filter(&holds).ok_or_else(|| format!("{:?}", record(etcd, key)))
    })
}

/// Follows all node records of a cluster from now on, in the order of etcd's history.
#[derive(Debug)]
pub struct History(Process);

impl History {
    /// Starts to follow.
    pub fn follow(etcd: &Etcd, dir: &Path) -> Self {
        let args = ["--endpoints", etcd.url(), "watch", "--prefix", "/echo/v1/default/nodes/", "--rev=1"];
        let args = args.map(str::to_owned);
        Self(Process::start_foreign("history", dir, &tools::foreign("etcdctl"), &args))
    }

    /// The values of `key` so far; `None` is a deletion.
    ///
    /// # Panics
    /// When one is no JSON.
    pub fn of(&self, key: &str) -> Vec<Option<Value>> {
        let log = self.0.log();
        // The last line may still be on its way.
        let lines: Vec<&str> = log.rsplit_once('\n').map_or_else(Vec::new, |(whole, _)| whole.split('\n').collect());
        let of_key = lines.windows(3).filter(|event| event[1] == key);
        of_key
            .filter_map(|event| match event[0] {
                "PUT" => Some(Some(serde_json::from_str(event[2]).expect("a node writes JSON"))),
                "DELETE" => Some(None),
                _ => None,
            })
            .collect()
    }
}

/// An echo on this TCP port, as revision `n`.
pub fn revision(n: u32, port: u16) -> v1::AssignedRevision {
    let service = v1::Service { kind: Some(v1::service::Kind::Echo(v1::EchoService::default())) };
    let (name, protocol) = ("echo-tcp".to_owned(), v1::Protocol::Tcp.into());
    let listener = v1::Listener { name, protocol, port: port.into(), service: Some(service), ..Default::default() };
    let config = v1::PoolTemplate { listeners: vec![listener], ..Default::default() };
    v1::AssignedRevision { n, digest: Digest::of(&config).to_string(), config: Some(config) }
}

/// Assigns it to the pool `default`, as a leader would: `stable`, and `next` to all.
pub fn assign(etcd: &Etcd, rollout: u32, stable: v1::AssignedRevision, next: Option<v1::AssignedRevision>) {
    let (uid, stable) = ("u".to_owned(), Some(stable));
    let assignment = v1::Assignment { uid, rollout, stable, next, cut: u64::MAX, ..Default::default() };
    etcd.put("/echo/v1/default/assignments/default", &codec::to_json(&assignment));
}
