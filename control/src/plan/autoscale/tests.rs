//! What is decided, by hand and by properties over arbitrary figures.
#![allow(clippy::unwrap_used)]

use echo_proto::codec::{Strictness, decode};
use echo_proto::spec::check_pool;
use echo_proto::v1;
use proptest::prelude::*;

use super::*;

/// A pool's rule, as its file says it.
fn plan(autoscale: &str) -> AutoscalePlan {
    let document = format!(
        r#"{{"apiVersion":"echo/v1","kind":"Pool","metadata":{{"name":"edge"}},"spec":{{"autoscale":{autoscale},
            "template":{{"listeners":[{{"name":"a","protocol":"TCP","port":7007,"service":{{"echo":{{}}}}}}]}}}}}}"#
    );
    let decoded = decode::<v1::Pool>(&serde_json::from_str(&document).unwrap(), Strictness::Strict);
    check_pool(&decoded.message).unwrap().autoscale.unwrap()
}

/// 1 to 20 nodes with 10 connections each, without any delay or limit.
fn free() -> AutoscalePlan {
    plan(
        r#"{"maxReplicas": 20, "target": {"connections": 10}, "up": {"step": "100", "period": "0s"},
            "down": {"stabilization": "0s", "step": "100", "period": "0s"}}"#,
    )
}

fn load(connections: u32) -> Option<Load> {
    Some(Load { connections: connections.into(), messages: 0.0, cpu: 0.0 })
}

/// What is decided at once for a pool of so many nodes.
fn at_once(plan: &AutoscalePlan, replicas: u32, loads: &[Option<Load>]) -> (u32, Option<Limit>) {
    let now = Instant::now();
    // The wish that it begins with is over.
    let mut autoscaler = Autoscaler { wishes: VecDeque::new(), ..Autoscaler::new(replicas, now) };
    let decision = autoscaler.decide(plan, replicas, loads, now);
    (decision.replicas, decision.limit)
}

#[test]
fn the_number_follows_the_average() {
    let table: [(&[Option<Load>], u32, &str); 11] = [
        (&[load(10), load(10)], 2, "at the target"),
        (&[load(11), load(11)], 2, "within the tolerance"),
        (&[load(9), load(9)], 2, "within the tolerance"),
        (&[load(12), load(12)], 3, "24 connections are work for three"),
        (&[load(40), load(0)], 4, "however they are spread"),
        (&[load(5), load(5)], 1, "10 are work for one"),
        (&[load(30), None], 3, "one of which nothing is known serves nobody"),
        (&[load(11), None], 2, "with it, the average is below the target"),
        (&[load(3), None], 2, "and is as busy as it should be where others are not"),
        (&[load(0), None], 1, "but that is all"),
        (&[None, None], 2, "where nothing is known, nothing changes"),
    ];
    for (loads, expected, why) in table {
        assert_eq!(at_once(&free(), 2, loads).0, expected, "{why}");
    }
    assert_eq!(at_once(&free(), 2, &[]).0, 2);
    assert_eq!(at_once(&free(), 6, &[load(20), load(20)]).0, 6, "four are still to come, and will do");
}

#[test]
fn the_largest_wish_of_all_targets_counts_and_is_told() {
    let two = plan(
        r#"{"maxReplicas": 20, "target": {"connections": 10, "messages": "100", "cpu": "50%"}, "up": {"step": "9"}}"#,
    );
    let loads = [Some(Load { connections: 1.0, messages: 350.0, cpu: 0.99 })];
    let now = Instant::now();
    let mut autoscaler = Autoscaler::new(1, now);
    let decision = autoscaler.decide(&two, 1, &loads, now + Duration::from_millis(1));
    assert_eq!(decision.replicas, 4);
    assert_eq!(decision.reason, "messages a second: 350.0 a node, over 1 of 1; wanted are 100.0");
    let busy = [Some(Load { connections: 1.0, messages: 350.0, cpu: 2.6 })];
    let decision = autoscaler.decide(&two, 4, &busy, now + Duration::from_secs(15));
    assert!(decision.reason.starts_with("CPU: 260.0% a node"), "{}", decision.reason);
}

#[test]
fn no_node_goes_while_a_target_can_not_be_seen() {
    let two = AutoscalePlan {
        targets: plan(r#"{"maxReplicas": 9, "target": {"connections": 10, "cpu": "50%"}}"#).targets,
        ..free()
    };
    let of = |connections, cpu| at_once(&two, 3, &[Some(Load { connections, messages: 0.0, cpu }); 3]).0;
    assert_eq!((of(0.0, f64::NAN), of(0.0, 0.0), of(20.0, f64::NAN)), (3, 1, 6));
}

#[test]
fn no_figure_is_believed_that_can_not_be() {
    for odd in [f64::NAN, f64::INFINITY, -1.0] {
        let loads = [Some(Load { connections: odd, messages: odd, cpu: odd }), load(10)];
        assert_eq!(at_once(&free(), 2, &loads), (2, None), "{odd}");
    }
    let huge = [Some(Load { connections: f64::MAX, messages: 0.0, cpu: 0.0 })];
    assert_eq!(at_once(&free(), 1, &huge), (20, Some(Limit::Max)));
}

#[test]
fn bounds_hold_and_are_told() {
    let bounded = AutoscalePlan { min: 3, max: 5, ..free() };
    assert_eq!(at_once(&bounded, 4, &[load(99); 4]), (5, Some(Limit::Max)));
    assert_eq!(at_once(&bounded, 4, &[load(0); 4]), (3, Some(Limit::Min)));
    assert_eq!(at_once(&bounded, 4, &[load(10); 4]), (4, None));
    assert_eq!(at_once(&bounded, 9, &[load(10); 9]).0, 5, "a new maximum holds at once");
    assert_eq!(at_once(&bounded, 1, &[]).0, 3, "and a new minimum, whatever is known");
}

#[test]
fn each_direction_has_its_step_and_its_period() {
    let stepped = plan(
        r#"{"maxReplicas": 100, "target": {"connections": 1}, "up": {"step": "50%", "period": "10s"},
            "down": {"stabilization": "0s", "step": "2", "period": "20s"}}"#,
    );
    let begin = Instant::now();
    let mut autoscaler = Autoscaler { wishes: VecDeque::new(), ..Autoscaler::new(4, begin) };
    let mut at = |seconds, replicas, busy| {
        let loads = vec![load(busy); replicas as usize];
        autoscaler.decide(&stepped, replicas, &loads, begin + Duration::from_secs(seconds)).replicas
    };
    assert_eq!(at(1, 4, 100), 6, "half more, and no period before the first");
    assert_eq!((at(5, 6, 100), at(11, 6, 100)), (6, 9), "10 s after the last change");
    assert_eq!((at(12, 9, 0), at(20, 9, 0)), (9, 7), "20 s after the beginning");
    assert_eq!((at(30, 7, 0), at(40, 7, 0), at(60, 5, 0)), (7, 5, 3));
}

#[test]
fn a_lull_or_a_peak_that_is_short_changes_nothing() {
    let steady = plan(
        r#"{"maxReplicas": 100, "target": {"connections": 1}, "up": {"stabilization": "10s", "step": "100", "period": "0s"},
            "down": {"stabilization": "60s", "step": "100", "period": "0s"}}"#,
    );
    let begin = Instant::now();
    let mut autoscaler = Autoscaler::new(5, begin);
    let mut at = |seconds, replicas, busy| {
        let loads = vec![load(busy); replicas as usize];
        autoscaler.decide(&steady, replicas, &loads, begin + Duration::from_secs(seconds)).replicas
    };
    assert_eq!((at(5, 5, 3), at(12, 5, 2)), (5, 10), "the mildest of 10 s: the one of now");
    assert_eq!(at(20, 10, 0), 10, "the lull has only begun");
    assert_eq!(at(50, 10, 1), 10, "and was short");
    assert_eq!((at(80, 10, 0), at(105, 10, 0)), (10, 10));
    assert_eq!(at(111, 10, 0), 1, "the last peak is over for 60 s");
}

#[test]
fn a_new_leader_takes_no_node_before_a_window_has_passed() {
    let rule = plan(r#"{"maxReplicas": 9, "target": {"connections": 10}, "down": {"step": "9"}}"#);
    let begin = Instant::now();
    let mut autoscaler = Autoscaler::new(9, begin);
    let mut at = |seconds| autoscaler.decide(&rule, 9, &[load(0); 9], begin + Duration::from_secs(seconds)).replicas;
    assert_eq!((at(1), at(299), at(300), at(301)), (9, 9, 9, 1));
}

#[test]
fn the_first_figures_after_a_long_silence_take_no_node() {
    let rule = plan(r#"{"maxReplicas": 9, "target": {"connections": 10}, "down": {"step": "9"}}"#);
    let begin = Instant::now();
    let mut autoscaler = Autoscaler::new(9, begin);
    let mut at = |load, seconds| autoscaler.decide(&rule, 9, &[load; 9], begin + Duration::from_secs(seconds)).replicas;
    assert!((0..1_000).all(|second| at(None, second) == 9));
    assert_eq!((at(load(0), 1_000), at(load(0), 1_299), at(load(0), 1_300)), (9, 9, 1));
}

#[test]
fn memory_is_bounded() {
    let rule = plan(r#"{"maxReplicas": 9, "target": {"connections": 10}, "down": {"stabilization": "3600s"}}"#);
    let now = Instant::now();
    let mut autoscaler = Autoscaler::new(9, now);
    for _ in 0..2 * MAX_WISHES {
        autoscaler.decide(&rule, 9, &[load(10); 9], now);
    }
    assert_eq!(autoscaler.wishes.len(), MAX_WISHES);
}

/// A pool of 1 to 30 nodes, some of which tell nothing.
fn pools() -> impl Strategy<Value = (u32, Vec<Option<Load>>)> {
    let load = proptest::option::weighted(0.8, (0..60_u32).prop_map(|connections| load(connections).unwrap()));
    (1..30_u32, proptest::collection::vec(load, 0..30))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_is_bounded_steady_and_never_against_the_figures((replicas, loads) in pools()) {
        let rule = AutoscalePlan { min: 2, max: 25, ..free() };
        let (decided, _) = at_once(&rule, replicas, &loads);
        prop_assert!(rule.min <= decided && decided <= rule.max);
        let told: Vec<f64> = loads.iter().flatten().map(|load| load.connections).collect();
        let average = told.iter().sum::<f64>() / told.len().max(1) as f64;
        prop_assert!(decided <= replicas.max(2) || average > 11.0, "more only where there is too much");
        prop_assert!(decided >= replicas.min(25) || (average < 9.0 && !told.is_empty()), "fewer only where there is little");
        let (work, within) = (told.iter().sum::<f64>(), (2..=25).contains(&replicas));
        let done = f64::from(decided) * 10.0 + f64::from(replicas);
        // Those beyond what is wanted are on their way out, or no business of this pool's scaler.
        prop_assert!(!within || told.len() > replicas as usize || done >= work.min(250.0), "{} connections, but for the tolerance, find room", work);
        // Once decided, and with the work spread evenly over all, nothing changes: it does not flap.
        if told.len() == loads.len() && loads.len() == replicas as usize && within {
            let each = Some(Load { connections: work / f64::from(decided), messages: 0.0, cpu: 0.0 });
            let again = at_once(&rule, decided, &vec![each; decided as usize]).0;
            prop_assert_eq!(again, decided, "{} on {}", work, decided);
        }
    }

    #[test]
    fn no_change_is_larger_than_a_step_or_sooner_than_a_period(peaks in proptest::collection::vec(0..40_u32, 1..60)) {
        let rule = plan(
            r#"{"maxReplicas": 30, "target": {"connections": 10}, "up": {"step": "4", "period": "10s"},
                "down": {"stabilization": "15s", "step": "2", "period": "20s"}}"#,
        );
        let begin = Instant::now();
        let (mut autoscaler, mut replicas) = (Autoscaler::new(5, begin), 5_u32);
        let (mut ups, mut downs) = (Vec::new(), vec![0]);
        for (turn, busy) in peaks.into_iter().enumerate() {
            let seconds = 3 * turn as u64 + 1;
            let loads = vec![load(busy); replicas as usize];
            let next = autoscaler.decide(&rule, replicas, &loads, begin + Duration::from_secs(seconds)).replicas;
            prop_assert!(next <= replicas + 4 && next + 2 >= replicas, "{} to {}", replicas, next);
            if next > replicas {
                prop_assert!(ups.last().is_none_or(|last| seconds - last >= 10));
                ups.push(seconds);
            }
            if next < replicas {
                prop_assert!(downs.last().is_some_and(|last| seconds - last >= 20));
                prop_assert!(seconds > 15, "a whole window first");
                downs.push(seconds);
            }
            replicas = next;
        }
    }
}
