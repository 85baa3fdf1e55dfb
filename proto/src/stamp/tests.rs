//! The format as others rely on it: frozen bytes, the documented table, and arbitrary bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A request of 332 bytes as version 1 writes it, for ever. Line by line as in the table: head, who asks, trace, room
/// for the answer, and what lies beyond the stamp.
const REQUEST: &str = "314fc6890ee9bac7f2ebdcf44f6ce2c8 01 00 0000 0000014c\
    0102030405060708 00000009 01 000000 000000000000000a 000000000000000b\
    4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7\
    [248] deadbeef";

/// Its answer.
const ANSWERED: &str = "314fc6890ee9bac7f2ebdcf44f6ce2c8 01 01 0077 0000014c\
    0102030405060708 00000009 01 000000 000000000000000a 000000000000000b\
    4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7\
    18a5f0d3b1e60001 18a5f0d3b1e60002\
    00000000000000000000ffff0a000001 20010db8000000000000000000000007 1b5f c001 3f b8 0102\
    0000000000000003 0000000000000001 0000000000000008 000000000000000a 0000000000000005 0000000000000002\
    00000007 0a0f4cc6 000000fa 00000005\
    6e6f64652d31[58] 7a6f6e652d6161616161616161616161616161616161616161616161616161616161616161616161616161616161\
    616161616161616161616161616161616161 deadbeef";

/// Hexadecimal, with `[n]` for n zeros.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let mut rest = text.as_str();
    while let Some(pair) = rest.get(..2) {
        if let Some(zeros) = rest.strip_prefix('[') {
            let (count, after) = zeros.split_once(']').unwrap();
            bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0);
            rest = after;
        } else {
            bytes.push(u8::from_str_radix(pair, 16).unwrap());
            rest = &rest[2..];
        }
    }
    bytes
}

fn request() -> Request {
    let trace = Trace {
        id: bytes("4bf92f3577b34da6a3ce929d0e0e4736").try_into().unwrap(),
        parent: bytes("00f067aa0ba902b7").try_into().unwrap(),
        flags: 1,
    };
    Request { session: 0x0102_0304_0506_0708, flow: 9, sequence: 10, sent: 11, trace: Some(trace) }
}

fn reply() -> Answer {
    Answer {
        request: request(),
        identity: Identity {
            node: Name::new("node-1"),
            zone: Name::new(&format!("zone-{}", "a".repeat(59))),
            revision: 7,
            digest: [0x0a, 0x0f, 0x4c, 0xc6],
            clock_error: Some(250),
        },
        arrival: Arrival {
            time: Some(Time { nanos: 0x18a5_f0d3_b1e6_0001, kernel: true }),
            hit: "10.0.0.1:7007".parse().unwrap(),
            client: "[2001:db8::7]:49153".parse().unwrap(),
            ttl: Some(63),
            traffic_class: Some(0xb8),
        },
        seen: Seen {
            memory: 0x0102,
            count: 3,
            duplicates: 1,
            lowest: 8,
            highest: 10,
            window: 0b101,
            dropped: 2,
            overflowed: 5,
        },
        transmitted: Some(Time { nanos: 0x18a5_f0d3_b1e6_0002, kernel: false }),
    }
}

fn write_answer(message: &mut [u8], reply: &Answer) {
    answer(message, &reply.identity, &reply.arrival, &reply.seen, reply.transmitted);
}

#[test]
fn the_bytes_of_version_1_never_change() {
    let mut message = vec![0xff; STAMP_BYTES];
    message.extend([0xde, 0xad, 0xbe, 0xef]);
    assert!(request().write(&mut message));
    assert_eq!(message, bytes(REQUEST));
    assert_eq!(Request::read(&message), Some(request()));

    // Whatever stood in the answer's room is written over.
    message[80..STAMP_BYTES].fill(0xff);
    write_answer(&mut message, &reply());
    assert_eq!(message, bytes(ANSWERED));
    assert_eq!(Answer::read(&message), Some(reply()));
}

#[test]
fn the_documented_table_is_the_layout() {
    let source = include_str!("../stamp.rs");
    let rows: Vec<Vec<&str>> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .map(|row| row.split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row[0].parse::<usize>().is_ok())
        .collect();
    let mut end = 0;
    for row in &rows {
        let (offset, len): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!(offset, end, "{row:?}");
        end += len;
        let code = format!(": Field<{len}> = Field({offset});");
        let field = format!("const {}{code}", row[2].to_uppercase());
        assert!(source.contains(&field) || row[2] == "zero", "no {field}");
    }
    assert_eq!((end, rows.len()), (STAMP_BYTES, 34));
    assert!(source.contains(&MAGIC.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
}

#[test]
fn only_a_whole_request_of_this_version_is_one() {
    let good = bytes(REQUEST);
    let change = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        kind(&message)
    };
    assert_eq!(kind(&good), Kind::Request);
    assert_eq!(change(0, 0x30), Kind::Plain, "another magic");
    assert_eq!(change(15, 0), Kind::Plain, "another magic");
    assert_eq!(change(16, 2), Kind::Plain, "another version");
    assert_eq!(change(23, 0x4b), Kind::Plain, "another length");
    assert_eq!(kind(&good[..331]), Kind::Plain, "cut on the way");
    let mut short = vec![0; STAMP_BYTES - 1];
    assert!(!request().write(&mut short));
    short.copy_from_slice(&good[..STAMP_BYTES - 1]);
    short[20..24].copy_from_slice(&(STAMP_BYTES as u32 - 1).to_be_bytes());
    assert_eq!(kind(&short), Kind::Plain, "no room for the answer");
    for message in [&[][..], &MAGIC[..15], &MAGIC, &good[..17]] {
        assert_eq!(kind(message), Kind::Plain);
    }
}

#[test]
fn an_answer_of_any_version_is_known_by_its_direction() {
    let mut message = bytes(REQUEST);
    message[17] = 1;
    assert_eq!(kind(&message), Kind::Answer);
    assert_eq!(kind(&message[..18]), Kind::Answer);
    message[16] = 2;
    assert_eq!(kind(&message), Kind::Answer);
    assert_eq!(Answer::read(&message), None, "but it can't be read");
}

#[test]
fn messages_are_told_apart_on_a_stream() {
    let good = bytes(REQUEST);
    assert_eq!(message_len(&good), Ok(Some(332)));
    assert_eq!(message_len(&good[..24]), Ok(Some(332)));
    for len in [0, 1, 16, 23] {
        assert_eq!(message_len(&good[..len]), Ok(None), "{len} bytes tell nothing yet");
    }
    assert_eq!(message_len(b"GET"), Err(Broken::NoMagic));
    let with_length = |len: u32| {
        let mut head = good[..24].to_vec();
        head[20..].copy_from_slice(&len.to_be_bytes());
        message_len(&head)
    };
    assert_eq!(with_length(24), Ok(Some(24)));
    assert_eq!(with_length(65_536), Ok(Some(65_536)));
    assert_eq!(with_length(23), Err(Broken::Length(23)));
    assert_eq!(with_length(65_537), Err(Broken::Length(65_537)));
    assert_eq!(with_length(u32::MAX), Err(Broken::Length(u32::MAX as usize)));
}

#[test]
fn a_long_name_is_cut_between_characters_and_says_so() {
    assert_eq!(Name::new("node-1").as_str(), "node-1");
    let name = Name::new(&"é".repeat(40));
    assert_eq!((name.as_str(), name.is_cut()), ("é".repeat(32).as_str(), true));
    let name = Name::new(&format!("a{}", "é".repeat(40)));
    assert_eq!((name.as_str().len(), name.is_cut()), (63, true));
    assert!(!Name::new(&"a".repeat(64)).is_cut());
}

fn a_name() -> impl Strategy<Value = Name> {
    ("[a-zß-ö.-]{0,70}").prop_map(|text| Name::new(&text))
}

fn a_socket() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

fn a_time() -> impl Strategy<Value = Option<Time>> {
    proptest::option::of((any::<u64>(), any::<bool>()).prop_map(|(nanos, kernel)| Time { nanos, kernel }))
}

prop_compose! {
    fn a_request()(session: u64, flow: u32, sequence: u64, sent: u64, trace in proptest::option::of(
        (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
    )) -> Request {
        let trace = trace.filter(|(id, ..)| *id != [0; 16]).map(|(id, parent, flags)| Trace { id, parent, flags });
        Request { session, flow, sequence, sent, trace }
    }
}

prop_compose! {
    fn an_answer()(
        request in a_request(),
        (node, zone, revision, digest, clock_error) in (a_name(), a_name(), any::<u32>(), any::<[u8; 4]>(), any::<Option<u32>>()),
        (time, hit, client, ttl, traffic_class) in
            (a_time(), a_socket(), a_socket(), any::<Option<u8>>(), any::<Option<u8>>()),
        (memory, count, duplicates, lowest, highest, window, dropped, overflowed) in
            any::<(u16, u64, u64, u64, u64, u64, u64, u32)>(),
        transmitted in a_time(),
    ) -> Answer {
        Answer {
            request,
            identity: Identity { node, zone, revision, digest, clock_error },
            arrival: Arrival { time, hit, client, ttl, traffic_class },
            seen: Seen { memory, count, duplicates, lowest, highest, window, dropped, overflowed },
            transmitted,
        }
    }
}

/// Bytes that are nearly a message: a good one, cut and with some bytes changed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    (0..400_usize, vec((0..400_usize, any::<u8>()), 0..6), any::<bool>()).prop_map(|(len, changes, answered)| {
        let mut message = bytes(REQUEST);
        message.resize(len.max(STAMP_BYTES), 7);
        request().write(&mut message);
        if answered {
            write_answer(&mut message, &reply());
        }
        message.truncate(len);
        for (at, byte) in changes {
            message.get_mut(at).into_iter().for_each(|place| *place = byte);
        }
        message
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(answer in an_answer(), beyond in vec(any::<u8>(), 0..100)) {
        let mut message = vec![0; STAMP_BYTES];
        message.extend(&beyond);
        prop_assert!(answer.request.write(&mut message));
        prop_assert_eq!(Request::read(&message), Some(answer.request));
        prop_assert_eq!(Answer::read(&message), None);
        let len = message.len();
        write_answer(&mut message, &answer);
        prop_assert_eq!(message.len(), len);
        prop_assert_eq!(&message[STAMP_BYTES..], &beyond);
        prop_assert_eq!(Request::read(&message), None, "an answer is never answered");
        prop_assert_eq!(Answer::read(&message), Some(answer));
    }

    #[test]
    fn any_bytes_can_be_read(message in prop_oneof![vec(any::<u8>(), 0..700), nearly()]) {
        let kind = kind(&message);
        prop_assert_eq!(Request::read(&message).is_some(), kind == Kind::Request);
        prop_assert!(Answer::read(&message).is_none() || kind == Kind::Answer);
        prop_assert!(kind != Kind::Request || message.len() >= STAMP_BYTES);
        let _ = message_len(&message);
        // Also written over in vain, where there is no room.
        let mut over = message.clone();
        write_answer(&mut over, &reply());
        prop_assert_eq!(over.len(), message.len());
    }
}
