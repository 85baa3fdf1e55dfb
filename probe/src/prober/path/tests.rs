//! A flow over a network that loses, doubles and reorders, and a node that drops: what the stamps tell must be what
//! happened.

use echo_proto::stamp::WINDOW;
use proptest::prelude::*;

use super::*;

/// A node's memory of one flow, as it fills in stamps.
#[derive(Debug, Default)]
struct Node {
    seen: Seen,
}

impl Node {
    /// Takes a request; what its answer tells, unless it is dropped.
    fn take(&mut self, sequence: u64, dropped: bool) -> Option<Seen> {
        let seen = &mut self.seen;
        if seen.count == 0 {
            *seen = Seen { lowest: sequence, highest: sequence, ..Seen::default() };
        }
        if sequence > seen.highest {
            let step = sequence - seen.highest;
            seen.window = if step < WINDOW { seen.window << step } else { 0 };
            seen.highest = sequence;
        }
        let bit = 1u64.checked_shl(u32::try_from(seen.highest - sequence).unwrap_or(u32::MAX)).unwrap_or(0);
        seen.duplicates += u64::from(seen.window & bit != 0);
        seen.window |= bit;
        seen.count += 1;
        seen.lowest = seen.lowest.min(sequence);
        seen.dropped += u64::from(dropped);
        (!dropped).then_some(*seen)
    }
}

/// What happens to one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    LostThere,
    LostBack,
    Dropped,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Answered), 1 => Just(Fate::LostThere), 1 => Just(Fate::LostBack), 1 => Just(Fate::Dropped)
    ];
    proptest::collection::vec(fate, 1..300)
}

fn count(fates: &[Fate], fate: Fate) -> u64 {
    fates.iter().filter(|one| **one == fate).count() as u64
}

/// Sends the probes one after the other; returns what is known of their path, and the node.
fn travel(fates: &[Fate]) -> (Path, Node) {
    let (mut path, mut node) = (Path::default(), Node::default());
    for (sequence, fate) in (0..).zip(fates) {
        let stamp = if *fate == Fate::LostThere { None } else { node.take(sequence, *fate == Fate::Dropped) };
        if let Some(seen) = stamp.filter(|_| *fate == Fate::Answered) {
            path.hear("a", sequence, seen, sequence + 1);
        }
    }
    (path, node)
}

fn sent(fates: &[Fate]) -> Sent {
    Sent { all: fates.len() as u64, answered: count(fates, Fate::Answered), overflow: 0 }
}

fn known(path: &Path, all: u64) -> u64 {
    path.horizon().map_or(0, |horizon| all.min(horizon.saturating_add(1)))
}

proptest! {
    #[test]
    fn a_node_that_is_asked_at_the_end_tells_exactly_what_was_lost_where(fates in fates()) {
        let (mut path, node) = travel(&fates);
        path.learn("a", node.seen, true);
        let sent = sent(&fates);
        let expected = Loss {
            there: count(&fates, Fate::LostThere),
            back: count(&fates, Fate::LostBack),
            by_node: count(&fates, Fate::Dropped),
            ..Loss::default()
        };
        prop_assert_eq!(path.loss(sent, known(&path, sent.all), 0, 0), expected);
    }

    #[test]
    fn answers_alone_tell_it_up_to_the_last_one(fates in fates()) {
        let (path, _) = travel(&fates);
        let covered = fates.iter().rposition(|fate| *fate == Fate::Answered).map_or(0, |last| last + 1);
        let (told, untold) = fates.split_at(covered);
        let sent = sent(&fates);
        let expected = Loss {
            there: count(told, Fate::LostThere),
            back: count(told, Fate::LostBack),
            by_node: count(told, Fate::Dropped),
            unknown: untold.len() as u64,
            ..Loss::default()
        };
        prop_assert_eq!(path.loss(sent, known(&path, sent.all), 0, 0), expected);
    }

    #[test]
    fn whatever_a_node_says_no_probe_is_counted_twice(
        heard in proptest::collection::vec((any::<[u64; 6]>(), any::<u32>(), 0..3u8), 0..20),
        sent in any::<[u16; 3]>(), known in 0..70_000u64, apart in 0..9u64, forgotten: u8,
    ) {
        let mut path = Path::default();
        for ([count, duplicates, lowest, highest, window, dropped], overflowed, node) in heard {
            // Sums of what a hostile node says must not overflow either.
            let bound = u64::MAX / 32;
            let seen = Seen {
                count: count % bound, duplicates: duplicates % bound, lowest, highest, window, dropped: dropped % bound,
                overflowed, memory: 0,
            };
            path.learn(&node.to_string(), seen, lowest % 2 == 0);
        }
        let all = Sent { all: sent[0].into(), answered: sent[1].min(sent[0]).into(), overflow: sent[2].into() };
        let loss = path.loss(all, known.min(all.all), apart, forgotten.into());
        let sum = loss.network() + loss.by_node + loss.by_queue + loss.by_us;
        prop_assert!(sum <= all.all - all.answered, "{loss:?} of {all:?}");
    }
}

/// What a node tells that has counted all of these since it began.
fn life(memory: u16, lowest: u64, highest: u64) -> Seen {
    Seen { memory, count: highest - lowest + 1, lowest, highest, ..Seen::default() }
}

#[test]
fn a_flow_may_move_to_another_node_or_be_forgotten_by_one() {
    let mut path = Path::default();
    path.hear("a", 9, life(1, 0, 9), 10);
    path.hear("b", 19, life(2, 10, 19), 20);
    path.hear("a", 24, life(3, 20, 24), 25);
    // "b" again after it forgot; 25 to 29 may have come to somebody who could not say so.
    path.hear("b", 39, life(4, 30, 39), 40);
    let loss = path.loss(Sent { all: 40, answered: 35, overflow: 0 }, 40, 0, 0);
    assert_eq!(loss, Loss { unknown: 5, ..Loss::default() });
    // An old one that comes late does not make two lives one.
    path.hear("b", 12, Seen { lowest: 12, count: 11, ..life(4, 30, 39) }, 40);
    let loss = path.loss(Sent { all: 41, answered: 36, overflow: 0 }, 41, 0, 0);
    assert_eq!((loss.network(), loss.by_node), (5, 0), "{loss:?}");
}

#[test]
fn what_may_have_been_a_probe_that_was_not_waited_for_proves_nothing() {
    let mut path = Path::default();
    path.learn("a", Seen { count: 6, highest: 9, ..Seen::default() }, true);
    // Of ten, three are not counted: of the six that arrived up to three may be of those.
    let loss = path.loss(Sent { all: 7, answered: 2, overflow: 0 }, 7, 3, 0);
    assert_eq!(loss, Loss { there: 1, back: 1, unknown: 3, ..Loss::default() });
}

#[test]
fn who_overtook_whom_is_told_by_direction() {
    let (mut path, mut node) = (Path::default(), Node::default());
    let [second, first, third, fourth] = [1, 0, 2, 3].map(|sequence| node.take(sequence, false).unwrap_or_default());
    assert_eq!(path.hear("a", 1, second, 4), Order::default());
    assert_eq!(path.hear("a", 0, first, 4), Order { overtaken_there: true, overtaken_back: false });
    assert_eq!(path.hear("a", 3, fourth, 4), Order::default());
    assert_eq!(path.hear("a", 2, third, 4), Order { overtaken_there: false, overtaken_back: true });
}

#[test]
fn what_our_own_socket_dropped_is_not_the_networks_loss() {
    let all = Sent { all: 10, answered: 6, overflow: 3 };
    assert_eq!(Path::default().loss(all, 0, 0, 0), Loss { unknown: 1, by_us: 3, ..Loss::default() });
    let mut path = Path::default();
    path.learn("a", Seen { count: 9, highest: 9, ..Seen::default() }, true);
    assert_eq!(path.loss(all, 10, 0, 0), Loss { there: 1, by_us: 3, ..Loss::default() });
}

#[test]
fn what_a_node_may_have_forgotten_is_not_known() {
    let mut path = Path::default();
    let answer = Seen { count: 4, lowest: 6, highest: 9, ..Seen::default() };
    path.learn("a", answer, false);
    let all = Sent { all: 12, answered: 3, overflow: 0 };
    // It remembers four of 6 to 11, of which three were answered, and none before.
    assert_eq!(path.forgotten(), 6);
    let loss = path.loss(all, 12, 0, 6);
    assert_eq!(loss, Loss { there: 2, back: 1, unknown: 6, ..Loss::default() });
}

#[test]
fn a_node_that_remembers_less_than_it_told_is_not_believed() {
    let mut path = Path::default();
    path.hear("a", 5, life(0, 0, 5), 10);
    path.learn("a", life(1, 8, 9), false);
    assert_eq!((path.horizon(), path.forgotten()), (Some(5), 8));
}

#[test]
fn what_did_not_arrive_while_the_nodes_queue_overflowed_may_be_its_doing() {
    let mut path = Path::default();
    let seen = |count, highest, overflowed| Seen { count, highest, overflowed, ..Seen::default() };
    path.hear("a", 9, seen(6, 9, 3), 10);
    let all = |all, answered| Sent { all, answered, overflow: 0 };
    assert_eq!(path.loss(all(10, 6), 10, 0, 0), Loss { there: 1, by_queue: 3, ..Loss::default() });
    path.learn("a", seen(6, 9, 100), true);
    assert_eq!(path.loss(all(10, 6), 10, 0, 0), Loss { by_queue: 4, ..Loss::default() }, "also of others");
}

#[test]
fn an_overflow_explains_no_loss_of_later() {
    let mut path = Path::default();
    let seen = |count, highest, overflowed| Seen { count, highest, overflowed, ..Seen::default() };
    path.hear("a", 9, seen(10, 9, 0), 10);
    // Others overflowed it; of ours in the queue nothing was lost, but 11 and 12 are on their way.
    path.hear("a", 10, seen(11, 10, 10_000), 13);
    // 11 was lost then, 14 to 23 later.
    path.hear("a", 13, seen(13, 13, 10_000), 14);
    path.hear("a", 24, seen(14, 24, 10_000), 25);
    let loss = path.loss(Sent { all: 25, answered: 14, overflow: 0 }, 25, 0, 0);
    assert_eq!(loss, Loss { there: 10, by_queue: 1, ..Loss::default() });
}

#[test]
fn a_node_that_began_anew_does_not_tell_what_came_before() {
    let (answered, all) = (10, Sent { all: 30, answered: 10, overflow: 0 });
    let mut path = Path::default();
    path.hear("a", 9, life(1, 0, answered - 1), 10);
    // It is another life, of less than was heard.
    path.learn("a", life(2, 25, 29), false);
    let known = path.horizon().map_or(0, |horizon| horizon + 1);
    let loss = path.loss(all, known, 0, 0);
    assert_eq!(loss, Loss { unknown: 20, ..Loss::default() });
}
