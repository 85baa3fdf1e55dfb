//! Where the fleet lives: an etcd, two controls of which one leads, and the swarm.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use echo_tests::finish::finish;
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::swarm::JOINING;
use echo_tests::{Etcd, Process, Swarm};

use super::client::Client;
use super::wait;
use crate::Failure;

/// Everything; it ends with this.
pub(super) struct Place {
    pub(super) client: Client,
    swarm: Option<Swarm>,
    /// The first of them leads.
    controls: Vec<Process>,
    servers: Vec<String>,
    etcd: Etcd,
    binaries: PathBuf,
    dir: PathBuf,
}

impl Place {
    /// Starts etcd and both controls, with what they write in `dir`.
    pub(super) fn new(binaries: &Path, dir: PathBuf) -> Result<Self, Failure> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        let (etcd, ip) = (Etcd::start(&dir), own_loopback_address());
        let (mut controls, mut servers) = (Vec::new(), Vec::new());
        for name in ["control-1", "control-2"] {
            let address = SocketAddr::from((ip, free_port(ip)));
            controls.push(control(name, binaries, &dir, etcd.url(), address));
            servers.push(format!("http://{address}"));
            // The first of them is to lead.
            wait("a control leads", || Ok(leader(&etcd).is_some()))?;
        }
        let client = Client::new(&servers)?;
        Ok(Self { client, swarm: None, controls, servers, etcd, binaries: binaries.to_owned(), dir })
    }

    /// Starts the agents.
    pub(super) fn populate(&mut self, nodes: usize, ttl: Duration) {
        self.swarm = Some(Swarm::start(self.etcd.url(), nodes, ttl, JOINING));
    }

    pub(super) fn swarm(&self) -> Result<&Swarm, Failure> {
        self.swarm.as_ref().ok_or_else(|| "there are no agents yet".into())
    }

    /// Applies a pool file that differs with `n`, once a control takes it.
    pub(super) fn apply(&self, n: u16) -> Result<(), Failure> {
        let file = self.dir.join("pool.yaml");
        std::fs::write(&file, pool(n))?;
        let mut said = String::new();
        let done = wait("the pool file is taken", || {
            let mut echoctl = Command::new(self.binaries.join("echoctl"));
            echoctl.args(["apply", "-f"]).arg(&file).env("ECHO_SERVER", self.servers.join(","));
            let output = finish(&mut echoctl);
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok(output.status.success())
        });
        done.map_err(|error| format!("{error}: {said}").into())
    }

    /// The pid of the leading control.
    pub(super) fn leading(&self) -> u32 {
        self.controls.first().map_or(0, Process::pid)
    }

    /// What the leader key holds.
    pub(super) fn leader(&self) -> Option<String> {
        leader(&self.etcd)
    }

    /// Kills the leading control; who calls control calls the others from now on.
    pub(super) fn kill_leader(&mut self) -> Result<(), Failure> {
        if !self.controls.is_empty() {
            self.controls.remove(0).kill();
            self.servers.remove(0);
            self.client = Client::new(&self.servers)?;
        }
        Ok(())
    }

    /// Kills etcd, as a crash would.
    pub(super) fn kill_etcd(&mut self) {
        self.etcd.kill();
    }

    /// Starts it again with what it had, and waits until it answers.
    pub(super) fn restart_etcd(&mut self) {
        self.etcd.restart();
    }

    pub(super) fn etcd_address(&self) -> Result<SocketAddr, Failure> {
        let address = self.etcd.url().trim_start_matches("http://");
        Ok(address.parse()?)
    }
}

fn leader(etcd: &Etcd) -> Option<String> {
    etcd.get_prefix("/echo/v1/default/leader").into_iter().next().map(|(_, record)| record)
}

fn control(name: &str, binaries: &Path, dir: &Path, etcd: &str, address: SocketAddr) -> Process {
    let mut command = Command::new(binaries.join("echo-control"));
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string();
    command.args(["--grpc", &address.to_string(), "--http", &http, "--etcd", etcd, "--lifeline"]);
    Process::start(name, dir, command)
}

fn pool(n: u16) -> String {
    let listener = format!("{{name: echo, protocol: TCP, port: {}, service: {{echo: {{}}}}}}", 7_000 + n);
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  template:\n    listeners: [{listener}]\n  \
         rollout: {{minHealthy: 1s}}\n"
    )
}
