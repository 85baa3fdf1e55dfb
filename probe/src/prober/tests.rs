//! The prober against sockets of this process: echoes, silence, refusals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use echo_proto::stamp::{self, Arrival, Identity, Name, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

fn settings(transport: Transport, count: u64) -> Settings {
    Settings {
        transport,
        count: Some(count),
        interval: Duration::from_millis(2),
        jitter: 10,
        size: 400,
        stamped: true,
        timeout: Duration::from_secs(2),
        dscp: None,
        dont_fragment: false,
        source_ports: 1,
        reconnect: false,
        clock_error: None,
    }
}

async fn probe(settings: &Settings, address: SocketAddr) -> (Report, Vec<Event>) {
    let mut events = Vec::new();
    let (_never, stop) = mpsc::channel(1);
    let run = run(settings, &[address], stop, |event| events.push(event)).await.unwrap();
    (run.report(), events)
}

/// Answers each datagram by what `answer` makes of it.
async fn reflector(answer: impl FnMut(&mut [u8], SocketAddr) -> usize + Send + 'static) -> SocketAddr {
    reflector_at(Ipv4Addr::LOCALHOST.into(), answer).await
}

async fn reflector_at(
    ip: IpAddr,
    mut answer: impl FnMut(&mut [u8], SocketAddr) -> usize + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer).await {
            for _ in 0..answer(&mut buffer[..len], peer) {
                let _ = socket.send_to(&buffer[..len], peer).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_plain_echo_is_timed_by_the_kernel() {
    let address = reflector(|_, _| 1).await;
    let (report, events) = probe(&settings(Transport::Udp, 20), address).await;
    assert_eq!((report.sent, report.answered, report.stamped, report.loss.network()), (20, 20, 0, 0), "{events:?}");
    assert_eq!(report.rtt_by_kernel, 20, "{events:?}");
    assert_eq!(report.answerers.keys().collect::<Vec<_>>(), [&address.to_string()]);
    let numbers: Vec<_> = events.iter().filter_map(|event| event.number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_ipv6_address_is_probed_like_any_other() {
    let address = reflector_at(Ipv6Addr::LOCALHOST.into(), |_, _| 1).await;
    let settings = Settings { dscp: Some(46), dont_fragment: true, ..settings(Transport::Udp, 5) };
    let (report, events) = probe(&settings, address).await;
    assert_eq!((report.answered, report.rtt_by_kernel), (5, 5), "{events:?}");
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let (report, events) = probe(&settings, address).await;
    assert_eq!(report.refused, 5, "{events:?}");
}

#[tokio::test]
async fn who_knows_stamps_tells_where_probes_were_lost() {
    let mut seen = Seen::default();
    // Of ten, the second never arrives, the third's answer gets lost, the fourth is dropped, the fifth doubled.
    let address = reflector(move |message, client| {
        let sequence = Request::read(message).unwrap().sequence;
        if sequence == 1 {
            return 0;
        }
        seen.count += 1;
        seen.highest = sequence;
        seen.dropped += u64::from(sequence == 3);
        let identity = Identity { node: Name::new("node-1"), ..Identity::default() };
        let arrival = Arrival { time: None, hit: client, client, ttl: None, traffic_class: None };
        stamp::answer(message, &identity, &arrival, &seen, None);
        match sequence {
            2 | 3 => 0,
            4 => 2,
            _ => 1,
        }
    })
    .await;
    let (report, events) =
        probe(&Settings { timeout: Duration::from_millis(300), ..settings(Transport::Udp, 10) }, address).await;
    let expected = Loss { there: 1, back: 1, by_node: 1, ..Loss::default() };
    assert_eq!((report.sent, report.answered, report.loss), (10, 7, expected), "{events:?}");
    assert_eq!((report.duplicates.all, report.duplicates.back), (1, 1));
    assert_eq!(report.answerers["node-1"].answers, 7);
    assert_eq!(events.iter().filter(|event| event.outcome.label() == "silent").count(), 3);
}

#[tokio::test]
async fn a_port_that_nobody_has_is_refused_and_not_lost() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    for stamped in [true, false] {
        let (report, events) = probe(&Settings { stamped, ..settings(Transport::Udp, 5) }, address).await;
        assert_eq!((report.sent, report.refused, report.unsent, report.loss.network()), (5, 5, 0, 0), "{events:?}");
        let told = events.iter().all(
            |e| matches!(&e.outcome, Outcome::Refused(cause) if cause.contains("127.0.0.1 says: port unreachable")),
        );
        assert!(told, "{events:?}");
    }
}

#[tokio::test]
async fn another_text_is_no_answer() {
    let address = reflector(|message, _| {
        message.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
        1
    })
    .await;
    let (report, _) =
        probe(&Settings { timeout: Duration::from_millis(100), ..settings(Transport::Udp, 3) }, address).await;
    assert_eq!((report.answered, report.wrong, report.loss.unknown), (0, 3, 3));
}

#[tokio::test]
async fn flows_have_source_ports_of_their_own_and_take_turns() {
    let (sender, mut ports) = mpsc::unbounded_channel();
    let address = reflector(move |_, peer| {
        sender.send(peer.port()).unwrap();
        1
    })
    .await;
    let (report, events) = probe(&Settings { source_ports: 3, ..settings(Transport::Udp, 9) }, address).await;
    assert_eq!(report.answered, 9);
    let mut seen: Vec<u16> = std::iter::from_fn(|| ports.try_recv().ok()).collect();
    assert_eq!(seen.len(), 9);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 3);
    assert!(events.iter().all(|event| event.number.unwrap() % 3 == (event.flow as u64 + 1) % 3));
}

#[tokio::test]
async fn what_is_too_large_is_not_sent_and_the_next_run_of_times_is_right() {
    let address = reflector(|_, _| 1).await;
    let (report, _) = probe(&Settings { size: 65_507, ..settings(Transport::Udp, 3) }, address).await;
    assert_eq!((report.answered, report.rtt_by_kernel), (3, 3));
}

#[tokio::test]
async fn a_stop_waits_for_what_is_out_and_a_second_one_does_not() {
    let addresses = [reflector(|_, _| 0).await];
    for stops in [1, 2] {
        let (told, stop) = mpsc::channel(2);
        let settings = Settings { timeout: Duration::from_millis(50), count: None, ..settings(Transport::Udp, 0) };
        let mut silent = 0;
        let run = run(&settings, &addresses, stop, |event| {
            assert_eq!(event.outcome.label(), "silent");
            silent += 1;
            if silent == 1 {
                (0..stops).for_each(|_| told.try_send(()).unwrap());
            }
        });
        let report = run.await.unwrap().report();
        assert_eq!((report.loss.unknown, report.sent), (silent, silent));
        assert_eq!(report.cut_short > 0, stops == 2, "{report:?}");
    }
}

/// Echoes connections; each is closed after so many bytes.
async fn tcp_echo(bytes: u64) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader.take(bytes), &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    address
}

#[tokio::test]
async fn one_connection_carries_all_probes_and_its_time_is_apart() {
    let address = tcp_echo(u64::MAX).await;
    for (size, stamped) in [(8, false), (64, true), (400, true), (65_507, true)] {
        let (report, events) = probe(&Settings { size, stamped, ..settings(Transport::Tcp, 10) }, address).await;
        assert_eq!((report.sent, report.answered), (10, 10), "{size} {events:?}");
        assert_eq!((report.connect.count(), report.rtt.count()), (1, 10));
    }
}

#[tokio::test]
async fn a_connection_for_each_probe_is_made_each_time() {
    let address = tcp_echo(u64::MAX).await;
    let (report, events) = probe(&Settings { reconnect: true, ..settings(Transport::Tcp, 10) }, address).await;
    assert_eq!((report.answered, report.connect.count()), (10, 10), "{events:?}");
}

#[tokio::test]
async fn a_connection_that_ends_is_told_and_made_again() {
    // One and a half probes each.
    let address = tcp_echo(600).await;
    let settings = Settings { interval: Duration::from_millis(20), ..settings(Transport::Tcp, 6) };
    let (report, events) = probe(&settings, address).await;
    assert_eq!((report.answered, report.refused, report.connect.count()), (3, 3, 3), "{events:?}");
    let told = |event: &Event| matches!(&event.outcome, Outcome::Refused(cause) if cause.contains("closed"));
    assert_eq!(events.iter().filter(|event| told(event)).count(), 3, "{events:?}");
}

#[tokio::test]
async fn a_connection_that_is_refused_is_told() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for reconnect in [false, true] {
        let (report, events) = probe(&Settings { reconnect, ..settings(Transport::Tcp, 3) }, address).await;
        assert_eq!((report.refused, report.loss.network()), (3, 0), "{events:?}");
    }
}
