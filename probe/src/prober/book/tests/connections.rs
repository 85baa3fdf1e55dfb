//! Probes that wait for a connection, and those that no connection took.

use super::*;
use crate::prober::path::Loss;

#[test]
fn what_no_connection_took_has_no_way_on_which_it_was_lost() {
    let mut book = unconnected(8);
    let first = book.expire(ms(200)).map(|(_, number, outcome)| (number, outcome.label()));
    assert_eq!(first, Some((1, "unconnected")));
    while book.expire(ms(200)).is_some() {}
    // The handshakes came, and the answers to them got lost: of probes the node can't know.
    book.learn(0, "node-1", seen(0, 0), true);
    let report = book.report();
    assert_eq!((report.sent, report.unconnected), (8, 8));
    assert_eq!(report.loss, Loss { unknown: 8, ..Loss::default() });
}

#[test]
fn what_was_taken_and_never_came_was_lost_there_beside_what_no_connection_took() {
    let mut book = unconnected(6);
    for n in 2..5 {
        book.started(0, n, ms(90), 90 * MS);
    }
    assert_eq!(book.broken(0), [3, 4, 5], "only these went with the connection");
    book.started(0, 5, ms(91), 91 * MS);
    while book.expire(ms(200)).is_some() {}
    book.learn(0, "node-1", seen(0, 0), true);
    let report = book.report();
    assert_eq!((report.sent, report.refused, report.unconnected), (6, 3, 2));
    assert_eq!(report.loss, Loss { there: 1, unknown: 2, ..Loss::default() });
}

#[test]
fn waiting_for_a_connection_is_a_part_of_a_probes_time_and_none_of_its_round_trip() {
    let mut book = unconnected(2);
    book.started(0, 0, ms(70), 70 * MS);
    let (_, outcome) = book.answered(0, &plain(0, 90));
    assert_eq!((outcome.label(), outcome.reply().unwrap().rtt), ("answered", ms(20)));
    book.started(0, 1, ms(90), 90 * MS);
    let (_, outcome) = book.answered(0, &plain(1, 110));
    assert_eq!((outcome.label(), outcome.reply().unwrap().rtt), ("late", ms(20)));
}

#[test]
fn an_answer_to_what_never_left_is_none() {
    let mut book = unconnected(1);
    assert_eq!(label(&book.answered(0, &plain(0, 20))), (Some(1), "wrong"));
}

#[test]
fn what_no_connection_took_is_not_among_those_of_which_an_answer_tells() {
    let mut book = unconnected(4);
    for n in 2..4 {
        book.started(0, n, ms(90), n * MS);
    }
    book.answered(0, &stamped(2, 95, seen(1, 2)));
    while book.expire(ms(200)).is_some() {}
    let report = book.report();
    assert_eq!((report.answered, report.unconnected), (1, 2));
    // Of the last one nobody tells.
    assert_eq!(report.loss, Loss { unknown: 3, ..Loss::default() });
}
