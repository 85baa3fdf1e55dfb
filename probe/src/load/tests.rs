//! Load against peers that answer well and badly.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use super::*;

fn load(transport: Transport) -> Load {
    Load {
        transport,
        connections: 3,
        reconnect: false,
        size: 100,
        in_flight: 4,
        duration: Duration::from_millis(50),
        timeout: Duration::from_millis(300),
        rate: None,
    }
}

/// A TCP peer that sends back what `answer` makes of it.
fn tcp_peer(answer: fn(&mut [u8])) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 1_000];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    answer(&mut buffer[..n]);
                    stream.write_all(&buffer[..n]).unwrap();
                }
            });
        }
    });
    address
}

/// A UDP peer that sends back what `answer` makes of it.
fn udp_peer(answer: fn(&mut [u8])) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 10_000];
        while let Ok((n, client)) = socket.recv_from(&mut buffer) {
            answer(&mut buffer[..n]);
            let _ = socket.send_to(&buffer[..n], client);
        }
    });
    address
}

/// Puts it on one address.
async fn put(load: Load, address: SocketAddr, live: &Arc<Live>) -> Report {
    run(load, &[address], live).await.iter().sum()
}

#[tokio::test]
async fn right_answers_are_counted_and_timed() {
    let (tcp, udp) = (tcp_peer(|_| {}), udp_peer(|_| {}));
    let anew = Load { reconnect: true, ..load(Transport::Tcp) };
    // Too long to be cut from one message.
    let long = Load { size: 9_000, ..load(Transport::Udp) };
    for (load, address) in [(load(Transport::Tcp), tcp), (anew, tcp), (load(Transport::Udp), udp), (long, udp)] {
        let live = Arc::default();
        let report = put(load, address, &live).await;
        assert_eq!((live.sent(), live.answered()), (report.echoes, report.echoes));
        assert_eq!((report.sent, report.unsent), (report.echoes, 0));
        assert!(report.elapsed() >= load.duration, "{report:?}");
        assert_eq!(report.latencies().map(|(_, echoes)| echoes).sum::<u64>(), report.echoes);
        assert!(report.echoes > 0 && report.rate() > 0.0, "{report:?}");
        assert!(report.latency(0.5) > Duration::ZERO && report.latency(0.5) <= report.latency(0.99));
        let bad = (report.mismatches, report.lost, report.strays, report.errors, report.first_error);
        assert_eq!(bad, (0, 0, 0, 0, None));
    }
}

#[tokio::test]
async fn a_changed_byte_is_a_mismatch() {
    // Over TCP several messages may come in one read.
    let change = |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte ^= 1);
    let udp = udp_peer(|bytes| bytes[50] ^= 1);
    for (load, address) in [(load(Transport::Tcp), tcp_peer(change)), (load(Transport::Udp), udp)] {
        let report = put(load, address, &Arc::default()).await;
        assert!(report.echoes == 0 && report.mismatches > 0, "{report:?}");
    }
}

#[tokio::test]
async fn a_datagram_with_a_wrong_number_is_no_late_one() {
    let report = put(load(Transport::Udp), udp_peer(|bytes| bytes[0] ^= 1), &Arc::default()).await;
    assert_eq!((report.mismatches, report.lost, report.strays), (12, 12, 0), "{report:?}");
}

#[tokio::test]
async fn an_answer_that_comes_twice_is_told_and_takes_no_ones_place() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1_000];
        while let Ok((n, client)) = socket.recv_from(&mut buffer) {
            let _ = [0; 2].map(|_| socket.send_to(&buffer[..n], client));
        }
    });
    for in_flight in [1, 4] {
        let load = Load { in_flight, ..load(Transport::Udp) };
        let report = put(load, address, &Arc::default()).await;
        assert_eq!((report.lost, report.mismatches, report.errors), (0, 0, 0), "{report:?}");
        // The last ones of each socket may come after its end.
        let unseen = (in_flight * load.connections) as u64;
        assert!(report.echoes > unseen && report.strays <= report.echoes, "{report:?}");
        assert!(report.strays + unseen >= report.echoes, "{report:?}");
    }
}

#[tokio::test]
async fn each_address_gets_its_share_and_a_report_of_its_own() {
    let (good, bad) = (tcp_peer(|_| {}), tcp_peer(|bytes| bytes.iter_mut().for_each(|byte| *byte ^= 1)));
    let (rate, duration) = (NonZeroU32::new(1_000), Duration::from_millis(100));
    let load = Load { connections: 4, rate, duration, ..load(Transport::Tcp) };
    let reports = run(load, &[good, bad], &Arc::default()).await;
    let told: Vec<_> = reports.iter().map(|report| (report.sent, report.echoes, report.mismatches)).collect();
    assert_eq!(told, [(50, 50, 0), (50, 0, 50)]);
    let all: Report = reports.iter().sum();
    assert_eq!((all.sent, all.echoes, all.mismatches, all.elapsed() >= duration), (100, 50, 50, true));
}

#[tokio::test]
async fn a_stop_ends_it_with_what_there_is() {
    let (tcp, udp) = (tcp_peer(|_| {}), udp_peer(|_| {}));
    let long = |transport, rate| {
        let (duration, rate) = (Duration::from_secs(3_600), NonZeroU32::new(rate));
        Load { duration, rate, ..load(transport) }
    };
    let anew = Load { reconnect: true, ..long(Transport::Tcp, 0) };
    let cases = [
        (long(Transport::Tcp, 0), tcp),
        (long(Transport::Udp, 0), udp),
        (anew, tcp),
        // The others would wait for hours.
        (Load { connections: 100, ..long(Transport::Udp, 1) }, udp),
    ];
    for (load, address) in cases {
        let live = Arc::<Live>::default();
        let stop = async {
            while live.answered() == 0 {
                tokio::task::yield_now().await;
            }
            live.stop();
        };
        let (report, ()) = tokio::join!(put(load, address, &live), stop);
        assert!(report.echoes > 0 && report.elapsed() < load.duration / 2, "{report:?}");
        assert_eq!((report.lost, report.unsent, report.errors), (0, 0, 0), "{report:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    // A port that the kernel gives to nobody.
    let free = "127.0.0.1:1".parse().unwrap();
    for transport in [Transport::Tcp, Transport::Udp] {
        // Found out long before the end.
        let load =
            Load { duration: Duration::from_secs(3_600), timeout: Duration::from_secs(3_600), ..load(transport) };
        let report = put(load, free, &Arc::default()).await;
        assert_eq!((report.echoes, report.errors, report.lost), (0, 3, report.sent));
        assert!(report.first_error.unwrap().contains("refused"));
    }
}

#[tokio::test]
async fn connections_for_each_message_tell_of_a_refusal_and_of_what_comes_too_much() {
    let anew = Load { reconnect: true, ..load(Transport::Tcp) };
    let refused = put(anew, "127.0.0.1:1".parse().unwrap(), &Arc::default()).await;
    assert!(refused.echoes == 0 && refused.errors > 0 && refused.errors == refused.lost, "{refused:?}");
    assert!(refused.first_error.unwrap().contains("refused"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // One byte more than it was sent.
            let mut buffer = [0; 101];
            let _ = stream.read_exact(&mut buffer[..100]).and_then(|()| stream.write_all(&buffer));
        }
    });
    let report = put(anew, address, &Arc::default()).await;
    assert!(report.echoes > 0 && report.strays == report.echoes, "{report:?}");
    assert_eq!((report.lost, report.mismatches, report.errors), (0, 0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_datagram_without_an_answer_is_lost() {
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let report = put(load(Transport::Udp), deaf.local_addr().unwrap(), &Arc::default()).await;
    assert_eq!((report.echoes, report.lost), (0, 12));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_an_answer_is_lost() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut load = load(Transport::Tcp);
    // Given up long before the end.
    load.duration = Duration::from_secs(3_600);
    let report = put(load, deaf.local_addr().unwrap(), &Arc::default()).await;
    // All that were in flight.
    assert_eq!((report.echoes, report.lost, report.errors), (0, 12, 3), "it sends nothing more, which is told");
    assert!(report.elapsed() <= 2 * load.timeout, "{report:?}");
}

#[tokio::test]
async fn a_lost_datagram_keeps_no_other_waiting() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1_000];
        let mut lost = false;
        while let Ok((n, client)) = socket.recv_from(&mut buffer) {
            if std::mem::replace(&mut lost, true) {
                let _ = socket.send_to(&buffer[..n], client);
            }
        }
    });
    let duration = Duration::from_millis(500);
    let load = Load { connections: 1, in_flight: 2, duration, ..load(Transport::Udp) };
    let report = put(load, address, &Arc::default()).await;
    assert_eq!((report.lost, report.strays, report.errors), (1, 0, 0));
    // With its place also its neighbour's would stand still: one echo in all.
    assert!(report.echoes > 2 && !report.is_clean(), "{report:?}");
}

#[tokio::test]
#[allow(clippy::disallowed_methods)] // A peer that stands still is what this is about.
async fn an_open_loop_counts_from_when_a_message_was_meant_to_go() {
    // Stands still once, before its first answer.
    let address = tcp_peer(|bytes| {
        if bytes[..8] == [0; 8] {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let (duration, rate) = (Duration::from_millis(200), NonZeroU32::new(1_000));
    let load = Load { connections: 1, in_flight: 1, duration, rate, ..load(Transport::Tcp) };
    let report = put(load, address, &Arc::default()).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.echoes, 200);
    // Those that were meant to go meanwhile waited as well; a closed loop would have seen one slow echo.
    assert!(report.latency(0.75) >= Duration::from_millis(25), "{report:?}");
    assert!(report.held >= 50, "{report:?}");
}

#[tokio::test]
async fn who_talks_unasked_is_no_echo_and_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Until it is closed.
            thread::spawn(move || while stream.write_all(&[7; 7_000]).is_ok() {});
        }
    });
    let load = Load { duration: Duration::from_secs(3_600), ..load(Transport::Tcp) };
    let report = put(load, address, &Arc::default()).await;
    assert_eq!((report.echoes, report.errors), (0, 3), "{report:?}");
    assert!(report.first_error.unwrap().contains("sends more than it was sent"));
}

#[tokio::test]
async fn a_connection_that_is_made_anew_outlives_a_far_end_that_was_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let live = Arc::new(Live::default());
    thread::spawn(move || {
        let mut streams = listener.incoming().flatten();
        // Takes them, and says nothing.
        streams.by_ref().take(5).for_each(drop);
        for mut stream in streams {
            let mut buffer = [0; 100];
            while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
        }
    });
    let load = Load { reconnect: true, connections: 1, duration: Duration::from_secs(3_600), ..load(Transport::Tcp) };
    let stop = Arc::clone(&live);
    let watched = tokio::spawn(async move {
        while stop.answered() < 3 {
            tokio::task::yield_now().await;
        }
        stop.stop();
    });
    let report = put(load, address, &live).await;
    watched.await.unwrap();
    assert_eq!((report.lost, report.errors), (5, 5), "{report:?}");
    assert!(report.echoes >= 3 && report.sent == report.echoes + 5, "{report:?}");
}
