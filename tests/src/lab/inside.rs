//! Runs a test once more, in a network namespace of its own.
//!
//! Used through [`super::run`]. The namespace belongs to the second process, and that one hangs on a lifeline of the
//! first: nothing is left of either.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::tools;

/// Set in the process that has the network.
const INSIDE: &str = "ECHO_TEST_LAB";

/// What whoever runs the tests can do about it.
const REFUSED: &str = "this test makes network namespaces, and may not: run it as root (in a container: --privileged), \
                       or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1";

/// How the lines begin that are for whoever runs the tests: cells of the table, and the course of a long run.
const TOLD: [&str; 2] = ["cell: ", "chaos: "];

/// Of a whole test.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `body` in a network of its own: loopback with all ports free, and nothing else. `test` is the name of the
/// calling test, which is run again there; what it tells (the lines of `TOLD`) is told here.
///
/// # Panics
/// When the test fails there or does not end, or no namespace is to be had.
pub fn run(test: &str, body: impl FnOnce()) {
    run_for(test, Duration::ZERO, body);
}

/// The same for a test that does something for this long.
///
/// # Panics
/// As [`run`].
pub fn run_for(test: &str, longer: Duration, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        end_with_the_outer_test();
        super::ip("link set lo up");
        return body();
    }
    let limit = LIMIT + longer;
    let mut child = again(&namespace_flags(), test);
    let (printed, ended) = follow(&mut child, Instant::now() + limit);
    if !ended {
        // What it started hangs on lifelines.
        let _ = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(ended, "{test} still ran in its own network after {limit:?}:\n{printed}");
    assert!(status.success(), "{test} failed in its own network, {status}:\n{printed}");
    // A misspelt name would run no test, and pass.
    assert!(printed.contains("1 passed"), "no test is called {test}");
}

/// All that it prints, and whether both its outputs ended before `end`.
fn follow(child: &mut Child, end: Instant) -> (String, bool) {
    let (sender, lines) = mpsc::channel();
    read_aside(child.stdout.take().expect("a pipe"), sender.clone());
    read_aside(child.stderr.take().expect("a pipe"), sender);
    let mut printed = String::new();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if TOLD.iter().any(|told| line.starts_with(told)) {
                    println!("{line}");
                }
                printed.push_str(&line);
                printed.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => return (printed, true),
            Err(RecvTimeoutError::Timeout) => return (printed, false),
        }
    }
}

fn read_aside(from: impl Read + Send + 'static, to: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Its standard input is its lifeline: it ends when this process does.
fn again(flags: &[&str], test: &str) -> Child {
    let mut command = Command::new(tools::foreign("unshare"));
    command.args(flags).arg("--").arg(std::env::current_exe().expect("a running test has a path"));
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare runs")
}

/// How this machine lets us have a network namespace.
fn namespace_flags() -> Vec<&'static str> {
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let allowed = |flags: &&&[&str]| {
        let try_out = Command::new(tools::foreign("unshare")).args(**flags).arg("true").stderr(Stdio::null()).status();
        try_out.is_ok_and(|status| status.success())
    };
    let way = ways.iter().find(allowed);
    way.expect(REFUSED).to_vec()
}

fn end_with_the_outer_test() {
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut nothing);
        std::process::exit(1);
    });
}
