//! Silent, slow and too many clients.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;

async fn intake(limit: usize, patience: Patience) -> (Intake, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Intake::new(listener, limit, patience), address)
}

/// Both ends of one connection.
async fn pair(patience: Patience) -> (Connection, TcpStream) {
    let (mut intake, address) = intake(1, patience).await;
    let client = TcpStream::connect(address).await.unwrap();
    (intake.next().await.0, client)
}

fn timed_out(result: io::Result<usize>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[tokio::test]
async fn the_one_too_many_waits_for_a_place() {
    let (mut intake, address) = intake(1, Patience::EachAnswer).await;
    let _clients = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    let first = intake.next().await;
    assert!(timeout(Duration::from_millis(50), intake.next()).await.is_err());
    drop(first);
    assert!(timeout(LIMIT, intake.next()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed() {
    for patience in [Patience::EachAnswer, Patience::Preface] {
        let (mut connection, _client) = pair(patience).await;
        let began = Instant::now();
        assert!(timed_out(connection.read(&mut [0; 64]).await));
        assert!(began.elapsed() >= LIMIT && began.elapsed() < 2 * LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_byte_by_byte_is_closed() {
    let (mut connection, mut client) = pair(Patience::EachAnswer).await;
    let slow = tokio::spawn(async move {
        while client.write_all(b"G").await.is_ok() {
            sleep(LIMIT / 8).await;
        }
    });
    let began = Instant::now();
    while connection.read(&mut [0; 64]).await.is_ok() {}
    assert!(began.elapsed() < 2 * LIMIT, "{:?}", began.elapsed());
    slow.abort();
}

#[tokio::test(start_paused = true)]
async fn an_answer_starts_the_time_anew() {
    let (mut connection, mut client) = pair(Patience::EachAnswer).await;
    for _ in 0..3 {
        sleep(LIMIT / 2).await;
        client.write_all(b"GET").await.unwrap();
        assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 3);
        connection.write_all(b"ok").await.unwrap();
    }
    assert!(timed_out(connection.read(&mut [0; 64]).await));
}

#[tokio::test(start_paused = true)]
async fn a_preface_ends_the_deadline() {
    let (mut connection, mut client) = pair(Patience::Preface).await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), PREFACE_BYTES);
    assert!(timeout(10 * LIMIT, connection.read(&mut [0; 64])).await.is_err(), "it may be silent now");
}
