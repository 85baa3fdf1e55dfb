//! The verbs of `echoctl` against a real cluster: what they print, how they exit, and what the nodes then do.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;

use echo_tests::cluster::{SETTLED, bound, name, pool_file, text};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, Process, client, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

/// `echoctl` in the background, its output in a log.
fn background(cluster: &Cluster, line: &str) -> Process {
    let mut command = Command::new(tools::ours("echoctl"));
    command.env("ECHO_SERVER", format!("http://{}", cluster.address())).args(line.split_whitespace());
    Process::start("echoctl", cluster.dir(), command)
}

#[track_caller]
fn says(process: &Process, what: &str) {
    eventually(what, SETTLED, || ensure(process.log().contains(what), || process.log()));
}

fn phase(cluster: &Cluster, node: &str) -> String {
    text(&cluster.echoctl().items(&format!("get node/{node}")).unwrap()[0], "/status/phase")
}

/// The pool file of these tests with another name.
fn pool_called(name: &str, replicas: u32) -> String {
    pool_file(replicas).replace("name: default", &format!("name: {name}, labels: {{team: net}}"))
}

#[test]
fn drain_shows_what_is_left_and_undrain_brings_the_node_back() {
    let cluster = Cluster::start(2);
    let node = cluster.wait_nodes(2).remove(0);
    let mut open = client::connect(bound(&node, "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"open").unwrap();

    let mut drain = background(&cluster, "drain node-1");
    says(&drain, "node/node-1: closing, 1 connection, ");
    client::echo_on(&mut open, b"an open connection is served to its end").unwrap();
    assert!(drain.is_running(), "it waits");
    drop(open);
    assert_eq!(drain.wait(SETTLED).code(), Some(0), "{}", drain.log());
    assert!(drain.log().ends_with("node/node-1 drained\n"), "{}", drain.log());
    assert_eq!(phase(&cluster, "node-1"), "NODE_PHASE_DRAINED");
    assert!(client::connect(bound(&node, "echo-tcp")).is_err(), "nothing is served");
    assert_eq!(phase(&cluster, "node-2"), "NODE_PHASE_READY", "another node is not touched");

    let again = cluster.echoctl().ok("drain node/node-1");
    assert_eq!(again, "node/node-1 drained\n", "a drained node is drained");
    assert_eq!(cluster.echoctl().ok("undrain node-1"), "node/node-1 undrained\n");
    let nodes = cluster.wait_nodes(2);
    client::tcp_echo(bound(&nodes[0], "echo-tcp"), b"again").unwrap();
    assert_eq!(cluster.echoctl().ok("undrain node-1"), "node/node-1 not drained\n");
}

#[test]
fn a_drain_outlives_the_command_that_waits_for_it() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    let mut open = client::connect(bound(&node, "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"open").unwrap();

    let late = cluster.echoctl().run("drain node-1 --timeout 2s");
    assert_eq!(late.code, 1, "{late:?}");
    assert!(late.stderr.contains("`echoctl undrain node-1 --pool default`"), "{late:?}");

    let mut drain = background(&cluster, "drain node-1");
    says(&drain, "closing, 1 connection");
    drain.signal(Signal::SIGINT);
    assert_eq!(drain.wait(SETTLED).code(), Some(1));
    assert!(drain.log().contains("error: interrupted"), "{}", drain.log());
    assert!(
        drain.log().contains("the drain goes on; `echoctl undrain node-1 --pool default` takes it back"),
        "{}",
        drain.log()
    );
    assert_eq!(phase(&cluster, "node-1"), "NODE_PHASE_DRAINING");

    let mut drain = background(&cluster, "drain node-1");
    says(&drain, "closing, 1 connection");
    cluster.echoctl().ok("undrain node-1");
    assert_eq!(drain.wait(SETTLED).code(), Some(1));
    assert!(drain.log().contains("node/node-1 serves again: its drain was taken back"), "{}", drain.log());
    client::echo_on(&mut open, b"still open").unwrap();
}

#[test]
fn a_forced_drain_cuts_and_says_so() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    let mut open = client::connect(bound(&node, "echo-tcp")).unwrap();
    client::echo_on(&mut open, b"open").unwrap();
    let said = cluster.echoctl().ok("drain -l pool=default --force");
    assert!(said.ends_with("node/node-1 drained; 1 connection was cut by force\n"), "{said}");
    assert!(client::echo_on(&mut open, b"closed").is_err());
}

#[test]
fn a_cordoned_node_serves_on_and_says_that_it_is_not_ready() {
    let cluster = Cluster::start(2);
    let echoctl = cluster.echoctl();
    assert_eq!(echoctl.ok("cordon node-1 --dry-run=client"), "node/node-1 cordoned (dry run)\n");
    assert_eq!(echoctl.ok("cordon node-1 --dry-run=server"), "node/node-1 cordoned (dry run)\n");
    assert!(!echoctl.ok("get nodes").contains("CORDONED"), "a dry run changes nothing");
    assert_eq!(echoctl.ok("cordon node/node-1"), "node/node-1 cordoned\n");
    assert_eq!(echoctl.ok("cordon node-1"), "node/node-1 already cordoned\n");
    let node = eventually("the node knows", SETTLED, || {
        let node = echoctl.items("get node node-1")?.remove(0);
        ensure(!text(&node, "/status/cordonedBy").is_empty(), || node.to_string())?;
        Ok::<Value, String>(node)
    });
    client::tcp_echo(bound(&node, "echo-tcp"), b"served on").unwrap();
    let row = echoctl.ok("get nodes").lines().find(|line| line.starts_with("node-1")).unwrap().to_owned();
    assert!(row.contains("CORDONED"), "{row}");
    let described = echoctl.ok("describe node node-1");
    assert!(described.contains("Cordoned by:") && described.contains("NodeCordoned"), "{described}");
    assert_eq!(echoctl.ok("uncordon node-1"), "node/node-1 uncordoned\n");
    eventually("the node is ready again", SETTLED, || {
        let table = echoctl.ok("get nodes");
        ensure(!table.contains("CORDONED"), || table)
    });
    assert_eq!(echoctl.ok("uncordon node-1"), "node/node-1 not cordoned\n");
}

#[test]
fn a_mistake_in_one_name_touches_no_node() {
    let cluster = Cluster::start(1);
    for verb in ["cordon", "drain", "undrain", "delete node"] {
        let output = cluster.echoctl().run(&format!("{verb} node-1 node-99"));
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{verb}: {output:?}");
        assert!(output.stderr.contains("node-99") && output.stderr.contains("nothing was changed"), "{output:?}");
    }
    let none = cluster.echoctl().run("drain -l zone=nowhere");
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("no node has labels that match \"zone=nowhere\""), "{none:?}");
    assert_eq!(phase(&cluster, "node-1"), "NODE_PHASE_READY");
}

#[test]
fn a_deleted_pool_is_gone_with_its_nodes() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let file = cluster.file("edge.yaml", &pool_called("edge", 1));
    echoctl.ok(&format!("apply -f {file}"));
    let labelled = echoctl.ok("get pools -l team=net -o name");
    assert_eq!(labelled, "pool/edge\n");
    assert_eq!(echoctl.ok("get pools -l team!=net -o name"), "pool/default\n");
    assert_eq!(echoctl.ok(&format!("delete -f {file} --dry-run=server")), "pool/edge deleted (dry run)\n");
    assert!(echoctl.ok("get pools -o name").contains("pool/edge"));
    assert_eq!(echoctl.ok("delete pool edge"), "pool/edge deleted\n");
    eventually("the pool is gone", SETTLED, || {
        let pools = echoctl.ok("get pools -o name");
        ensure(pools == "pool/default\n", || pools)
    });
    let again = echoctl.run("delete pool/edge");
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("pool \"edge\" not found"), "{again:?}");
    assert!(echoctl.ok("get events --for pool/edge").contains("PoolDeleted"));
}

#[test]
fn a_deleted_node_is_retired_and_another_takes_its_place() {
    let cluster = Cluster::start(2);
    let before = cluster.wait_nodes(2);
    let incarnation = |nodes: &[Value]| {
        let node = nodes.iter().find(|node| name(node) == "node-2").unwrap();
        text(node, "/status/incarnation")
    };
    assert_eq!(cluster.echoctl().ok("delete node/node-2 --deadline 1s"), "node/node-2 retired\n");
    eventually("another life of the node serves", SETTLED, || {
        let nodes = cluster.nodes()?;
        let ready = nodes.iter().all(|node| text(node, "/status/phase") == "NODE_PHASE_READY");
        let fresh = nodes.len() == 2 && incarnation(&nodes) != incarnation(&before);
        ensure(ready && fresh, || format!("{nodes:?}"))
    });
}

#[test]
fn diff_tells_what_apply_would_change() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let same = cluster.file("same.yaml", &pool_file(1));
    let output = echoctl.run(&format!("diff -f {same}"));
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "", ""));
    let other = cluster.file("other.yaml", &pool_file(1).replace("name: echo-udp", "name: datagrams"));
    let output = echoctl.run(&format!("diff -f {other}"));
    assert_eq!((output.code, output.stderr.as_str()), (1, ""), "{output:?}");
    assert!(output.stdout.starts_with("--- pool/default (stored)\n+++ pool/default (applied)\n@@ "), "{output:?}");
    assert!(
        output.stdout.contains("\n-    - name: echo-udp\n") && output.stdout.contains("\n+    - name: datagrams\n")
    );
    let new = cluster.file("new.yaml", &pool_called("edge", 1));
    assert_eq!(echoctl.run(&format!("diff -f {new}")).code, 1, "a pool that is new");
    assert_eq!(echoctl.ok("get pools -o name"), "pool/default\n", "nothing was stored");
    let away = Echoctl::new("http://127.0.0.1:1").run(&format!("diff -f {same}"));
    assert_eq!(away.code, 2, "trouble is not a difference");
    assert!(away.stderr.starts_with("error: no control"), "{away:?}");
}

#[test]
fn a_backup_brings_pools_back() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let edge = cluster.file("edge.yaml", &pool_called("edge", 1));
    echoctl.ok(&format!("apply -f {edge}"));
    let file = cluster.file("backup.yaml", "");
    echoctl.ok(&format!("backup -o {file}"));
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.contains("name: edge") && !saved.contains("uid") && !saved.contains("status"), "{saved}");
    assert_eq!(echoctl.run(&format!("diff -f {file}")).code, 0, "a backup is what is stored");

    echoctl.ok("delete pool/edge");
    echoctl.ok("scale default --replicas 2");
    let core = cluster.file("core.yaml", &pool_called("core", 1));
    echoctl.ok(&format!("apply -f {core}"));
    let dry = echoctl.ok(&format!("restore -f {file} --dry-run=server"));
    assert_eq!(dry, "pool/default unchanged (dry run)\npool/edge created (dry run)\n");
    assert!(!echoctl.ok("get pools -o name").contains("edge"));
    let restored = echoctl.run(&format!("restore -f {file}"));
    assert_eq!((restored.code, restored.stdout.as_str()), (0, "pool/default unchanged\npool/edge created\n"));
    let (kept, other) = restored.stderr.split_once('\n').unwrap();
    assert!(kept.contains("pool/default keeps its 2 nodes, in place of 1;"), "{kept}");
    assert_eq!(other, "pool/core is not in the backup, and was left as it is\n");
    assert_eq!(echoctl.ok("get pools -o name"), "pool/core\npool/default\npool/edge\n");
}

/// Many greetings, each within its limit: the size of a real template.
fn large_pool(name: &str) -> String {
    let banner = "x".repeat(1_000);
    let listener = |n: u32| format!("{{name: l{n}, protocol: TCP, port: 0, service: {{greet: {{banner: {banner}}}}}}}");
    let listeners = (0..40).map(listener).collect::<Vec<_>>().join(", ");
    format!(
        "---\napiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec: {{replicas: 0, template: {{listeners: \
         [{listeners}]}}}}\n"
    )
}

#[test]
fn a_backup_is_whole_however_large_or_it_is_none() {
    let cluster = Cluster::start(0);
    let echoctl = cluster.echoctl();
    let all: String = (0..30).map(|n| large_pool(&format!("large-{n}"))).collect();
    echoctl.ok(&format!("apply -f {}", cluster.file("large.yaml", &all)));
    let file = cluster.file("backup.yaml", "the last good one");
    echoctl.ok(&format!("backup -o {file}"));
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.len() > 1 << 20, "{} bytes", saved.len());
    echoctl.ok("delete pool/large-7");
    assert!(echoctl.ok(&format!("restore -f {file}")).contains("pool/large-7 created\n"));

    cluster.etcd.put("/echo/v1/default/pools/zprod", "garbage");
    let lacking = echoctl.run(&format!("backup -o {file}"));
    assert_eq!((lacking.code, lacking.stdout.as_str()), (1, ""), "{lacking:?}");
    assert!(lacking.stderr.contains("pools/zprod") && lacking.stderr.contains("nothing was written"), "{lacking:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), saved, "the last good one is kept");
    let partial = echoctl.run("backup --partial");
    assert!(partial.code == 0 && partial.stderr.contains("pools/zprod"), "{partial:?}");
    assert!(partial.stdout.contains("name: large-29\n"));
}

#[test]
fn describe_tells_all_of_each_type() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let node = echoctl.ok("describe node/node-1");
    for part in ["Name:           node-1\n", "Phase:          READY\n", "  echo-tcp   TCP", "Conditions:", "Events:"] {
        assert!(node.contains(part), "{part:?} is not in:\n{node}");
    }
    let pool = echoctl.ok("describe pools");
    for part in ["Replicas:       1\n", "  READY   SYNCED   1\n", "Rollout:", "PoolCreated"] {
        assert!(pool.contains(part), "{part:?} is not in:\n{pool}");
    }
    let revision = echoctl.ok("describe revision default-1");
    assert!(revision.contains("Revision:       1 (stable)\n"), "{revision}");
    let event = name(&echoctl.items("get events --for pool/default").unwrap()[0]);
    let event = echoctl.ok(&format!("describe event/{event}"));
    assert!(event.contains("Object:         pool/default\n"), "{event}");
    assert_eq!(echoctl.run("describe node/absent").code, 1);
}
