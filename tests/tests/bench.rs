//! That `make bench` runs: a short round of one case with the binaries at hand. Its figures are not judged.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;

use echo_tests::tools;
use serde_json::Value;

#[test]
fn the_bench_measures_a_node_beside_raw_epoll() {
    let dir = tools::scratch("bench");
    let node = tools::ours("echo-node");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_echo-bench"));
    bench.args(["run", "--rounds", "1", "--millis", "50", "--only", "tcp-64-pipelined"]);
    bench.arg("--binaries").arg(node.parent().unwrap()).arg("--out").arg(&dir);
    let output = bench.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");

    let result: Value = serde_json::from_slice(&std::fs::read(dir.join("bench.json")).unwrap()).unwrap();
    let servers = &result["cases"][0]["servers"];
    for (index, server) in [(0, "raw epoll"), (1, "echo-node")] {
        assert_eq!(servers[index]["server"], server, "{result:#}");
        assert!(servers[index]["cpuMicrosPerEcho"]["median"].as_f64().unwrap() > 0.0, "{result:#}");
    }
    assert_eq!(servers[0]["cpuRatio"]["median"], 1.0);
    let chart = std::fs::read_to_string(dir.join("bench.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains(">echo-node<") && chart.ends_with("</svg>\n"), "{chart}");
}

#[test]
fn idle_connections_are_held_and_weighed() {
    let dir = tools::scratch("bench");
    let node = tools::ours("echo-node");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_echo-bench"));
    bench.args(["run", "--only", "idle", "--idle", "90"]);
    bench.arg("--binaries").arg(node.parent().unwrap()).arg("--out").arg(&dir);
    let output = bench.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&std::fs::read(dir.join("bench.json")).unwrap()).unwrap();
    let steps = result["idle"]["steps"].as_array().unwrap();
    let connections: Vec<_> = steps.iter().filter_map(|step| step["connections"].as_u64()).collect();
    assert_eq!(connections, [1, 30, 60, 90]);
    assert!(steps.iter().all(|step| step["rssKib"].as_u64() > Some(0)), "{result:#}");
}
