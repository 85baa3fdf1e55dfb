//! What a life is made of: short, dense episodes, in which what befalls nodes meets a rollout on its way.
//!
//! Arbitrary steps alone seldom are in time: a node has to go just before a stage begins, and to come back within it.

use proptest::collection::vec;
use proptest::sample::{Index, select};

use super::ops::op;
use super::*;

/// Most episodes of a life.
const SCENES: usize = 16;

/// A life, step by step.
pub(super) fn life() -> impl Strategy<Value = Vec<Op>> {
    vec(scene(), 1..SCENES).prop_map(|scenes| scenes.concat())
}

/// An episode, into which something else may come.
fn scene() -> impl Strategy<Value = Vec<Op>> {
    let among = vec((any::<Index>(), op()), 0..2);
    (script(), among).prop_map(|(mut ops, among)| {
        for (at, op) in among {
            ops.insert(at.index(ops.len() + 1), op);
        }
        ops
    })
}

fn script() -> impl Strategy<Value = Vec<Op>> {
    let node = || 1..=NODES;
    let policy = || 0..POLICIES.len();
    prop_oneof![
        3 => vec(op(), 1..4),
        // It goes well for one stage, or up to the end.
        6 => (1..4_usize).prop_map(|times| goes_on().repeat(times)),
        2 => policy().prop_map(begins),
        4 => (node(), pause(), 0..3_usize, any::<bool>()).prop_map(goes_and_comes_back),
        1 => tries().prop_map(flaps),
        2 => node().prop_map(goes_when_a_step_is_done),
        2 => node().prop_map(|i| vec![Op::Reboot(i), Op::Settle]),
        2 => (node(), pause(), any::<bool>()).prop_map(is_drained),
        2 => (node(), 1..4_u32, pause(), any::<bool>()).prop_map(is_pinned),
        2 => (tries(), pause()).prop_map(hangs),
        1 => tries().prop_map(is_late_when_a_step_is_done),
        2 => (any::<bool>(), pause()).prop_map(etcd_restarts),
        2 => (node(), any::<bool>()).prop_map(many_vanish),
        1 => pause().prop_map(|pause| vec![Op::Elect, Op::Settle, Op::Pass(pause), Op::Settle]),
        1 => select(vec![FEW, 40]).prop_map(clients_come),
    ]
}

/// One of those that try the revision, whoever it is.
fn tries() -> impl Strategy<Value = usize> {
    0..NODES as usize
}

fn pause() -> impl Strategy<Value = u64> {
    select(vec![10, 1_000, 5_000, 10_000, 11_000, 31_000])
}

fn goes_on() -> Vec<Op> {
    vec![Op::Settle, Op::AckAll, Op::Settle, Op::Pass(10_000), Op::Settle]
}

fn begins(policy: usize) -> Vec<Op> {
    [vec![Op::Try(policy), Op::Settle], goes_on()].concat()
}

fn clients_come(failures: u64) -> Vec<Op> {
    vec![Op::Traffic(FEW), Op::Settle, Op::AckAll, Op::Traffic(failures)]
}

fn flaps(i: usize) -> Vec<Op> {
    [Op::Lose(i), Op::Settle, Op::ReturnAll, Op::Settle].repeat(3)
}

fn goes_and_comes_back((i, away, stages, same): (u32, u64, usize, bool)) -> Vec<Op> {
    let gone = vec![Op::Vanish(i), Op::Settle, Op::Pass(away), Op::Settle, Op::AckAll, Op::Settle];
    [gone, goes_on().repeat(stages), vec![Op::Return(i, same), Op::Settle, Op::AckAll, Op::Settle]].concat()
}

fn goes_when_a_step_is_done(i: u32) -> Vec<Op> {
    let gone = vec![Op::AckAll, Op::Settle, Op::Pass(10_000), Op::Vanish(i), Op::Settle];
    [gone, vec![Op::Pass(1_000), Op::Settle, Op::Return(i, true), Op::Settle]].concat()
}

fn is_drained((i, pause, restarts): (u32, u64, bool)) -> Vec<Op> {
    let mut ops = vec![Op::Drain(i), Op::Settle, Op::AckAll, Op::Pass(pause), Op::Settle, Op::Serve(i), Op::Settle];
    if restarts {
        ops.insert(4, Op::Restart(i));
    }
    ops
}

fn is_pinned((i, n, pause, restarts): (u32, u32, u64, bool)) -> Vec<Op> {
    let mut ops = vec![Op::Pin(i, n), Op::Settle, Op::AckAll, Op::Pass(pause), Op::Settle, Op::Unpin, Op::Settle];
    if restarts {
        ops.insert(4, Op::Restart(i));
    }
    ops
}

fn hangs((i, pause): (usize, u64)) -> Vec<Op> {
    vec![Op::Settle, Op::AckAll, Op::Hang(i), Op::Pass(pause), Op::Settle, Op::Pass(10_000), Op::Settle, Op::Heard]
}

fn is_late_when_a_step_is_done(i: usize) -> Vec<Op> {
    vec![Op::Settle, Op::AckAll, Op::Settle, Op::Pass(10_000), Op::Late(i), Op::Settle, Op::Heard, Op::Settle]
}

fn etcd_restarts((elect, pause): (bool, u64)) -> Vec<Op> {
    let mut ops = vec![Op::Settle, Op::AckAll, Op::DoubtAll, Op::Settle, Op::Pass(pause), Op::Settle, Op::Sure];
    if elect {
        ops.insert(3, Op::Elect);
    }
    ops
}

fn many_vanish((i, same): (u32, bool)) -> Vec<Op> {
    let third = |more| (i + more) % NODES + 1;
    let gone = (0..3).map(|more| Op::Vanish(third(more)));
    let back = (0..3).map(|more| Op::Return(third(more), same));
    let meanwhile = [Op::Settle, Op::Pass(1_000), Op::MassLoss, Op::Settle, Op::Pass(1_000)];
    gone.chain(meanwhile).chain(back).chain([Op::Settle]).collect()
}
