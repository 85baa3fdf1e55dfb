//! The supervisor with a script in the place of `echo-node`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_proto::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::child::Handle;
use super::record::{self, Record};
use super::*;
use crate::stop::{Stop, Trigger, stop};

/// Longest wait for any condition.
const DEADLINE: Duration = Duration::from_secs(20);

/// A host of its own: a directory, and a node that only waits to be told to go.
struct Host {
    directory: PathBuf,
    binary: PathBuf,
}

/// A control on it.
struct Control {
    scaler: ProcessScaler,
    notices: mpsc::Receiver<v1::Event>,
    _trigger: Trigger,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("echo-scaler-{name}-{}", std::process::id()));
        fs::create_dir_all(directory.join("nodes")).unwrap();
        let binary = directory.join("node.sh");
        fs::write(&binary, "#!/bin/sh\nexec sleep 600\n").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, binary }
    }

    fn control(&self, binary: &Path) -> Control {
        let launcher = Launcher {
            binary: binary.to_owned(),
            state_dir: self.directory.clone(),
            cluster: "test".parse().unwrap(),
            etcd: vec!["http://127.0.0.1:1".into()],
            grpc_port: 0,
            http_port: 0,
            lease_ttl: Duration::from_secs(10),
            drain_deadline: None,
            lifeline: false,
        };
        let (notices, taken) = Notices::channel();
        let (scaler, supervisor) = ProcessScaler::new(launcher, notices);
        let (trigger, stop): (Trigger, Stop) = stop();
        let task = tokio::spawn(supervisor.run(stop));
        Control { scaler, notices: taken, _trigger: trigger, task }
    }

    /// The living processes by index, as remembered.
    fn alive(&self) -> BTreeMap<u32, Record> {
        let records = record::read_all(&self.directory.join("nodes")).into_iter();
        let alive = |r: &Record| Handle::open(r.pid).is_some_and(|h| h.start_time == r.start_time);
        records.filter(alive).map(|r| (r.index, r)).collect()
    }

    async fn until(&self, indexes: &[u32]) -> BTreeMap<u32, Record> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let alive = self.alive();
            if alive.keys().eq(indexes) {
                return alive;
            }
            assert!(Instant::now() < deadline, "wanted {indexes:?}, alive {alive:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for record in self.alive().values() {
            Handle::open(record.pid).iter().for_each(Handle::terminate);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn want(nodes: u32) -> Option<Wanted> {
    Some([("edge".parse().unwrap(), nodes)].into())
}

#[tokio::test]
async fn starts_replaces_and_stops() {
    let host = Host::new("life");
    let mut control = host.control(&host.binary);
    control.scaler.want(want(3));
    let first = host.until(&[1, 2, 3]).await;
    Handle::open(first.get(&2).unwrap().pid).unwrap().terminate();
    let told = tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap();
    assert_eq!((told.reason.as_str(), told.object.as_str()), ("NodeDied", "node/node-2"));
    let second = host.until(&[1, 2, 3]).await;
    assert_ne!(first.get(&2), second.get(&2));
    assert_eq!(first.get(&1), second.get(&1));
    control.scaler.want(want(1));
    host.until(&[1]).await;
    assert!(host.directory.join("logs/node-3.log").exists());
}

#[tokio::test]
async fn another_control_adopts_what_runs() {
    let host = Host::new("adopt");
    let first = host.control(&host.binary);
    first.scaler.want(want(2));
    let before = host.until(&[1, 2]).await;
    first.task.abort();
    let gone = Record { index: 9, pid: u32::MAX - 1, ..before.get(&1).unwrap().clone() };
    gone.write(&host.directory.join("nodes")).unwrap();
    let second = host.control(&host.binary);
    second.scaler.want(want(3));
    let after = host.until(&[1, 2, 3]).await;
    assert!(before.iter().all(|(index, record)| after.get(index) == Some(record)), "nobody was started again");
}

#[tokio::test]
async fn without_leadership_hands_are_off() {
    let host = Host::new("hands");
    let control = host.control(&host.binary);
    control.scaler.want(want(2));
    let before = host.until(&[1, 2]).await;
    control.scaler.want(None);
    control.scaler.want(want(2));
    control.scaler.want(want(1));
    let after = host.until(&[1]).await;
    assert_eq!(before.get(&1), after.get(&1));
}

#[tokio::test]
async fn a_binary_that_cannot_run_is_told() {
    let host = Host::new("binary");
    let mut control = host.control(&host.directory.join("missing"));
    control.scaler.want(want(1));
    let told = tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap();
    assert_eq!(told.reason, "NodeStartFailed");
    assert!(told.message.contains("missing"), "{}", told.message);
}
