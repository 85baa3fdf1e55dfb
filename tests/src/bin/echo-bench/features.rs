//! What single features cost: the same work with one and without it, on two nodes in turn.
//!
//! What a listener does not use should cost it nothing; what it does use is told here.

use std::time::Duration;

use crate::burst::{Bursts, Shape};
use crate::case::{Case, TCP_64, UDP_16X16};
use crate::kind::Kind;
use crate::pool::Setup;
use crate::rounds::{of, ratio, turns};
use crate::sample;
use crate::server::Server;
use crate::stats::Middle;
use crate::{Failure, Plan};

/// Bursts go for so long before their cost counts.
const WARM: Duration = Duration::from_millis(50);

/// One feature.
#[derive(Debug)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    without: Side,
    with: Side,
}

/// A node, and what is done to it.
#[derive(Debug, Clone, Copy)]
struct Side {
    setup: Setup,
    work: Work,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Case(&'static Case),
    Bursts(Shape),
}

/// What it showed: CPU time of the server for one echo, in microseconds.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) feature: &'static Feature,
    pub(crate) without: Middle,
    pub(crate) with: Middle,
    pub(crate) ratio: Middle,
}

const UDP: Work = Work::Case(&UDP_16X16);
const TCP: Work = Work::Case(&TCP_64);

const fn setups(name: &'static str, title: &'static str, work: Work, without: Setup, with: Setup) -> Feature {
    Feature { name, title, without: Side { setup: without, work }, with: Side { setup: with, work } }
}

const fn stamp(name: &'static str, title: &'static str, udp: bool, connections: u32, messages: usize) -> Feature {
    let setup = Setup::Full;
    let without = Shape { udp, connections, messages, stamped: false };
    let with = Shape { stamped: true, ..without };
    Feature {
        name,
        title,
        without: Side { setup, work: Work::Bursts(without) },
        with: Side { setup, work: Work::Bursts(with) },
    }
}

/// All of them.
pub(crate) const FEATURES: &[Feature] = &[
    setups("limits-udp", "all limits, over none, UDP 16 x 16", UDP, Setup::NoLimits, Setup::Full),
    setups("limits-tcp", "all limits, over none, TCP 64 x 1", TCP, Setup::NoLimits, Setup::Full),
    setups("guard-default", "the guard's 9 ranges, over 1, UDP 16 x 16", UDP, Setup::OneRange, Setup::Full),
    setups("guard-ranges", "64 ranges, over 1, UDP 16 x 16", UDP, Setup::OneRange, Setup::ManyRanges),
    stamp("stamped-udp", "stamped, over plain, UDP 16 x 16, 384 B", true, 16, 16),
    stamp("stamped-tcp", "stamped, over plain, TCP 64 x 1, 384 B", false, 64, 1),
];

/// Runs all rounds of one.
pub(crate) fn measure(feature: &'static Feature, plan: &Plan) -> Result<Cost, Failure> {
    eprintln!("{}: {} rounds", feature.name, plan.rounds);
    let sides = [feature.without, feature.with];
    let start = |side: Side| Server::start(Kind::Node(side.setup), side.work.udp(), plan);
    let nodes = sides.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    // Once without counting.
    for (side, node) in sides.iter().zip(&nodes) {
        side.work.cost(node, plan)?;
    }
    let mut costs = [Vec::new(), Vec::new()];
    for place in turns(plan.rounds, sides.len()) {
        let (Some(side), Some(node), Some(costs)) = (sides.get(place), nodes.get(place), costs.get_mut(place)) else {
            continue;
        };
        costs.push(side.work.cost(node, plan)?);
    }
    let [without, with] = costs;
    let ratio = ratio(&with, &without, |cost| *cost).ok_or("no rounds")?;
    let of = |costs: &[f64]| of(costs, |cost| *cost).ok_or("no rounds");
    Ok(Cost { feature, without: of(&without)?, with: of(&with)?, ratio })
}

impl Work {
    fn udp(self) -> bool {
        match self {
            Self::Case(case) => case.udp(),
            Self::Bursts(shape) => shape.udp,
        }
    }

    /// CPU time of the server for one echo, in microseconds.
    fn cost(self, node: &Server, plan: &Plan) -> Result<f64, Failure> {
        match self {
            Self::Case(case) => {
                let sample = sample::take(case.load(plan.load_time()), node).map_err(|flaw| flaw.why)?;
                Ok(sample.cpu)
            }
            Self::Bursts(shape) => {
                let mut bursts = Bursts::open(node.address, shape)?;
                bursts.run(WARM.min(plan.load_time()))?;
                let before = node.cpu()?;
                let echoes = bursts.run(plan.load_time())?;
                Ok((node.cpu()? - before).as_secs_f64() * 1e6 / echoes as f64)
            }
        }
    }
}

impl Cost {
    /// Prints one line.
    pub(crate) fn print(&self) {
        let Self { feature, without, with, ratio } = self;
        print!("  {:<44} {:>6.2} us, without {:>6.2} us", feature.title, with.median, without.median);
        println!("   {:>6.3} [{:.3}, {:.3}]", ratio.median, ratio.low, ratio.high);
    }
}
