//! Limits: how many, how long idle, changed live.

use std::io::ErrorKind;

use super::*;

#[tokio::test]
async fn one_connection_too_many_is_closed_and_counted() {
    let mut node = Node::on(own_address());
    node.apply_with(ECHO, "{maxConnections: 2}").await.unwrap();
    let mut streams = [node.connect("echo"), node.connect("echo")];
    assert!(streams.iter_mut().all(|stream| echoes(stream, b"in")));
    assert!(!echoes(&mut node.connect("echo"), b"out"));
    assert_eq!(node.counts("echo").rejected["max_connections"], 1);

    node.apply_with(ECHO, "{maxConnections: 1}").await.unwrap();
    assert!(streams.iter_mut().all(|stream| echoes(stream, b"a lower limit cuts nobody")));
    node.apply_with(ECHO, "{maxConnections: 3}").await.unwrap();
    assert!(echoes(&mut node.connect("echo"), b"and a higher one holds at once"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_never_early() {
    let mut node = Node::on(own_address());
    node.apply_with(ECHO, "{idleTimeout: 500ms}").await.unwrap();
    let start = Clock::now();
    let (mut idle, mut busy) = (node.connect("echo"), node.connect("echo"));
    idle.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let closed = loop {
        assert!(echoes(&mut busy, b"traffic"), "a busy connection goes on");
        match idle.read(&mut [0; 8]) {
            Ok(n) => break n,
            Err(e) => assert!(matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{e}"),
        }
        assert!(start.elapsed() < PATIENCE, "never closed");
    };
    assert_eq!(closed, 0, "closed in order");
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(node.counts("echo").ended["idle_timeout"], 1);
}

#[tokio::test]
async fn a_shorter_idle_timeout_holds_for_open_connections() {
    let mut node = Node::serving(ECHO).await;
    let mut stream = node.connect("echo");
    assert!(echoes(&mut stream, b"hello"));
    node.apply_with(ECHO, "{idleTimeout: 20ms}").await.unwrap();
    assert!(read_to_end(&mut stream).is_empty());
}

#[tokio::test]
async fn a_peer_that_never_reads_is_idle_too() {
    let mut node = Node::on(own_address());
    node.apply_with(ECHO, "{idleTimeout: 100ms}").await.unwrap();
    let mut stream = node.connect("echo");
    let chunk = pattern(256 * 1024);
    // Ends once the node has given up on us.
    let mut written = 0;
    while let Ok(n) = stream.write(&chunk) {
        written += n;
        assert!(written < 1 << 30, "the node keeps on reading");
    }
    eventually("it is closed as idle", || node.counts("echo").ended.get("idle_timeout") == Some(&1)).await;
}
