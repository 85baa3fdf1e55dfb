//! Stamped echo: who answers, and what is known of a session afterwards.

use echo_proto::stamp::{Answer, HEAD_BYTES, Request, STAMP_BYTES};

use super::*;

const ECHO: &str = "{name: tcp, protocol: TCP, port: 0, service: {echo: {}}}";

fn request(flow: u32, sequence: u64, len: usize) -> Vec<u8> {
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
    assert_eq!(flows[0].key.port, node.address("tcp").port());

    // Many at once, some of them cut in two by the reads.
    let many: Vec<u8> = (5..405).flat_map(|sequence| request(0, sequence, 700)).collect();
    let (mut writer, sent) = (stream.try_clone().unwrap(), many.clone());
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut last = None;
    for sequence in 5..405 {
        let told = answer(&mut stream, 700);
        assert_eq!(told.seen.highest, sequence);
        last = told.arrival.time;
    }
    assert!(last.unwrap().kernel);
    writing.join().unwrap();
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
        eventually("it is counted", || node.counts("tcp").ended.get("broken_message") == Some(&(count as u64 + 1)))
            .await;
    }
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
