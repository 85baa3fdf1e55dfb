//! A real control and its one node on a scripted etcd, driven through the real `echoctl`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use echo_tests::cluster::{pool_file, spawn_control, text};
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::wait::ensure;
use echo_tests::{Echoctl, Output, Process, Scripted, eventually, tools};
use serde_json::Value;

pub(crate) const POOL: &str = "/echo/v1/default/pools/default";
pub(crate) const LEADER: &str = "/echo/v1/default/leader";
/// Until it leads and its node serves; a second on an idle machine.
const READY: Duration = Duration::from_secs(30);
/// Most calls in one second: a control and its nodes together.
const CALM: usize = 60;

/// The cluster and its etcd.
pub(crate) struct Led {
    pub(crate) etcd: Scripted,
    control: Process,
    address: SocketAddr,
    dir: PathBuf,
    /// From when on calls are looked at.
    began: Instant,
}

impl Led {
    /// Starts a control with a pool of one node, and waits until that serves.
    pub(crate) fn start() -> Self {
        let dir = tools::scratch("led");
        std::fs::write(dir.join("pool.yaml"), pool_file(1)).unwrap();
        let etcd = Scripted::start();
        let ip = own_loopback_address();
        let address = SocketAddr::from((ip, free_port(ip)));
        let control = spawn_control(&dir, &etcd.url(), address, &[]);
        let led = Self { etcd, control, address, dir, began: Instant::now() };
        led.has_nodes(1, READY);
        Self { began: Instant::now(), ..led }
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        Echoctl::new(&format!("http://{}", self.address)).run(line)
    }

    /// A file of this test, written.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Objects, as `-o json` tells them.
    pub(crate) fn items(&self, line: &str) -> Result<Vec<Value>, String> {
        Echoctl::new(&format!("http://{}", self.address)).items(line)
    }

    /// Waits until the pool has so many nodes and all are ready and in sync.
    #[track_caller]
    pub(crate) fn has_nodes(&self, count: usize, limit: Duration) {
        eventually(&format!("{count} nodes serve"), limit, || {
            let nodes = self.items("get nodes")?;
            // A node without a record is not in sync, whatever its last record said.
            let states = nodes.iter().map(|node| (text(node, "/status/phase"), text(node, "/status/sync")));
            // One that was retired while it had no record could not say that it leaves, and is listed as lost.
            let states: Vec<_> = states.filter(|(_, sync)| sync != "SYNC_STATE_LOST").collect();
            let good = states.iter().all(|(phase, sync)| phase == "NODE_PHASE_READY" && sync == "SYNC_STATE_SYNCED");
            ensure(states.len() == count && good, || format!("{states:?}"))
        });
    }

    /// Scales the pool, again and again until control takes it, and waits for the nodes: it answers, leads and drives.
    #[track_caller]
    pub(crate) fn drives(&self, count: usize, limit: Duration) {
        eventually("control takes a change", limit, || {
            let output = self.run(&format!("scale pool/default --replicas {count}"));
            ensure(output.code == 0, || output.stderr)
        });
        self.has_nodes(count, limit);
    }

    /// Ends the test: nobody panicked, and etcd was not stormed.
    #[track_caller]
    pub(crate) fn was_well(mut self) {
        assert!(self.control.is_running(), "control lives");
        let log = self.control.log();
        assert!(!log.contains("panicked"), "{log}");
        let most = self.etcd.busiest_second(self.began);
        assert!(most <= CALM, "{most} calls in one second\n{log}");
        self.control.kill();
        self.control.cut_lifeline();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
