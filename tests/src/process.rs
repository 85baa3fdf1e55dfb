//! One process that a test started: on a lifeline, logging to a file, ended with the test.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::{ensure, eventually};

/// Lines of a log that a failed test shows.
const TAIL: usize = 25;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where in the log its own output begins: another process of the name may have written before.
    log_start: usize,
    /// Its standard input: the pipe ends when this is dropped or the test dies.
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `command` in its own process group, its output in `<dir>/<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, dir: &Path, mut command: Command) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("can write a log");
        let log_start = usize::try_from(file.metadata().expect("a log has a length").len()).expect("logs are short");
        command.process_group(0).stdin(Stdio::piped());
        command.stdout(file.try_clone().expect("can share a log")).stderr(file);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("can't start {name}: {e}"));
        let lifeline = child.stdin.take();
        Self { name: name.to_owned(), child, log, log_start, lifeline }
    }

    /// Starts a program that knows no lifeline: a shell between us kills it once its input ends.
    pub fn start_foreign(name: &str, dir: &Path, program: &Path, args: &[String]) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(r#""$@" </dev/null & child=$!; read -r _; kill -9 $child; wait $child"#);
        shell.arg(name).arg(program).args(args);
        Self::start(name, dir, shell)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    ///
    /// # Panics
    /// When its log is gone.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_else(|e| panic!("{}: {e}", self.log.display()));
        // It may be read in the middle of a character.
        String::from_utf8_lossy(text.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// Sends a signal to it, and to the foreign program that a shell runs for us: its process group.
    pub fn signal(&self, signal: Signal) {
        // Already gone is as good as ended.
        let _ = killpg(pid(self.child.id()), signal);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs at the deadline.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        eventually(&format!("{} ends", self.name), deadline, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("still running\n{}", tail(&self.log))),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Ends its standard input, as the death of its starter does.
    pub fn cut_lifeline(&mut self) {
        self.lifeline = None;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        // Reaped already: its id may be another's by now.
        if self.is_running() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ({})\n{}", self.name, self.log.display(), tail(&self.log));
        }
        self.kill();
    }
}

/// Waits until a process that is not our child is gone.
///
/// # Panics
/// When it is still there at the deadline.
#[track_caller]
pub fn gone(process: u32, deadline: Duration) {
    eventually(&format!("process {process} is gone"), deadline, || ensure(!alive(process), || "still there".into()));
}

/// Whether a process exists and is no zombie.
pub fn alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Resident memory of a process, in KiB.
///
/// # Errors
/// When there is no such process, or it tells no such figure.
pub fn rss_kib(process: u32) -> std::io::Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| std::io::Error::other(format!("{path} tells no VmRSS")))
}

/// Living processes whose command line names this folder: all that a test started in it.
pub fn naming(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("there is /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let names_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy())
    };
    pids.filter(names_it).filter(|pid| alive(*pid)).collect()
}

/// Kills a process that is not our child, as an outsider would.
pub fn kill_pid(process: u32, signal: Signal) {
    let _ = kill(pid(process), signal);
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().expect("process ids are small"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
