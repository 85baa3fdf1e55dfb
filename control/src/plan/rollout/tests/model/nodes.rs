//! What befalls nodes, and what they do of their own.

use super::ops::Op;
use super::*;

impl Model {
    /// Something happens to a node that is there.
    pub(super) fn befall(&mut self, op: &Op) {
        let there = |world: &World, i: u32| world.nodes.contains_key(&id(i));
        match *op {
            Op::Ack(i) => self.ack(i),
            Op::Nack(i) if there(&self.world, i) => self.nack(i),
            Op::Vanish(i) => self.vanish(i),
            Op::CutOff(i) if there(&self.world, i) => {
                self.vanish(i);
                self.world.serving.insert(id(i));
            }
            Op::Restart(i) if there(&self.world, i) => self.restart(i),
            Op::Reboot(i) if there(&self.world, i) => {
                let left = self.world.leave(i);
                self.world.start_again(i, &left);
                self.world.counted.insert(id(i), Counted::default());
                self.world.silent.remove(&id(i));
            }
            Op::Leave(i) if there(&self.world, i) => drop(self.world.leave(i)),
            Op::Drain(i) if there(&self.world, i) => self.world.node(i).set_phase(Drained),
            Op::Serve(i) if there(&self.world, i) => self.world.node(i).set_phase(Ready),
            Op::Move(i, zone) if there(&self.world, i) => self.world.node(i).zone = ZONES[zone].to_owned(),
            Op::Doubt(i) if there(&self.world, i) => drop(self.world.doubtful.insert(id(i))),
            _ => {}
        }
    }

    pub(super) fn befall_one_that_tries(&mut self, i: usize, op: &Op) {
        let tries = self.world.given();
        let Some(i) = tries.get(i % tries.len().max(1)) else { return };
        match op {
            Op::Late(_) => drop(self.world.late.insert(id(*i))),
            Op::Hang(_) => drop(self.world.silent.insert(id(*i))),
            Op::Lose(_) => self.vanish(*i),
            _ => self.world.node(*i).set_phase(v1::NodePhase::Starting),
        }
    }

    fn vanish(&mut self, i: u32) {
        self.vanished.extend(self.world.nodes.remove_entry(&id(i)));
    }

    fn restart(&mut self, i: u32) {
        self.world.restart(i);
        self.world.node(i).applied = None;
        self.world.silent.remove(&id(i));
    }

    pub(super) fn join(&mut self, i: u32, zone: usize) {
        let known = |(known, _): &(NodeId, v1::NodeStatus)| *known == id(i);
        if !self.world.nodes.contains_key(&id(i)) && !self.vanished.iter().any(known) {
            self.world.left.remove(&id(i));
            self.world.silent.remove(&id(i));
            self.world.join(i);
            self.world.node(i).applied = None;
            self.world.node(i).zone = ZONES[zone].to_owned();
        }
    }

    /// It runs what it is assigned, unless it drained or has refused that. Who writes its record lives.
    pub(super) fn ack(&mut self, i: u32) {
        let (assignment, node) = (self.world.assignment.clone().unwrap(), id(i));
        let assigned = crate::plan::sync::assigned(&assignment, &node);
        if let Some(status) = self.world.nodes.get_mut(&node).filter(|s| crate::plan::sync::is_asked(s)) {
            let (before, refused) = (status.clone(), status.rejection.as_ref().and_then(|r| r.revision.clone()));
            status.applied = assigned.filter(|a| Some(a) != refused.as_ref()).or(status.applied.take());
            status.set_phase(Ready);
            if *status != before {
                self.world.doubtful.remove(&node);
            }
        }
    }

    fn nack(&mut self, i: u32) {
        let assignment = self.world.assignment.clone().unwrap();
        let next = assignment.next.as_ref().map(|next| next.n);
        let tries = echo_proto::ids::Place::of(&assignment, &id(i)) == echo_proto::ids::Place::Next;
        if let Some(n) = next.filter(|n| tries && self.world.node(i).applied != Some(revision(*n))) {
            self.world.nack(i, n);
        }
    }

    pub(super) fn come_back(&mut self, i: u32, same: bool) {
        let Some(place) = self.vanished.iter().position(|(known, _)| *known == id(i)) else { return };
        let (node, status) = self.vanished.remove(place);
        self.world.nodes.insert(node, status);
        if !same {
            self.restart(i);
        }
    }
}
