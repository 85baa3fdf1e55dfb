//! The number of nodes that the figures of one instant ask for.
//!
//! Used by the autoscaler. Pure; figures come from nodes, and may be anything.

use echo_proto::spec::AutoscalePlan;

/// What is no difference: sums and quotients of shares are not exact.
const ROUNDING: f64 = 1e-9;

/// What one node does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// TCP connections and UDP flows.
    pub connections: f64,
    /// Messages a second.
    pub messages: f64,
    /// CPU time, as a part of the cores that it may use.
    pub cpu: f64,
}

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) nodes: u32,
    /// The figures that ask for it.
    pub(super) reason: String,
}

/// One target: what it is called, what a node should have, and how to read and to tell what a node has.
struct Target {
    name: &'static str,
    per_node: f64,
    read: fn(&Load) -> f64,
    tell: fn(f64) -> String,
}

impl Wish {
    /// The largest wish of all targets, for a pool of so many nodes; `None` where no node told anything.
    pub(super) fn of(plan: &AutoscalePlan, replicas: u32, loads: &[Option<Load>]) -> Option<Self> {
        let wishes: Vec<Option<Self>> = targets(plan).iter().map(|target| target.wish(plan, replicas, loads)).collect();
        // What a target that can't be seen asks for is not known: no node goes meanwhile.
        let least = if wishes.contains(&None) { replicas } else { 0 };
        let largest = wishes.into_iter().flatten().max_by_key(|wish| wish.nodes)?;
        Some(Self { nodes: largest.nodes.max(least), ..largest })
    }
}

fn targets(plan: &AutoscalePlan) -> Vec<Target> {
    let number = |value: f64| format!("{value:.1}");
    let connections = plan.targets.connections.map(|wanted| Target {
        name: "connections",
        per_node: f64::from(wanted),
        read: |load| load.connections,
        tell: number,
    });
    let messages = plan.targets.messages.map(|wanted| Target {
        name: "messages a second",
        per_node: wanted as f64,
        read: |load| load.messages,
        tell: number,
    });
    let cpu = plan.targets.cpu.map(|wanted| Target {
        name: "CPU",
        per_node: wanted.fraction(),
        read: |load| load.cpu,
        tell: |value| format!("{:.1}%", value * 100.0),
    });
    [connections, messages, cpu].into_iter().flatten().collect()
}

impl Target {
    fn wish(&self, plan: &AutoscalePlan, replicas: u32, loads: &[Option<Load>]) -> Option<Wish> {
        let told: Vec<f64> = loads.iter().flatten().map(self.read).filter(|v| v.is_finite() && *v >= 0.0).collect();
        if told.is_empty() {
            return None;
        }
        let (sum, tolerance) = (told.iter().sum::<f64>(), plan.tolerance.fraction() + ROUNDING);
        let (average, current) = (sum / told.len() as f64, f64::from(replicas));
        let ratio = average / self.per_node;
        // With those of which nothing is known, also those that are still to come or to go: they may bring the average
        // back within the tolerance, or beyond the target.
        let (sum, all, pulls) = if ratio > 1.0 {
            (sum, current.max(told.len() as f64), 1.0)
        } else {
            let all = loads.len().max(replicas as usize);
            (sum + (all - told.len()) as f64 * self.per_node, all as f64, -1.0)
        };
        let is_off = |ratio: f64| (ratio - 1.0) * pulls > tolerance;
        let nodes = sum / self.per_node;
        let nodes = if is_off(ratio) && is_off(nodes / all) { (nodes - ROUNDING).ceil() } else { current };
        // Never the other way than the average says.
        let nodes = if pulls > 0.0 { nodes.max(current) } else { nodes.min(current) };
        let (name, average, wanted) = (self.name, (self.tell)(average), (self.tell)(self.per_node));
        let reason = format!("{name}: {average} a node, over {} of {all}; wanted are {wanted}", told.len());
        // Not negative; what is too large for the type is its largest.
        Some(Wish { nodes: nodes as u32, reason })
    }
}
