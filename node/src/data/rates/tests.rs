//! What the rates let through, at times of our choice.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::cell::{BURST, Cell, LONGEST_READ, ONE_MESSAGE, Rate};
use super::*;

const HERE: &str = "127.0.0.1";
const THERE: &str = "192.0.2.1";

fn at(nanos: u64) -> Moment {
    Moment::at(Duration::from_secs(1_000) + Duration::from_nanos(nanos))
}

fn plan(source: [Option<u64>; 2], listener: [Option<u64>; 2]) -> LimitsPlan {
    let rates = |[messages, bytes]: [Option<u64>; 2]| RatePlan { messages, bytes };
    LimitsPlan { per_source: rates(source), per_listener: rates(listener), ..LimitsPlan::default() }
}

fn limiter(plan: &LimitsPlan) -> Option<Limiter> {
    Cells::default().limiter(0, plan, Protocol::Udp, "0.0.0.0".parse().unwrap())
}

fn admitted(limiter: &Limiter, source: &str, tries: usize, bytes: usize, now: Moment) -> usize {
    (0..tries).filter(|_| limiter.admit(source.parse().unwrap(), bytes, now)).count()
}

#[test]
fn what_is_over_the_rate_is_refused_until_its_time_has_come() {
    let limiter = limiter(&plan([Some(1_000), None], [None, None])).unwrap();
    assert_eq!(admitted(&limiter, THERE, 500, 64, at(0)), 100, "a tenth of a second's worth at once");
    assert_eq!(admitted(&limiter, THERE, 500, 64, at(10_000_000)), 10);
    assert_eq!(admitted(&limiter, "192.0.2.2", 500, 64, at(10_000_000)), 100, "another source has its own");
    assert_eq!(admitted(&limiter, THERE, 500, 64, at(3_600_000_000_000)), 100, "silence saves no more than a burst");
}

#[test]
fn bytes_count_as_messages_do_and_the_longest_message_always_fits_once() {
    let limiter = limiter(&plan([None, Some(1_000_000)], [None, None])).unwrap();
    assert_eq!(admitted(&limiter, THERE, 200, 1_000, at(0)), 100);
    assert_eq!(admitted(&limiter, THERE, 200, 0, at(0)), 200, "empty ones weigh nothing");
    let slow = limiter_of_bytes(1);
    assert_eq!(admitted(&slow, THERE, 2, 65_507, at(0)), 1);
}

fn limiter_of_bytes(rate: u64) -> Limiter {
    limiter(&plan([None, Some(rate)], [None, None])).unwrap()
}

#[test]
fn a_listener_has_one_rate_for_all_and_does_not_pay_for_what_a_source_may_not() {
    let limiter = limiter(&plan([Some(10), None], [Some(20), None])).unwrap();
    assert_eq!(admitted(&limiter, "192.0.2.1", 50, 1, at(0)), 1);
    assert_eq!(admitted(&limiter, "192.0.2.2", 50, 1, at(0)), 1, "the first one's 49 others took nothing from it");
    assert_eq!(admitted(&limiter, "192.0.2.3", 50, 1, at(0)), 0);
}

#[test]
fn by_default_this_host_is_not_limited_and_a_loopback_listener_has_no_limiter() {
    let defaults = plan([None, None], [None, None]);
    let limiter = limiter(&defaults).unwrap();
    assert_eq!(admitted(&limiter, HERE, 20_000, 1, at(0)), 20_000);
    assert_eq!(admitted(&limiter, THERE, 20_000, 1, at(0)), 10_000);
    let loopback = |protocol| Cells::default().limiter(0, &defaults, protocol, HERE.parse().unwrap());
    assert!(loopback(Protocol::Udp).is_none());
    let other = Cells::default().limiter(0, &defaults, Protocol::Tcp, THERE.parse().unwrap());
    assert!(other.is_none(), "TCP has no default");
}

/// How long a connection from THERE waits, which then takes so many bytes unless it has to.
fn takes(limiter: &Limiter, bytes: usize, now: Moment) -> Option<Duration> {
    let source = THERE.parse().unwrap();
    let turn = limiter.turn(source, Place::of(source), now);
    let wait = turn.over();
    if wait.is_none() {
        turn.charge(bytes);
    }
    wait
}

#[test]
fn a_connection_is_asked_to_wait_before_it_takes_more() {
    let limiter = limiter_of_bytes(1_000_000);
    assert_eq!(takes(&limiter, 100_000, at(0)), None);
    assert_eq!(takes(&limiter, 100_000, at(0)), None, "exactly a burst is ahead, not more");
    assert_eq!(takes(&limiter, 100_000, at(0)), Some(Duration::from_millis(100)));
    assert_eq!(takes(&limiter, 100_000, at(100_000_000)), None);
    assert!(!limiter.admit(THERE.parse().unwrap(), 1, at(100_000_000)), "its datagrams count as well");
}

#[test]
fn the_highest_rate_is_a_limit_too() {
    let limiter = limiter_of_bytes(1_000_000_000_000);
    assert!(limiter.admit(THERE.parse().unwrap(), 100_000_000_000, at(0)));
    assert!(!limiter.admit(THERE.parse().unwrap(), 1_000, at(0)));
}

#[test]
fn what_was_sent_counts_for_as_long_as_the_rates_are_the_same() {
    let mut cells = Cells::default();
    let mut let_through = |source, listener| {
        let limits = plan([Some(source), None], [Some(listener), None]);
        cells = cells.next(&limits, [7].into_iter());
        let limiter = cells.limiter(7, &limits, Protocol::Udp, "0.0.0.0".parse().unwrap()).unwrap();
        [admitted(&limiter, THERE, 50, 1, at(0)), admitted(&limiter, "192.0.2.2", 50, 1, at(0))]
    };
    assert_eq!(let_through(10, 20), [1, 1]);
    assert_eq!(let_through(10, 20), [0, 0], "another plan gives nobody a new burst");
    assert_eq!(let_through(100, 20), [0, 0], "sources may send more, to a listener that may not have it");
    assert_eq!(let_through(100, 200), [0, 0], "which they have sent nevertheless");
    assert_eq!(let_through(200, 400), [20, 20], "and a higher rate holds at once");
}

/// Connections that always have something to send, at a listener of 1,000 messages a second, for one second of theirs.
#[test]
fn those_that_wait_come_back_one_by_one() {
    const CONNECTIONS: u64 = 2_000;
    let limiter = limiter(&plan([None, None], [Some(1_000), None])).unwrap();
    let (source, place) = (THERE.parse().unwrap(), Place::of(THERE.parse().unwrap()));
    let mut queued: Vec<_> = (0..CONNECTIONS).map(|_| limiter.queue(source, place)).collect();
    // Each by when it asks again.
    let mut waits: BTreeSet<(u64, u64)> = (0..CONNECTIONS).map(|connection| (0, connection)).collect();
    let (mut asked, mut sent) = (0, 0);
    while let Some((now, connection)) = waits.pop_first().filter(|(now, _)| *now < 1_000_000_000) {
        asked += 1;
        let turn = limiter.turn(source, place, at(now));
        let again = turn.again().map_or(0, |again| u64::try_from(again.as_nanos()).unwrap());
        if again == 0 {
            turn.charge(64);
            sent += 1;
        }
        waits.insert((now + again, connection));
    }
    assert!((900..=1_101).contains(&sent), "{sent}: all that the rate has room for, and a burst");
    assert!(asked < 3 * sent + 2 * CONNECTIONS, "{asked} looks for {sent} messages");
    queued.truncate(1);
    let turn = limiter.turn(source, place, at(1_000_000_000));
    turn.charge(64);
    assert!(turn.again().is_none_or(|again| again <= Duration::from_millis(2)), "who is alone waits for nobody");
}

proptest! {
    /// Whatever comes when, from however many sources that may share a cell, on however many shards whose clocks differ.
    #[test]
    fn never_more_than_the_rate_times_the_time_and_a_burst(
        rate in prop_oneof![1_u64..2_000_000_000, 1_u64..1_000_000_000_000],
        messages in prop::collection::vec((0_u64..50_000_000, 1_u64..70_000, 0_u64..4_000_000), 1..300),
    ) {
        let (cell, limit) = (Cell::default(), Rate::new(rate, LONGEST_READ));
        let (mut now, mut sum) = (0_u64, 0_u128);
        for (pause, units, late) in messages {
            now += pause;
            if cell.admit(limit, units, ticks(at(now.saturating_sub(late)))) {
                sum += u128::from(units);
            }
        }
        let burst = u128::from((rate / BURST).max(LONGEST_READ));
        let most = burst + u128::from(rate) * u128::from(now) / 1_000_000_000 + 1 + u128::from(rate / TICKS_PER_SECOND);
        prop_assert!(sum <= most, "{sum} of {most}");
    }

    #[test]
    fn a_collision_only_limits_more(
        rate in 1_u64..1_000_000,
        messages in prop::collection::vec((0_u64..5_000_000, prop::bool::ANY), 1..300),
    ) {
        let (shared, own, limit) = (Cell::default(), Cell::default(), Rate::new(rate, ONE_MESSAGE));
        let (mut now, mut of_shared, mut of_own) = (0, 0, 0);
        for (pause, other) in messages {
            now += pause;
            let through = shared.admit(limit, 1, ticks(at(now)));
            if !other {
                of_shared += usize::from(through);
                of_own += usize::from(own.admit(limit, 1, ticks(at(now))));
            }
        }
        prop_assert!(of_shared <= of_own);
    }

    #[test]
    fn no_number_overflows(rate in 1_u64.., units in 0_u64.., now in 0_u64.., due in 0_u64..) {
        let (cell, limit) = (Cell(AtomicU64::new(due)), Rate::new(rate, ONE_MESSAGE));
        cell.admit(limit, units, now);
        cell.charge(limit, units, now);
        cell.over(limit, now);
    }

    /// However many connections ask whenever they like.
    #[test]
    fn connections_take_no_more_than_the_rate_a_burst_and_one_read(
        rate in 1_u64..1_000_000_000_000,
        reads in prop::collection::vec((0_u64..50_000_000, 1_usize..65_536), 1..300),
    ) {
        let limiter = limiter_of_bytes(rate);
        let (mut now, mut sum) = (0_u64, 0_u128);
        for (pause, bytes) in reads {
            now += pause;
            if takes(&limiter, bytes, at(now)).is_none() {
                sum += bytes as u128;
            }
        }
        let burst = u128::from((rate / BURST).max(LONGEST_READ));
        let over_time = u128::from(rate) * u128::from(now) / 1_000_000_000 + 1 + u128::from(rate / TICKS_PER_SECOND);
        prop_assert!(sum <= over_time + burst + u128::from(LONGEST_READ), "{sum}");
    }
}
