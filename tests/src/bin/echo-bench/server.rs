//! A server that runs on the first core, whichever it is, and ends with its owner.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::core::{Core, stay_on};
use crate::{Failure, Plan, rivals};

/// How long a server may take until it tells its address.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How often its log is looked at meanwhile.
const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// What a node serves here: the guard as it is by default, and limits that the load does not reach, so that their price
/// is paid.
const POOL: &str = include_str!("pool.yaml");
const ASYNCIO: &str = include_str!("rivals/asyncio_echo.py");
const THREADS: &str = include_str!("rivals/threads_echo.py");

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Epoll,
    Tokio,
    TokioUdp,
    UdpOneCall,
    Asyncio,
    AsyncioUdp,
    Threads,
}

impl Kind {
    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Node => "echo-node",
            Self::Epoll => "raw epoll",
            Self::Tokio | Self::TokioUdp => "plain tokio",
            Self::UdpOneCall => "one call per datagram",
            Self::Asyncio | Self::AsyncioUdp => "Python asyncio",
            Self::Threads => "Python threads",
        }
    }

    fn command(self, plan: &Plan, log: &Path, udp: bool) -> Result<Command, Failure> {
        let own = |rival: rivals::Own| {
            let mut command = Command::new(std::env::current_exe()?);
            let name = rival.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            command.args(["serve", &name]);
            Ok(command)
        };
        let python = |script: &str| {
            let mut command = Command::new("python3");
            command.args(["-c", script, if udp { "udp" } else { "tcp" }]);
            Ok(command)
        };
        match self {
            Self::Node => node(plan, log),
            Self::Epoll => own(rivals::Own::Epoll),
            Self::Tokio => own(rivals::Own::Tokio),
            Self::TokioUdp => own(rivals::Own::TokioUdp),
            Self::UdpOneCall => own(rivals::Own::UdpOneCall),
            Self::Asyncio | Self::AsyncioUdp => python(ASYNCIO),
            Self::Threads => python(THREADS),
        }
    }
}

fn node(plan: &Plan, log: &Path) -> Result<Command, Failure> {
    let pool = log.with_extension("yaml");
    fs::write(&pool, POOL)?;
    let mut command = Command::new(plan.binaries.join("echo-node"));
    command.arg("--config").arg(pool);
    command.args(["--address", "127.0.0.1", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--lifeline"]);
    Ok(command)
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts one and waits for its address.
    #[allow(clippy::disallowed_methods)] // The pause between two looks at its log, with a deadline.
    pub(crate) fn start(kind: Kind, udp: bool, plan: &Plan) -> Result<Self, Failure> {
        fs::create_dir_all(&plan.out)?;
        let log = plan.out.join(format!("{}.log", kind.title().replace(' ', "-")));
        let mut command = kind.command(plan, &log, udp)?;
        let file = File::create(&log)?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        stay_on(Core::First)?;
        let child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()));
        stay_on(Core::Last)?;
        // From here on its end kills the process.
        let mut server = Self { kind, address: ([127, 0, 0, 1], 0).into(), child: child? };
        let mark = if udp { "echo-udp " } else { "echo-tcp " };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let told = fs::read_to_string(&log)?;
            if let Some(address) = address(&told, mark) {
                server.address = address;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("{} does not serve; it says: {told}", kind.title()).into());
            }
            thread::sleep(LOOK_PERIOD);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; nothing can be done about anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address after `mark` in what a server has told, once all of it is there.
fn address(told: &str, mark: &str) -> Option<SocketAddr> {
    let (_, rest) = told.split_once(mark)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_only_when_it_is_whole() {
        assert_eq!(address("echo-tcp 127.0.0.1:70", "echo-tcp "), None);
        let told = "INFO serves echo-tcp 127.0.0.1:7007/tcp, echo-udp 127.0.0.1:7008/udp";
        assert_eq!(address(told, "echo-tcp "), Some(([127, 0, 0, 1], 7007).into()));
        assert_eq!(address(told, "echo-udp "), Some(([127, 0, 0, 1], 7008).into()));
    }
}
