//! Starts one `echo-node`: its address, ports, directories and log.
//!
//! Called by the supervisor on a blocking thread. Each node runs in a process group of its own, so that Ctrl-C in a
//! terminal reaches nobody but its foreground process, and has its own log file.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use echo_proto::ids::{ClusterName, PoolName};
use tokio::process::{Child, Command};

use super::child::Handle;
use super::record::{self, Record};

/// What all nodes of this host have in common.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The `echo-node` executable.
    pub binary: PathBuf,
    /// Holds `nodes/` and `logs/`.
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
    /// How long they drain at most, where the pool does not say less.
    pub drain_deadline: Option<Duration>,
    /// They end when standard input does.
    pub lifeline: bool,
}

/// Whether a variable is a setting of this process, which a node would take for its own; how to log is for both.
fn is_own_setting(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"ECHO_") && !name.starts_with(b"ECHO_LOG")
}

impl Launcher {
    pub(super) fn nodes_dir(&self) -> PathBuf {
        self.state_dir.join("nodes")
    }

    /// Starts the node of this index and remembers it.
    pub(super) fn launch(&self, index: u32, pool: &PoolName) -> io::Result<(Handle, Child)> {
        let directory = self.nodes_dir().join(format!("node-{index}"));
        fs::create_dir_all(&directory)?;
        let log = self.log(index)?;
        let mut command = Command::new(&self.binary);
        command.args(self.arguments(index, pool)).process_group(0);
        for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_own_setting(name)) {
            command.env_remove(name);
        }
        command.stdin(if self.lifeline { Stdio::inherit() } else { Stdio::null() });
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        // Not waited for yet, so its number is still its own, even if it ended at once.
        let pid = child.id().ok_or_else(|| io::Error::other("ended before it was known"))?;
        let handle = Handle::open(pid).ok_or_else(|| io::Error::other("ended at once"))?;
        let start_time = handle.start_time;
        Record { index, pool: pool.clone(), pid, start_time, leaving: false }.write(&self.nodes_dir())?;
        Ok((handle, child))
    }

    /// Tells the next control that this one is on its way out.
    pub(super) fn mark_leaving(&self, index: u32, pool: &PoolName, handle: &Handle) {
        let record =
            Record { index, pool: pool.clone(), pid: handle.pid, start_time: handle.start_time, leaving: true };
        if let Err(error) = record.write(&self.nodes_dir()) {
            tracing::warn!(%error, index, "the record of a leaving node is not written");
        }
    }

    pub(super) fn forget(&self, index: u32) {
        record::remove(&self.nodes_dir(), index);
    }

    fn log(&self, index: u32) -> io::Result<File> {
        let logs = self.state_dir.join("logs");
        fs::create_dir_all(&logs)?;
        OpenOptions::new().create(true).append(true).open(logs.join(format!("node-{index}.log")))
    }

    fn arguments(&self, index: u32, pool: &PoolName) -> Vec<String> {
        // The plan gives no index above 254.
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(index).unwrap_or(u8::MAX)));
        let state_dir = self.nodes_dir().join(format!("node-{index}"));
        let mut arguments = vec![
            format!("--cluster={}", self.cluster),
            format!("--pool={pool}"),
            format!("--id=node-{index}"),
            format!("--address={ip}"),
            format!("--grpc={}", SocketAddr::new(ip, self.grpc_port)),
            format!("--http={}", SocketAddr::new(ip, self.http_port)),
            format!("--etcd={}", self.etcd.join(",")),
            format!("--state-dir={}", state_dir.display()),
            format!("--lease-ttl={}s", self.lease_ttl.as_secs()),
        ];
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
