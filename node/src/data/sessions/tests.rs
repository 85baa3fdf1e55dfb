//! Counting sequences, and a table that peers can't make grow.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn key(session: u64, flow: u32) -> Key {
    Key { session, flow, protocol: Protocol::Udp, at: at([127, 0, 0, 1], 7) }
}

fn at(address: [u8; 4], port: u16) -> SocketAddr {
    (address, port).into()
}

fn after(sequences: &[u64]) -> Seen {
    let mut seen = Seen::default();
    sequences.iter().for_each(|sequence| note(&mut seen, *sequence));
    seen
}

/// Without what is drawn by chance.
fn counts(seen: Seen) -> Seen {
    Seen { memory: 0, ..seen }
}

#[test]
fn gaps_duplicates_and_stragglers_are_told_apart() {
    let seen = after(&[10, 11, 14, 12, 11, 11]);
    let expected = Seen { count: 6, duplicates: 2, lowest: 10, highest: 14, window: 0b11101, ..Seen::default() };
    assert_eq!(seen, expected, "13 has not come");
    assert_eq!(after(&[9, 8]), Seen { count: 2, lowest: 8, highest: 9, window: 0b11, ..Seen::default() });
}

#[test]
fn the_window_forgets_and_never_wraps() {
    assert_eq!(after(&[0, 63]).window, 1 << 63 | 1);
    assert_eq!(after(&[0, 64]).window, 1);
    assert_eq!(after(&[0, u64::MAX, 0]).duplicates, 0, "nobody knows any more");
    assert_eq!(after(&[u64::MAX, u64::MAX - 63, u64::MAX - 64]).window, 1 << 63 | 1);
}

#[test]
fn the_longest_silent_flow_makes_room() {
    let mut sessions = Sessions::default();
    for session in 0..MAX_FLOWS as u64 {
        sessions.arrived(key(session, 0), 0, session, 0);
    }
    sessions.arrived(key(0, 0), 1, 9_000, 0);
    assert_eq!(sessions.list(None, usize::MAX).evicted, 0);
    sessions.arrived(key(7, 1), 0, 9_001, 0);
    let all = sessions.list(None, 3);
    let newest: Vec<_> = all.flows.iter().map(|flow| (flow.key.session, flow.key.flow)).collect();
    assert_eq!(newest, [(7, 1), (0, 0), (4095, 0)]);
    assert_eq!((all.total, all.evicted), (MAX_FLOWS, 1));
    assert!(sessions.list(Some(1), 9).flows.is_empty(), "session 1 was silent the longest");
    assert_eq!(sessions.list(Some(7), 9).total, 2);
    // Its drops are nobody's any more.
    sessions.dropped(&key(1, 0), Drop::SendBuffer);
    let seen = sessions.arrived(key(1, 0), 40, 9_002, 0);
    assert_eq!(counts(seen), after(&[40]), "it begins anew");
    assert_eq!(seen.memory, all.flows[0].seen.memory.wrapping_add(1), "and is known to");
}

#[test]
fn strangers_take_nobodys_place() {
    let mut sessions = Sessions::default();
    let room = MAX_FLOWS as u64 - 1;
    for session in 0..room {
        sessions.arrived(key(session, 0), 0, session, 0);
    }
    for session in 0..9 {
        sessions.refused(key(50_000 + session, 0), 0, 9_000, 0);
    }
    let first = sessions.list(Some(50_000), 9);
    assert_eq!((first.total, first.evicted), (1, 8), "one found room");
    sessions.refused(key(0, 0), 1, 9_001, 0);
    assert_eq!(counts(sessions.list(Some(0), 9).flows[0].seen), after(&[0, 1]), "one that is known counts on");
    sessions.arrived(key(room, 0), 0, 9_002, 0);
    assert_eq!(sessions.list(Some(50_000), 9).total, 0, "the stranger goes first");
    assert_eq!(sessions.list(Some(0), 9).total, 1);
}

#[test]
fn drops_are_counted_by_reason() {
    let mut sessions = Sessions::default();
    for sequence in 0..3 {
        sessions.arrived(key(1, 0), sequence, 5 + sequence, 0);
    }
    sessions.dropped(&key(1, 0), Drop::SendBuffer);
    sessions.dropped(&key(1, 0), Drop::SendBuffer);
    sessions.dropped(&key(1, 0), Drop::Oversize);
    let flow = &sessions.list(None, 1).flows[0];
    assert_eq!((flow.seen.count, flow.seen.dropped, flow.first, flow.last), (3, 3, 5, 7));
    assert_eq!(flow.dropped().collect::<Vec<_>>(), [("sndbuf", 2), ("oversize", 1)]);
}

#[test]
fn a_flow_that_moved_to_another_shard_is_one() {
    let mut shards = [Sessions::default(), Sessions::default()];
    for sequence in [3, 4] {
        shards[0].arrived(key(1, 0), sequence, 10 + sequence, 0);
    }
    shards[1].arrived(key(1, 0), 6, 20, 0);
    shards[1].arrived(key(2, 0), 0, 21, 0);
    let all = Listing::merge(shards.iter().map(|shard| shard.list(None, 9)), 9);
    assert_eq!(all.total, 2);
    assert_eq!(all.flows.iter().map(|flow| flow.key.session).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(counts(all.flows[1].seen), after(&[3, 4, 6]));
    assert_eq!((all.flows[1].first, all.flows[1].last), (13, 20));
    let one = Listing::merge(shards.iter().map(|shard| shard.list(None, 1)), 1);
    assert_eq!(one.flows.len(), 1);
}

#[test]
fn what_the_queue_lost_is_told_of_flows_that_were_there() {
    let mut sessions = Sessions::default();
    let own = key(1, 0).at;
    sessions.overflowed(own, 5);
    assert_eq!(sessions.arrived(key(1, 0), 0, 1, 0).overflowed, 0, "before it began");
    assert_eq!(sessions.arrived(key(2, 0), 0, 2, 3).overflowed, 3, "perhaps after it began");
    sessions.overflowed(own, 10);
    sessions.overflowed(at([127, 0, 0, 1], 8), 60);
    sessions.overflowed(at([127, 0, 0, 2], 7), 40);
    assert_eq!(sessions.arrived(key(1, 0), 1, 3, 0).overflowed, 10);
    let all = sessions.list(None, 9);
    assert_eq!((all.overflowed, all.flows[1].seen.overflowed), (115, 13), "also where nothing came since");
    let tcp = Key { protocol: Protocol::Tcp, ..key(1, 0) };
    assert_eq!(sessions.arrived(tcp, 0, 4, 0).overflowed, 0);
}

#[test]
fn a_socket_that_is_forgotten_leaves_what_its_flows_tell() {
    let mut sessions = Sessions::default();
    let own = key(1, 0).at;
    sessions.overflowed(own, 5);
    sessions.arrived(key(1, 0), 0, 1, 0);
    sessions.overflowed(own, 10);
    for port in 0..MAX_SOCKETS as u16 {
        sessions.overflowed(at([127, 0, 0, 3], port), 1);
    }
    assert_eq!((sessions.lost.len(), sessions.lost.contains(&own)), (MAX_SOCKETS, false));
    let told = |sessions: &Sessions| sessions.list(Some(1), 9).flows[0].seen.overflowed;
    assert_eq!(told(&sessions), 10);
    assert_eq!(sessions.list(None, 9).overflowed, 15 + MAX_SOCKETS as u64);
    sessions.overflowed(own, 2);
    assert_eq!(told(&sessions), 12, "and goes on from there");
    assert_eq!(sessions.arrived(key(2, 0), 0, 2, 1).overflowed, 1, "as does a new one");
}

#[test]
fn two_listeners_on_one_port_at_two_addresses_count_for_themselves() {
    let mut sessions = Sessions::default();
    let beside = Key { at: at([127, 0, 0, 2], 7), ..key(1, 0) };
    assert_eq!(counts(sessions.arrived(key(1, 0), 5, 1, 0)), after(&[5]));
    assert_eq!(counts(sessions.arrived(beside, 5, 2, 0)), after(&[5]), "no duplicate of the other's");
    assert_eq!(sessions.list(Some(1), 9).total, 2);
}

proptest! {
    /// Against a set that forgets nothing.
    #[test]
    fn what_was_seen_is_what_came(sequences in vec(0..200_u64, 1..100)) {
        let seen = after(&sequences);
        let all: BTreeSet<u64> = sequences.iter().copied().collect();
        prop_assert_eq!((seen.count, seen.lowest), (sequences.len() as u64, *all.first().unwrap()));
        prop_assert_eq!(seen.highest, *all.last().unwrap());
        for behind in 0..WINDOW.min(seen.highest + 1) {
            prop_assert_eq!(seen.window >> behind & 1 == 1, all.contains(&(seen.highest - behind)));
        }
        // Those that came twice, but for the ones that came too late to tell.
        prop_assert!(seen.duplicates <= (sequences.len() - all.len()) as u64);
    }

    #[test]
    fn two_shards_together_know_what_one_would(sequences in vec((0..100_u64, any::<bool>()), 1..50)) {
        let part = |of: bool| {
            let mut shard = Sessions::default();
            for (sequence, on) in &sequences {
                if *on == of {
                    shard.arrived(key(1, 1), *sequence, 0, 0);
                }
            }
            shard.list(None, 9)
        };
        let whole = Listing::merge([part(false), part(true)], 9);
        let one = after(&sequences.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>());
        let seen = counts(whole.flows[0].seen);
        prop_assert_eq!(seen, Seen { duplicates: seen.duplicates, ..one });
    }
}
