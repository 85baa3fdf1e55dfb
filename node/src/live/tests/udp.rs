//! Datagrams: sizes, source addresses, batches.

use std::net::Ipv6Addr;

use super::*;

const ECHO: &str = "{name: echo, protocol: UDP, port: 0, service: {echo: {}}}";

#[tokio::test]
async fn echo_returns_datagrams_of_every_size() {
    let node = Node::serving(ECHO).await;
    let client = udp_client("127.0.0.1:0");
    client.connect(node.address("echo")).unwrap();
    let mut buffer = vec![0; 70_000];
    for len in [0, 1, 64, 1_472, 1_473, 9_000, 65_507] {
        client.send(&pattern(len)).unwrap();
        let n = client.recv(&mut buffer).unwrap();
        assert!(buffer[..n] == pattern(len), "{len} bytes");
    }
    // An answer arrives before it is counted.
    eventually("all are counted", || node.counts("echo").transmitted_packets == 7).await;
    let counts = node.counts("echo");
    assert_eq!((counts.received_packets, counts.exchanges), (7, 7));
    assert_eq!(counts.received_bytes, counts.transmitted_bytes);
    assert!(counts.dropped.is_empty(), "{:?}", counts.dropped);
}

#[tokio::test]
async fn the_answer_comes_from_the_address_that_was_hit() {
    let mut node = Node::on(Ipv4Addr::UNSPECIFIED.into());
    node.apply(ECHO).await.unwrap();
    let port = node.address("echo").port();
    let client = udp_client("0.0.0.0:0");
    for host in ["127.0.0.1", "127.0.0.7", "127.1.2.3"] {
        let target: SocketAddr = format!("{host}:{port}").parse().unwrap();
        client.send_to(b"who", target).unwrap();
        assert_eq!(client.recv_from(&mut [0; 16]).unwrap(), (3, target));
    }
}

#[tokio::test]
async fn one_socket_serves_both_families() {
    let mut node = Node::on(Ipv6Addr::UNSPECIFIED.into());
    if let Err(e) = node.apply(ECHO).await {
        assert!(e.cause().contains("not supported"), "only a host without IPv6 may refuse: {e}");
        return;
    }
    let port = node.address("echo").port();
    for (own, host) in [("127.0.0.1:0", "127.0.0.9"), ("[::1]:0", "[::1]")] {
        let client = udp_client(own);
        let target: SocketAddr = format!("{host}:{port}").parse().unwrap();
        client.send_to(b"who", target).unwrap();
        assert_eq!(client.recv_from(&mut [0; 16]).unwrap(), (3, target));
    }
}

#[tokio::test]
async fn chargen_answers_no_more_than_it_was_asked() {
    let node = Node::serving("{name: gen, protocol: UDP, port: 0, service: {chargen: {}}}").await;
    let client = udp_client("127.0.0.1:0");
    client.connect(node.address("gen")).unwrap();
    let mut buffer = vec![0; 70_000];
    for (asked, answered) in [(0, 0), (1, 1), (100, 100), (512, 512), (65_507, 512)] {
        client.send(&pattern(asked)).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), answered);
        assert!(buffer[..answered.min(72)].iter().enumerate().all(|(at, byte)| usize::from(*byte) == 32 + at));
    }
}

#[tokio::test]
async fn discard_counts_and_says_nothing() {
    let node =
        Node::serving(&format!("{ECHO}, {{name: sink, protocol: UDP, port: 0, service: {{discard: {{}}}}}}")).await;
    let client = udp_client("127.0.0.1:0");
    client.send_to(b"into the void", node.address("sink")).unwrap();
    eventually("it is counted", || node.counts("sink").received_packets == 1).await;
    // What comes first is the echo's answer.
    client.send_to(b"echo", node.address("echo")).unwrap();
    assert_eq!(client.recv_from(&mut [0; 16]).unwrap(), (4, node.address("echo")));
    assert_eq!(node.counts("sink").transmitted_packets, 0);
}

#[tokio::test]
async fn a_burst_comes_back_whole() {
    let node = Node::serving(ECHO).await;
    let clients: Vec<UdpSocket> = (0..8).map(|_| udp_client("127.0.0.1:0")).collect();
    for client in &clients {
        client.connect(node.address("echo")).unwrap();
        for i in 0..40_u8 {
            client.send(&[i; 100]).unwrap();
        }
    }
    for client in &clients {
        for i in 0..40_u8 {
            let mut buffer = [0; 200];
            assert_eq!(client.recv(&mut buffer).unwrap(), 100);
            assert_eq!(buffer[..100], [i; 100], "in order");
        }
    }
    let slots = node.live.counters.slots(node.live.sockets[0].identity());
    assert_eq!(slots.iter().map(|slot| slot.exchanges.get()).sum::<u64>(), 320);
}

#[tokio::test]
async fn what_a_source_sends_over_its_rate_is_dropped_on_every_shard_and_counted() {
    let mut node = Node::on(own_address());
    let start = Clock::now();
    node.apply_with(ECHO, "{perSource: {messages: 20}}").await.unwrap();
    // Ports fall to shards; all of them are one source.
    let clients: Vec<UdpSocket> = (0..16).map(|_| udp_client("127.0.0.1:0")).collect();
    for client in clients.iter().cycle().take(320) {
        client.send_to(b"more", node.address("echo")).unwrap();
    }
    eventually("all have come", || node.counts("echo").received_packets == 320).await;
    let counts = node.counts("echo");
    let most = 2 + 20 * (start.elapsed().as_secs() + 1);
    assert!((2..=most).contains(&counts.exchanges), "{} of 2 at once and 20 a second", counts.exchanges);
    assert_eq!(counts.dropped["rate_limit"] + counts.exchanges, 320);

    node.apply_with(ECHO, "{}").await.unwrap();
    let client = udp_client("127.0.0.1:0");
    client.send_to(b"free", node.address("echo")).unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4, "this host has no limit that is not given");
}

#[tokio::test]
async fn what_may_be_an_answer_is_not_answered_and_counted() {
    let mut node = Node::serving(ECHO).await;
    let (echo, other) = (node.address("echo"), own_address());
    let neighbour = udp_client(&format!("{other}:{}", echo.port()));
    neighbour.send_to(b"the kernel chose the port", echo).unwrap();
    assert_eq!(neighbour.recv(&mut [0; 64]).unwrap(), 25, "others have it for something else");
    let fixed = format!("port: {}, allowEphemeral: true", echo.port());
    node.apply(&ECHO.replace("port: 0", &fixed)).await.unwrap();
    neighbour.send_to(b"from the same port of another node", echo).unwrap();
    eventually("it is dropped", || node.counts("echo").dropped.get("loop_guard") == Some(&1)).await;

    let fleet = udp_client("127.0.0.1:0");
    node.live.set_fleet_ports(vec![fleet.local_addr().unwrap()]).await;
    fleet.send_to(b"from a port of the fleet", echo).unwrap();
    eventually("it is dropped", || node.counts("echo").dropped["loop_guard"] == 2).await;
    let echoes = ECHO.replace("port: 0", &fixed);
    node.apply(&format!("{echoes}, {{name: sink, protocol: UDP, port: 0, service: {{discard: {{}}}}}}")).await.unwrap();
    fleet.send_to(b"also after a change", echo).unwrap();
    eventually("it is dropped", || node.counts("echo").dropped["loop_guard"] == 3).await;

    node.live.set_fleet_ports(Vec::new()).await;
    fleet.send_to(b"free again", echo).unwrap();
    assert_eq!(fleet.recv(&mut [0; 64]).unwrap(), 10);
    let sink = udp_client(&format!("{other}:{}", node.address("sink").port()));
    sink.send_to(b"a sink never answers", echo).unwrap();
    assert_eq!(sink.recv(&mut [0; 64]).unwrap(), 20);
}

#[tokio::test]
async fn sources_and_sizes_that_a_listener_does_not_take_are_dropped_and_counted() {
    let mut node = Node::on(own_address());
    let picky = ECHO.replace("service", "guard: {allow: ['127.0.0.2/32']}, service");
    node.apply_with(&picky, "{maxDatagram: 8}").await.unwrap();
    let (stranger, friend) = (udp_client("127.0.0.1:0"), udp_client("127.0.0.2:0"));
    stranger.send_to(b"hello", node.address("echo")).unwrap();
    friend.send_to(b"123456789", node.address("echo")).unwrap();
    friend.send_to(b"12345678", node.address("echo")).unwrap();
    assert_eq!(friend.recv(&mut [0; 64]).unwrap(), 8);
    eventually("the others are dropped", || {
        let dropped = node.counts("echo").dropped;
        dropped.get("acl") == Some(&1) && dropped.get("oversize") == Some(&1)
    })
    .await;
}
