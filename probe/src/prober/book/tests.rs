//! Probes and answers in every order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use echo_proto::stamp::{Answer, Arrival, Identity, Name, Request, Time};
use proptest::prelude::*;

use super::*;

mod connections;
mod memory;
use crate::prober::report::Directions;

const MS: u64 = 1_000_000;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn address() -> SocketAddr {
    "10.0.0.1:7".parse().unwrap()
}

/// A book of one flow, with so many probes sent a millisecond apart; a probe's time is 100 ms.
fn book(probes: u64) -> Book {
    let mut book = Book::new(std::iter::once(address()), ms(100), true);
    for n in 0..probes {
        book.sent(0, n + 1, ms(n), Some(n * MS));
    }
    book
}

fn plain(sequence: u64, at: u64) -> Receipt {
    Receipt { sequence, at: ms(at), kernel: None, clock_error: None, stamp: None }
}

fn label(answer: &(Option<u64>, Outcome)) -> (Option<u64>, &'static str) {
    (answer.0, answer.1.label())
}

#[test]
fn each_probe_is_answered_once_and_then_doubled() {
    let mut book = book(2);
    assert_eq!(label(&book.answered(0, &plain(1, 20))), (Some(2), "answered"));
    assert_eq!(label(&book.answered(0, &plain(1, 21))), (Some(2), "duplicate"));
    assert_eq!(label(&book.answered(0, &plain(0, 22))), (Some(1), "answered"), "in time, and after a later one");
    assert_eq!(label(&book.answered(0, &plain(2, 22))), (None, "wrong"), "never sent");
    let report = book.report();
    assert_eq!((report.sent, report.answered, report.late, report.wrong), (2, 2, 0, 1));
    assert_eq!((report.duplicates.all, report.reordered.all), (1, 1));
    assert_eq!(report.loss.network(), 0);
}

#[test]
fn what_is_late_is_not_lost_and_what_waits_is_neither() {
    let mut book = book(4);
    assert_eq!(book.next_end(), Some((ms(100), 0)));
    let mut over = |at| book.expire(ms(at)).map(|(_, number, outcome)| (number, outcome.label()));
    assert_eq!(over(99), None);
    assert_eq!(over(102), Some((1, "silent")));
    assert_eq!(over(102), Some((2, "silent")));
    assert_eq!(label(&book.answered(0, &plain(0, 150))), (Some(1), "late"));
    let report = book.report();
    assert_eq!((report.sent, report.late, report.loss.unknown), (2, 1, 1));
    assert_eq!(report.cut_short, 2);
}

#[test]
fn an_answer_that_came_in_time_is_in_time_however_late_we_look() {
    let mut book = book(1);
    book.left(0, 0, 1_000 * MS);
    book.expire(ms(100));
    let seen = Receipt { kernel: Some(1_040 * MS), ..plain(0, 500) };
    let (_, outcome) = book.answered(0, &seen);
    assert_eq!(outcome.label(), "answered", "the kernel had it in time");
    assert_eq!(outcome.reply().unwrap().rtt, ms(40));
    assert_eq!(book.report().rtt_by_kernel, 1);
}

#[test]
fn a_clock_that_was_set_gives_no_round_trip() {
    let mut book = book(2);
    book.left(0, 0, 1_000 * MS);
    book.left(0, 1, 1_000 * MS);
    for (sequence, kernel) in [(0, 900 * MS), (1, 9_000 * MS)] {
        let (_, outcome) = book.answered(0, &Receipt { kernel: Some(kernel), ..plain(sequence, 30) });
        let reply = outcome.reply().unwrap();
        assert_eq!((reply.rtt, reply.by_kernel), (ms(30 - sequence), false), "ours is taken");
    }
}

#[test]
fn what_is_refused_is_told_once_and_is_not_the_networks_loss() {
    let mut book = book(3);
    assert_eq!(book.oldest(0), Some(0));
    assert_eq!(book.refused(0, 1), Some(2));
    assert_eq!(book.refused(0, 1), None);
    assert_eq!(label(&book.answered(0, &plain(1, 9))), (Some(2), "answered"), "and answered all the same");
    assert_eq!(book.refused(0, 0), Some(1));
    book.expire(ms(500));
    let report = book.report();
    assert_eq!((report.sent, report.refused, report.answered, report.loss.unknown), (3, 1, 1, 1));
}

/// An answer to probe `sequence` of [`book`], by a node that has seen this much.
fn stamped(sequence: u64, at: u64, seen: Seen) -> Receipt {
    let request = Request { session: 1, sequence, sent: sequence * MS, ..Request::default() };
    let identity = Identity { node: Name::new("node-1"), clock_error: Some(500), ..Identity::default() };
    let time = |nanos| Some(Time { nanos, kernel: true });
    let client = "192.0.2.9:4000".parse().unwrap();
    let received = time(at * MS - 3 * MS);
    let arrival = Arrival { time: received, hit: address(), client, ttl: Some(60), traffic_class: Some(46 << 2) };
    let answer = Answer { request, identity, arrival, seen, transmitted: time(at * MS - 2 * MS) };
    let (kernel, clock_error) = (Some(at * MS), Some(ms(1)));
    Receipt { kernel, clock_error, stamp: Some(Box::new(answer)), ..plain(sequence, at) }
}

#[test]
fn a_stamp_tells_who_answered_and_what_the_node_took_of_the_time() {
    let mut book = book(2);
    book.left(0, 0, MS);
    let seen = Seen { count: 1, window: 1, ..Seen::default() };
    let (_, outcome) = book.answered(0, &stamped(0, 10, seen));
    let reply = outcome.reply().unwrap();
    assert_eq!((reply.rtt, reply.in_node, reply.by_kernel), (ms(9), Some(ms(1)), true));
    assert_eq!((reply.there, reply.back), (Some(6_000_000), Some(2_000_000)));
    let report = book.report();
    assert_eq!(report.answerers["node-1"].answers, 1);
    assert!(report.seen_as.contains(&"192.0.2.9".parse().unwrap()) && report.dscps.contains(&46));
    let one_way = report.one_way.unwrap();
    assert_eq!(
        (one_way.there.mean(), one_way.back.mean(), one_way.error),
        (6_000_000, 2_000_000, Duration::from_micros(1500))
    );
    let mut other = stamped(1, 10, seen);
    other.stamp.as_mut().unwrap().request.sent += 1;
    assert_eq!(label(&book.answered(0, &other)), (Some(2), "wrong"), "not what was sent");
}

#[test]
fn delays_of_one_way_are_not_told_where_a_clock_is_unknown() {
    let mut book = book(1);
    book.left(0, 0, MS);
    let known = stamped(0, 10, Seen { count: 1, window: 1, ..Seen::default() });
    book.answered(0, &Receipt { clock_error: None, ..known });
    assert_eq!(book.report().one_way, None);
}

#[test]
fn an_answer_that_was_doubled_on_its_way_back_was_counted_once_by_the_node() {
    let mut book = book(1);
    let seen = Seen { count: 1, window: 1, ..Seen::default() };
    book.answered(0, &stamped(0, 10, seen));
    book.answered(0, &stamped(0, 11, seen));
    book.answered(0, &stamped(0, 12, Seen { count: 2, duplicates: 1, ..seen }));
    let report = book.report();
    assert_eq!((report.duplicates.all, report.duplicates.there, report.duplicates.back), (2, 1, 1));
    assert_eq!((report.answered, report.loss.network()), (1, 0));
}

proptest! {
    #[test]
    fn every_probe_is_counted_once_whatever_comes(
        probes in 1..40u64,
        steps in proptest::collection::vec((0..7u8, 0..50u64, 0..400u64), 0..120),
        connected: bool,
    ) {
        let mut book = if connected { book(probes) } else { unconnected(probes) };
        for (what, sequence, at) in steps {
            match what {
                0..3 => drop(book.answered(0, &plain(sequence, at))),
                3 => drop(book.refused(0, sequence)),
                4 => drop(book.expire(ms(at))),
                5 => book.started(0, sequence, ms(at), at),
                _ => book.overflow(0, at % 5),
            }
        }
        let report = book.report();
        let Report { sent, cut_short, answered, late, refused, loss, .. } = report;
        prop_assert_eq!(sent + cut_short, probes);
        prop_assert_eq!(answered + late + refused + loss.network() + loss.by_us + loss.by_node + loss.by_queue, sent);
        prop_assert_eq!(report.rtt.count(), answered + late);
    }
}

/// A book of one flow, with so many probes that wait for a connection, a millisecond apart.
fn unconnected(probes: u64) -> Book {
    let mut book = Book::new(std::iter::once(address()), ms(100), true);
    (0..probes).for_each(|n| book.sent(0, n + 1, ms(n), None));
    book
}

fn seen(count: u64, highest: u64) -> Seen {
    Seen { count, highest, ..Seen::default() }
}

#[test]
fn delays_of_one_way_are_from_when_the_probe_left_to_when_the_kernel_had_it() {
    let mut book = unconnected(2);
    let of = |sequence, at: u64, sent: u64, by_kernel: bool| {
        let mut receipt = stamped(sequence, at, seen(sequence + 1, sequence));
        let stamp = receipt.stamp.as_mut().unwrap();
        stamp.request.sent = sent;
        stamp.arrival.time.as_mut().unwrap().kernel = by_kernel;
        receipt
    };
    // 40 ms of the connection's handshake are no part of the way.
    book.started(0, 0, ms(40), 40 * MS);
    let (_, outcome) = book.answered(0, &of(0, 60, 40 * MS, true));
    assert_eq!(outcome.reply().unwrap().there, Some(17_000_000));
    book.started(0, 1, ms(41), 41 * MS);
    let (_, outcome) = book.answered(0, &of(1, 61, 41 * MS, false));
    assert_eq!(outcome.reply().unwrap().there, None, "only when the node got to it");
    assert_eq!(book.report().one_way.unwrap().there.count, 1);
}

#[test]
fn how_far_off_our_clock_may_be_is_the_most_of_all_answers() {
    let mut book = book(3);
    for (sequence, error) in [(0, Some(ms(1))), (1, Some(ms(4))), (2, None)] {
        let receipt = stamped(sequence, 10, seen(sequence + 1, sequence));
        book.answered(0, &Receipt { clock_error: error, ..receipt });
    }
    let one_way = book.report().one_way.unwrap();
    assert_eq!((one_way.error, one_way.there.count), (Duration::from_micros(4_500), 2));
}

#[test]
fn a_doubled_answer_is_not_reordered_as_well() {
    let mut book = book(2);
    book.answered(0, &stamped(0, 10, seen(1, 0)));
    book.answered(0, &stamped(1, 11, seen(2, 1)));
    assert_eq!(label(&book.answered(0, &stamped(0, 12, seen(1, 0)))), (Some(1), "duplicate"));
    let report = book.report();
    assert_eq!((report.duplicates.back, report.reordered), (1, Directions::default()));
}
