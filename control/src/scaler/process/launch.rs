//! Starts one `echo-node`: its address, ports, directories and log.
//!
//! Called by the supervisor on a blocking thread. Each node runs in a process group of its own, so that Ctrl-C in a
//! terminal reaches nobody but its foreground process, and has its own log file. It must never leave a process behind
//! that is not remembered.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use echo_proto::ids::{ClusterName, PoolName};
use tokio::process::{Child, Command};

use super::child::Handle;
use super::record::{self, Record};
use super::{found, log};
use crate::plan::scale;

/// What all nodes of this host have in common.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The `echo-node` executable.
    pub binary: PathBuf,
    /// Holds `nodes/` and `logs/`; absolute, since the nodes' command lines name it.
    pub state_dir: PathBuf,
    /// The cluster they join.
    pub cluster: ClusterName,
    /// Where etcd is.
    pub etcd: Vec<String>,
    /// Port of each node's Agent; 0: any free one.
    pub grpc_port: u16,
    /// Port of each node's health and metrics; 0: any free one.
    pub http_port: u16,
    /// TTL of their leases.
    pub lease_ttl: Duration,
    /// How long they drain at most, whatever the pool says.
    pub drain_deadline: Option<Duration>,
    /// Zones that they are in, in turn; may be empty.
    pub zones: Vec<String>,
    /// They end when standard input does.
    pub lifeline: bool,
}

/// Why a node was not started, with the file to look at.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub(super) struct LaunchError {
    path: PathBuf,
    cause: io::Error,
}

/// Whether a variable is a setting of this process, which a node would take for its own; how to log is for both.
fn is_own_setting(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"ECHO_") && !name.starts_with(b"ECHO_LOG")
}

impl Launcher {
    /// Why this state directory can't be used: nodes of another cluster live there. `None`: it can.
    pub fn refused(&self) -> Option<String> {
        found::foreign(self)
    }

    pub(super) fn nodes_dir(&self) -> PathBuf {
        self.state_dir.join("nodes")
    }

    /// A directory belongs to one node: the same index in another pool is another one.
    pub(super) fn node_dir(&self, index: u32, pool: &PoolName) -> PathBuf {
        self.nodes_dir().join(format!("node-{index}")).join(pool.as_str())
    }

    pub(super) fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// Starts the node of this index and remembers it.
    pub(super) fn launch(&self, index: u32, pool: &PoolName) -> Result<(Handle, Child), LaunchError> {
        let failed = |path: PathBuf| |cause| LaunchError { path, cause };
        let directory = self.node_dir(index, pool);
        fs::create_dir_all(&directory).map_err(failed(directory))?;
        let logs = self.logs_dir();
        let log = log::open(&logs, index).and_then(|log| Ok((log.try_clone()?, log))).map_err(failed(logs))?;
        let mut command = Command::new(&self.binary);
        command.args(self.arguments(index, pool)).process_group(0);
        for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_own_setting(name)) {
            command.env_remove(name);
        }
        command.stdin(if self.lifeline { Stdio::inherit() } else { Stdio::null() });
        command.stdout(log.0).stderr(log.1);
        let mut child = command.spawn().map_err(failed(self.binary.clone()))?;
        let known = self.known(&child).map_err(failed(self.binary.clone())).and_then(|handle| {
            let remembered =
                self.record(index, pool, scale::zone(&self.zones, index), &handle, false).write(&self.nodes_dir());
            remembered.map(|()| handle).map_err(failed(record::path(&self.nodes_dir(), index)))
        });
        if known.is_err() {
            // Nobody would know it: it must not stay. That it ended already is no error.
            let _ = tokio::runtime::Handle::current().block_on(child.kill());
        }
        Ok((known?, child))
    }

    /// The handle on a process that was started just now, which its number still means: it was not waited for yet.
    fn known(&self, child: &Child) -> io::Result<Handle> {
        let pid = child.id().ok_or_else(|| io::Error::other("ended before it was known"))?;
        Handle::open(pid).ok_or_else(|| io::Error::other("ended at once"))
    }

    fn record(&self, index: u32, pool: &PoolName, zone: &str, handle: &Handle, leaving: bool) -> Record {
        let (pid, start_time) = (handle.pid, handle.start_time);
        let (cluster, etcd) = (self.cluster.to_string(), self.etcd.clone());
        Record { index, pool: pool.clone(), zone: zone.to_owned(), cluster, etcd, pid, start_time, leaving }
    }

    /// Tells the next control that this one is on its way out.
    pub(super) fn mark_leaving(&self, index: u32, pool: &PoolName, zone: &str, handle: &Handle) {
        if let Err(error) = self.record(index, pool, zone, handle, true).write(&self.nodes_dir()) {
            tracing::warn!(%error, index, "the record of a leaving node is not written");
        }
    }

    pub(super) fn forget(&self, index: u32) {
        record::remove(&self.nodes_dir(), index);
    }

    /// Whether a node that runs serves the same cluster as one that is started now: an etcd that both were told of. One
    /// more member of etcd is no reason to let every node go.
    pub(super) fn agrees(&self, record: &Record) -> bool {
        record.cluster == self.cluster.as_str() && record.etcd.iter().any(|url| self.etcd.contains(url))
    }

    fn arguments(&self, index: u32, pool: &PoolName) -> Vec<String> {
        // The plan gives no index above 254.
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(index).unwrap_or(u8::MAX)));
        let mut arguments = vec![
            format!("--cluster={}", self.cluster),
            format!("--pool={pool}"),
            format!("--id=node-{index}"),
            format!("--address={ip}"),
            format!("--grpc={}", SocketAddr::new(ip, self.grpc_port)),
            format!("--http={}", SocketAddr::new(ip, self.http_port)),
            format!("--etcd={}", self.etcd.join(",")),
            format!("--state-dir={}", self.node_dir(index, pool).display()),
            format!("--lease-ttl={}s", self.lease_ttl.as_secs()),
        ];
        let zone = scale::zone(&self.zones, index);
        arguments.extend((!zone.is_empty()).then(|| format!("--zone={zone}")));
        arguments.extend(self.drain_deadline.map(|d| format!("--drain-deadline={}ms", d.as_millis())));
        if self.lifeline {
            arguments.push("--lifeline".to_owned());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stay_here() {
        let own = |name: &str| is_own_setting(OsStr::new(name));
        assert!(own("ECHO_STATE_DIR") && own("ECHO_CONFIG"));
        assert!(!own("ECHO_LOG") && !own("ECHO_LOG_FORMAT") && !own("OTEL_EXPORTER_OTLP_ENDPOINT") && !own("PATH"));
    }
}
