//! A process that `up` keeps running: etcd or control.
//!
//! Used by `up`. While the cluster starts, its end is a failure that is told with the end of its log; later it is
//! started again, with back-off.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::children::{Child, Children, Exit};
use super::state::{open_log, tail};
use crate::connect::io_cause;
use crate::failure::Failure;
use crate::output::console::Console;
use echo_proto::backoff::Backoff;

/// First and longest wait before a restart.
const RESTART: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A process that lived for so long is started again at once.
const STEADY: Duration = Duration::from_secs(30);
/// Longest wait for what was killed; only a process that hangs in the kernel needs it.
pub(super) const KILLED: Duration = Duration::from_secs(2);
/// Lines of a log that are shown when its process fails.
const TAIL_LINES: usize = 8;

/// Makes the command line, anew for each start.
type Recipe = Box<dyn Fn() -> std::io::Result<Command>>;

/// A process and how to start it again.
pub(super) struct Service {
    name: &'static str,
    /// What to do when it does not start.
    advice: &'static str,
    log: PathBuf,
    /// Where in the log this run begins.
    log_start: u64,
    recipe: Recipe,
    child: Option<Child>,
    started: Instant,
    backoff: Backoff,
}

impl Service {
    /// A process that is not started yet; what it says is appended to `log`.
    pub(super) fn new(name: &'static str, advice: &'static str, log: PathBuf, recipe: Recipe) -> Self {
        let backoff = Backoff::new(RESTART.0, RESTART.1);
        Self { name, advice, log, log_start: 0, recipe, child: None, started: Instant::now(), backoff }
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program or its log can't be opened.
    pub(super) fn start(&mut self, children: &Children) -> Result<(), Failure> {
        self.spawn(children).map_err(|e| Failure::Up(format!("cannot start {}: {}", self.name, io_cause(&e))))
    }

    fn spawn(&mut self, children: &Children) -> std::io::Result<()> {
        let log = open_log(&self.log)?;
        self.log_start = log.metadata()?.len();
        let mut command = (self.recipe)()?;
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        self.child = Some(children.spawn(&mut command)?);
        self.started = Instant::now();
        Ok(())
    }

    /// Its process id, while it runs.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Child::pid)
    }

    /// Waits for its end; for ever if it was not started.
    async fn ended(&mut self) -> Exit {
        match &mut self.child {
            Some(child) => child.exit().await,
            None => std::future::pending().await,
        }
    }

    /// Waits for its end while the cluster starts, and tells it as the failure that it is then.
    pub(super) async fn failed(&mut self) -> Failure {
        let exit = self.ended().await;
        let lines = tail(&self.log, self.log_start, TAIL_LINES);
        Failure::Up(format!("{} {exit}; {}; the end of {}:{lines}", self.name, self.advice, self.log.display()))
    }

    /// Keeps it running, for ever.
    pub(super) async fn keep(&mut self, children: &Children, console: &Console) {
        loop {
            let exit = self.ended().await;
            self.child = None;
            let mut wait = Duration::ZERO;
            if self.started.elapsed() >= STEADY {
                self.backoff.reset();
            } else {
                wait = self.backoff.next_wait();
            }
            console.line(&format!("{} {exit}; starting it again (log: {})", self.name, self.log.display()));
            sleep(wait).await;
            while let Err(e) = self.spawn(children) {
                console.line(&format!("cannot start {}: {}; trying again", self.name, io_cause(&e)));
                sleep(self.backoff.next_wait()).await;
            }
        }
    }

    /// Ends it: asks, waits for at most `grace`, kills.
    pub(super) async fn stop(&mut self, grace: Duration) {
        let Some(child) = &mut self.child else { return };
        child.signal(Signal::SIGTERM);
        if timeout(grace, child.exit()).await.is_err() {
            child.signal(Signal::SIGKILL);
            let _ = timeout(KILLED, child.exit()).await;
        }
        self.child = None;
    }

    /// Kills it and waits for its end.
    pub(super) async fn kill(&mut self) {
        self.stop(Duration::ZERO).await;
    }
}
