//! The prober against sockets of this process: echoes, silence, refusals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use echo_proto::stamp::{self, Arrival, Identity, Name, Request};
use tokio::net::UdpSocket;

use super::*;

mod tcp;

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

/// How often each outcome was told.
fn told(events: &[Event], outcome: &str) -> u64 {
    events.iter().filter(|event| event.outcome.label() == outcome).count() as u64
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

#[tokio::test]
async fn an_answer_that_came_while_we_were_held_up_is_read_before_its_probe_is_called_silent() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addresses = [socket.local_addr().unwrap()];
    let (go, held_up) = std::sync::mpsc::channel();
    // By itself, so that it answers while nothing else here goes on: the third one, and then the two before it.
    let reflector = std::thread::spawn(move || {
        let mut buffer = [[0; 400]; 3];
        let came = buffer.each_mut().map(|message| socket.recv_from(message).unwrap().1);
        socket.send_to(&buffer[2], came[2]).unwrap();
        held_up.recv().unwrap();
        for n in 0..2 {
            socket.send_to(&buffer[n], came[n]).unwrap();
        }
        let _ = held_up.recv_timeout(Duration::from_millis(1_100));
    });
    let settings = Settings { timeout: Duration::from_secs(1), ..settings(Transport::Udp, 3) };
    let ((_never, stop), mut events, mut reflector) = (mpsc::channel(1), Vec::new(), Some(reflector));
    let run = run(&settings, &addresses, stop, |event: Event| {
        events.push(event);
        // As a process that is stopped until the time of all is over.
        if let Some(reflector) = reflector.take() {
            go.send(()).unwrap();
            reflector.join().unwrap();
        }
    });
    let report = run.await.unwrap().report();
    assert_eq!((report.answered, told(&events, "answered"), events.len()), (3, 3, 3), "{events:?}");
}

#[tokio::test]
async fn a_flood_of_answers_keeps_no_probe_from_being_sent_or_ended() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let mut buffer = [0; 1_000];
        let (len, peer) = socket.recv_from(&mut buffer).unwrap();
        while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let _ = socket.send_to(&buffer[..len], peer);
        }
    });
    let settings = Settings { timeout: Duration::from_millis(100), ..settings(Transport::Udp, 3) };
    let (report, _) = tokio::time::timeout(Duration::from_secs(5), probe(&settings, address)).await.unwrap();
    drop(end);
    // Our own socket has no room for such a flood, and so they may be among what it dropped.
    let Loss { unknown, by_us, .. } = report.loss;
    assert_eq!((report.sent, report.answered, unknown + by_us), (3, 1, 2));
}
