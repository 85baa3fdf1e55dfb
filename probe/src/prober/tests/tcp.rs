//! The prober against listeners of this process: echoes, ends, refusals, handshakes that nobody answers.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::super::*;
use super::{probe, settings, told};

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

/// Listens, and drops every handshake until its queue of one is taken from.
async fn blocked() -> (TcpListener, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let first = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener, first)
}

#[tokio::test]
async fn probes_that_waited_for_a_connection_beyond_their_time_are_lost_and_never_sent() {
    let (listener, held) = blocked().await;
    let address = listener.local_addr().unwrap();
    let (heal, healed) = tokio::sync::oneshot::channel::<()>();
    let came = tokio::spawn(async move {
        healed.await.unwrap();
        drop((held, listener.accept().await));
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut message, mut came) = (vec![0; 400], 0);
        while stream.read_exact(&mut message).await.is_ok() {
            came += 1;
            stream.write_all(&message).await.unwrap();
        }
        came
    });
    let settings = Settings {
        count: None,
        interval: Duration::from_millis(5),
        timeout: Duration::from_millis(200),
        ..settings(Transport::Tcp, 0)
    };
    let (stops, stop) = mpsc::channel(1);
    let (mut events, mut heal) = (Vec::new(), Some(heal));
    let addresses = [address];
    let run = run(&settings, &addresses, stop, |event: Event| {
        events.push(event);
        // Some have waited in vain; then, once the connection is there, some are answered.
        if told(&events, "unconnected") == 10 {
            heal.take().into_iter().for_each(|heal| heal.send(()).unwrap());
        }
        if told(&events, "answered") == 10 {
            let _ = stops.try_send(());
        }
    });
    let report = run.await.unwrap().report();
    let (unconnected, answered) = (told(&events, "unconnected"), told(&events, "answered"));
    assert_eq!((report.unconnected, report.loss.unknown), (unconnected, report.loss.network()), "{events:?}");
    assert!(unconnected >= 10 && answered >= 10, "{events:?}");
    assert_eq!(came.await.unwrap(), report.sent - unconnected, "what is over does not leave");
    let mut numbers: Vec<_> = events.iter().filter_map(|event| event.number).collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "each is told once: {events:?}");
}

#[tokio::test]
async fn a_connection_for_each_probe_has_no_more_than_the_probes_time() {
    let (listener, _held) = blocked().await;
    let settings = Settings { reconnect: true, timeout: Duration::from_millis(50), ..settings(Transport::Tcp, 4) };
    let (report, events) = probe(&settings, listener.local_addr().unwrap()).await;
    assert_eq!((told(&events, "unconnected"), report.unconnected, report.refused), (4, 4, 0), "{events:?}");
}

#[tokio::test]
async fn what_waited_for_a_connection_that_is_refused_is_told_the_cause() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let (sender, mut notes) = mpsc::channel(NOTES);
    let form = Form { session: 1, size: 64, stamped: false };
    let mut tasks = JoinSet::new();
    let line = tcp::Line::open(0, closed, form, &settings(Transport::Tcp, 3), sender, &mut tasks);
    // All wait before the first one is taken.
    (0..3).for_each(|sequence| line.send(sequence, Instant::now()).unwrap());
    for expected in 0..3 {
        let (_, note) = notes.recv().await.unwrap();
        assert!(matches!(note, Note::Refused { sequence: Some(sequence), .. } if sequence == expected), "{note:?}");
    }
}
