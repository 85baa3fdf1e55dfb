//! `echoctl bench` against real nodes, and against peers that lie, drop, wait or are not there.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "bench_cli/peers.rs"]
mod peers;

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use echo_tests::cluster::{SETTLED, bound, pool_file};
use echo_tests::node::wait_log;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, Process, eventually, tools};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use peers::{Full, tcp_peer, udp_peer};

/// Nobody's control: host and port need none.
fn echoctl() -> Echoctl {
    Echoctl::new("http://127.0.0.1:1")
}

/// The document of one run, its exit code, and what it said on stderr.
#[track_caller]
fn bench(echoctl: &Echoctl, line: &str) -> (Value, i32, String) {
    let output = echoctl.run(&format!("bench {line} -o json"));
    let document = serde_json::from_str(&output.stdout);
    let document = document.unwrap_or_else(|e| panic!("{line}: {e}: {}{}", output.stdout, output.stderr));
    (document, output.code, output.stderr)
}

#[test]
fn the_nodes_of_a_pool_share_a_load_and_each_is_told() {
    let cluster = Cluster::start(2);
    let nodes = cluster.wait_nodes(2);
    for over in ["tcp", "tcp --reconnect", "udp", "udp --in-flight 4 --rate 400"] {
        let (told, code, stderr) = bench(&cluster.echoctl(), &format!("{over} pool/default -d 100ms -c 4 -s 100"));
        assert_eq!(code, 0, "{over}: {stderr}");
        let all = &told["all"];
        let sent = all["sent"].as_u64().unwrap();
        assert!(sent > 0 && all["answered"] == sent, "{over}: {all}");
        assert_eq!((&all["wrong"], &all["lost"], &all["errors"]), (&0.into(), &0.into(), &0.into()));
        let each = told["nodes"].as_array().unwrap();
        let names: Vec<_> = each.iter().map(|node| node["node"].as_str().unwrap()).collect();
        assert_eq!(names, ["node-1", "node-2"]);
        assert!(each.iter().all(|node| node["sent"].as_u64() > Some(0)), "{over}: {told}");
        assert_eq!(each.iter().map(|node| node["sent"].as_u64().unwrap()).sum::<u64>(), sent);
        assert_eq!(each[0]["droppedByNode"], serde_json::json!({}), "{over}: {told}");
        let steps = all["latency"]["histogram"].as_array().unwrap();
        assert_eq!(steps.iter().map(|step| step["count"].as_u64().unwrap()).sum::<u64>(), sent);
        assert!(steps.is_sorted_by_key(|step| step["upToNanos"].as_u64().unwrap()), "{over}");
        assert_eq!((&told["settings"]["connections"], &told["settings"]["size"]), (&4.into(), &100.into()));
        assert!(told["startTime"].as_str().unwrap().ends_with('Z') && told["version"].is_string(), "{told}");
        if over.contains("--rate") {
            assert_eq!((sent, &all["unsent"]), (40, &0.into()), "400 a second for 100 ms: {all}");
        }
    }
    let text = cluster.echoctl().ok("bench udp pool/default -d 50ms");
    let told = |start: &str| assert!(text.lines().any(|line| line.starts_with(start)), "{start}: {text}");
    let addresses = (bound(&nodes[0], "echo-udp"), bound(&nodes[1], "echo-udp"));
    told(&format!("BENCH udp pool/default ({}, {}): 16 sockets, 1 in flight on each, 64 b", addresses.0, addresses.1));
    for start in ["NODE     ADDRESS", "node-2   127.0.0.", "--- udp pool", "rate: ", "latency: min ", "this client: "] {
        told(start);
    }
    assert!(text.contains(" 0 lost (0 %), 0 wrong\n") && !text.contains('\r'), "no terminal: {text}");
}

#[test]
fn what_is_not_there_is_told_with_what_was_probably_meant() {
    let cluster = Cluster::start(2);
    cluster.wait_nodes(2);
    let cases = [
        ("bench tcp node/node-3", 1, "did you mean node-"),
        ("bench udp pool/defualt", 1, "did you mean default?"),
        ("probe udp pool/defualt", 1, "did you mean default?"),
        ("bench udp pool/none", 1, "`echoctl get pools` lists what there is"),
        ("bench tcp pool/default -c 1", 2, "--connections: 1 are too few for the 2 nodes of pool/default"),
        ("bench tcp node/node-1 --listener echo-udp", 2, "it has no TCP echo called \"echo-udp\", but echo-tcp"),
    ];
    for (line, code, hint) in cases {
        let output = cluster.echoctl().run(line);
        assert_eq!(output.code, code, "{line}: {}", output.stderr);
        assert!(output.stderr.contains(hint), "{line}: {}", output.stderr);
    }
}

#[test]
fn what_a_node_drops_by_its_limits_is_told_by_reason() {
    let pool = pool_file(1).replace("    drain:", "    limits: {perSource: {messages: 100}}\n    drain:");
    let cluster = Cluster::start_with(&pool, &[]);
    cluster.wait_nodes(1);
    let line = "udp node/node-1 --rate 2000 --in-flight 100 -d 200ms --timeout 1s";
    let (told, code, stderr) = bench(&cluster.echoctl(), line);
    let (lost, dropped) = (&told["all"]["lost"], &told["nodes"][0]["droppedByNode"]["rate_limit"]);
    assert!(lost.as_u64() > Some(50) && lost == dropped, "{lost}, {dropped}: {stderr}");
    assert!(code == 1 && stderr.contains("of 400 messages lost"), "{stderr}");
    let text = cluster.echoctl().run(&format!("bench {line}")).stdout;
    assert!(text.contains("dropped by node-1 meanwhile, of all its clients: "), "{text}");
}

#[test]
fn one_wrong_byte_fails_it() {
    let (lie, lied) = mpsc::channel();
    lie.send(()).unwrap();
    let lied = std::sync::Arc::new(std::sync::Mutex::new(lied));
    // The first read of all.
    let address = tcp_peer(move |bytes| bytes[50] ^= u8::from(lied.lock().unwrap().try_recv().is_ok()));
    let (told, code, stderr) = bench(&echoctl(), &format!("tcp {address} -d 100ms -c 2"));
    assert_eq!((&told["all"]["wrong"], code), (&1.into(), 1), "{stderr}");
    assert!(told["all"]["answered"].as_u64() > Some(0) && stderr.contains("1 answer wrong"), "{stderr}");
}

#[test]
fn what_is_not_answered_is_lost_and_a_share_of_it_may_be_allowed() {
    let address = udp_peer(|_| true);
    let (told, code, stderr) = bench(&echoctl(), &format!("udp {address} -d 50ms -c 3 --timeout 60ms"));
    assert_eq!((&told["all"]["sent"], &told["all"]["lost"], code), (&3.into(), &3.into(), 1), "{stderr}");
    assert!(told["all"]["latency"].is_null() && stderr.contains("no message was answered"), "{stderr}");
    // One in ten is lost, which holds its place up and nothing else.
    let cases = [("", 1, "10 of 100 messages lost"), (" --max-loss 10%", 0, ""), (" --max-loss 9.5%", 1, "10.00 % of")];
    thread::scope(|scope| {
        for (limit, expected, hint) in cases {
            scope.spawn(move || {
                let address = udp_peer(|number| number % 10 == 3);
                let line = format!("udp {address} -c 4 --rate 1000 -d 100ms --in-flight 25 --timeout 1s{limit}");
                let (told, code, stderr) = bench(&echoctl(), &line);
                assert_eq!((&told["all"]["lost"], code), (&10.into(), expected), "{stderr}");
                assert!(stderr.contains(hint), "{stderr}");
            });
        }
    });
}

#[test]
#[allow(clippy::disallowed_methods)] // A peer that stands still is what this is about.
fn an_open_loop_tells_what_a_peer_that_stands_still_did_to_those_that_were_due() {
    let still = std::sync::Arc::new(std::sync::Once::new());
    let address = tcp_peer(move |_| still.call_once(|| thread::sleep(std::time::Duration::from_millis(200))));
    let line = format!("tcp {address} -c 1 --rate 1000 -d 400ms --max-p99 50ms");
    let (told, code, stderr) = bench(&echoctl(), &line);
    let all = &told["all"];
    assert_eq!((&all["sent"], &all["answered"]), (&400.into(), &400.into()), "{stderr}");
    // Of a closed loop one answer in hundreds would be slow.
    assert!(all["latency"]["p90Nanos"].as_u64() > Some(100_000_000), "{}", all["latency"]["p90Nanos"]);
    assert!(all["held"].as_u64() > Some(100), "the peer's doing: {}, {}", all["held"], all["own"]);
    assert!(code == 1 && stderr.contains("the 99th percentile of the latencies is "), "{stderr}");
}

#[test]
fn a_rate_that_nobody_can_keep_ends_in_time_and_says_so() {
    let (told, code, stderr) = bench(&echoctl(), &format!("tcp {} -c 1 --rate 9000000 -d 50ms", tcp_peer(|_| {})));
    let all = &told["all"];
    assert!(all["unsent"].as_u64() > Some(0) && code == 1, "{stderr}");
    assert!(stderr.contains("the rate was not kept: ") && stderr.contains("more --in-flight"), "{stderr}");
    assert!(all["elapsedNanos"].as_u64() < Some(10_000_000_000), "{}", all["elapsedNanos"]);
}

#[test]
fn who_is_not_there_is_told_at_once() {
    // Held for the other protocol, so that nobody else gets them.
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (tcp, udp) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    for (line, hint) in [(format!("tcp {tcp}"), "3 connections failed"), (format!("udp {udp}"), "3 sockets failed")] {
        let output = echoctl().run(&format!("bench {line} -c 3 -d 1h"));
        assert_eq!(output.code, 1, "{}", output.stderr);
        assert!(output.stderr.contains(hint) && output.stderr.contains("nobody listens there"), "{}", output.stderr);
    }
}

#[test]
fn an_interrupt_ends_it_with_what_there_is() {
    let dir = tools::scratch("bench");
    for form in ["table", "json"] {
        let (seen, first) = mpsc::channel();
        let address = tcp_peer(move |_| seen.send(()).unwrap_or_default());
        let mut command = Command::new(tools::ours("echoctl"));
        command.args(["bench", "tcp", &address.to_string(), "-c", "2", "--duration", "1h", "-o", form]);
        let mut run = Process::start(form, &dir, command);
        first.recv_timeout(SETTLED).expect("it sends");
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(SETTLED).code(), Some(0), "{}", run.log());
        match form {
            "json" => assert!(serde_json::from_str::<Value>(&run.log()).unwrap()["all"]["answered"].as_u64() > Some(0)),
            _ => assert!(run.log().contains("answered, 0 lost (0 %), 0 wrong\n"), "{}", run.log()),
        }
    }
    // A second one ends the waiting, too.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(tools::ours("echoctl"));
    let address = silent.local_addr().unwrap().to_string();
    command.args(["bench", "tcp", &address, "-c", "1", "--timeout", "1h"]);
    let mut run = Process::start("silent", &dir, command);
    let (mut stream, _) = silent.accept().unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    run.signal(Signal::SIGINT);
    eventually("it ends at a second one", SETTLED, || {
        run.signal(Signal::SIGINT);
        ensure(!run.is_running(), || "it runs".to_owned())
    });
    assert!(run.wait(SETTLED).code() == Some(1) && run.log().contains("there is no result"), "{}", run.log());
}

#[test]
fn an_interrupt_ends_it_while_it_still_connects() {
    let full = Full::start();
    let mut command = Command::new(tools::ours("echoctl"));
    command.args(["bench", "tcp", &full.address.to_string(), "-c", "1", "--timeout", "1h"]);
    let mut run = Process::start("connecting", &tools::scratch("bench"), command);
    wait_log(&run, "BENCH tcp");
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(SETTLED).code(), Some(1), "{}", run.log());
    assert!(run.log().contains("before its connections were made"), "{}", run.log());
}

#[test]
fn a_terminal_is_told_each_second_how_far_it_got_on_one_line() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = Command::new(tools::ours("echoctl"));
    command.args(["bench", "tcp", &tcp_peer(|_| {}).to_string(), "-c", "1", "--duration", "20s"]);
    let mut run = command.stdin(Stdio::null()).stdout(terminal.slave).spawn().unwrap();
    // Else the terminal would have no end.
    drop(command);
    let (mut screen, mut text) = (File::from(terminal.master), String::new());
    let (mut buffer, mut stopped) = ([0; 1_000], false);
    // Where nobody has it open any more, reading is an error.
    while let Ok(n @ 1..) = screen.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if !stopped && text.contains(" s of 20s: ") {
            kill(Pid::from_raw(run.id().try_into().unwrap()), Signal::SIGINT).unwrap();
            stopped = true;
        }
    }
    assert!(run.wait().unwrap().success(), "{text}");
    let (shown, summary) = text.split_once("---").unwrap();
    let (_, line) = shown.rsplit_once(" s of 20s: ").unwrap();
    assert!(shown.contains("\r\u{1b}[K") && line.contains("/s, ") && line.contains(" answered, "), "{text:?}");
    assert!(line.ends_with("\r\u{1b}[K\u{1b}[?7l\u{1b}[?7h"), "it is gone at the end: {line:?}");
    assert!(summary.contains(" answered, 0 lost (0 %)"), "{text:?}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let line = "udp node-1 -c 0 --in-flight 70000 -s 7 -d 1ms -r 0 --reconnect";
    let output = echoctl().run(&format!("bench {line}"));
    assert_eq!(output.code, 2, "{}", output.stderr);
    let hints = [
        "8 mistakes; nothing was sent",
        "did you mean node/node-1",
        "--connections: 0 is not possible; 1 to 20000 are",
        "--in-flight: 70000 is not possible; 1 to 65536 are",
        "--size: 7 is not possible; 8 to 65507 are",
        "--rate: 0 is not possible; 1 to 10000000 are",
        "--duration: 1ms is not possible; 10ms to 24h are",
        "--reconnect is for tcp",
        "--in-flight is 1 with --reconnect",
    ];
    for hint in hints {
        assert!(output.stderr.contains(hint), "{hint}: {}", output.stderr);
    }
    let cases = [
        ("tcp 10.0.0.1:7007 -c 1000 --in-flight 1000 -s 60000", "57221 MiB would be in flight; at most 1024 MiB"),
        ("udp 203.0.113.7:7 -d 1s", "203.0.113.7:7 is a public address: if it is yours to load"),
        ("udp [::ffff:203.0.113.7]:7 -d 1s", "is a public address"),
        ("tcp 10.0.0.1:7007 --max-loss 101%", "0% to 100%"),
        ("tcp 10.0.0.1:7007 --size -1", "expected a whole number"),
        ("icmp 10.0.0.1:7007", "invalid value 'icmp'"),
        ("udp", "TARGET"),
    ];
    for (line, hint) in cases {
        let output = echoctl().run(&format!("bench {line}"));
        assert_eq!(output.code, 2, "{line}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(hint), "{line}: {}", output.stderr);
    }
}
