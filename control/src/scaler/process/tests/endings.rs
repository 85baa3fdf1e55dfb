//! How nodes end, and what is told of it.
#![allow(clippy::unwrap_used)]

use super::*;

/// Does not hear that it is told, once its file is there.
const DEAF_NODE: &str = "#!/bin/sh\ntrap '' TERM\n: >\"$0.deaf\"\nwhile [ -e \"$0\" ]; do sleep 1; done\n";

/// A host whose nodes do this as soon as they are remembered.
fn host_of(name: &str, then: &str) -> Host {
    let record = record::path(&Host::directory(name).join("nodes"), 1);
    let wait =
        format!("until grep -qw $$ '{}' 2>/dev/null; do [ -e \"$0\" ] || exit; sleep 0.01; done", record.display());
    Host::with_node(name, &format!("#!/bin/sh\n{wait}\n{then}\n"))
}

async fn told(control: &mut Control) -> v1::Event {
    tokio::time::timeout(DEADLINE, control.notices.recv()).await.unwrap().unwrap().event
}

#[tokio::test]
async fn a_node_that_does_not_leave_is_killed() {
    let host = Host::with_node("deaf", DEAF_NODE);
    let drain_deadline = Some(Duration::from_millis(50));
    let mut control = Host::run(Launcher { drain_deadline, ..host.launcher(&host.binary) });
    control.scaler.want(want(1));
    host.until(&[1]).await;
    until(|| host.directory.join("node.sh.deaf").exists()).await;
    // From here on no wait is a real one.
    tokio::time::pause();
    control.scaler.want(want(0));
    for signal in ["SIGTERM", "SIGKILL"] {
        let told = control.notices.recv().await.unwrap().event;
        assert_eq!(told.reason, "NodeOverdue");
        assert!(told.message.contains(signal), "{}", told.message);
    }
    // The kernel needs its time.
    tokio::time::resume();
    until(|| host.alive().is_empty()).await;
}

#[tokio::test]
async fn a_node_that_gives_up_is_told_of_with_its_last_words() {
    let host = host_of("words", "echo no room left; exit 3");
    let mut control = host.control(&host.binary);
    control.scaler.want(want(1));
    let told = told(&mut control).await;
    assert!(told.message.contains("exited with status 3, saying: no room left;"), "{}", told.message);
}

#[tokio::test]
async fn a_node_that_leaves_in_order_is_not_told_as_dead() {
    let host = host_of("order", "exit 0");
    let mut control = host.control(&host.binary);
    control.scaler.want(want(1));
    let told = told(&mut control).await;
    assert_eq!((told.reason.as_str(), told.r#type()), ("NodeEnded", v1::EventType::Normal), "{}", told.message);
    assert!(told.message.contains("exited with status 0; it is started again"), "{}", told.message);
}

#[tokio::test]
async fn a_node_that_never_stays_is_told_to_back_off() {
    let host = host_of("loop", "exit 3");
    let mut control = host.control(&host.binary);
    control.scaler.want(want(1));
    let mut reasons = Vec::new();
    for _ in 0..4 {
        reasons.push(told(&mut control).await.reason);
    }
    assert_eq!(reasons, ["NodeDied", "NodeReplaced", "NodeDied", "BackOff"]);
}

#[tokio::test]
async fn a_binary_that_cannot_run_is_told() {
    let host = Host::new("binary");
    let mut control = host.control(&host.directory.join("missing"));
    control.scaler.want(want(1));
    let told = told(&mut control).await;
    assert_eq!(told.reason, "NodeStartFailed");
    assert!(told.message.contains("missing"), "{}", told.message);
}
