//! Limits: how many, how long idle, changed live.

use std::io::ErrorKind;
use std::net::Shutdown;

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
async fn a_source_has_no_more_than_its_share_on_all_shards_and_listeners() {
    let mut node = Node::on(own_address());
    let two = format!("{ECHO}, {{name: other, protocol: TCP, port: 0, service: {{echo: {{}}}}}}");
    node.apply(&two).await.unwrap();
    let mut before = [node.connect("echo"), node.connect("other")];
    assert!(before.iter_mut().all(|stream| echoes(stream, b"in")));
    node.apply_with(&two, "{maxConnectionsPerSource: 1}").await.unwrap();
    assert!(before.iter_mut().all(|stream| echoes(stream, b"a limit cuts nobody")));
    assert!(!echoes(&mut node.connect("echo"), b"out"));
    assert_eq!(node.counts("echo").rejected["max_connections_per_source"], 1);
    // Another address of this host is another source.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(own_address(), 0).into()).unwrap();
    socket.connect(&node.address("echo").into()).unwrap();
    assert!(echoes(&mut socket.into(), b"in"));
    drop(before);
    eventually("they are gone", || node.live.connections() == 0).await;
    let mut first = node.connect("echo");
    assert!(echoes(&mut first, b"in again"));
    assert!(!echoes(&mut node.connect("other"), b"out"));
}

#[tokio::test]
async fn behind_a_balancer_the_client_counts() {
    let mut node = Node::on(own_address());
    let listener = "{name: echo, protocol: TCP, port: 0, proxyProtocol: {}, service: {echo: {}}}";
    node.apply_with(listener, "{maxConnectionsPerSource: 1}").await.unwrap();
    let connect = |client: &str| {
        let mut stream = node.connect("echo");
        stream.write_all(format!("PROXY TCP4 {client} 10.0.0.9 1 2\r\n").as_bytes()).unwrap();
        stream
    };
    let (mut one, mut two) = (connect("10.0.0.1"), connect("10.0.0.2"));
    assert!(echoes(&mut one, b"in") && echoes(&mut two, b"in"));
    assert!(!echoes(&mut connect("10.0.0.1"), b"out"));
    assert_eq!(node.counts("echo").rejected["max_connections_per_source"], 1);
}

#[tokio::test]
async fn a_lifetime_ends_a_busy_connection() {
    let mut node = Node::serving(ECHO).await;
    let mut stream = node.connect("echo");
    assert!(echoes(&mut stream, b"hello"));
    node.apply_with(ECHO, "{maxLifetime: 100ms}").await.unwrap();
    let start = Clock::now();
    while echoes(&mut stream, b"busy") {
        assert!(start.elapsed() < PATIENCE, "never closed");
    }
    eventually("it is counted", || node.counts("echo").ended.get("max_lifetime") == Some(&1)).await;
}

#[tokio::test]
async fn above_its_rate_a_connection_is_not_read_and_loses_nothing() {
    let mut node = Node::on(own_address());
    // The first 65,536 bytes may come at once, the rest takes 200 ms.
    node.apply_with(ECHO, "{perSource: {bytes: 500000}}").await.unwrap();
    let mut stream = node.connect("echo");
    let start = Clock::now();
    assert!(echoes(&mut stream, &pattern(65_536 + 100_000)));
    assert!(echoes(&mut stream, b"after"));
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    assert!(node.counts("echo").paced > 0);
}

#[tokio::test]
async fn who_waits_for_its_rate_is_not_idle() {
    let mut node = Node::on(own_address());
    let mut paced = paced_for_hours(&mut node).await;
    node.apply_with(ECHO, "{perSource: {bytes: 1}, idleTimeout: 100ms}").await.unwrap();
    // Others go by meanwhile, one after the other.
    for count in 1..=3 {
        let _silent = node.connect("echo");
        eventually("it is idle", || node.counts("echo").ended.get("idle_timeout") == Some(&count)).await;
    }
    assert_eq!(node.counts("echo").active, 1);
    node.apply(ECHO).await.unwrap();
    assert!(gets_the_rest(&mut paced));
}

/// A connection whose source has gone over a rate of a byte a second by many, with bytes that are not read.
async fn paced_for_hours(node: &mut Node) -> TcpStream {
    node.apply_with(ECHO, "{perSource: {bytes: 1}}").await.unwrap();
    let mut stream = node.connect("echo");
    assert!(echoes(&mut stream, &pattern(65_536)));
    stream.write_all(&pattern(30_000)).unwrap();
    eventually("it is over", || node.counts("echo").received_bytes > 65_536).await;
    stream.write_all(b"later").unwrap();
    eventually("it is paced", || node.counts("echo").paced == 1).await;
    stream
}

/// Whether such a connection gets what it has not got yet.
fn gets_the_rest(stream: &mut TcpStream) -> bool {
    let mut back = vec![0; 30_005];
    stream.read_exact(&mut back).is_ok() && back == [&pattern(30_000)[..], b"later"].concat()
}

#[tokio::test]
async fn who_is_gone_is_not_waited_for() {
    let mut node = Node::on(own_address());
    let resets = paced_for_hours(&mut node).await;
    let closes = node.connect("echo");
    closes.shutdown(Shutdown::Write).unwrap();
    eventually("it is closed", || node.counts("echo").ended.get("peer") == Some(&1)).await;
    socket2::SockRef::from(&resets).set_linger(Some(Duration::ZERO)).unwrap();
    drop(resets);
    eventually("it is reset", || node.counts("echo").ended.get("connection_reset") == Some(&1)).await;
}

#[tokio::test]
async fn who_has_closed_its_side_is_waited_for_no_longer_than_silence_may_last() {
    let mut node = Node::on(own_address());
    let stream = paced_for_hours(&mut node).await;
    node.apply_with(ECHO, "{perSource: {bytes: 1}, idleTimeout: 100ms}").await.unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    eventually("it is idle", || node.counts("echo").ended.get("idle_timeout") == Some(&1)).await;
}

#[tokio::test]
async fn many_connections_go_over_a_rate_by_a_read_of_each_shard_at_most() {
    let mut node = Node::on(own_address());
    node.apply_with(ECHO, "{perListener: {bytes: 1}}").await.unwrap();
    let mut streams: Vec<_> = (0..20).map(|_| node.connect("echo")).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(&pattern(60_000)).unwrap());
    eventually("nearly all are paced", || node.counts("echo").paced >= 16).await;
    let read = node.counts("echo").received_bytes;
    assert!(read <= 65_536 + 2 * 65_536, "{read}");
}

#[tokio::test]
async fn a_stamped_connection_has_its_rate_too() {
    let mut node = Node::on(own_address());
    node.apply_with(ECHO, "{perSource: {bytes: 1}}").await.unwrap();
    let mut stream = node.connect("echo");
    let sent: Vec<u8> = (0..400).flat_map(|sequence| stamp::request(0, sequence, 500)).collect();
    stream.write_all(&sent).unwrap();
    eventually("it is paced", || node.counts("echo").paced > 0).await;
    assert!(node.counts("echo").received_bytes <= 2 * 65_536);
    node.apply(ECHO).await.unwrap();
    stream.read_exact(&mut vec![0; sent.len()]).unwrap();
}

#[tokio::test]
async fn chargen_pours_no_faster_than_its_rate() {
    let mut node = Node::on(own_address());
    let listener = "{name: gen, protocol: TCP, port: 0, service: {chargen: {}}}";
    node.apply_with(listener, "{perListener: {bytes: 500000}}").await.unwrap();
    let mut stream = node.connect("gen");
    let start = Clock::now();
    // A burst, one write, and what takes 200 ms.
    stream.read_exact(&mut vec![0; 65_536 + 7_030 + 100_000]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    assert!(node.counts("gen").paced > 0);
}

#[tokio::test]
async fn a_raised_rate_holds_for_who_waits() {
    let mut node = Node::on(own_address());
    node.apply_with(ECHO, "{perListener: {bytes: 1}}").await.unwrap();
    let mut stream = node.connect("echo");
    stream.write_all(&pattern(200_000)).unwrap();
    eventually("it is paced, for a day", || node.counts("echo").paced > 0).await;
    node.apply(ECHO).await.unwrap();
    let mut back = vec![0; 200_000];
    stream.read_exact(&mut back).unwrap();
    assert!(back == pattern(200_000));
}

#[tokio::test]
async fn a_raised_rate_of_sources_forgets_what_they_owed() {
    let mut node = Node::on(own_address());
    let mut stream = paced_for_hours(&mut node).await;
    node.apply_with(ECHO, "{perSource: {bytes: 1000000000}}").await.unwrap();
    assert!(gets_the_rest(&mut stream));
    assert!(echoes(&mut stream, &pattern(100_000)));
}

#[tokio::test]
async fn more_than_the_process_may_open_is_clamped_and_not_refused() {
    let mut node = Node::on(own_address());
    node.live.files = 64;
    node.apply_with(ECHO, "{maxConnections: 1000}").await.unwrap();
    assert_eq!(node.live.clamped(), Some((1000, 32)));
    let mut streams: Vec<_> = (0..32).map(|_| node.connect("echo")).collect();
    assert!(streams.iter_mut().all(|stream| echoes(stream, b"in")));
    assert!(!echoes(&mut node.connect("echo"), b"out"));
    node.apply_with(ECHO, "{maxConnections: 30}").await.unwrap();
    assert_eq!(node.live.clamped(), None);
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
