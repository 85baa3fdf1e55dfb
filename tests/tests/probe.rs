//! `echoctl probe` against real nodes, and against what is dead or silent.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use echo_tests::cluster::{SETTLED, bound, pool_file};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, Process, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Nobody's control: host and port need none.
fn echoctl() -> Echoctl {
    Echoctl::new("http://127.0.0.1:1")
}

#[test]
fn nodes_and_pools_are_probed_by_their_names() {
    let cluster = Cluster::start(3);
    let nodes = cluster.wait_nodes(3);
    for over in ["udp", "tcp", "tcp --reconnect"] {
        let (told, code) = cluster.echoctl().probe(&format!("{over} pool/default --count 6 --interval 5ms"));
        assert_eq!(code, 0, "{told}");
        let probes = told["probes"].as_array().unwrap();
        assert!(probes.len() == 6 && probes.iter().all(|probe| probe["outcome"] == "answered"), "{told}");
        assert_eq!((&told["summary"]["answered"], &told["summary"]["lost"]["all"]), (&6.into(), &0.into()));
        assert_eq!(told["addresses"].as_array().unwrap().len(), 3);
        let by_kernel = if over == "udp" { 6 } else { 0 };
        assert_eq!(told["summary"]["kernelTimes"], by_kernel, "{told}");
        let connects = &told["summary"]["connect"]["count"];
        let expected = match over {
            "udp" => Value::Null,
            "tcp" => 3.into(),
            _ => 6.into(),
        };
        assert_eq!(*connects, expected);
    }
    let address = bound(&nodes[0], "echo-udp");
    let text =
        cluster.echoctl().ok("probe udp node/node-1 --count 3 --interval 5ms --plain --size 100 --source-ports 2");
    assert!(
        text.starts_with(&format!("PROBE udp node/node-1 ({address}): 100 bytes, plain, one each 5ms\n")),
        "{text}"
    );
    assert!(text.contains(&format!("100 bytes from {address}: seq=2 flow=1 time=")), "{text}");
    assert!(text.contains("\n3 sent, 3 answered, 0 lost (0 %)\n"), "{text}");
    let round_trip = text.lines().find(|line| line.starts_with("round trip: min "));
    assert!(round_trip.is_some_and(|line| line.ends_with("(the kernel's times)")), "{text}");

    for (line, hint) in [
        ("udp node/node-9", "`echoctl get nodes` lists what there is"),
        ("udp pool/none", "`echoctl get pools` lists what there is"),
        ("udp node/node-1 --listener echo-tcp", "it has no UDP echo called \"echo-tcp\", but echo-udp"),
    ] {
        let output = cluster.echoctl().run(&format!("probe {line} --count 1"));
        assert!(output.code != 0 && output.stderr.contains(hint), "{line}: {}", output.stderr);
    }
}

#[test]
fn limits_decide_the_exit_code() {
    let cluster = Cluster::start(1);
    let cases = [("--max-rtt-p99 10s --max-loss 0%", 0, ""), ("--max-rtt-p99 1ns", 1, "99th percentile")];
    for (limits, code, told) in cases {
        let output = cluster.echoctl().run(&format!("probe udp node/node-1 --count 3 --interval 2ms {limits}"));
        assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn a_port_that_nobody_has_is_told_as_such_and_is_no_loss() {
    for over in ["udp", "tcp", "tcp --reconnect"] {
        // Held, so that nobody else gets it, for the other protocol.
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = if over == "udp" { tcp.local_addr() } else { udp.local_addr() }.unwrap().port();
        let output = echoctl().run(&format!("probe {over} 127.0.0.1:{port} --count 2 --interval 5ms"));
        assert_eq!(output.code, 1, "{}", output.stdout);
        let why = if over == "udp" { "127.0.0.1 says: port unreachable" } else { "connection refused" };
        assert!(output.stdout.contains(why), "{}", output.stdout);
        assert!(output.stdout.contains("2 sent, 0 answered, 2 refused, 0 lost"), "{}", output.stdout);
        assert!(output.stderr.contains("none of 2 probes was answered"), "{}", output.stderr);
    }
}

#[test]
fn silence_is_loss_and_nobody_knows_where() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let line = format!("udp {address} --count 3 --interval 2ms --timeout 50ms --max-loss 10%");
    let (told, code) = echoctl().probe(&line);
    assert_eq!((code, &told["summary"]["lost"]["unknown"]), (1, &3.into()), "{told}");
    let outcomes: Vec<_> = told["probes"].as_array().unwrap().iter().map(|probe| &probe["outcome"]).collect();
    assert_eq!(outcomes, ["silent"; 3]);
    let text = echoctl().run(&format!("probe {line}"));
    assert!(text.stdout.contains(&format!("no answer from {address}: seq=3 within 50ms")), "{}", text.stdout);
    assert!(text.stderr.contains("3 lost and 0 refused are 100.00 % of the probes, more than 10 %"), "{}", text.stderr);
}

#[test]
fn an_interrupt_ends_it_with_the_summary() {
    let dir = tools::scratch("probe");
    let (echo, address) = plain_echo();
    for form in ["table", "json"] {
        let mut command = Command::new(tools::ours("echoctl"));
        command.args(["probe", "udp", &address, "--interval", "5ms", "-o", form]);
        let mut run = Process::start(form, &dir, command);
        eventually("it has answers", SETTLED, || {
            let log = run.log();
            ensure(log.contains("seq=3") || log.contains("\"seq\":3"), || log)
        });
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(SETTLED).code(), Some(0), "{}", run.log());
        match form {
            "json" => {
                assert!(serde_json::from_str::<Value>(&run.log()).unwrap()["summary"]["sent"].as_u64() >= Some(3))
            }
            _ => assert!(run.log().contains("sent, "), "{}", run.log()),
        }
    }
    drop(echo);
}

/// Echoes datagrams until its process ends.
fn plain_echo() -> (std::thread::JoinHandle<()>, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 2_000];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], peer);
        }
    });
    (echo, address)
}

#[test]
fn wrong_usage_is_told_with_what_is_expected() {
    let cases = [
        ("udp node-1", "did you mean node/node-1"),
        ("udp 10.0.0.1:0", "a port from 1 to 65535"),
        ("udp 10.0.0.1:7007 --size 7", "8 to 65507"),
        ("udp 10.0.0.1:7007 --size 65508", "8 to 65507"),
        ("udp 10.0.0.1:7007 --interval 1us", "at least 1ms"),
        ("udp 10.0.0.1:7007 --interval 1ms --timeout 10m", "shorten the timeout"),
        ("udp 10.0.0.1:7007 --source-ports 2000", "1 to 1024"),
        ("udp 10.0.0.1:7007 --jitter 100", "100 is not in"),
        ("udp 10.0.0.1:7007 --count 0", "expected a whole number from 1 on"),
        ("udp 10.0.0.1 7007", "did you mean 10.0.0.1:7007?"),
        ("udp node-1 --size 1 --interval 1us --reconnect", "4 mistakes; nothing was sent"),
        ("udp 10.0.0.1:7007 --dscp 64", "EF, AF41 or CS1"),
        ("udp 10.0.0.1:7007 --max-loss 101%", "0% to 100%"),
        ("udp 10.0.0.1:7007 --reconnect", "--reconnect is for tcp"),
        ("tcp 10.0.0.1:7007 --dont-fragment", "--dont-fragment is for udp"),
        ("tcp 10.0.0.1:7007 --listener a", "--listener is for nodes and pools"),
        ("icmp 10.0.0.1:7007", "invalid value 'icmp'"),
        ("udp", "TARGET"),
    ];
    for (line, hint) in cases {
        let output = echoctl().run(&format!("probe {line}"));
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{line}: {}", output.stderr);
        assert!(output.stderr.contains(hint), "{line}: {}", output.stderr);
    }
}

#[test]
fn what_a_node_drops_by_its_limits_is_never_called_loss() {
    let pool = pool_file(1).replace("    drain:", "    limits: {perSource: {messages: 50}}\n    drain:");
    let cluster = Cluster::start_with(&pool, &[]);
    cluster.wait_nodes(1);
    let line = "udp node/node-1 --count 300 --interval 2ms --timeout 300ms --max-loss 0%";
    let (told, code) = cluster.echoctl().probe(line);
    let dropped = &told["summary"]["droppedByNode"];
    assert!(dropped["all"].as_u64() > Some(50), "{}", told["summary"]);
    assert_eq!(dropped["all"], dropped["reasons"]["rate_limit"], "{}", told["summary"]);
    assert_eq!((&told["summary"]["lost"]["all"], code), (&0.into(), 0), "{}", told["summary"]);
    let text = cluster.echoctl().ok(&format!("probe {} -q", line.replace('/', " ")));
    assert!(text.contains("dropped by the node, not lost: ") && text.contains(" rate_limit)"), "{text}");
}

#[test]
fn a_stamp_tells_who_answered_over_either_protocol() {
    let cluster = Cluster::start(2);
    cluster.wait_nodes(2);
    for over in ["udp", "tcp", "tcp --reconnect"] {
        let text = cluster.echoctl().ok(&format!("probe {over} pool/default --count 4 --interval 5ms"));
        assert!(text.contains("328 bytes from node-1 (127.0.0.") && text.contains("328 bytes from node-2 ("), "{text}");
        assert!(text.contains("answered by node-1 (revision 1): 2\nanswered by node-2 (revision 1): 2\n"), "{text}");
    }
}
