//! The cluster's etcd: a private one on loopback ports, or one that is there already.
//!
//! Used by `up`. Data is on disk when it is acknowledged (no `--unsafe-no-fsync`): a cluster continues with it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Uri;

use super::children::die_with_parent;
use super::ports::Ports;
use crate::connect::io_cause;
use crate::failure::Failure;

/// Between two questions whether it is ready.
const POLL: Duration = Duration::from_millis(10);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest wait for an etcd that is said to run.
const RUNNING: Duration = Duration::from_secs(3);
/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 4096;

/// A private etcd that was not started yet.
#[derive(Debug, Clone)]
pub(super) struct Private {
    program: PathBuf,
    data: PathBuf,
    client: u16,
    peer: u16,
}

impl Private {
    /// Chooses its ports.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn new(program: PathBuf, data: PathBuf, ports: &mut Ports) -> Result<Self, Failure> {
        let (client, peer) = (ports.choose("etcdClient")?, ports.choose("etcdPeer")?);
        Ok(Self { program, data, client, peer })
    }

    /// Where it serves.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    /// Its command line. The timers suit one member on one machine: it is ready in 0.2 s instead of 1.4 s, and grants
    /// short leases.
    pub(super) fn command(&self) -> Command {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer));
        let mut command = Command::new(&self.program);
        // Its settings from the environment are for another etcd, and newer versions refuse what a flag repeats.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
            command.env_remove(name);
        }
        if cfg!(target_arch = "aarch64") {
            // etcd 3.4 calls the platform experimental, and refuses to run without this.
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        command.args(["--name", "echo", "--logger", "zap", "--log-outputs", "stderr"]);
        command.arg("--data-dir").arg(&self.data);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("echo={peer}")]);
        command.args(["--heartbeat-interval", "20", "--election-timeout", "200"]);
        command.args(["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h"]);
        command.stdin(Stdio::null());
        die_with_parent(&mut command);
        command
    }
}

/// Waits until the private etcd can be written to.
pub(super) async fn ready(url: &str) {
    while health(url).await.is_err() {
        sleep(POLL).await;
    }
}

/// Waits for a moment until one of an existing etcd's endpoints is healthy.
///
/// # Errors
/// None is, in time.
pub(super) async fn check(urls: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + RUNNING;
    loop {
        let mut cause = "no URL".to_owned();
        for url in urls.split(',') {
            match health(url.trim()).await {
                Ok(()) => return Ok(()),
                Err(e) => cause = e,
            }
        }
        if Instant::now() >= deadline {
            let next = format!("is it running? try `etcdctl --endpoints {urls} endpoint health`");
            return Err(Failure::Up(format!("cannot reach etcd at {urls} ({cause}); {next}")));
        }
        sleep(POLL * 10).await;
    }
}

/// Asks one endpoint's `/health`, which is true once a leader is elected.
async fn health(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{url:?} is not http://HOST:PORT"));
    };
    let authority = match authority.port() {
        Some(_) => authority.to_string(),
        None => return Err(format!("{url:?} names no port")),
    };
    let answer = timeout(ANSWER, ask(&authority)).await.map_err(|_| "no answer".to_owned())?;
    let answer = answer.map_err(|e| io_cause(&e))?;
    if answer.contains(r#""health":"true""#) { Ok(()) } else { Err("it says that it is not healthy".to_owned()) }
}

async fn ask(authority: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
