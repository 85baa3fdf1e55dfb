//! Long runs: what is remembered of them, and what the rest is called.

use super::*;

#[test]
fn a_long_run_is_remembered_only_as_far_as_it_may_matter() {
    let probes = KEPT as u64 + 10;
    let mut book = Book::new(std::iter::once(address()), ms(1), true);
    for n in 0..probes {
        book.sent(0, n + 1, ms(n), Some(n));
        book.expire(ms(n));
    }
    assert_eq!(label(&book.answered(0, &plain(3, probes))), (None, "forgotten"));
    while book.expire(ms(probes * 2)).is_some() {}
    assert_eq!((book.report().loss.unknown, book.report().sent), (probes, probes));
}

#[test]
fn many_flows_share_the_memory_of_one() {
    let flows = 1_024;
    let mut book = Book::new(std::iter::repeat_n(address(), flows), ms(1), true);
    for n in 0..3 * KEPT {
        book.sent(n % flows, n as u64 + 1, ms(n as u64), Some(0));
        book.expire(ms(n as u64));
    }
    let known: usize = book.flows.iter().map(|flow| flow.probes.len()).sum();
    assert!((KEPT..=KEPT + 2 * flows).contains(&known), "{known}");
    while book.expire(ms(10 * KEPT as u64)).is_some() {}
    assert_eq!(book.report().loss.unknown, 3 * KEPT as u64);
}

#[test]
fn what_is_known_no_more_is_not_called_lost_on_the_way_there() {
    let probes = KEPT as u64 * 2;
    let mut book = unconnected(0);
    for n in 0..probes {
        // By turns refused, unconnected and answered.
        book.sent(0, n + 1, ms(n), (n % 3 != 1).then_some(n * MS));
        match n % 3 {
            0 => drop(book.refused(0, n)),
            1 => {}
            _ => drop(book.answered(0, &stamped(n, n + 4, seen(n / 3 + 1, n)))),
        }
        book.expire(ms(n));
    }
    while book.expire(ms(probes * 2)).is_some() {}
    let Report { loss, unconnected, refused, answered, .. } = book.report();
    assert_eq!((loss.there, loss.back, loss.unknown), (0, 0, unconnected));
    assert_eq!(unconnected + refused + answered, probes);
}
