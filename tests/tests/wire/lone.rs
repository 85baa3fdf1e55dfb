//! One real node on a scripted etcd, without control: the test writes its assignment and reads its record.

use std::process::Command;
use std::time::{Duration, Instant};

use echo_tests::cluster::text;
use echo_tests::traffic::Target;
use echo_tests::wait::ensure;
use echo_tests::{Process, Scripted, Traffic, eventually, tools};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const RECORD: &str = "/echo/v1/default/nodes/default/lone";
const ASSIGNMENT: &str = "/echo/v1/default/assignments/default";
/// Until it serves; a third of a second on an idle machine.
const READY: Duration = Duration::from_secs(20);
/// Most calls in one second, whatever etcd does: a session makes eight calls, and is tried four times in the worst
/// one, or three times and has something to tell each time. A storm would be hundreds.
const CALM: usize = 40;

/// The node, its etcd, and what it should be like.
pub(crate) struct Lone {
    pub(crate) etcd: Scripted,
    process: Process,
    incarnation: String,
    traffic: Traffic,
    /// From when on calls are looked at.
    began: Instant,
}

/// Stores revision `n` for the pool: `uid` tells one pool of a name from another.
pub(crate) fn assign(etcd: &Scripted, uid: &str, n: u32) {
    etcd.change(|store| store.put(ASSIGNMENT, &assignment(uid, n)));
}

/// Revision `n` serves TCP and UDP, and closes what is idle for as many hours.
pub(crate) fn assignment(uid: &str, n: u32) -> String {
    let listener = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "service": {"echo": {}}});
    let listeners = [listener("echo-tcp", "PROTOCOL_TCP"), listener("echo-udp", "PROTOCOL_UDP")];
    let config = json!({"listeners": listeners, "limits": {"idleTimeout": format!("{}s", n * 3600)}});
    let hash = Sha256::digest(config.to_string());
    let digest: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"uid": uid, "rollout": n, "stable": {"n": n, "digest": digest, "config": config}}).to_string()
}

impl Lone {
    /// Starts a node that runs revision 1 and serves.
    pub(crate) fn start() -> Self {
        let dir = tools::scratch("lone");
        let etcd = Scripted::start();
        assign(&etcd, "first", 1);
        let mut command = Command::new(tools::ours("echo-node"));
        command.args(["--id", "lone", "--etcd", &etcd.url(), "--address", "127.0.0.1", "--shards", "1", "--lifeline"]);
        command.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--lease-ttl", "2s", "--reread-interval", "1s"]);
        let process = Process::start("lone", &dir, command);
        let record = eventually("the node serves", READY, || serving(&etcd, 1));
        let traffic = Traffic::start(None, &Target::all(std::slice::from_ref(&record)));
        let incarnation = text(&record, "/status/incarnation");
        Self { etcd, process, incarnation, traffic, began: Instant::now() }
    }

    /// Waits until the record of this very life says that revision `n` is served.
    #[track_caller]
    pub(crate) fn serves(&self, n: u32, limit: Duration) {
        eventually(&format!("the record says that revision {n} is served"), limit, || {
            let record = serving(&self.etcd, n)?;
            let same = text(&record, "/status/incarnation") == self.incarnation;
            ensure(same, || format!("another life: {record}"))
        });
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Ends the test: nothing was lost on the way, nobody panicked, and etcd was not stormed.
    #[track_caller]
    pub(crate) fn was_well(mut self) {
        self.traffic.stop().assert_clean();
        assert!(self.process.is_running(), "the node lives");
        let log = self.process.log();
        assert!(!log.contains("panicked"), "{log}");
        let most = self.etcd.busiest_second(self.began);
        assert!(most <= CALM, "{most} calls in one second\n{log}");
    }
}

/// The node's record, if it says that it serves revision `n`.
fn serving(etcd: &Scripted, n: u32) -> Result<Value, String> {
    let value = etcd.value(RECORD);
    let record: Value = serde_json::from_str(&value).map_err(|e| format!("no record: {e}: {value:?}"))?;
    let applied = record.pointer("/status/applied/n").and_then(Value::as_u64);
    let good = applied == Some(u64::from(n)) && text(&record, "/status/phase") == "NODE_PHASE_READY";
    ensure(good, || record.to_string())?;
    Ok(record)
}
