//! `echoctl up`, as somebody runs it who wants a cluster on this machine.
//!
//! Used by the tests of what it starts, and of what it refuses to start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::{READY, pool_file};
use crate::wait::{ensure, eventually};
use crate::{Echoctl, Process, tools};

/// Ctrl-C to the end: a drain of 5 s at most, and then some.
const END: Duration = Duration::from_secs(15);
/// Any ports but for the nodes' listeners.
pub const ANY_PORTS: &str = "--listen 127.0.0.1:0 --http 127.0.0.1:0 --node-grpc-port 0 --node-http-port 0";

/// A running `echoctl up`; it ends with the test.
#[derive(Debug)]
pub struct Up {
    /// The process.
    pub process: Process,
}

/// `echoctl up` with this state dir and these arguments.
pub fn command(state: &Path, args: &str) -> Command {
    let mut command = Command::new(tools::ours("echoctl"));
    command.arg("up").arg("--state-dir").arg(state).args(args.split_whitespace());
    command
}

impl Up {
    /// Starts it, and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends, or does not say so in time.
    #[track_caller]
    pub fn start(state: &Path, args: &str) -> Self {
        std::fs::create_dir_all(state).expect("can make a folder");
        let log = state.parent().expect("it lies in a folder");
        let mut up = Self { process: Process::start("up", log, command(state, args)) };
        eventually("up says that it is ready", READY, || {
            assert!(up.process.is_running(), "up ended: {}", up.process.log());
            let log = up.process.log();
            ensure(log.contains("Ctrl-C"), || log)
        });
        up
    }

    /// The admin command line of this cluster.
    ///
    /// # Panics
    /// When it has not told its server.
    pub fn echoctl(&self) -> Echoctl {
        let log = self.process.log();
        let server = log.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:"));
        Echoctl::new(server.unwrap_or_else(|| panic!("up tells its server: {log}")))
    }

    /// Ctrl-C, and its end.
    ///
    /// # Panics
    /// When it does not end well, or in time.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.process.signal(Signal::SIGINT);
        assert_eq!(self.process.wait(END).code(), Some(0), "{}", self.process.log());
    }
}

/// A folder for the state of one of them, in a fresh one for its logs.
pub fn state(name: &str) -> PathBuf {
    tools::scratch(name).join("state")
}

/// The same, with a pool file of so many nodes, whose listeners have any port.
///
/// # Panics
/// When the file can't be written.
pub fn any_ports(dir: &Path, nodes: u32) -> String {
    let pool = dir.join("pool.yaml");
    std::fs::write(&pool, pool_file(nodes)).expect("can write a pool file");
    format!("{ANY_PORTS} --pool {}", pool.display())
}
