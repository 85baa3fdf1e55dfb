//! How many nodes a pool should have, by what its nodes do.
//!
//! Asked by the drive with each round of figures; time is passed in. Like the HorizontalPodAutoscaler of Kubernetes: each
//! target is a wish for a number of nodes, the largest counts, and the mildest wish of a while is followed, step by step.
//! A node of which nothing is known counts as what keeps the number as it is: it serves nobody where the others ask for
//! more nodes, and as much as it should where they ask for fewer. So a fleet that can't be seen is not taken away.

mod wish;

use std::collections::VecDeque;
use std::time::Duration;

use echo_proto::spec::AutoscalePlan;
use tokio::time::Instant;

pub use self::wish::Load;
use self::wish::Wish;

/// Most wishes that are remembered: an hour of rounds.
const MAX_WISHES: usize = 4_096;

/// What one leader remembers of a pool.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    /// Within the bounds of the pool; the oldest first.
    wishes: VecDeque<(Instant, u32)>,
    /// When nodes were added last; `None`: not by this leader.
    up: Option<Instant>,
    /// When nodes were taken last, or when this leader began.
    down: Instant,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Nodes wanted from now on.
    pub replicas: u32,
    /// Why, with the figures; empty where nothing is known.
    pub reason: String,
    /// What keeps it from being as the figures ask for.
    pub limit: Option<Limit>,
}

/// What the figures ask for, and may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// More nodes than the most.
    Max,
    /// Fewer nodes than the least.
    Min,
}

impl Autoscaler {
    /// Begins with what there is: before a whole window has passed, nothing milder is known than that.
    pub fn new(replicas: u32, now: Instant) -> Self {
        Self { wishes: [(now, replicas)].into(), up: None, down: now }
    }

    /// Decides for a pool of so many nodes; `loads` are its nodes, `None` for those that don't serve or didn't tell.
    pub fn decide(&mut self, plan: &AutoscalePlan, replicas: u32, loads: &[Option<Load>], now: Instant) -> Decision {
        let longest = plan.up.stabilization.max(plan.down.stabilization);
        let Some(wish) = Wish::of(plan, replicas, loads) else {
            let replicas = replicas.clamp(plan.min, plan.max);
            // Else the first figures after a long silence would be all that is known of the window.
            self.note(replicas, longest, now);
            return Decision { replicas, reason: String::new(), limit: None };
        };
        let limit = match wish.nodes {
            nodes if nodes > plan.max => Some(Limit::Max),
            nodes if nodes < plan.min => Some(Limit::Min),
            _ => None,
        };
        self.note(wish.nodes.clamp(plan.min, plan.max), longest, now);
        let replicas = self.step(plan, replicas, now);
        Decision { replicas, reason: wish.reason, limit }
    }

    fn note(&mut self, nodes: u32, longest: Duration, now: Instant) {
        while self.wishes.len() >= MAX_WISHES
            || self.wishes.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > longest)
        {
            self.wishes.pop_front();
        }
        self.wishes.push_back((now, nodes));
    }

    /// The wishes of so long a time.
    fn within(&self, window: Duration, now: Instant) -> impl Iterator<Item = u32> {
        let recent = move |(at, _): &&(Instant, u32)| now.saturating_duration_since(*at) <= window;
        self.wishes.iter().filter(recent).map(|(_, nodes)| *nodes)
    }

    /// One step towards the mildest wish.
    fn step(&mut self, plan: &AutoscalePlan, replicas: u32, now: Instant) -> u32 {
        let bounded = replicas.clamp(plan.min, plan.max);
        if bounded != replicas {
            return bounded;
        }
        let least = self.within(plan.up.stabilization, now).min().unwrap_or(replicas);
        let most = self.within(plan.down.stabilization, now).max().unwrap_or(replicas);
        let is_over = |since: Instant, period| now.saturating_duration_since(since) >= period;
        if least > replicas && self.up.is_none_or(|at| is_over(at, plan.up.period)) {
            self.up = Some(now);
            return least.min(replicas.saturating_add(plan.up.step.of(replicas)));
        }
        if most < replicas && is_over(self.down, plan.down.period) {
            self.down = now;
            return most.max(replicas.saturating_sub(plan.down.step.of(replicas)));
        }
        replicas
    }
}

#[cfg(test)]
mod tests;
