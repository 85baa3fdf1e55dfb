//! Whom to start and to stop: by hand, and by properties over arbitrary hosts.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn pool(name: &str) -> PoolName {
    name.parse().unwrap()
}

fn worker(index: u32, name: &str) -> Worker {
    let (zone, load) = (String::new(), Some(0));
    Worker { index, pool: pool(name), zone, leaving: false, usage: Usage::Serves, load, keeper: Keeper::Here }
}

/// One that another control started.
fn other(index: u32, name: &str, sure: bool) -> Worker {
    Worker { keeper: Keeper::Elsewhere { sure }, ..worker(index, name) }
}

fn wanted(pools: &[(&str, u32)]) -> BTreeMap<PoolName, u32> {
    pools.iter().map(|(name, n)| (pool(name), *n)).collect()
}

#[test]
fn starts_fill_the_lowest_indexes_over_all_pools() {
    let found = plan(&wanted(&[("a", 2), ("b", 2)]), &[worker(2, "b")], &[]);
    let start = |index, name| Action::Start(index, pool(name));
    assert_eq!(found.actions, [start(1, "a"), start(3, "a"), start(4, "b")]);
    assert!(found.refused.is_empty());
}

#[test]
fn stops_take_the_highest_first_and_leave_other_pools_alone() {
    let workers = [worker(1, "a"), worker(2, "a"), worker(3, "b"), worker(4, "a")];
    let found = plan(&wanted(&[("a", 1)]), &workers, &[]);
    assert_eq!(found.actions, [Action::Stop(4), Action::Stop(2)]);
}

#[test]
fn stops_take_those_first_that_serve_nobody() {
    let used = |index, usage| Worker { usage, ..worker(index, "a") };
    let workers = [used(1, Usage::Cordoned), used(2, Usage::Drained), worker(3, "a"), worker(4, "a")];
    let stops = |left| plan(&wanted(&[("a", left)]), &workers, &[]).actions;
    assert_eq!(stops(3), [Action::Stop(2)]);
    assert_eq!(stops(2), [Action::Stop(2), Action::Stop(1)]);
    assert_eq!(stops(1), [Action::Stop(2), Action::Stop(1), Action::Stop(4)]);
}

#[test]
fn who_leaves_holds_its_index_but_does_not_count() {
    let leaving = Worker { leaving: true, ..worker(1, "a") };
    let found = plan(&wanted(&[("a", 1)]), &[leaving], &[]);
    assert_eq!(found.actions, [Action::Start(2, pool("a"))]);
}

#[test]
fn enough_is_enough() {
    assert_eq!(plan(&wanted(&[("a", 1)]), &[worker(7, "a")], &[]), Plan::default());
    assert_eq!(plan(&wanted(&[]), &[worker(7, "a")], &[]), Plan::default(), "a pool that is not named");
}

#[test]
fn who_runs_elsewhere_fills_a_place_holds_its_id_and_is_not_stopped() {
    let workers = [other(1, "a", true), other(2, "a", true), worker(3, "a"), other(4, "b", true)];
    assert_eq!(plan(&wanted(&[("a", 3)]), &workers, &[]), Plan::default());
    let start = |index| Action::Start(index, pool("a"));
    assert_eq!(plan(&wanted(&[("a", 5)]), &workers, &[]).actions, [start(5), start(6)]);
    let Plan { actions, beyond, .. } = plan(&wanted(&[("a", 1)]), &workers, &[]);
    assert_eq!((actions, beyond), (vec![Action::Stop(3)], wanted(&[("a", 1)])));
    let leaving = Worker { leaving: true, ..other(1, "a", true) };
    assert_eq!(plan(&wanted(&[("a", 1)]), &[leaving], &[]).actions, [start(2)]);
}

#[test]
fn who_may_be_dead_elsewhere_is_no_reason_to_start_nor_to_stop() {
    let workers = [other(1, "a", false), worker(2, "a")];
    assert_eq!(plan(&wanted(&[("a", 2)]), &workers, &[]), Plan::default());
    assert_eq!(plan(&wanted(&[("a", 1)]), &workers, &[]), Plan::default());
}

#[test]
fn only_an_id_of_a_process_scaler_has_an_index() {
    let of = |id: &str| index(&id.parse().unwrap());
    assert_eq!(["node-1", "node-254"].map(of), [Some(1), Some(254)]);
    assert_eq!(["node-0", "node-255", "node-01", "node-x", "web-1"].map(of), [None; 5]);
}

#[test]
fn a_host_has_254_addresses() {
    let found = plan(&wanted(&[("a", 256)]), &[worker(254, "b")], &[]);
    assert_eq!(found.actions.len(), 253);
    assert_eq!(found.refused, wanted(&[("a", 3)]));
}

#[test]
fn stops_take_the_emptiest_and_the_unknown_last() {
    let with = |index, load| Worker { load, ..worker(index, "a") };
    let workers = [with(1, Some(3)), with(2, Some(0)), with(3, None), with(4, Some(7)), with(5, Some(3))];
    let stops = plan(&wanted(&[("a", 0)]), &workers, &[]).actions;
    assert_eq!(stops, [2, 5, 1, 4, 3].map(Action::Stop));
}

#[test]
fn stops_take_from_the_zone_with_the_most_nodes() {
    let at = |index, zone: &str, load| Worker { zone: zone.to_owned(), load: Some(load), ..worker(index, "a") };
    let workers = [at(1, "x", 9), at(2, "y", 0), at(3, "x", 8), at(4, "y", 1), at(5, "x", 7)];
    let stops = |left| plan(&wanted(&[("a", left)]), &workers, &[]).actions;
    assert_eq!(stops(4), [5].map(Action::Stop), "the emptiest of x, though there is an emptier one in y");
    assert_eq!(stops(2), [5, 2, 3].map(Action::Stop));
}

#[test]
fn starts_fill_the_zone_with_the_fewest_nodes() {
    let zones = ["x", "y", "z"].map(String::from);
    assert_eq!([1, 2, 3, 4].map(|index| zone(&zones, index)), ["x", "y", "z", "x"]);
    let at = |index| Worker { zone: zone(&zones, index).to_owned(), ..worker(index, "a") };
    let found = plan(&wanted(&[("a", 5)]), &[at(2), at(3)], &zones).actions;
    assert_eq!(found, [1, 4, 5].map(|index| Action::Start(index, pool("a"))));
    let found = plan(&wanted(&[("a", 3)]), &[at(1), at(4)], &zones).actions;
    assert_eq!(found, [Action::Start(2, pool("a"))], "y has none, and x two");
}

/// Processes of one pool in up to four zones, and how many it wants.
fn hosts() -> impl Strategy<Value = (Vec<Worker>, u32)> {
    let usage = prop_oneof![1 => Just(Usage::Drained), 1 => Just(Usage::Cordoned), 6 => Just(Usage::Serves)];
    let one = (0..4_usize, any::<bool>(), usage, proptest::option::of(0..5_u64));
    let workers = proptest::collection::vec(one, 0..40).prop_map(|all| {
        let worker = |(n, (zone, leaving, usage, load)): (usize, (usize, bool, Usage, Option<u64>))| Worker {
            index: n as u32 + 1,
            pool: pool("a"),
            zone: format!("z{zone}"),
            leaving,
            usage,
            load,
            keeper: Keeper::Here,
        };
        all.into_iter().enumerate().map(worker).collect()
    });
    (workers, 0..40_u32)
}

/// The most nodes that serve in one of these zones, less the fewest.
fn imbalance(zones: &BTreeSet<String>, left: &[&Worker]) -> usize {
    let serve = |zone: &&String| left.iter().filter(|w| w.usage == Usage::Serves && w.zone == **zone).count();
    let counts: Vec<usize> = zones.iter().map(|zone| serve(&zone)).collect();
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_is_left_is_as_many_as_wanted_the_busiest_and_spread((workers, replicas) in hosts()) {
        let zones = ["z0", "z1", "z2", "z3"].map(String::from);
        let Plan { actions, refused, .. } = plan(&wanted(&[("a", replicas)]), &workers, &zones);
        prop_assert!(refused.is_empty());
        let stops: BTreeSet<u32> = actions.iter().filter_map(|a| match a {
            Action::Stop(index) => Some(*index),
            Action::Start(..) => None,
        }).collect();
        let starts: BTreeSet<u32> = actions.iter().filter_map(|a| match a {
            Action::Start(index, _) => Some(*index),
            Action::Stop(_) => None,
        }).collect();
        let present: Vec<&Worker> = workers.iter().filter(|w| !w.leaving).collect();
        let (gone, left): (Vec<&Worker>, Vec<&Worker>) = present.iter().partition(|w| stops.contains(&w.index));
        prop_assert_eq!(left.len() + starts.len(), replicas as usize);
        prop_assert_eq!(gone.len(), stops.len(), "only those are stopped that are there");
        prop_assert!(starts.is_empty() || stops.is_empty());
        prop_assert!(workers.iter().all(|w| !starts.contains(&w.index)), "an index is used once");
        let busy = |w: &Worker| (w.usage, w.load.unwrap_or(u64::MAX));
        for (stopped, kept) in gone.iter().flat_map(|g| left.iter().map(move |l| (g, l))) {
            let alike = stopped.zone == kept.zone || kept.usage != Usage::Serves;
            prop_assert!(!alike || busy(stopped) <= busy(kept), "{stopped:?} went, and {kept:?} stays");
        }
        let served = present.iter().filter(|w| w.usage == Usage::Serves).map(|w| w.zone.clone()).collect();
        prop_assert!(imbalance(&served, &left) <= imbalance(&served, &present).max(1));
    }
}
