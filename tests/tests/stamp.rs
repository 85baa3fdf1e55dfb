//! Stamped echo from outside: who answered, what arrived, and on which way something was lost.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use echo_tests::finish::finish;
use echo_tests::lab::{self, Lab};
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::stamped::{Flow, sessions};
use echo_tests::wait::ensure;
use echo_tests::{Process, client, eventually, tools};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);
const PORT: u16 = 7007;
const SESSION: u64 = 0x0123_4567_89ab_cdef;

/// A node by itself, with one echo of each protocol on [`PORT`].
struct Node {
    _process: Process,
    agent: SocketAddr,
    echo: SocketAddr,
}

fn node(dir: &Path, ip: IpAddr, agent_port: u16, limits: &str) -> Node {
    let file = dir.join("pool.yaml");
    let listener =
        |protocol| format!("{{name: {protocol}, protocol: {protocol}, port: {PORT}, service: {{echo: {{}}}}}}");
    let listeners = format!(
        "[{}, {}]",
        listener("TCP").replace("name: TCP", "name: t"),
        listener("UDP").replace("name: UDP", "name: u")
    );
    let template = format!("template: {{listeners: {listeners}, limits: {limits}}}");
    std::fs::write(&file, format!("apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: p}}\nspec: {{{template}}}\n"))
        .unwrap();
    let (agent, echo) = (SocketAddr::from((ip, agent_port)), SocketAddr::from((ip, PORT)));
    let mut command = Command::new(tools::ours("echo-node"));
    command.arg("--config").arg(file).args([
        "--id",
        "node-1",
        "--zone",
        "z1",
        "--shards",
        "1",
        "--lifeline",
        "--insecure",
    ]);
    command.args(["--address", &ip.to_string(), "--grpc", &agent.to_string(), "--http", &format!("{ip}:0")]);
    let process = Process::start("node", dir, command);
    eventually("it serves", SOON, || client::udp_echo(echo, b"plain"));
    eventually("its Agent answers", SOON, || sessions(agent, 0));
    Node { _process: process, agent, echo }
}

/// A node on a loopback address of its own.
fn here(limits: &str) -> Node {
    let ip = own_loopback_address();
    node(&tools::scratch("stamp"), ip.into(), free_port(ip), limits)
}

#[test]
fn a_foreign_client_built_from_the_table_understands_the_answer() {
    let node = here("{}");
    for protocol in ["tcp", "udp"] {
        let script = tools::workspace().join("tests/foreign/stamp.py");
        let (host, port) = (node.echo.ip().to_string(), PORT.to_string());
        let mut command = Command::new(tools::venv("bin/python"));
        let output = finish(command.arg(script).args([protocol, &host, &port, "5", "1200"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 5);
        for (sequence, answer) in (0_u64..).zip(&answers) {
            assert_eq!((&answer["node"], &answer["zone"]), (&"node-1".into(), &"z1".into()));
            assert_eq!(answer["hit"], node.echo.to_string());
            assert_eq!(answer["client"], answer["own"]);
            assert_eq!((&answer["count"], &answer["highest"]), (&(sequence + 1).into(), &sequence.into()));
            assert_eq!(answer["window"], (1_u64 << (sequence + 1)) - 1);
            assert_eq!((&answer["overflowed"], &answer["memory"]), (&0.into(), &answers[0]["memory"]));
            assert_ne!(answer["digest"], "00000000");
            let times = ["sent", "received", "transmitted"].map(|time| answer[time].as_u64().unwrap());
            assert!(times.is_sorted(), "{answer}");
        }
        if protocol == "udp" {
            // The kernel is asked once the first has come.
            assert!(answers[4]["byKernel"] == true && answers[4]["ttl"] == 64, "{text}");
        }
    }
}

#[test]
fn each_source_port_is_a_flow_and_duplicates_are_told() {
    let node = here("{}");
    let flows = [Flow::open(SESSION, 0, node.echo), Flow::open(SESSION, 1, node.echo)];
    for sequence in [5, 6, 6, 9] {
        assert_eq!(flows[0].ask(sequence).arrival.client.port(), flows[0].address().port());
    }
    let last = flows[1].ask(0);
    assert_eq!((last.seen.count, last.arrival.client.port()), (1, flows[1].address().port()));

    let told = sessions(node.agent, SESSION).unwrap();
    let of = |flow: usize, field: &str| told[flow][field].as_str().map(str::to_owned).unwrap_or_default();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["flow"], 1, "newest traffic first");
    assert_eq!((of(1, "received"), of(1, "duplicates")), ("4".into(), "1".into()));
    assert_eq!((of(1, "lowest"), of(1, "highest"), of(1, "window")), ("5".into(), "9".into(), "25".into()));
    assert_eq!((of(1, "session"), of(1, "protocol")), ("0123456789abcdef".into(), "PROTOCOL_UDP".into()));
    assert_eq!(told[1]["port"], PORT);
}

#[test]
fn what_the_rate_limit_drops_is_the_reflectors_doing() {
    let node = here("{perSource: {messages: 1}}");
    let flow = Flow::open(SESSION, 0, node.echo);
    (0..50).for_each(|sequence| flow.send(sequence));
    let told = eventually("all have arrived", SOON, || {
        let flows = sessions(node.agent, SESSION)?;
        let arrived = flows.first().is_some_and(|flow| flow["received"] == "50");
        ensure(arrived, || format!("{flows:?}"))?;
        Ok::<_, String>(flows)
    });
    let dropped: u64 = told[0]["dropped"]["rate_limit"].as_str().unwrap().parse().unwrap();
    assert!((40..=50).contains(&dropped), "{told:?}");
    // Once one is answered, its answer tells: all have arrived, and so many were dropped.
    let seen = flow.ask_until_answered(50, SOON).seen;
    assert_eq!(seen.highest + 1 - seen.count, 0, "nothing was lost: {seen:?}");
    assert!(seen.dropped >= dropped, "{seen:?}");
}

#[test]
fn loss_on_the_way_there_is_told_from_loss_on_the_way_back() {
    lab::run("loss_on_the_way_there_is_told_from_loss_on_the_way_back", || {
        let mut lab = Lab::new();
        let (server, prober) = (lab.party("node"), lab.party("client"));
        let ip = IpAddr::from(server.address);
        let node = server.within(|| node(&tools::scratch("stamp"), ip, 7401, "{}"));
        let flow = prober.within(|| Flow::open(SESSION, 0, node.echo));
        flow.ask(0);

        prober.cut_towards(&server);
        (1..=10).for_each(|sequence| flow.send(sequence));
        prober.heal_towards(&server);
        let there = flow.ask_until_answered(11, SOON).seen;
        let lost = there.highest + 1 - there.count;
        assert!(lost >= 10, "those on the way there never arrived: {there:?}");

        server.cut_towards(&prober);
        let (first, last) = (there.highest + 1, there.highest + 10);
        (first..=last).for_each(|sequence| flow.send(sequence));
        // No answer returns, but the Agent tells.
        let arrived =
            || sessions(node.agent, SESSION).map(|flows| flows[0]["highest"].as_str() == Some(&last.to_string()));
        eventually("all have arrived", SOON, || server.within(arrived)?.then_some(()).ok_or("not yet".to_owned()));
        server.heal_towards(&prober);
        let back = flow.ask_until_answered(last + 1, SOON).seen;
        assert_eq!(back.highest + 1 - back.count, lost, "those on the way back arrived: {back:?}");
        assert_eq!(back.window & 0x7ff, 0x7ff, "{back:?}");
        assert_eq!(back.dropped, 0);
    });
}
