//! Runs a test once more, in a network namespace of its own.
//!
//! Used through [`super::run`]. The namespace belongs to the second process, and that one hangs on a lifeline of the
//! first: nothing is left of either.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use crate::tools;

/// Set in the process that has the network.
const INSIDE: &str = "ECHO_TEST_LAB";

/// What whoever runs the tests can do about it.
const REFUSED: &str = "this test makes network namespaces, and may not: run it as root (in a container: --privileged), \
                       or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1";

/// How the lines begin that are for whoever runs the tests: cells of the table, and the course of a long run.
const TOLD: [&str; 2] = ["cell: ", "chaos: "];

/// Runs `body` in a network of its own: loopback with all ports free, and nothing else. `test` is the name of the
/// calling test, which is run again there; what it tells ([`TOLD`]) is told here.
///
/// # Panics
/// When the test fails there, or no namespace is to be had.
pub fn run(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        end_with_the_outer_test();
        super::ip("link set lo up");
        return body();
    }
    let mut child = again(&namespace_flags(), test);
    let stderr = child.stderr.take().map(|mut stderr| std::thread::spawn(move || all(&mut stderr)));
    let mut printed = String::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
        if TOLD.iter().any(|told| line.starts_with(told)) {
            println!("{line}");
        }
        printed.push_str(&line);
        printed.push('\n');
    }
    let said = stderr.and_then(|stderr| stderr.join().ok()).unwrap_or_default();
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{test} failed in its own network, {status}:\n{printed}{said}");
    // A misspelt name would run no test, and pass.
    assert!(printed.contains("1 passed"), "no test is called {test}");
}

/// Its standard input is its lifeline: it ends when this process does.
fn again(flags: &[&str], test: &str) -> Child {
    let mut command = Command::new(tools::foreign("unshare"));
    command.args(flags).arg("--").arg(std::env::current_exe().expect("a running test has a path"));
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare runs")
}

fn all(from: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
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
