//! Each service over TCP, byte by byte.

use std::net::Shutdown;
use std::thread;

use super::*;

#[tokio::test]
async fn echo_returns_every_byte_and_flushes_on_half_close() {
    let node = Node::serving(ECHO).await;
    let mut stream = node.connect("echo");
    let sent = pattern(3 << 20);
    let (mut writer, bytes) = (stream.try_clone().unwrap(), sent.clone());
    let writing = thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert!(read_to_end(&mut stream) == sent);
    writing.join().unwrap();
    eventually("the connection is counted as ended", || node.live.connections() == 0).await;
    let counts = node.counts("echo");
    assert_eq!((counts.received_bytes, counts.transmitted_bytes), (3 << 20, 3 << 20));
    assert_eq!((counts.accepted, counts.active, counts.ended["peer"]), (1, 0, 1));
}

#[tokio::test]
async fn echo_takes_max_read_bytes_at_once() {
    let node = Node::serving("{name: echo, protocol: TCP, port: 0, service: {echo: {maxRead: 3}}}").await;
    assert!(echoes(&mut node.connect("echo"), b"abcdefgh"));
    assert!(node.counts("echo").exchanges >= 3);
}

#[tokio::test]
async fn echo_once_answers_the_first_read_then_closes() {
    let node = Node::serving("{name: once, protocol: TCP, port: 0, service: {echo: {maxRead: 100, once: true}}}").await;
    let sent = pattern(50_000);
    let mut stream = node.connect("once");
    stream.write_all(&sent).unwrap();
    // The rest of what was sent must not turn the close into a reset that destroys the answer.
    assert_eq!(read_to_end(&mut stream), &sent[..100]);
    drop(stream);
    eventually("it ends", || node.counts("once").ended.get("served") == Some(&1)).await;
}

#[tokio::test]
async fn greet_reaches_a_client_that_speaks_first() {
    let node = Node::serving("{name: greet, protocol: TCP, port: 0, service: {greet: {}}}").await;
    let mut stream = node.connect("greet");
    stream.write_all(&pattern(20_000)).unwrap();
    assert_eq!(read_to_end(&mut stream), spec::DEFAULT_BANNER.as_bytes());
    assert_eq!(read_to_end(&mut node.connect("greet")), spec::DEFAULT_BANNER.as_bytes());
}

#[tokio::test]
async fn discard_takes_everything_and_says_nothing() {
    let node = Node::serving("{name: sink, protocol: TCP, port: 0, service: {discard: {}}}").await;
    let mut stream = node.connect("sink");
    stream.write_all(&pattern(1 << 20)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).is_empty());
    let counts = node.counts("sink");
    assert_eq!((counts.received_bytes, counts.transmitted_bytes), (1 << 20, 0));
}

#[tokio::test]
async fn chargen_pours_until_the_client_ends_and_drops_what_it_says() {
    let node = Node::serving("{name: gen, protocol: TCP, port: 0, service: {chargen: {}}}").await;
    let mut stream = node.connect("gen");
    stream.write_all(&pattern(300_000)).unwrap();
    // Longer than all lines, so that they begin again.
    let mut text = vec![0; 74 * 200];
    stream.read_exact(&mut text).unwrap();
    for (n, line) in text.chunks(74).enumerate() {
        let expected: Vec<u8> = (n..n + 72).map(|c| b' ' + (c % 95) as u8).chain(*b"\r\n").collect();
        assert_eq!(line, expected, "line {n}");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let rest = read_to_end(&mut stream);
    assert!(rest.len() > 74 && rest.windows(2).all(|pair| pair[1].is_ascii()));
    eventually("it ends", || node.counts("gen").ended.get("peer") == Some(&1)).await;
    assert_eq!(node.counts("gen").received_bytes, 300_000);
}

#[tokio::test]
async fn chargen_keeps_nothing_for_a_client_that_does_not_read() {
    let mut node = Node::on(own_address());
    node.apply_with("{name: gen, protocol: TCP, port: 0, service: {chargen: {}}}", "{idleTimeout: 100ms}")
        .await
        .unwrap();
    let _unread = node.connect("gen");
    eventually("it is closed as idle", || node.counts("gen").ended.get("idle_timeout") == Some(&1)).await;
}

#[tokio::test]
async fn clocks_say_the_time_and_close() {
    let node = Node::serving(
        "{name: day, protocol: TCP, port: 0, service: {daytime: {}}}, {name: time, protocol: TCP, port: 0, service: {time: {}}}",
    )
    .await;
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let answer = read_to_end(&mut node.connect("time"));
    let since_1900 = u32::from_be_bytes(answer.try_into().unwrap());
    let unix = u64::from(since_1900.wrapping_sub(2_208_988_800));
    assert!((before..=now()).contains(&unix), "{unix}");
    let line = String::from_utf8(read_to_end(&mut node.connect("day"))).unwrap();
    assert!(line.len() == 22 && line.starts_with("20") && line.ends_with("Z\r\n"), "{line:?}");
}

#[tokio::test]
async fn whoami_names_the_node_its_revision_and_both_ends() {
    let node = Node::serving("{name: who, protocol: TCP, port: 0, service: {whoami: {}}}").await;
    let mut stream = node.connect("who");
    let line = String::from_utf8(read_to_end(&mut stream)).unwrap();
    let (local, peer) = (node.address("who"), stream.local_addr().unwrap());
    let expected = format!(
        r#"{{"node":"n-1","pool":"edge","zone":"","labels":{{}},"revision":{{"n":7,"digest":""}},"local":"{local}","peer":"{peer}","proxy":null}}"#
    );
    assert_eq!(line, expected + "\n");
}

/// What whoami says to a connection that begins with `header`, which comes in two parts.
async fn whoami_behind(node: &Node, header: &[u8]) -> serde_json::Value {
    let mut stream = node.connect("who");
    let (first, rest) = header.split_at(header.len() / 2);
    stream.write_all(first).unwrap();
    stream.flush().unwrap();
    eventually("the first part is there", || node.live.connections() > 0).await;
    stream.write_all(rest).unwrap();
    let said = serde_json::from_slice(&read_to_end(&mut stream)).unwrap();
    eventually("it is gone", || node.live.connections() == 0).await;
    said
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let node = Node::serving("{name: who, protocol: TCP, port: 0, proxyProtocol: {}, service: {whoami: {}}}").await;
    let said = whoami_behind(&node, b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n").await;
    assert_eq!((&said["peer"], &said["proxy"]["to"]), (&"192.0.2.7:5000".into(), &"198.51.100.1:80".into()));
    assert!(said["proxy"]["from"].as_str().unwrap().starts_with("127."), "{said}");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x13\x88\0\x50";
    let said = whoami_behind(&node, v2).await;
    assert_eq!((&said["peer"], &said["proxy"]["version"]), (&"192.0.2.7:5000".into(), &2.into()));
    let said = whoami_behind(&node, b"PROXY UNKNOWN\r\n").await;
    assert_eq!((&said["peer"], &said["proxy"]["to"]), (&said["proxy"]["from"], &serde_json::Value::Null));
}

#[tokio::test]
async fn what_follows_a_proxy_header_is_echoed_to_the_last_byte() {
    let node = Node::serving("{name: echo, protocol: TCP, port: 0, proxyProtocol: {}, service: {echo: {}}}").await;
    let mut stream = node.connect("echo");
    let sent = pattern(100_000);
    stream.write_all(b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\n").unwrap();
    assert!(echoes(&mut stream, &sent));
    // In one segment with the header, too.
    let mut stream = node.connect("echo");
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\nhello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!((&back, node.counts("echo").received_bytes), (b"hello", 100_005));
}

#[tokio::test]
async fn a_connection_without_its_proxy_header_is_closed_and_counted() {
    let node = Node::serving("{name: echo, protocol: TCP, port: 0, proxyProtocol: {}, service: {echo: {}}}").await;
    assert!(!echoes(&mut node.connect("echo"), b"GET / HTTP/1.0\r\n\r\n"));
    let half = node.connect("echo");
    half.shutdown(Shutdown::Write).unwrap();
    eventually("both are counted", || node.counts("echo").rejected.get("proxy_header") == Some(&2)).await;
    let counts = node.counts("echo");
    assert_eq!((counts.ended["refused"], counts.active, counts.received_bytes), (2, 0, 0));
}

#[tokio::test]
async fn nobody_but_a_load_balancer_may_name_the_client() {
    let listener = |from| {
        format!("{{name: echo, protocol: TCP, port: 0, proxyProtocol: {{from: [{from}]}}, service: {{echo: {{}}}}}}")
    };
    let mut node = Node::serving(&listener("10.0.0.0/8, '::1/128'")).await;
    let ask = |node: &Node| {
        let mut stream = node.connect("echo");
        // It may be closed by now.
        let _ = stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n");
        echoes(&mut stream, b"hello")
    };
    assert!(!ask(&node));
    let counts = node.counts("echo");
    assert_eq!((counts.rejected["proxy_source"], counts.accepted), (1, 0));
    node.apply(&listener("127.0.0.0/8")).await.unwrap();
    assert!(ask(&node), "a change holds at once");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_not_read_from() {
    let node = Node::serving(ECHO).await;
    let mut stream = node.connect("echo");
    stream.set_nonblocking(true).unwrap();
    let chunk = pattern(64 * 1024);
    let mut sent = Vec::new();
    // Full means full for a while: the node's and both kernels' buffers.
    let mut refused = 0;
    while refused < 20 {
        match stream.write(&chunk[sent.len() % chunk.len()..]) {
            Ok(n) => {
                sent.extend_from_slice(&chunk[sent.len() % chunk.len()..][..n]);
                refused = 0;
            }
            Err(e) => {
                assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
                refused += 1;
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let counts = node.counts("echo");
    assert!(counts.received_bytes - counts.transmitted_bytes <= 64 * 1024, "at most one read is kept");
    stream.set_nonblocking(false).unwrap();
    let mut back = vec![0; sent.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == sent);
}

#[tokio::test]
async fn all_shards_serve() {
    let node = Node::serving(ECHO).await;
    let mut streams: Vec<TcpStream> = (0..64).map(|_| node.connect("echo")).collect();
    assert!(streams.iter_mut().all(|stream| echoes(stream, b"hello")));
    let slots = node.live.counters.slots(node.live.sockets[0].identity());
    assert!(slots.iter().all(|slot| slot.accepted.get() > 0), "{slots:?}");
    assert_eq!((slots.len(), node.live.connections()), (2, 64));
}

#[tokio::test]
async fn a_reset_is_an_end_like_any_other() {
    let node = Node::serving(ECHO).await;
    let stream = node.connect("echo");
    eventually("it is accepted", || node.live.connections() == 1).await;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    eventually("it ends", || node.counts("echo").ended.get("connection_reset") == Some(&1)).await;
    assert!(echoes(&mut node.connect("echo"), b"hello"));
}
