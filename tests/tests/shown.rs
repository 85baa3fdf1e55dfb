//! What `get` shows, and in which order, of what stands in a real etcd.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;

use echo_tests::cluster::SETTLED;
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Process, eventually, tools};

/// An event of the 23rd century, which no age removes: it began at `began`, and was last seen at `seen`.
fn put_event(cluster: &Cluster, began: u32, seen: &str) {
    let name = format!("090000000000000000{began:02}0000");
    let (first, last) = (format!("2255-03-14T16:00:{began:02}Z"), format!("2255-03-14T16:00:{seen}Z"));
    let event = format!(
        r#"{{"metadata":{{"name":"{name}"}},"object":"node/far","reason":"R{began}","count":2,"firstTime":"{first}","lastTime":"{last}"}}"#
    );
    cluster.etcd.put(&format!("/echo/v1/default/events/{name}"), &event);
}

#[test]
fn events_come_by_when_they_were_last_seen_and_with_the_time() {
    let cluster = Cluster::start(0);
    put_event(&cluster, 1, "09.5");
    put_event(&cluster, 2, "09.25");
    put_event(&cluster, 3, "04");
    let wide = cluster.echoctl().ok("get events --for node/far -o wide");
    let rows = |text: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        text.lines().skip(1).map(words).collect()
    };
    let expected = ["0s 2255-03-14T16:00:04Z - R3", "0s 2255-03-14T16:00:09Z - R2", "0s 2255-03-14T16:00:09Z - R1"];
    assert_eq!(rows(&wide), expected, "{wide}");
    assert!(wide.contains("2255-03-14T16:00:01Z"), "when it was first seen: {wide}");

    let mut command = Command::new(tools::ours("echoctl"));
    command.env("ECHO_SERVER", format!("http://{}", cluster.address()));
    command.args(["get", "events", "--for", "node/far", "--watch"]);
    let watch = Process::start("watch", cluster.dir(), command);
    let shows = |expected: &[&str]| {
        eventually("the watch shows the events", SETTLED, || ensure(rows(&watch.log()) == expected, || watch.log()));
    };
    shows(&expected);
    put_event(&cluster, 3, "11");
    shows(&[&expected[..], &["0s 2255-03-14T16:00:11Z - R3"]].concat());
}
