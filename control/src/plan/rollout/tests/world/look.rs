//! What the leader sees of the world: the part that the drive has.

use std::collections::BTreeSet;
use std::time::SystemTime;

use echo_proto::ids::NodeId;

use super::super::super::{Absent, Decision, Facts, Hearing, NodeFacts, Since, decide, needed};
use super::World;

impl World {
    pub(in crate::plan::rollout::tests) fn decide(&mut self) -> Decision {
        self.find(decide)
    }

    /// Whose figures are asked for.
    pub(in crate::plan::rollout::tests) fn watched(&mut self) -> Option<BTreeSet<NodeId>> {
        self.decide();
        Some(self.asked.clone()).filter(|asked| !asked.is_empty())
    }

    /// The stored revisions that it asks for.
    pub(in crate::plan::rollout::tests) fn needs(&mut self) -> Vec<u32> {
        self.find(needed)
    }

    /// Who is asked from now on has answered before anything is decided.
    fn find<T>(&mut self, found: impl Fn(&Facts<'_>) -> T) -> T {
        let (facts, watched) = self.look();
        let first = found(&facts);
        if watched == self.asked {
            return first;
        }
        self.asked = watched;
        found(&self.look().0)
    }

    fn look(&mut self) -> (Facts<'_>, BTreeSet<NodeId>) {
        let (asked, heard, now) = (&self.asked, &mut self.heard, self.now);
        let (counted, doubtful, silent, late) = (&self.counted, &self.doubtful, &self.silent, &self.late);
        let answers = asked.iter().filter(|id| !silent.contains(*id) && !late.contains(*id));
        heard.extend(answers.map(|id| (id.clone(), now)));
        let hearing = |id: &NodeId| Hearing {
            missed: if silent.contains(id) { 2 } else { late.contains(id).into() },
            ago: heard.get(id).map(|heard| now - *heard),
        };
        let node = |id, status| NodeFacts {
            counted: counted.get(id).copied().filter(|_| asked.contains(id)),
            doubtful: doubtful.contains(id),
            hearing: asked.contains(id).then(|| hearing(id)),
            ..NodeFacts::new(id, status)
        };
        let mut facts = Facts {
            name: &self.name,
            pool: &self.pool,
            replicas: self.replicas,
            policy: &self.policy,
            assignment: self.assignment.as_ref(),
            rollout: self.rollout.as_ref(),
            nodes: self.nodes.iter().map(|(id, status)| node(id, status)).collect(),
            recalled: self.recalled.clone(),
            mass_loss: self.mass_loss.clone(),
            since: Since::default(),
            sizes: self.sizes,
            now: SystemTime::UNIX_EPOCH,
        };
        let absent = Absent { left: &self.left, serving: &self.serving, watched_for: self.now - self.begun };
        self.memory.look(&mut facts, absent, self.now);
        let watched = self.memory.watched(&facts).unwrap_or_default();
        (facts, watched)
    }
}
