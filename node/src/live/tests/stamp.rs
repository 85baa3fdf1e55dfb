//! Stamped echo: who answers, and what is known of a session afterwards.

use echo_proto::stamp::{Answer, HEAD_BYTES, Request, STAMP_BYTES};

use super::*;

const ECHO: &str = "{name: tcp, protocol: TCP, port: 0, service: {echo: {}}}";

pub(super) fn request(flow: u32, sequence: u64, len: usize) -> Vec<u8> {
    let mut message = pattern(len);
    assert!(Request { session: 0xfeed, flow, sequence, ..Request::default() }.write(&mut message));
    message
}

fn answer(stream: &mut TcpStream, len: usize) -> Answer {
    let mut message = vec![0; len];
    stream.read_exact(&mut message).unwrap();
    assert!(message[STAMP_BYTES..] == pattern(len)[STAMP_BYTES..], "what lies beyond comes back");
    Answer::read(&message).unwrap()
}

#[tokio::test]
async fn a_connection_that_begins_with_the_magic_is_stamped_for_its_life() {
    let node = Node::serving(ECHO).await;
    let mut stream = node.connect("tcp");
    for (sequence, len) in [(0, STAMP_BYTES), (1, 65_536), (2, 1000), (2, 1000), (4, 400)] {
        stream.write_all(&request(0, sequence, len)).unwrap();
        let told = answer(&mut stream, len);
        assert_eq!((told.identity.node.as_str(), told.identity.revision), ("n-1", 7));
        assert_eq!((told.arrival.hit, told.arrival.client), (node.address("tcp"), stream.local_addr().unwrap()));
        let (received, sent) = (told.arrival.time.unwrap(), told.transmitted.unwrap());
        assert!(received.nanos <= sent.nanos && !sent.kernel, "{told:?}");
        assert!(sequence > 0 || !received.kernel, "the kernel is asked once the first was read");
        assert_eq!(told.seen.highest, sequence);
    }
    let flows = node.live.sessions().list(Some(0xfeed), 9).await.unwrap().flows;
    let seen = flows[0].seen;
    assert_eq!((flows.len(), seen.count, seen.duplicates, seen.window), (1, 5, 1, 0b11101));
    assert_eq!(flows[0].key.at, node.address("tcp"));

    // Many at once, some of them cut in two by the reads.
    let many: Vec<u8> = (5..405).flat_map(|sequence| request(0, sequence, 700)).collect();
    let (mut writer, sent) = (stream.try_clone().unwrap(), many.clone());
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    for sequence in 5..405 {
        assert_eq!(answer(&mut stream, 700).seen.highest, sequence);
    }
    writing.join().unwrap();

    // The kernel begins to note times some while after the first socket of the host has asked for them.
    let mut sequences = 405..;
    eventually("the kernel tells the times", || {
        stream.write_all(&request(0, sequences.next().unwrap(), 400)).unwrap();
        answer(&mut stream, 400).arrival.time.unwrap().kernel
    })
    .await;
}

#[tokio::test]
async fn a_stamped_connection_that_is_out_of_step_is_closed_and_counted() {
    let node = Node::serving(ECHO).await;
    let mut long = request(0, 1, STAMP_BYTES);
    long[20..HEAD_BYTES].copy_from_slice(&65_537_u32.to_be_bytes());
    for (count, wrong) in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), long].into_iter().enumerate() {
        let mut stream = node.connect("tcp");
        stream.write_all(&request(0, 0, STAMP_BYTES)).unwrap();
        answer(&mut stream, STAMP_BYTES);
        stream.write_all(&wrong).unwrap();
        assert!(read_to_end(&mut stream).is_empty());
        drop(stream);
        eventually("it is counted", || node.counts("tcp").ended.get("broken_message") == Some(&(count as u64 + 1)))
            .await;
    }
}

#[tokio::test]
async fn what_was_good_is_answered_whatever_follows_it() {
    let node = Node::serving(ECHO).await;
    let mut stream = node.connect("tcp");
    // More than is read at once: a close that leaves some of it unread would be a reset.
    stream.write_all(&[request(0, 0, STAMP_BYTES), pattern(300_000)].concat()).unwrap();
    eventually("it is answered", || node.counts("tcp").transmitted_bytes == STAMP_BYTES as u64).await;
    assert_eq!(answer(&mut stream, STAMP_BYTES).seen.count, 1);
    assert!(read_to_end(&mut stream).is_empty());
    drop(stream);
    eventually("it is counted", || node.counts("tcp").ended.get("broken_message") == Some(&1)).await;
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_message_is_told_as_such() {
    let node = Node::serving(ECHO).await;
    let mut stream = node.connect("tcp");
    let part = &request(0, 1, STAMP_BYTES)[..100];
    stream.write_all(&[&request(0, 0, STAMP_BYTES)[..], part].concat()).unwrap();
    answer(&mut stream, STAMP_BYTES);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).is_empty());
    eventually("it is counted", || node.counts("tcp").ended.get("broken_message") == Some(&1)).await;
}

#[tokio::test]
async fn a_plain_connection_stays_plain() {
    let node = Node::serving(ECHO).await;
    let mut stream = node.connect("tcp");
    assert!(echoes(&mut stream, b"hello"));
    assert!(echoes(&mut stream, &request(0, 0, 500)), "the first read has decided");
    assert!(node.live.sessions().list(None, 9).await.unwrap().flows.is_empty());
}

#[tokio::test]
async fn once_answers_one_stamped_message() {
    let node = Node::serving("{name: once, protocol: TCP, port: 0, service: {echo: {once: true}}}").await;
    let mut stream = node.connect("once");
    stream.write_all(&[request(0, 0, 400), request(0, 1, 400)].concat()).unwrap();
    assert_eq!(answer(&mut stream, 400).seen.count, 1);
    assert!(read_to_end(&mut stream).is_empty());
}

const UDP: &str = "{name: udp, protocol: UDP, port: 0, service: {echo: {}}}";

fn ask(client: &UdpSocket, message: &[u8]) -> Vec<u8> {
    client.send(message).unwrap();
    let mut back = vec![0; 65_536];
    let len = client.recv(&mut back).unwrap();
    back.truncate(len);
    back
}

fn client_of(node: &Node, listener: &str) -> UdpSocket {
    let client = udp_client("127.0.0.1:0");
    client.connect(node.address(listener)).unwrap();
    client
}

#[tokio::test]
async fn a_stamped_datagram_tells_who_answered_and_what_was_seen() {
    let node = Node::serving(UDP).await;
    let client = client_of(&node, "udp");
    socket2::SockRef::from(&client).set_tos_v4(0xb9).unwrap();
    for (sequence, len) in [(0, STAMP_BYTES), (2, 65_507), (2, 600)] {
        let back = ask(&client, &request(3, sequence, len));
        assert!(back.len() == len && back[STAMP_BYTES..] == pattern(len)[STAMP_BYTES..]);
        let told = Answer::read(&back).unwrap();
        assert_eq!((told.identity.node.as_str(), told.identity.clock_error), ("n-1", Some(3000)));
        assert_eq!((told.arrival.hit, told.arrival.client), (node.address("udp"), client.local_addr().unwrap()));
        // The kernel is asked once the first has come.
        let seen = (sequence > 0).then_some(0xb9);
        assert_eq!((told.arrival.traffic_class, told.arrival.ttl.is_some()), (seen, seen.is_some()));
        let (received, sent) = (told.arrival.time.unwrap(), told.transmitted.unwrap());
        assert!(received.nanos <= sent.nanos && (received.kernel || sequence == 0), "{told:?}");
    }
    let flows = node.live.sessions().list(None, 9).await.unwrap().flows;
    let seen = flows[0].seen;
    assert_eq!((flows.len(), seen.count, seen.duplicates, seen.lowest, seen.window), (1, 3, 1, 0, 0b101));
}

#[tokio::test]
async fn an_answer_is_never_answered_and_what_is_not_understood_is_plain() {
    let node = Node::serving(UDP).await;
    let client = client_of(&node, "udp");
    let answer = ask(&client, &request(0, 0, 400));
    client.send(&answer).unwrap();
    let mut newer = request(0, 1, 400);
    newer[16] = 2;
    assert!(ask(&client, &newer) == newer, "the next that comes back is this one");
    let short = &request(0, 1, 400)[..STAMP_BYTES - 1];
    assert!(ask(&client, short) == short);
    assert_eq!(node.counts("udp").dropped["loop_guard"], 1);
    assert_eq!(node.live.sessions().list(None, 9).await.unwrap().flows[0].seen.count, 1);
}

#[tokio::test]
async fn what_we_drop_of_a_session_is_told_as_ours() {
    let mut node = Node::on(own_address());
    node.apply_with(UDP, "{maxDatagram: 500}").await.unwrap();
    let client = client_of(&node, "udp");
    client.send(&request(0, 0, 501)).unwrap();
    let seen = Answer::read(&ask(&client, &request(0, 1, 500))).unwrap().seen;
    assert_eq!((seen.count, seen.dropped, seen.window), (2, 1, 0b11), "it did arrive");
    let flow = node.live.sessions().list(None, 9).await.unwrap().flows.remove(0);
    assert_eq!(flow.dropped().collect::<Vec<_>>(), [("oversize", 1)]);
}

#[tokio::test]
async fn a_discarding_listener_knows_no_sessions() {
    let node = Node::serving("{name: sink, protocol: UDP, port: 0, service: {discard: {}}}").await;
    client_of(&node, "sink").send(&request(0, 0, 400)).unwrap();
    eventually("it is counted", || node.counts("sink").received_packets == 1).await;
    assert!(node.live.sessions().list(None, 9).await.unwrap().flows.is_empty());
}
