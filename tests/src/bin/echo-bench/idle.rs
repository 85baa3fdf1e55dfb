//! What an idle connection costs a node: memory by the number of connections, and how quick an echo on one of them is.

use echo_tests::process::rss_kib;

use crate::core::{Core, stay_on};
use crate::hold::Holder;
use crate::kind::Kind;
use crate::pool::Setup;
use crate::rounds::{of, ratio, turns};
use crate::server::Server;
use crate::stats::Middle;
use crate::target::{Bound, Target};
use crate::{Failure, Plan};

pub(crate) const NAME: &str = "idle";
/// On one node: a third of the connections, two thirds, all.
pub(crate) const STEPS: u32 = 3;
/// How many nodes share the load of the last step, and how many connections they hold together.
const FLEET: (u32, u32) = (6, 70_000);
/// Most memory of a connection, in KiB.
const SLOPE: f64 = 1.0;
/// As quick as with one: the 99 % of echoes that are spread over all connections, over those on the only connection of
/// another node. Something more, since each of them finds its socket in no cache of the machine.
const SLOWER: f64 = 1.25;

/// What it showed.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) steps: Vec<Step>,
    /// KiB a connection.
    pub(crate) slope: Option<f64>,
}

/// One number of idle connections.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) nodes: u32,
    pub(crate) connections: u32,
    /// Of all nodes together.
    pub(crate) rss_kib: u64,
    /// Of echoes on them, in microseconds.
    pub(crate) p50: Middle,
    pub(crate) p99: Middle,
    /// Over those of one connection, in the same round.
    pub(crate) p50_ratio: Middle,
    pub(crate) p99_ratio: Middle,
}

/// Nodes with their connections.
struct Held {
    servers: Vec<Server>,
    holders: Vec<Holder>,
}

/// Measures three steps on one node each, and a fleet.
pub(crate) fn measure(plan: &Plan) -> Result<Idle, Failure> {
    eprintln!("{NAME}: up to {} connections", plan.idle);
    println!(
        "\nIdle connections: memory, and echoes of 64 B on any of them, over those on the only one of another node"
    );
    let mut one = Held::open(1, 1, plan)?;
    let mut steps = Vec::new();
    for number in 1..=STEPS {
        steps.push(step(1, share(plan.idle, number), &mut one, plan)?);
    }
    if plan.idle >= FLEET.1.div_ceil(FLEET.0) {
        steps.push(step(FLEET.0, FLEET.1, &mut one, plan)?);
    }
    let slope = slope(&steps);
    if let Some(slope) = slope {
        println!("  {slope:.3} KiB of RSS a connection");
    }
    Ok(Idle { steps, slope })
}

/// How many of `connections` a step has.
fn share(connections: u32, step: u32) -> u32 {
    if step == STEPS { connections } else { connections / STEPS * step }
}

fn step(nodes: u32, connections: u32, one: &mut Held, plan: &Plan) -> Result<Step, Failure> {
    let mut many = Held::open(nodes, connections, plan)?;
    let rss_kib = many.servers.iter().map(|server| rss_kib(server.pid())).sum::<std::io::Result<u64>>()?;
    let mut rounds = [Vec::new(), Vec::new()];
    for (turn, place) in turns(plan.rounds, rounds.len()).enumerate() {
        let (held, rounds) = if place == 0 { (&mut *one, &mut rounds[0]) } else { (&mut many, &mut rounds[1]) };
        let holder = turn / 2 % held.holders.len();
        rounds.push(held.holders.get_mut(holder).ok_or("no holder")?.time()?);
    }
    let [base, many] = rounds;
    let (p50, p99) = (|times: &[f64; 2]| times[0], |times: &[f64; 2]| times[1]);
    let ratios = ratio(&many, &base, p50).zip(ratio(&many, &base, p99));
    let ((p50_ratio, p99_ratio), (p50, p99)) = ratios.zip(of(&many, p50).zip(of(&many, p99))).ok_or("no rounds")?;
    let step = Step { nodes, connections, rss_kib, p50, p99, p50_ratio, p99_ratio };
    step.print();
    Ok(step)
}

impl Held {
    fn open(nodes: u32, connections: u32, plan: &Plan) -> Result<Self, Failure> {
        let start = |_| Server::start(Kind::Node(Setup::Full), false, plan);
        let servers: Vec<Server> = (0..nodes).map(start).collect::<Result<_, Failure>>()?;
        stay_on(Core::Last)?;
        let share = |index| connections / nodes + u32::from(index < connections % nodes);
        let holders = (0..).zip(&servers).map(|(index, server)| Holder::start(server.address, share(index)));
        Ok(Self { holders: holders.collect::<Result<_, Failure>>()?, servers })
    }
}

/// KiB a connection, by least squares over the steps on one node.
fn slope(steps: &[Step]) -> Option<f64> {
    let points: Vec<(f64, f64)> = steps
        .iter()
        .filter(|step| step.nodes == 1)
        .map(|step| (step.connections.into(), step.rss_kib as f64))
        .collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let over = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let under = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    (under > 0.0).then_some(over / under)
}

impl Step {
    fn print(&self) {
        let Self { nodes, connections, rss_kib, p50, p99, p50_ratio, p99_ratio } = self;
        print!("  {connections:>6} on {nodes} nodes  RSS {rss_kib:>7} KiB  p50 {:.0} us", p50.median);
        print!(" {:.3} [{:.3}, {:.3}]", p50_ratio.median, p50_ratio.low, p50_ratio.high);
        println!("  p99 {:.0} us {:.3} [{:.3}, {:.3}]", p99.median, p99_ratio.median, p99_ratio.low, p99_ratio.high);
    }
}

impl Idle {
    /// What is asked of it.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let single = self.steps.iter().filter(|step| step.nodes == 1).map(|step| step.connections).max();
        if let (Some(slope), Some(most)) = (self.slope, single) {
            let work = format!("Idle connections on one process, {}, {} and {most}", share(most, 1), share(most, 2));
            let (measured, wanted) = (Middle::once(slope), Bound::AtMost(SLOPE));
            targets.push(Target { work, figure: "KiB of RSS a connection", measured, wanted });
        }
        for step in self.steps.iter().filter(|step| step.nodes > 1 || Some(step.connections) == single) {
            let work = format!("{} idle connections over {} processes", step.connections, step.nodes);
            let figure = "p99 of an echo on any of them, over that on one alone";
            targets.push(Target { work, figure, measured: step.p99_ratio, wanted: Bound::AtMost(SLOWER) });
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_taken_over_connections_on_one_node() {
        let some = Middle::once(1.0);
        let step = |nodes, connections, rss_kib| Step {
            nodes,
            connections,
            rss_kib,
            p50: some,
            p99: some,
            p50_ratio: some,
            p99_ratio: some,
        };
        let steps = [step(1, 100, 1_050), step(1, 200, 1_100), step(1, 300, 1_150), step(6, 900, 1)];
        assert_eq!(slope(&steps), Some(0.5));
        assert_eq!(slope(&steps[..1]), None);
    }
}
