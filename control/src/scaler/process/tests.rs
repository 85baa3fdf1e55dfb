//! The supervisor with a script in the place of `echo-node`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_proto::ids::PoolName;
use echo_proto::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::child::Handle;
use super::record::{self, Record};
use super::*;
use crate::plan::scale::Usage;
use crate::scaler::Notice;
use crate::stop::{Stop, Trigger, stop};
use crate::view::View;

mod adoption;
mod endings;

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
    notices: mpsc::Receiver<Notice>,
    _trigger: Trigger,
    task: tokio::task::JoinHandle<()>,
}

/// Waits to be told to go. Like every node here it ends when its folder goes, should the test have lost sight of it.
const NODE: &str = "#!/bin/sh\nwhile [ -e \"$0\" ]; do sleep 1; done\n";

impl Host {
    fn new(name: &str) -> Self {
        Self::with_node(name, NODE)
    }

    fn directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("echo-scaler-{name}-{}", std::process::id()))
    }

    fn with_node(name: &str, script: &str) -> Self {
        let directory = Self::directory(name);
        fs::create_dir_all(directory.join("nodes")).unwrap();
        let binary = directory.join("node.sh");
        fs::write(&binary, script).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, binary }
    }

    fn launcher(&self, binary: &Path) -> Launcher {
        Launcher {
            binary: binary.to_owned(),
            state_dir: self.directory.clone(),
            cluster: "test".parse().unwrap(),
            etcd: vec!["http://127.0.0.1:1".into()],
            grpc_port: 0,
            http_port: 0,
            lease_ttl: Duration::from_secs(10),
            zones: Vec::new(),
            drain_deadline: None,
            lifeline: false,
        }
    }

    fn control(&self, binary: &Path) -> Control {
        Self::run(self.launcher(binary))
    }

    fn run(launcher: Launcher) -> Control {
        let (figures, view) = (Figures::default(), View::new(echo_proto::keys::Keys::new(&launcher.cluster)));
        let (notices, taken) = Notices::channel(view.clone());
        let (scaler, supervisor) = ProcessScaler::new(launcher, figures.clone(), notices);
        let (trigger, stop): (Trigger, Stop) = stop();
        tokio::spawn(figures.run(view, stop.clone()));
        let task = tokio::spawn(supervisor.run(stop));
        Control { scaler, notices: taken, _trigger: trigger, task }
    }

    fn nodes(&self) -> PathBuf {
        self.directory.join("nodes")
    }

    /// The living processes by index, as remembered.
    fn alive(&self) -> BTreeMap<u32, Record> {
        let records = record::read_all(&self.nodes()).into_iter();
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
        // Nobody is started any more, and every node ends, also one that was started just now and is remembered nowhere.
        let _ = fs::remove_file(&self.binary);
        for record in self.alive().values() {
            Handle::open(record.pid).iter().for_each(Handle::kill);
        }
        // A start that was on its way may still put files there.
        let end = std::time::Instant::now() + DEADLINE;
        while fs::remove_dir_all(&self.directory).is_err_and(|e| e.kind() != io::ErrorKind::NotFound)
            && std::time::Instant::now() < end
        {
            std::thread::yield_now();
        }
    }
}

async fn until(met: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !met() {
        assert!(Instant::now() < deadline, "not in time");
        sleep(Duration::from_millis(10)).await;
    }
}

fn want(nodes: u32) -> Option<Wanted> {
    let pool: PoolName = "edge".parse().unwrap();
    Some(Wanted {
        replicas: [(pool.clone(), nodes)].into(),
        drains: [(pool, Duration::from_secs(10))].into(),
        ..Wanted::default()
    })
}

#[tokio::test]
async fn starts_replaces_and_stops() {
    let host = Host::new("life");
    let mut control = host.control(&host.binary);
    control.scaler.want(want(3));
    let first = host.until(&[1, 2, 3]).await;
    Handle::open(first.get(&2).unwrap().pid).unwrap().terminate();
    let told = tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap().event;
    assert_eq!((told.reason.as_str(), told.object.as_str()), ("NodeDied", "node/node-2"));
    let second = host.until(&[1, 2, 3]).await;
    let told = tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap().event;
    assert_eq!((told.reason.as_str(), told.pool.as_str()), ("NodeReplaced", "edge"));
    assert_eq!((told.from, told.to), (first[&2].pid.to_string(), second[&2].pid.to_string()));
    assert!(told.message.contains("was ended by signal 15"), "{}", told.message);
    assert_ne!(first.get(&2), second.get(&2));
    assert_eq!(first.get(&1), second.get(&1));
    control.scaler.want(want(1));
    host.until(&[1]).await;
    assert!(host.directory.join("logs/node-3.log").exists());
}

#[tokio::test]
async fn a_node_that_cannot_be_remembered_does_not_stay() {
    let host = Host::new("full");
    fs::create_dir(host.nodes().join("node-1.json.new")).unwrap();
    let mut control = host.control(&host.binary);
    control.scaler.want(want(1));
    let told = tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap().event;
    assert_eq!(told.reason, "NodeStartFailed");
    assert!(told.message.contains("node-1.json"), "{}", told.message);
    control.task.abort();
    let launcher = host.launcher(&host.binary);
    // A task that is aborted leaves its blocking part behind, which may be at a further try.
    until(|| found::all(&launcher).is_empty()).await;
}

#[tokio::test]
async fn nodes_of_another_etcd_are_replaced() {
    let host = Host::new("foreign");
    let first = host.control(&host.binary);
    first.scaler.want(want(1));
    let before = host.until(&[1]).await;
    first.task.abort();
    let elsewhere = Launcher { cluster: "other".parse().unwrap(), ..host.launcher(&host.binary) };
    assert!(elsewhere.refused().unwrap().contains("of cluster test"), "these nodes serve another cluster");
    assert_eq!(host.launcher(&host.binary).refused(), None);
    let told = |etcd: &[&str]| {
        let etcd = etcd.iter().map(|url| (*url).to_owned()).collect();
        Host::run(Launcher { etcd, ..host.launcher(&host.binary) })
    };
    let wider = told(&["http://127.0.0.1:2", "http://127.0.0.1:1"]);
    wider.scaler.want(want(2));
    assert_eq!(host.until(&[1, 2]).await[&1], before[&1], "one more etcd is no other etcd");
    wider.scaler.want(want(1));
    host.until(&[1]).await;
    wider.task.abort();
    let mut second = told(&["http://127.0.0.1:2"]);
    second.scaler.want(want(1));
    let told = tokio::time::timeout(DEADLINE, second.notices.recv()).await.unwrap().unwrap().event;
    assert_eq!((told.reason.as_str(), told.object.as_str()), ("NodeOutdated", "node/node-1"));
    let after = host.until(&[2]).await;
    assert_ne!(before[&1].etcd, after[&2].etcd);
}

#[tokio::test]
async fn leadership_that_comes_and_goes_leaves_no_task_behind() {
    let host = Host::new("flapping");
    let control = host.control(&host.binary);
    control.scaler.want(want(2));
    host.until(&[1, 2]).await;
    for _ in 0..5 {
        control.scaler.want(None);
        tokio::task::yield_now().await;
        control.scaler.want(want(2));
        // The third node shows that it has adopted by then.
        control.scaler.want(want(3));
        host.until(&[1, 2, 3]).await;
        control.scaler.want(want(2));
        host.until(&[1, 2]).await;
    }
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // The supervisor, who asks the nodes, and one that waits for each node.
    until(|| tasks() == 4).await;
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
async fn who_is_told_to_leave_is_told_of_when_it_has_and_the_idle_go_first() {
    let host = Host::new("retired");
    let mut control = host.control(&host.binary);
    control.scaler.want(want(3));
    host.until(&[1, 2, 3]).await;
    let of = |pool: &str, id: &str| (pool.parse().unwrap(), id.parse().unwrap());
    // The namesake of another pool, on another host, says nothing of the node here.
    let idle = [(of("edge", "node-1"), Usage::Cordoned), (of("web", "node-2"), Usage::Drained)].into();
    control.scaler.want(want(2).map(|wanted| Wanted { idle, ..wanted }));
    host.until(&[2, 3]).await;
    let told = tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap().event;
    assert_eq!((told.reason.as_str(), told.object.as_str()), ("NodeRetired", "node/node-1"));
}
