//! `echoctl probe` over networks that lose: what was lost is told in its direction, and what a node dropped or had no room
//! for never as lost. Each in a lab of its own.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use echo_tests::cluster::{SETTLED, pool_on};
use echo_tests::lab::net::Net;
use echo_tests::lab::{self, Lab, Party};
use echo_tests::wait::ensure;
use echo_tests::{Echoctl, Process, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Nobody's control: host and port need none.
fn echoctl() -> Echoctl {
    Echoctl::new("http://127.0.0.1:1")
}

/// A node by itself on a host of the lab.
fn lone_node(host: &Party, dir: &Path, flags: &[&str]) -> Process {
    std::fs::write(dir.join("pool.yaml"), pool_on(1, 7007)).unwrap();
    let mut command = Command::new(tools::ours("echo-node"));
    command.arg("--config").arg(dir.join("pool.yaml")).args(["--id", "far", "--lifeline", "--grpc", "127.0.0.1:0"]);
    command.args(["--http", "127.0.0.1:0", "--insecure"]).args(flags);
    host.within(|| Process::start("node", dir, command))
}

/// Where it answers the client, once it does.
#[track_caller]
fn answering(node: &Process, client: &Party, far: &Party) -> String {
    let address = format!("{}:7007", far.address);
    eventually("it answers", SETTLED, || {
        let output = client.within(|| echoctl().run(&format!("probe udp {address} --count 1")));
        ensure(output.code == 0, || format!("{}{}{}", output.stdout, output.stderr, node.log()))
    });
    address
}

/// The number of the last probe of this outcome in a document that is being written; 0: none.
fn last(log: &str, outcome: &str) -> u64 {
    let probes = log.lines().filter_map(|line| serde_json::from_str::<Value>(line.trim_end_matches(',')).ok());
    probes.filter(|probe| probe["outcome"] == outcome).filter_map(|probe| probe["seq"].as_u64()).max().unwrap_or(0)
}

/// Silent probes of a document, as runs of consecutive numbers.
fn gaps(told: &Value) -> Vec<usize> {
    let probes = told["probes"].as_array().unwrap();
    let silent = probes.iter().filter(|probe| probe["outcome"] == "silent").map(|probe| probe["seq"].as_u64().unwrap());
    let mut silent: Vec<u64> = silent.collect();
    silent.sort_unstable();
    silent.chunk_by(|a, b| a + 1 == *b).map(<[u64]>::len).collect()
}

#[test]
fn loss_is_told_in_the_direction_in_which_it_was() {
    lab::run("loss_is_told_in_the_direction_in_which_it_was", || {
        let (mut lab, dir) = (Lab::new(), tools::scratch("probe"));
        let (client, far) = (lab.party("client"), lab.party("far"));
        let node = lone_node(&far, &dir, &[]);
        let address = answering(&node, &client, &far);
        what_the_path_cannot_take_is_not_sent(&client, &address);
        let mut command = Command::new(tools::ours("echoctl"));
        let flags = ["--interval", "10ms", "--timeout", "300ms", "-o", "json"];
        command.args(["probe", "udp", &address]).args(flags);
        let mut run = client.within(|| Process::start("probe", &dir, command));
        // Waits until a probe after the last `other` one is `what`.
        let until = |what: &str, other: &str| {
            let since = last(&run.log(), other);
            eventually(&format!("one after {since} is {what}"), SETTLED, || {
                ensure(last(&run.log(), what) > since, || run.log())
            });
        };
        until("answered", "silent");
        client.cut_towards(&far);
        until("silent", "answered");
        client.heal_towards(&far);
        until("answered", "silent");
        far.cut_towards(&client);
        until("silent", "answered");
        far.heal_towards(&client);
        until("answered", "silent");
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(SETTLED).code(), Some(0), "{}", run.log());
        let told: Value = serde_json::from_str(&run.log()).unwrap();
        let lost = &told["summary"]["lost"];
        assert_eq!(lost["unknown"], 0, "{}", told["summary"]);
        let [there, back] = gaps(&told)[..] else { panic!("two gaps, not {:?}: {told}", gaps(&told)) };
        assert_eq!((&lost["there"], &lost["back"]), (&there.into(), &back.into()), "{}", told["summary"]);
        assert_eq!(told["summary"]["answeredBy"][0]["name"], "far");
        assert_eq!(told["summary"]["seenAs"][0], client.address.to_string());
    });
}

#[test]
fn each_datagram_that_the_network_loses_by_chance_is_told_in_its_direction() {
    lab::run("each_datagram_that_the_network_loses_by_chance_is_told_in_its_direction", || {
        let (mut lab, dir) = (Lab::new(), tools::scratch("probe"));
        let (client, far) = (lab.party("client"), lab.party("far"));
        let node = lone_node(&far, &dir, &[]);
        let address = answering(&node, &client, &far);
        far.lose_arriving(10);
        client.lose_arriving(5);
        let mut command = Command::new(tools::ours("echoctl"));
        let flags = ["--interval", "2ms", "--timeout", "300ms", "-o", "json"];
        command.args(["probe", "udp", &address]).args(flags);
        let mut run = client.within(|| Process::start("probe", &dir, command));
        eventually("many have come", SETTLED, || {
            let log = run.log();
            ensure(last(&log, "answered") > 400, || log)
        });
        let (there, back) = (far.lose_nothing(), client.lose_nothing());
        // What comes last must arrive, so that it tells of all before it.
        let since = last(&run.log(), "answered");
        eventually("all come again", SETTLED, || ensure(last(&run.log(), "answered") > since + 200, || run.log()));
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(SETTLED).code(), Some(0), "{}", run.log());
        let told: Value = serde_json::from_str(&run.log()).unwrap();
        let summary = &told["summary"];
        let lost = ["there", "back", "unknown"].map(|way| summary["lost"][way].as_u64().unwrap());
        assert_eq!(lost, [there, back, 0], "{summary}");
        assert!(there > 0 && back > 0, "{summary}");
        assert_eq!(summary["droppedByNode"]["all"], 0, "{summary}");
    });
}

#[test]
fn delays_of_one_way_are_told_with_how_far_off_the_clocks_may_be() {
    lab::run("delays_of_one_way_are_told_with_how_far_off_the_clocks_may_be", || {
        let (mut lab, dir) = (Lab::new(), tools::scratch("probe"));
        let (client, far) = (lab.party("client"), lab.party("far"));
        // Both have the same clock, whatever its daemon says.
        let node = lone_node(&far, &dir, &["--clock-error", "400ns"]);
        let address = answering(&node, &client, &far);
        let line = format!("udp {address} --count 10 --interval 5ms");
        let (told, code) = client.within(|| echoctl().probe(&format!("{line} --clock-error 1us")));
        let (one_way, rtt) = (&told["summary"]["oneWay"], &told["summary"]["rtt"]);
        assert_eq!((code, &one_way["clockErrorNanos"]), (0, &2_000.into()), "{told}");
        let of = |way: &str, field: &str| one_way[way][field].as_i64().unwrap();
        assert!(of("there", "minNanos") > 0 && of("back", "minNanos") > 0, "{told}");
        assert!(of("there", "minNanos") + of("back", "minNanos") <= rtt["maxNanos"].as_i64().unwrap(), "{told}");
        let text = client.within(|| echoctl().ok(&format!("probe {line} --clock-error 1us")));
        assert!(text.contains("one way: there ") && text.contains("the clocks may be 2 us off"), "{text}");
    });
}

/// The cable takes packets of 1500 bytes; a datagram has 28 bytes before its data.
fn what_the_path_cannot_take_is_not_sent(client: &Party, address: &str) {
    let probe = |size: u16| {
        let line = format!("udp {address} --count 3 --interval 5ms --dont-fragment --dscp EF --size {size}");
        client.within(|| echoctl().probe(&line))
    };
    let (told, code) = probe(1472);
    assert_eq!((code, &told["summary"]["answered"]), (0, &3.into()), "{told}");
    assert_eq!(told["summary"]["dscps"][0], 46, "as it was marked: {told}");
    let (told, code) = probe(1473);
    assert_eq!(
        (code, &told["summary"]["own"]["unsent"], &told["summary"]["sent"]),
        (1, &3.into(), &0.into()),
        "{told}"
    );
    let cause = told["probes"][0]["cause"].as_str().unwrap();
    assert_eq!(cause, "too large for the path, which takes packets of 1500 bytes");
}

#[test]
fn what_overflows_while_a_node_is_held_up_is_never_called_loss() {
    lab::run("what_overflows_while_a_node_is_held_up_is_never_called_loss", || {
        let (mut lab, dir) = (Lab::new(), tools::scratch("probe"));
        let (client, far) = (lab.party("client"), lab.party("far"));
        let node = lone_node(&far, &dir, &[]);
        let address = answering(&node, &client, &far);
        let mut command = Command::new(tools::ours("echoctl"));
        // Long ones fill the queue soon.
        let flags = ["--interval", "2ms", "--size", "60000", "--timeout", "300ms", "-o", "json"];
        command.args(["probe", "udp", &address]).args(flags);
        let mut run = client.within(|| Process::start("probe", &dir, command));
        let until = |what: &str, after: u64| {
            eventually(&format!("one after {after} is {what}"), SETTLED, || {
                ensure(last(&run.log(), what) > after, || run.log())
            });
            last(&run.log(), what)
        };
        let answered = until("answered", 0);
        node.signal(Signal::SIGSTOP);
        let silent = until("silent", answered + 300);
        node.signal(Signal::SIGCONT);
        until("answered", silent);
        run.signal(Signal::SIGINT);
        assert_eq!(run.wait(SETTLED).code(), Some(0), "{}", run.log());
        let told: Value = serde_json::from_str(&run.log()).unwrap();
        let summary = &told["summary"];
        assert!(summary["lostOrDroppedByNode"].as_u64() > Some(0), "{summary}");
        assert_eq!(summary["lost"]["there"], 0, "{summary}");
    });
}

#[test]
fn where_no_answer_comes_at_all_control_asks_the_node() {
    lab::run("where_no_answer_comes_at_all_control_asks_the_node", || {
        let net = Net::start();
        let far = &net.nodes[0].host;
        let probe =
            || net.echoctl(0, |echoctl| echoctl.probe("udp node/node-a --count 8 --interval 5ms --timeout 300ms"));
        let lost = |told: &Value| {
            let lost = &told["summary"]["lost"];
            ["there", "back", "unknown"].map(|way| lost[way].as_u64().unwrap())
        };
        // The node's Agent does not reach us either; control does.
        far.cut_towards(&net.client);
        let (told, code) = probe();
        assert_eq!((lost(&told), code), ([0, 8, 0], 1), "{told}");
        // Handshakes come, and no answer to one: of probes that never left there is no way.
        for over in ["tcp", "tcp --reconnect"] {
            let line = format!("{over} node/node-a --count 4 --interval 5ms --timeout 300ms");
            let (told, code) = net.echoctl(0, |echoctl| echoctl.probe(&line));
            assert_eq!(
                (lost(&told), code, &told["summary"]["lost"]["unconnected"]),
                ([0, 0, 4], 1, &4.into()),
                "{told}"
            );
        }
        far.heal_towards(&net.client);
        net.client.cut_towards(far);
        let (told, code) = probe();
        assert_eq!((lost(&told), code), ([8, 0, 0], 1), "{told}");
        net.client.heal_towards(far);
        let (told, code) = probe();
        assert_eq!((lost(&told), code), ([0, 0, 0], 0), "{told}");
        // Nobody can tell any more.
        net.client.cut_towards(far);
        far.cut_towards(&net.controls[0].host);
        let (told, code) = probe();
        assert_eq!((lost(&told), code), ([0, 0, 8], 1), "{told}");
        assert_eq!(told["summary"]["silentAgents"][0], "node-a");
    });
}
