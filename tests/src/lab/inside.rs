//! Runs a test once more, in a network namespace of its own.
//!
//! Used through [`super::run`]. The namespace belongs to the second process, and that one hangs on a lifeline of the
//! first: nothing is left of either.

use std::io::Read as _;
use std::process::{Command, Output, Stdio};

use crate::tools;

/// Set in the process that has the network.
const INSIDE: &str = "ECHO_TEST_LAB";

/// How a line begins that goes into the table of what was cut, killed and stopped.
const CELL: &str = "cell: ";

/// Runs `body` in a network of its own: loopback with all ports free, and nothing else. `test` is the name of the
/// calling test, which is run again there; the cells that it prints are printed here.
///
/// # Panics
/// When the test fails there, or no namespace is to be had.
pub fn run(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        end_with_the_outer_test();
        super::ip("link set lo up");
        return body();
    }
    let output = again(&namespace_flags(), test);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    stdout.lines().filter(|line| line.starts_with(CELL)).for_each(|line| println!("{line}"));
    assert!(output.status.success(), "{test} failed in its own network:\n{stdout}{stderr}");
    // A misspelt name would run no test, and pass.
    assert!(stdout.contains("1 passed"), "no test is called {test}");
}

fn again(flags: &[&str], test: &str) -> Output {
    let mut command = Command::new(tools::foreign("unshare"));
    command.args(flags).arg("--").arg(std::env::current_exe().expect("a running test has a path"));
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    // wait_with_output would close the lifeline at once.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let lifeline = child.stdin.take();
    let output = child.wait_with_output().expect("the test's output can be read");
    drop(lifeline);
    output
}

/// How this machine lets us have a network namespace.
fn namespace_flags() -> Vec<&'static str> {
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let allowed = |flags: &&&[&str]| {
        let try_out = Command::new(tools::foreign("unshare")).args(**flags).arg("true").stderr(Stdio::null()).status();
        try_out.is_ok_and(|status| status.success())
    };
    let way = ways.iter().find(allowed);
    way.expect("this test needs network namespaces: run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)")
        .to_vec()
}

fn end_with_the_outer_test() {
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut nothing);
        std::process::exit(1);
    });
}
