//! A change of a pool's template reaches every node whole, or not at all, while traffic goes on.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::process::Command;

use echo_tests::cluster::{SETTLED, bound, name, text};
use echo_tests::ports::take_port;
use echo_tests::process::kill_pid;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, Process, client, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

fn pool_with(listeners: &str) -> String {
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  \
         rollout: {{minHealthy: 100ms}}\n  template:\n    listeners:\n    \
         - {{name: echo-tcp, protocol: TCP, port: 0, service: {{echo: {{}}}}}}\n    \
         - {{name: echo-udp, protocol: UDP, port: 0, service: {{echo: {{}}}}}}\n{listeners}"
    )
}

const GREET: &str = "    - {name: greet, protocol: TCP, port: 0, service: {greet: {banner: \"hello\\r\\n\"}}}\n";

fn revision(node: &Value) -> u64 {
    node.pointer("/status/applied/n").and_then(Value::as_u64).unwrap_or(0)
}

#[test]
fn a_listener_is_added_and_taken_back_under_an_open_connection() {
    let cluster = Cluster::start(3);
    let before = cluster.wait_nodes(3);
    let mut open: Vec<_> = before.iter().map(|n| client::connect(bound(n, "echo-tcp")).unwrap()).collect();
    open.iter_mut().for_each(|stream| client::echo_on(stream, b"before").unwrap());

    let file = cluster.file("greet.yaml", &pool_with(GREET));
    assert_eq!(cluster.echoctl().ok(&format!("apply -f {file}")), "pool/default configured\n");
    let status = cluster.echoctl().ok("rollout status pool/default --timeout 20s");
    assert!(status.contains("revision 2"), "{status}");
    let with_greet = cluster.wait_nodes(3);
    for (node, stream) in with_greet.iter().zip(&mut open) {
        assert_eq!(revision(node), 2);
        assert_eq!(client::read_all(bound(node, "greet")).unwrap(), b"hello\r\n");
        client::echo_on(stream, b"the connection of before").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"datagram").unwrap();
    }
    let addresses = |nodes: &[Value]| nodes.iter().map(|n| bound(n, "echo-tcp")).collect::<Vec<_>>();
    assert_eq!(addresses(&before), addresses(&with_greet), "an unchanged listener keeps its port");

    assert_eq!(cluster.echoctl().ok(&format!("apply -f {file}")), "pool/default unchanged\n");
    cluster.echoctl().ok("rollout undo pool/default");
    cluster.echoctl().ok("rollout status pool/default --timeout 20s");
    let after = cluster.wait_nodes(3);
    for ((node, earlier), stream) in after.iter().zip(&with_greet).zip(&mut open) {
        assert_eq!(revision(node), 3, "an undo is a new revision");
        assert_eq!(text(node, "/status/applied/digest"), text(&before[0], "/status/applied/digest"));
        assert!(client::connect(bound(earlier, "greet")).is_err(), "the greet listener is closed");
        client::echo_on(stream, b"still the connection of before").unwrap();
    }
}

#[test]
fn a_port_in_use_is_a_nack_and_the_old_config_serves_on() {
    let cluster = Cluster::start(3);
    let foreign = take_port(Ipv4Addr::new(127, 0, 0, 2));
    let port = foreign.local_addr().unwrap().port();
    let taken = format!("    - {{name: taken, protocol: TCP, port: {port}, service: {{echo: {{}}}}}}\n");
    let file = cluster.file("taken.yaml", &pool_with(&taken));
    cluster.echoctl().ok(&format!("apply -f {file}"));

    let status = cluster.echoctl().run("rollout status pool/default --timeout 20s");
    assert_eq!(status.code, 1, "{status:?}");
    let told = format!("{}{}", status.stdout, status.stderr);
    let cause = format!("listener taken: bind 127.0.0.2:{port}: address in use");
    assert!(told.contains("node-2") && told.contains(&cause), "{told}");

    let nodes = eventually("all nodes are back on revision 1", SETTLED, || {
        let nodes = cluster.nodes()?;
        ensure(nodes.iter().all(|n| revision(n) == 1), || format!("{nodes:?}"))?;
        Ok::<_, String>(nodes)
    });
    for node in &nodes {
        client::tcp_echo(bound(node, "echo-tcp"), b"the old config").unwrap();
        client::udp_echo(bound(node, "echo-udp"), b"the old config").unwrap();
    }
    let table = cluster.echoctl().ok("get nodes");
    let line = table.lines().find(|l| l.starts_with("node-2 ")).unwrap();
    assert!(line.contains("REJECTED"), "{table}");
    assert!(table.contains(&cause), "{table}");

    drop(foreign);
    // The same file once more: a rejected revision is only tried again when somebody asks.
    cluster.echoctl().ok(&format!("apply -f {file}"));
    cluster.echoctl().ok("rollout status pool/default --timeout 20s");
    for node in cluster.wait_nodes(3) {
        assert_eq!(bound(&node, "taken").port(), port);
        client::tcp_echo(bound(&node, "taken"), b"second try").unwrap();
    }
}

#[test]
fn what_a_node_refused_is_aborted_and_applied_again_but_not_resumed() {
    let cluster = Cluster::start(1);
    let echoctl = cluster.echoctl();
    let foreign = take_port(Ipv4Addr::LOCALHOST);
    let taken = foreign.local_addr().unwrap().port();
    let taken = format!("    - {{name: taken, protocol: TCP, port: {taken}, service: {{echo: {{}}}}}}\n");
    let file = cluster.file("taken.yaml", &pool_with(&taken).replace("rollout: {", "rollout: {autoRevert: false, "));
    echoctl.ok(&format!("apply -f {file}"));
    eventually("the rollout is paused", SETTLED, || {
        let status = echoctl.run("rollout status pool/default --watch=false");
        ensure(status.stdout.contains("paused: "), || format!("{status:?}"))
    });
    drop(foreign);
    let resumed = echoctl.run("rollout resume pool/default");
    let told = "node-1 refused revision 2 of pool/default and does not try it again in this rollout";
    assert!(resumed.code != 0 && resumed.stderr.contains(told), "{resumed:?}");
    let doctor = echoctl.run("doctor").stdout;
    assert!(doctor.contains("`echoctl rollout abort pool/default` takes it back; then apply"), "{doctor}");
    echoctl.ok("rollout abort pool/default");
    eventually("it is taken back", SETTLED, || {
        let status = echoctl.run("rollout status pool/default");
        ensure(status.stderr.contains("aborted by"), || format!("{status:?}"))
    });
    echoctl.ok(&format!("apply -f {file}"));
    echoctl.ok("rollout status pool/default --timeout 20s");
}

#[test]
fn a_program_reads_how_a_rollout_stands_and_each_change_of_it() {
    let cluster = Cluster::start(2);
    let echoctl = cluster.echoctl();
    let patient = pool_with(GREET).replace("minHealthy: 100ms", "minHealthy: 60s");
    echoctl.ok(&format!("apply -f {}", cluster.file("patient.yaml", &patient)));
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    eventually("the canary runs it", SETTLED, || {
        let once = echoctl.run("rollout status pool/default --watch=false -o json");
        assert_eq!((once.code, text(&json(&once.stdout), "/rollout/pool").as_str()), (3, "default"), "{once:?}");
        let acked = json(&once.stdout).pointer("/rollout/acked").cloned();
        ensure(acked == Some(1.into()), || format!("{once:?}"))
    });
    let mut command = Command::new(tools::ours("echoctl"));
    command.env("ECHO_SERVER", format!("http://{}", cluster.address()));
    command.args(["rollout", "status", "pool/default", "-o", "json"]);
    let mut status = Process::start("status", cluster.dir(), command);
    eventually("it waits", SETTLED, || ensure(!status.log().is_empty(), || "nothing told".into()));
    echoctl.ok("rollout abort pool/default");
    assert_eq!(status.wait(SETTLED).code(), Some(1), "{}", status.log());
    let log = status.log();
    let (lines, rest): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.starts_with('{'));
    assert!(rest.iter().all(|line| line.starts_with("error: revision 2 ")) && !rest.is_empty(), "{log}");
    let told: Vec<Value> = lines.iter().map(|line| json(line)).collect();
    let of = |path: &str| told.iter().map(|change| text(change, path)).collect::<Vec<_>>();
    let types = of("/type");
    assert!(types[0] == "ADDED" && types.len() > 1 && types[1..].iter().all(|kind| kind == "MODIFIED"), "{log}");
    let phases = of("/object/rollout/phase");
    assert_eq!(
        (phases[0].as_str(), phases.last().unwrap().as_str()),
        ("ROLLOUT_PHASE_PROGRESSING", "ROLLOUT_PHASE_REVERTED")
    );

    echoctl.ok(&format!("apply -f {} --now", cluster.file("greet.yaml", &pool_with(GREET))));
    let done = echoctl.run("rollout status pool/default -o json --timeout 20s");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let last = json(done.stdout.lines().last().unwrap());
    assert_eq!(text(&last, "/object/rollout/phase"), "ROLLOUT_PHASE_COMPLETED");
    assert_eq!(last.pointer("/object/newest/n"), Some(&3.into()));
}

#[test]
fn a_pool_deleted_meanwhile_ends_the_wait() {
    let cluster = Cluster::start(1);
    let node = cluster.node_pid("node-1");
    kill_pid(node, Signal::SIGSTOP);
    let file = cluster.file("greet.yaml", &pool_with(GREET));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    let mut command = Command::new(tools::ours("echoctl"));
    command.env("ECHO_SERVER", format!("http://{}", cluster.address())).args(["rollout", "status", "pool/default"]);
    let mut status = Process::start("status", cluster.dir(), command);
    eventually("it waits", SETTLED, || ensure(!status.log().is_empty(), || "nothing told".into()));
    cluster.etcd.delete("/echo/v1/default/pools/default");
    assert_eq!(status.wait(SETTLED).code(), Some(1));
    assert!(
        status.log().lines().any(|line| line.starts_with("error: ") && line.contains("default")),
        "{}",
        status.log()
    );
    kill_pid(node, Signal::SIGCONT);
}

#[test]
fn three_mistakes_come_in_one_answer_and_change_nothing() {
    let cluster = Cluster::start(1);
    let wrong = "    - {name: a, colour: red, protocol: TCP, port: 70000, service: {echo: {}}}\n    \
                     - {name: b, protocol: TCP, port: 7077, service: {echo: {}}}\n    \
                     - {name: c, protocol: TCP, port: 7077, service: {echo: {}}}\n";
    let file = cluster.file("wrong.yaml", &pool_with(wrong));
    let before = cluster.etcd.get_prefix("/echo/v1/default/pools/");
    let nowhere = Echoctl::new("http://127.0.0.1:1");
    let tries = [
        cluster.echoctl().run(&format!("apply -f {file}")),
        cluster.echoctl().run(&format!("apply -f {file} --dry-run=server")),
        nowhere.run(&format!("apply -f {file} --dry-run=client")),
    ];
    for output in tries {
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
        let paths =
            ["listeners[2].colour: unknown field", "listeners[2].port: 70000", "listeners[4].port: TCP port 7077"];
        for path in paths {
            assert!(output.stderr.contains(&format!("spec.template.{path}")), "{path}: {}", output.stderr);
        }
    }
    assert_eq!(cluster.etcd.get_prefix("/echo/v1/default/pools/"), before, "nothing changed");
}

#[test]
fn a_dry_run_stores_nothing() {
    let cluster = Cluster::start(1);
    let file = cluster.file("greet.yaml", &pool_with(GREET));
    let before = cluster.etcd.get_prefix("/echo/v1/default/pools/");
    for mode in ["client", "server"] {
        let said = cluster.echoctl().ok(&format!("apply -f {file} --dry-run={mode}"));
        assert!(said.starts_with("pool/default ") && said.contains("dry run"), "{said}");
    }
    assert_eq!(cluster.etcd.get_prefix("/echo/v1/default/pools/"), before);
}

#[test]
fn the_lesson_servers_serve_side_by_side() {
    let lessons = "    - {name: greeter, protocol: TCP, port: 0, service: {greet: {}}}\n    \
                       - {name: blocking, protocol: TCP, port: 0, service: {echo: {maxRead: 1024}}}\n    \
                       - {name: asynchronous, protocol: TCP, port: 0, service: {echo: {maxRead: 100, once: true}}}\n    \
                       - {name: datagram, protocol: UDP, port: 0, service: {echo: {}}}\n    \
                       - {name: sink, protocol: TCP, port: 0, service: {discard: {}}}\n";
    let cluster = Cluster::start(1);
    let file = cluster.file("lessons.yaml", &pool_with(lessons));
    cluster.echoctl().ok(&format!("apply -f {file} --now"));
    cluster.echoctl().ok("rollout status pool/default --timeout 20s");
    let node = cluster.wait_nodes(1).remove(0);
    assert_eq!(name(&node), "node-1");
    let greeting = String::from_utf8(client::read_all(bound(&node, "greeter")).unwrap()).unwrap();
    assert_eq!(greeting, "欢迎访问小服务器!\r\n");
    client::tcp_echo(bound(&node, "blocking"), &vec![7; 100_000]).unwrap();
    client::udp_echo(bound(&node, "datagram"), &vec![7; 65_507]).unwrap();
    client::tcp_echo(bound(&node, "asynchronous"), &[7; 100]).unwrap();
    assert!(client::tcp_echo(bound(&node, "asynchronous"), &[7; 101]).is_err(), "one read of 100 bytes, then close");
    assert!(client::tcp_echo(bound(&node, "sink"), b"").is_ok());
    assert!(client::tcp_echo(bound(&node, "sink"), b"gone").is_err());
}
