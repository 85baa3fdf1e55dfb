//! A private, real etcd, and `etcdctl` for what an outsider would read and write.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ports::{free_port, own_loopback_address};
use crate::{eventually, finish::finish, process::Process, tools};

/// Until a fresh etcd answers; 0.2 s on an idle machine.
const READY: Duration = Duration::from_secs(20);

/// A running etcd with its own data.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    url: String,
    peer: String,
    dir: PathBuf,
    args: Vec<String>,
}

impl Etcd {
    /// Starts one on an address of its own and waits until it answers.
    pub fn start(dir: &Path) -> Self {
        Self::start_on(dir, own_loopback_address())
    }

    /// Starts one on this address and waits until it answers.
    pub fn start_on(dir: &Path, address: Ipv4Addr) -> Self {
        Self::start_with(dir, address, &[])
    }

    /// Starts one that [`Self::fill`] fills within a second.
    pub fn start_small(dir: &Path) -> Self {
        Self::start_with(dir, own_loopback_address(), &["--quota-backend-bytes=2097152"])
    }

    fn start_with(dir: &Path, address: Ipv4Addr, args: &[&str]) -> Self {
        let url = format!("http://{address}:{}", free_port(address));
        let peer = format!("http://{address}:{}", free_port(address));
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let process = spawn(dir, &url, &peer, &args);
        let etcd = Self { process, url, peer, dir: dir.to_owned(), args };
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
        // What was killed is the shell that waits for it; it may itself still be about to go.
        for url in [&self.url, &self.peer] {
            let address = url.trim_start_matches("http://");
            eventually("etcd has let go of its ports", READY, || match TcpListener::bind(address) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => Err(error),
                _ => Ok(()),
            });
        }
    }

    /// Starts it again on the same data and ports.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.dir, &self.url, &self.peer, &self.args);
        self.wait_ready();
    }

    /// A backup of all it holds; returns the file.
    pub fn save(&self) -> PathBuf {
        let file = self.dir.join("backup.db");
        self.etcdctl(&["snapshot", "save", &file.display().to_string()]);
        file
    }

    /// Kills it and starts it again on a backup, as an operator would after a disaster.
    pub fn restore(&mut self, backup: &Path) {
        self.kill();
        let data = self.dir.join("etcd-data");
        std::fs::remove_dir_all(&data).expect("can remove etcd's data");
        let (peer, cluster) = (self.peer.clone(), format!("default={}", self.peer));
        let (backup, data) = (backup.display().to_string(), data.display().to_string());
        let to = ["--data-dir", &data, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &cluster];
        self.etcdctl(&[&["snapshot", "restore", &backup], &to[..]].concat());
        self.restart();
    }

    /// Kills it and starts it again on nothing.
    pub fn wipe(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.dir.join("etcd-data")).expect("can remove etcd's data");
        self.restart();
    }

    /// Forgets all history.
    pub fn compact(&self) {
        let status = self.etcdctl(&["get", "any", "-w", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status).expect("etcdctl writes JSON");
        self.etcdctl(&["compact", &status["header"]["revision"].to_string()]);
    }

    /// Fills it up to its quota: from then on it takes no writes.
    pub fn fill(&self) {
        let ballast = "x".repeat(100_000);
        for i in 0.. {
            let output = self.run(&["put", &format!("ballast/{i}"), &ballast]);
            if !output.status.success() {
                let cause = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(cause.contains("database space exceeded"), "{cause}");
                return;
            }
        }
    }

    /// Takes back what [`Self::fill`] did.
    pub fn make_room(&self) {
        self.etcdctl(&["del", "--prefix", "ballast/"]);
        self.compact();
        self.etcdctl(&["defrag"]);
        self.etcdctl(&["alarm", "disarm"]);
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
        let output = self.run(args);
        assert!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(tools::foreign("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url]).args(args);
        finish(&mut command)
    }

    fn wait_ready(&self) {
        eventually("etcd answers", READY, || {
            let output = self.run(&["--command-timeout=1s", "get", "ready"]);
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        });
    }
}

fn spawn(dir: &Path, url: &str, peer: &str, more: &[String]) -> Process {
    let data = dir.join("etcd-data");
    let args = vec![
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--heartbeat-interval=20".into(),
        "--election-timeout=200".into(),
    ];
    Process::start_foreign("etcd", dir, &tools::foreign("etcd"), &[args.as_slice(), more].concat())
}
