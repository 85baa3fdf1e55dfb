//! A server that runs on the first core, whichever it is, and ends with its owner.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::core::{Core, stay_on};
use crate::kind::Kind;
use crate::{Failure, Plan, cost};

/// How long a server may take until it tells its address.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How often its log is looked at meanwhile.
const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// Of logs, so that no two servers write to one.
static NUMBER: AtomicU32 = AtomicU32::new(1);

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
        let logs = plan.out.join("logs");
        fs::create_dir_all(&logs)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = logs.join(format!("{number}-{}.log", kind.title().replace(' ', "-")));
        let mut command = kind.command(plan, &log, udp)?;
        let file = File::create(&log)?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        stay_on(Core::First)?;
        let child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()));
        stay_on(Core::Last)?;
        // From here on its end kills the process.
        let mut server = Self { kind, address: ([127, 0, 0, 1], 0).into(), child: child? };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // Not all that others write is UTF-8.
            let told = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
            if let Some(address) = address(&told, kind.mark(udp)) {
                server.address = address;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("does not serve; it says: {told}").into());
            }
            thread::sleep(LOOK_PERIOD);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The CPU time that it has taken so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        if self.kind.is_foreign() { cost::cpu_with_children(self.pid()) } else { cost::cpu(self.pid()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.kind.is_foreign() {
            // The shell in between ends it.
            drop(self.child.stdin.take());
        } else {
            // It may have ended by itself; nothing can be done about anything else.
            let _ = self.child.kill();
        }
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
