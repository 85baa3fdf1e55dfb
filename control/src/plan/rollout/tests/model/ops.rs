//! What may happen to a pool, and how often.

use super::*;

#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// An apply, with one of some policies.
    Apply(usize),
    Now,
    /// The same, unless a rollout is on its way.
    Try(usize),
    /// The node does as it is told.
    Ack(u32),
    AckAll,
    /// It refuses what it is given to try.
    Nack(u32),
    Join(u32, usize),
    /// Its record is gone ...
    Vanish(u32),
    /// ... and comes back, with the same process or another.
    Return(u32, bool),
    ReturnAll,
    /// The record of one of those that try the revision is gone.
    Lose(usize),
    /// Its record is gone, though its Agent answers.
    CutOff(u32),
    Restart(u32),
    /// It restarts in order, and is back before the leader looks.
    Reboot(u32),
    Leave(u32),
    Drain(u32),
    Serve(u32),
    Move(u32, usize),
    /// One of those that try the revision serves no more, for now.
    Fail(usize),
    /// The Agent of one of them has not answered the last time.
    Late(usize),
    /// It does not answer any more ...
    Hang(usize),
    /// ... until all do.
    Heard,
    /// Its record may be that of a dead one ...
    Doubt(u32),
    DoubtAll,
    /// ... until everybody has answered.
    Sure,
    Elect,
    Order(v1::RolloutOrderKind),
    Pin(u32, u32),
    Unpin,
    MassLoss,
    /// How many nodes there are to be.
    Scale(u32),
    /// All take a thousand messages, of which those that try the revision fail so many, and the others a few.
    Traffic(u64),
    Pass(u64),
    /// The leader decides, and its write is lost.
    LostWrite,
    /// The leader decides, so many times.
    Lead(usize),
    /// It decides until it waits.
    Settle,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    use v1::RolloutOrderKind::{Abort, Pause, Resume};
    let node = || 1..=NODES;
    prop_oneof![
        1 => (0..POLICIES.len()).prop_map(Op::Apply),
        1 => Just(Op::Now),
        8 => node().prop_map(Op::Ack),
        6 => Just(Op::AckAll),
        2 => node().prop_map(Op::Nack),
        2 => (node(), 0..ZONES.len()).prop_map(|(i, zone)| Op::Join(i, zone)),
        2 => node().prop_map(Op::Vanish),
        2 => (node(), any::<bool>()).prop_map(|(i, same)| Op::Return(i, same)),
        1 => node().prop_map(Op::CutOff),
        1 => node().prop_map(Op::Restart),
        1 => node().prop_map(Op::Reboot),
        1 => node().prop_map(Op::Leave),
        1 => node().prop_map(Op::Drain),
        2 => node().prop_map(Op::Serve),
        1 => (node(), 0..ZONES.len()).prop_map(|(i, zone)| Op::Move(i, zone)),
        2 => (0..NODES as usize).prop_map(Op::Fail),
        2 => (0..NODES as usize).prop_map(Op::Late),
        1 => (0..NODES as usize).prop_map(Op::Hang),
        1 => node().prop_map(Op::Doubt),
        2 => Just(Op::Sure),
        2 => Just(Op::Elect),
        2 => prop::sample::select(vec![Pause, Resume, Resume, Abort]).prop_map(Op::Order),
        1 => (node(), 1..4_u32).prop_map(|(i, n)| Op::Pin(i, n)),
        1 => Just(Op::Unpin),
        1 => Just(Op::MassLoss),
        1 => prop::sample::select(vec![0, 3]).prop_map(Op::Scale),
        3 => prop::sample::select(vec![FEW, FEW, 40]).prop_map(Op::Traffic),
        8 => prop::sample::select(vec![10, 1_000, 5_000, 10_000, 20_000, 31_000]).prop_map(Op::Pass),
        1 => Just(Op::LostWrite),
        12 => (1..4_usize).prop_map(Op::Lead),
    ]
}
