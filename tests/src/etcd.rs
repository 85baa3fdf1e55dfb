//! A private, real etcd, and `etcdctl` for what an outsider would read and write.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{eventually, process::Process, tools};

/// Until a fresh etcd answers; 0.2 s on an idle machine.
const READY: Duration = Duration::from_secs(20);

/// A running etcd with its own data.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    url: String,
    peer: String,
    dir: PathBuf,
}

impl Etcd {
    /// Starts one on an address of its own and waits until it answers.
    pub fn start(dir: &Path) -> Self {
        Self::start_on(dir, own_loopback_address())
    }

    /// Starts one on this address and waits until it answers.
    pub fn start_on(dir: &Path, address: Ipv4Addr) -> Self {
        let url = format!("http://{address}:{}", free_port(address));
        let peer = format!("http://{address}:{}", free_port(address));
        let etcd = Self { process: spawn(dir, &url, &peer), url, peer, dir: dir.to_owned() };
        etcd.wait_ready();
        etcd
    }

    /// Where clients find it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it as a crash would; its data stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data and ports.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.dir, &self.url, &self.peer);
        self.wait_ready();
    }

    /// Stops or continues it.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// All keys and values under a prefix.
    pub fn get_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let text = self.etcdctl(&["get", "--prefix", prefix]);
        let lines: Vec<&str> = text.lines().collect();
        lines.chunks(2).map(|pair| (pair[0].to_owned(), pair.get(1).copied().unwrap_or_default().to_owned())).collect()
    }

    /// Writes a value as an outsider would.
    pub fn put(&self, key: &str, value: &str) {
        self.etcdctl(&["put", key, value]);
    }

    /// Deletes a key.
    pub fn delete(&self, key: &str) {
        self.etcdctl(&["del", key]);
    }

    /// Runs etcdctl and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn etcdctl(&self, args: &[&str]) -> String {
        let mut command = Command::new(tools::foreign("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url]).args(args);
        let output = command.output().expect("etcdctl runs");
        assert!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn wait_ready(&self) {
        eventually("etcd answers", READY, || {
            let mut command = Command::new(tools::foreign("etcdctl"));
            command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url, "--command-timeout=1s", "get", "ready"]);
            let output = command.output().expect("etcdctl runs");
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        });
    }
}

fn spawn(dir: &Path, url: &str, peer: &str) -> Process {
    let data = dir.join("etcd-data");
    let args = [
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--heartbeat-interval=20".into(),
        "--election-timeout=200".into(),
    ];
    Process::start_foreign("etcd", dir, &tools::foreign("etcd"), &args)
}

/// A random address of 127.0.0.0/8, so that ports chosen now are still free when they are bound.
pub fn own_loopback_address() -> Ipv4Addr {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    let [a, b, c] = bytes;
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

/// A port that is free at this address.
pub fn free_port(address: Ipv4Addr) -> u16 {
    let probe = TcpListener::bind((address, 0)).expect("a loopback address has a free port");
    probe.local_addr().expect("a bound socket has an address").port()
}
