//! How a stream of messages is cut and answered, in any reads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use echo_proto::stamp::{Answer, MAX_MESSAGE, STAMP_BYTES};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn messages() -> Messages {
    let (hit, client) = ("127.0.0.1:7".parse().unwrap(), "127.0.0.1:50000".parse().unwrap());
    Messages { hit, client, most: usize::MAX, space: Vec::new(), kept: Vec::new() }
}

fn request(sequence: u64, len: usize) -> Vec<u8> {
    let mut message = vec![sequence as u8; len];
    assert!(Request { session: 1, sequence, ..Request::default() }.write(&mut message));
    message
}

/// Answers a stream in reads of these lengths, as a connection does.
fn answers(stream: &[u8], reads: &[usize]) -> (Vec<u8>, bool) {
    let (mut sessions, mut out, mut kept) = (Sessions::default(), Vec::new(), Vec::new());
    let mut rest = stream;
    for read in reads.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(read.min(rest.len()));
        kept.extend_from_slice(now);
        rest = later;
        let (answered, broken) = messages().answer(&mut kept, time(None), &Identity::default(), &mut sessions);
        out.extend(kept.drain(..answered));
        if broken {
            return (out, true);
        }
        assert!(kept.len() < MAX_MESSAGE);
    }
    (out, false)
}

proptest! {
    #[test]
    fn every_split_into_reads_gives_the_same_answers(
        lengths in vec(STAMP_BYTES..STAMP_BYTES + 50, 1..6),
        reads in vec(0..400_usize, 0..12),
    ) {
        let stream: Vec<u8> = lengths.iter().enumerate().flat_map(|(n, len)| request(n as u64, *len)).collect();
        let (out, broken) = answers(&stream, &reads);
        prop_assert!(!broken);
        prop_assert_eq!(out.len(), stream.len());
        let mut rest = &out[..];
        for (n, len) in lengths.iter().enumerate() {
            let (message, later) = rest.split_at(*len);
            let answer = Answer::read(message).unwrap();
            prop_assert_eq!((answer.request.sequence, answer.seen.count), (n as u64, n as u64 + 1));
            rest = later;
        }
    }

    #[test]
    fn any_bytes_after_the_magic_are_answered_or_end_it(bytes in vec(any::<u8>(), 0..100), reads in vec(0..50_usize, 0..9)) {
        let stream = [&stamp::MAGIC[..], &bytes].concat();
        let (out, _) = answers(&stream, &reads);
        prop_assert!(out.len() <= stream.len());
    }
}

#[test]
fn what_is_out_of_step_ends_it_after_what_was_good() {
    let good = request(0, STAMP_BYTES);
    let (out, broken) = answers(&[&good[..], b"GET / HTTP/1.1"].concat(), &[]);
    assert_eq!((out.len(), broken), (STAMP_BYTES, true), "no magic");
    let mut long = request(1, STAMP_BYTES);
    long[20..24].copy_from_slice(&65_537_u32.to_be_bytes());
    assert_eq!(answers(&long, &[]), (Vec::new(), true), "above 64 KiB");
    let (answer, _) = answers(&good, &[]);
    assert_eq!(answers(&answer, &[]), (Vec::new(), true), "an answer is never answered");
    assert_eq!(answers(&good[..100], &[]), (Vec::new(), false), "not whole yet");
}

#[test]
fn what_is_not_understood_comes_back_as_it_was() {
    let mut other = request(0, STAMP_BYTES);
    other[16] = 9;
    let short = [&other[..20], &24_u32.to_be_bytes()].concat();
    let stream = [&other[..], &short, &request(1, 65_536)].concat();
    let (out, broken) = answers(&stream, &[]);
    assert!(!broken);
    assert_eq!(out[..STAMP_BYTES + 24], stream[..STAMP_BYTES + 24]);
    assert_eq!(Answer::read(&out[STAMP_BYTES + 24..]).unwrap().seen.count, 1);
}
