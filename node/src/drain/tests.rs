//! What comes when, with time passed in.
#![allow(clippy::unwrap_used)]

use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
const PLAN: DrainPlan = DrainPlan { lame_duck: s(20), udp_quiet: s(10), deadline: s(60) };
const BUSY: Open = Open { listeners: true, connections: 1, udp_idle: None, told: true };
const QUIET: Open = Open { connections: 0, ..BUSY };

fn drained_by_ann() -> Wish {
    Wish { after: After::Wait, ..Wish::exit("drained by ann") }
}

/// A drain that closed its TCP listeners at `at`, and when it began.
fn closing(wish: Wish) -> (Drain, Instant) {
    let began = Instant::now();
    let mut drain = Drain::begin(wish, PLAN, began);
    drain.closing();
    (drain, began)
}

#[test]
fn it_goes_on_accepting_for_the_lame_duck_and_waits_for_the_deadline_after_that() {
    let began = Instant::now();
    let mut drain = Drain::begin(drained_by_ann(), PLAN, began);
    assert_eq!(drain.phase(), NodePhase::Draining);
    assert_eq!(drain.step(QUIET, began), Step::Wait(began + s(20)), "though nobody is there yet");
    assert_eq!(drain.step(BUSY, began + s(20)), Step::CloseTcp);
    drain.closing();
    assert_eq!(drain.step(BUSY, began + s(79)), Step::Wait(began + s(79) + POLL_LATER));
    assert_eq!(drain.step(BUSY, began + s(80)), Step::Finish);
    drain.drained(1, began + s(80));
    assert_eq!(drain.step(Open { listeners: false, ..QUIET }, began + s(80)), Step::Stay);
    let status = drain.status().unwrap();
    assert_eq!((drain.phase(), status.stage(), status.cut_connections), (NodePhase::Drained, DrainStage::Drained, 1));
    let lasts = status.deadline_time.unwrap().seconds - status.start_time.unwrap().seconds;
    assert_eq!((status.reason.as_str(), status.exits, lasts), ("drained by ann", false, 80));
}

#[test]
fn the_record_is_waited_for_but_not_for_long() {
    let began = Instant::now();
    let drain = Drain::begin(Wish::exit("SIGTERM"), DrainPlan::default(), began);
    let untold = Open { told: false, ..BUSY };
    assert_eq!(drain.step(untold, began), Step::Wait(began + POLL));
    assert_eq!(drain.step(BUSY, began), Step::CloseTcp);
    assert_eq!(drain.step(untold, began + TELL_LIMIT), Step::CloseTcp);
}

#[test]
fn udp_is_answered_until_it_was_quiet_counted_from_its_last_datagram() {
    let (drain, began) = closing(drained_by_ann());
    let heard = |ago| Open { udp_idle: Some(s(ago)), ..QUIET };
    assert_eq!(drain.step(heard(9), began), Step::Wait(began + POLL));
    assert_eq!(drain.step(heard(10), began), Step::Finish, "before the drain counts");
    assert_eq!(drain.step(QUIET, began), Step::Finish, "nor can any come");
    assert_eq!(drain.step(heard(0), began + s(80)), Step::Finish, "the deadline is for UDP as well");
}

#[test]
fn what_serves_nothing_has_drained_at_once() {
    let drain = Drain::begin(drained_by_ann(), PLAN, Instant::now());
    let nothing = Open { listeners: false, told: false, ..QUIET };
    assert_eq!(drain.step(nothing, Instant::now()), Step::Finish);
}

#[test]
fn who_exits_says_so_first() {
    let (mut drain, began) = closing(drained_by_ann());
    drain.drained(0, began);
    drain.revise(Wish::exit("SIGTERM"), PLAN, began + s(100));
    let untold = Open { told: false, listeners: false, ..QUIET };
    assert_eq!(drain.step(untold, began + s(100)), Step::Wait(began + s(100) + POLL_LATER));
    assert_eq!(drain.step(Open { told: true, ..untold }, began + s(100)), Step::Exit);
    assert_eq!(drain.step(untold, began + s(100) + TELL_LIMIT), Step::Exit);
    assert!(drain.status().unwrap().exits);
}

#[test]
fn a_limit_is_for_all_of_it_and_force_waits_for_nothing() {
    let began = Instant::now();
    let limited = |limit| Drain::begin(Wish { limit: Some(limit), ..Wish::exit("SIGTERM") }, PLAN, began);
    assert_eq!(limited(s(5)).step(BUSY, began), Step::CloseTcp, "what time there is, the connections have");
    assert_eq!(limited(s(70)).step(BUSY, began), Step::Wait(began + s(10)), "the lame duck is cut short");
    assert_eq!(limited(s(5)).end(), began + s(5));
    assert_eq!(limited(s(30)).end(), began + s(30));
    assert_eq!(limited(Duration::MAX).end(), began + MAX_DURATION);

    let mut forced = Drain::begin(Wish { force: true, limit: Some(s(5)), ..drained_by_ann() }, PLAN, began);
    assert_eq!(forced.step(Open { told: false, ..BUSY }, began), Step::CloseTcp);
    forced.closing();
    assert_eq!(forced.step(BUSY, began), Step::Finish);
}

#[test]
fn a_new_wish_holds_but_who_exits_gets_no_more_time() {
    let (mut drain, began) = closing(Wish { limit: Some(s(30)), ..drained_by_ann() });
    drain.revise(Wish { limit: Some(s(300)), ..drained_by_ann() }, PLAN, began + s(10));
    assert_eq!((drain.end(), drain.stage()), (began + s(310), DrainStage::Closing));
    drain.revise(Wish::exit("SIGTERM"), PLAN, began + s(20));
    assert_eq!(drain.end(), began + s(100));
    drain.revise(Wish { limit: Some(s(600)), ..Wish::exit("retired by ann") }, PLAN, began + s(30));
    assert_eq!(drain.end(), began + s(100));
}

#[test]
fn a_lame_duck_does_not_begin_anew_for_who_exits() {
    let began = Instant::now();
    let mut drain = Drain::begin(drained_by_ann(), PLAN, began);
    drain.revise(Wish::exit("SIGTERM"), PLAN, began + s(19));
    assert_eq!(drain.step(BUSY, began + s(19)), Step::Wait(began + s(20)));
}

#[test]
fn a_deleted_pool_leaves_no_drain_behind() {
    let (mut drain, _) = closing(Wish { after: After::NoPool, ..Wish::exit("the pool was deleted") });
    assert_eq!((drain.phase(), drain.status().unwrap().exits), (NodePhase::Draining, false));
    drain.drained(0, Instant::now());
    assert_eq!((drain.phase(), drain.status()), (NodePhase::NoPool, None));
}

#[test]
fn what_was_cut_is_told_before_the_process_ends() {
    let (mut drain, began) = closing(Wish { force: true, ..Wish::exit("SIGTERM") });
    assert_eq!(drain.step(BUSY, began), Step::Finish);
    drain.drained(28, began + s(60));
    let untold = Open { listeners: false, told: false, ..QUIET };
    assert_eq!(drain.step(untold, began + s(60)), Step::Wait(began + s(60) + POLL_LATER));
    assert_eq!(drain.step(Open { told: true, ..untold }, began + s(60)), Step::Exit);
    assert_eq!(drain.step(untold, began + s(60) + TELL_LIMIT), Step::Exit, "etcd is not waited for for ever");
    drain.drained(0, began + s(60));
    assert_eq!((drain.is_told_by(drain.status().as_ref()), drain.is_told_by(None)), (true, false));
}

#[test]
fn of_two_wishes_at_once_neither_gets_less() {
    let signal = |limit| Wish { limit, ..Wish::exit("SIGTERM") };
    let ann = |limit| Wish { limit, ..drained_by_ann() };
    for (one, two, both) in [
        (None, None, None),
        (None, Some(s(5)), Some(s(5))),
        (None, Some(s(300)), Some(s(80))),
        (Some(s(5)), None, Some(s(5))),
        (Some(s(30)), Some(s(20)), Some(s(20))),
    ] {
        assert_eq!(signal(one).and(ann(two), PLAN.longest()), signal(both), "{one:?} and {two:?}");
        assert_eq!(ann(one).and(signal(two), PLAN.longest()).after, After::Exit);
    }
    assert!(signal(None).and(Wish { force: true, ..ann(None) }, PLAN.longest()).force);
    assert!(Wish { force: true, ..signal(None) }.and(ann(None), PLAN.longest()).force);
}

#[test]
fn a_long_drain_is_looked_after_less_often() {
    let (drain, began) = closing(drained_by_ann());
    let last = began + POLL_SHARPLY - POLL;
    assert_eq!(drain.step(BUSY, last), Step::Wait(last + POLL));
    assert_eq!(drain.step(BUSY, began + POLL_SHARPLY), Step::Wait(began + POLL_SHARPLY + POLL_LATER));
}
