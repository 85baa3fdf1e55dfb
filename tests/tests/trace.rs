//! One apply is one trace, from echoctl over control and etcd to every node, at a real OTLP collector.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::time::Duration;

use echo_tests::cluster::{bound, pool_file};
use echo_tests::collector::{Collector, Span};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, client, eventually, tools};

/// The SDK sends spans every second here, metrics too.
const ARRIVAL: Duration = Duration::from_secs(20);

#[test]
fn one_apply_is_one_trace_over_every_process() {
    let collector = Collector::start(&tools::scratch("collector"));
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
    ];
    let cluster = Cluster::start_with(&pool_file(3), &env);
    let nodes = cluster.wait_nodes(3);
    // The nodes bind a port for it, from which control then has all of them answer no datagram.
    let more = "    - {name: more, protocol: UDP, port: 0, service: {echo: {}}}\n";
    let file = cluster.file("more.yaml", &format!("{}{more}", pool_file(3)));
    cluster.echoctl().ok(&format!("apply -f {file}"));
    cluster.echoctl().ok("rollout status pool/default --timeout 20s");

    // Every node's work hangs, link by link, on the command that was typed.
    let (trace, services) = eventually("every node's apply leads back to echoctl", ARRIVAL, || {
        let spans = collector.spans();
        let root = spans.iter().find(|s| s.service == "echoctl" && s.name.contains("apply") && s.parent.is_empty());
        let root = root.ok_or("no root span of echoctl yet")?;
        let trace: Vec<&Span> = spans.iter().filter(|s| s.trace == root.trace).collect();
        for node in ["node-1", "node-2", "node-3"] {
            for work in ["apply", "guard_ports"] {
                let span = trace.iter().find(|s| s.instance == node && s.name == work);
                leads_to(root, span.ok_or(format!("no {work} of {node} yet"))?, &trace)?;
            }
        }
        let services: BTreeSet<_> = trace.iter().map(|s| s.service.clone()).collect();
        Ok::<_, String>((root.trace.clone(), services))
    });
    assert_eq!(services, BTreeSet::from(["echo-control".into(), "echo-node".into(), "echoctl".into()]));
    // Shown by `cargo test -p echo-tests --test trace -- --nocapture`.
    println!("{}", collector.tree(&trace));

    client::tcp_echo(bound(&nodes[0], "echo-tcp"), b"counted").unwrap();
    client::udp_echo(bound(&nodes[0], "echo-udp"), b"counted").unwrap();
    for metric in
        ["echo.server.connection.accepted", "echo.server.io", "echo.server.packet.count", "rpc.server.call.duration"]
    {
        collector.wait_metric(metric, ARRIVAL);
    }
}

#[test]
fn the_counters_stand_on_the_metrics_page_too() {
    let cluster = Cluster::start(1);
    let node = cluster.wait_nodes(1).remove(0);
    client::tcp_echo(bound(&node, "echo-tcp"), &[1; 1000]).unwrap();
    client::udp_echo(bound(&node, "echo-udp"), &[1; 100]).unwrap();
    let http = node.pointer("/status/httpAddress").and_then(|a| a.as_str()).unwrap().parse().unwrap();
    let page = eventually("the counters are there", ARRIVAL, || {
        let page = client::http_get(http, "/metrics").unwrap();
        let tcp = r#"echo_listener_name="echo-tcp",echo_pool="default",network_io_direction="receive""#;
        ensure(page.lines().any(|l| l.contains(tcp) && l.ends_with(" 1000")), || page.clone())?;
        Ok::<_, String>(page)
    });
    assert!(page.contains("echo_server_connection_accepted_total"), "{page}");
    // Of the connection's end, which takes its way through the histogram.
    let life = "echo_server_connection_duration_seconds_count{";
    let of = r#"echo_listener_name="echo-tcp",echo_pool="default",network_transport="tcp""#;
    let page = eventually("its life is there", ARRIVAL, || {
        let page = client::http_get(http, "/metrics").unwrap();
        let ended = page.lines().any(|l| l.starts_with(life) && l.contains(of) && l.ends_with(" 1"));
        ensure(ended, || page.clone()).map(|()| page)
    });
    assert!(!page.contains("error_type"), "{page}");
    assert!(!page.contains("127.0.0.1:"), "no client's address on a metric: {page}");
    assert!(client::http_get(http, "/livez").unwrap().starts_with("HTTP/1.1 200"));
    assert!(client::http_get(http, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
}

/// Whether each span on the way up from `span` has arrived, and the way ends at `root`.
fn leads_to(root: &Span, span: &Span, trace: &[&Span]) -> Result<(), String> {
    let mut at = span;
    while !at.parent.is_empty() {
        at = trace.iter().find(|s| s.id == at.parent).ok_or(format!("the parent of {at:?} is not there yet"))?;
    }
    ensure(at.id == root.id, || format!("{span:?} leads to {at:?}"))
}
