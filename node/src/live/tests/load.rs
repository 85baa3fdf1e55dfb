//! Changes while traffic flows.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

#[tokio::test]
async fn changes_lose_nothing_of_what_they_leave_alone() {
    const BOTH: &str = "{name: t, protocol: TCP, port: 0, service: {echo: {}}},
        {name: u, protocol: UDP, port: 0, service: {echo: {}}}";
    let mut node = Node::serving(BOTH).await;
    let (tcp, udp) = (node.address("t"), node.address("u"));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4_u8)
        .map(|client| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut stream, socket) = (connect(tcp), udp_client("127.0.0.1:0"));
                let mut rounds = 0_u64;
                while !stop.load(Ordering::Relaxed) || rounds == 0 {
                    rounds += 1;
                    let message = [client; 500];
                    assert!(echoes(&mut stream, &message), "an open connection");
                    assert!(echoes(&mut connect(tcp), &message), "a new connection");
                    socket.send_to(&message, udp).unwrap();
                    let mut answer = [0; 600];
                    assert_eq!(socket.recv_from(&mut answer).unwrap(), (500, udp));
                    assert_eq!(answer[..500], message);
                }
                rounds
            })
        })
        .collect();
    for round in 0..60 {
        let limits = format!("{{maxConnections: {}}}", 1_000 + round);
        let more = ["", ", {name: g, protocol: TCP, port: 0, service: {greet: {}}}"][round % 2];
        node.apply_with(&format!("{BOTH}{more}"), &limits).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let rounds: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let tcp = node.counts("t");
    assert_eq!((tcp.accepted, tcp.rejected.len()), (rounds + 4, 0));
    // An answer arrives before it is counted.
    eventually("all answers are counted", || node.counts("u").transmitted_packets == rounds).await;
    assert!(node.counts("u").dropped.is_empty());
}
