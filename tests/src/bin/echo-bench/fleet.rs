//! What a fleet costs: thousands of real agents without a data path, a real etcd and two real controls, on this machine.
//!
//! Called by `main`. Everything shares the machine's cores, so what etcd and the agents take is told beside each figure.

mod client;
mod meter;
mod place;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use echo_tests::Swarm;
use echo_tests::swarm::JOINING;
use serde_json::{Value, json};

use crate::Failure;
use crate::run::Verdict;
use crate::stats::{Middle, middle};
use crate::target::{Bound, Target};

use meter::Meter;
use place::Place;

/// Life of a registration: what operators set above 2,000 nodes.
const TTL: Duration = Duration::from_secs(30);
/// How often all nodes are listed.
const LISTS: u32 = 5;
/// How many have something to say at the same moment.
const ANSWERS: usize = 1_000;
/// Longest wait for any one state.
const PATIENCE: Duration = Duration::from_secs(180);
/// What is asked, in seconds; of a core; of RSS in MiB (200 MB).
const REGISTERED_WITHIN: f64 = 25.0;
const ROLLED_OUT_WITHIN: f64 = 20.0;
const IDLE_CORES: f64 = 0.05;
const RSS_MIB: f64 = 200e6 / 1_048_576.0;
const LISTED_WITHIN: f64 = 0.5;
const FOLDED_WITHIN: f64 = 1.0;
const FAILED_OVER_WITHIN: f64 = 7.0;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Folder of echo-control and echoctl
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// Agents
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=15_000))]
    nodes: u32,
    /// Seconds until all has come to rest, and for which idleness is looked at then
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Where fleet.json goes
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// What was measured so far.
#[derive(Default)]
struct Seen {
    targets: Vec<Target>,
    /// What each phase took of whom.
    costs: Vec<(&'static str, Value)>,
}

impl Seen {
    fn note(&mut self, work: &str, figure: &'static str, measured: Middle, most: f64) {
        let target = Target { work: work.to_owned(), figure, measured, wanted: Bound::AtMost(most) };
        println!("{target}");
        self.targets.push(target);
    }

    /// Tells what the processes took since `meter` began.
    fn cost(&mut self, phase: &'static str, meter: &Meter, place: &Place) -> Result<(), Failure> {
        let cost = meter.cost(place)?;
        println!("        {phase}: {cost}");
        self.costs.push((phase, cost.json()));
        Ok(())
    }
}

/// Measures all of it, and writes it down.
pub(crate) fn run(plan: &Plan) -> Result<Verdict, Failure> {
    std::fs::create_dir_all(&plan.out)?;
    let nodes = plan.nodes as usize;
    println!("A fleet of {nodes} agents, their etcd and two controls on this machine; leases of {TTL:?}");
    let mut seen = Seen::default();
    let mut place = Place::new(&plan.binaries, plan.out.join("fleet"))?;
    register(&mut place, nodes, &mut seen)?;
    idle(&place, Duration::from_secs(plan.seconds), &mut seen)?;
    list(&place, nodes, &mut seen)?;
    roll_out(&place, nodes, &mut seen)?;
    answer(&place, nodes.min(ANSWERS), &mut seen)?;
    fail_over(&mut place, &mut seen)?;
    lose_etcd(&mut place, nodes, &mut seen)?;
    let targets: Vec<_> = seen.targets.iter().map(crate::result::target).collect();
    let costs: serde_json::Map<_, _> = seen.costs.into_iter().map(|(phase, cost)| (phase.to_owned(), cost)).collect();
    let written = json!({"nodes": nodes, "targets": targets, "costs": costs});
    std::fs::write(plan.out.join("fleet.json"), serde_json::to_string_pretty(&written)? + "\n")?;
    let missed = seen.targets.iter().filter(|target| !target.is_met()).count();
    println!("{missed} of {} numbers MISSED; written: {}/fleet.json", seen.targets.len(), plan.out.display());
    Ok(if missed == 0 { Verdict::Met } else { Verdict::Missed })
}

fn register(place: &mut Place, nodes: usize, seen: &mut Seen) -> Result<(), Failure> {
    place.apply(1)?;
    let (meter, began) = (Meter::start(place)?, Instant::now());
    place.populate(nodes, TTL);
    let registered = wait("all are registered", || {
        let swarm = place.swarm()?;
        Ok(swarm.told() == nodes && swarm.running(1) == nodes)
    });
    registered
        .map_err(|error| format!("{error}: {}", place.swarm().map_or_else(|e| e.to_string(), Swarm::troubles)))?;
    let took = Middle::once(began.elapsed().as_secs_f64());
    seen.note(
        &format!("All agents start, {JOINING} at a time"),
        "seconds until all are registered and serve",
        took,
        REGISTERED_WITHIN,
    );
    wait("control knows all", || place.client.synced(nodes))?;
    println!("        control knew all after {:.1} s", began.elapsed().as_secs_f64());
    seen.cost("registering", &meter, place)
}

fn idle(place: &Place, long: Duration, seen: &mut Seen) -> Result<(), Failure> {
    rest(long);
    let meter = Meter::start(place)?;
    rest(long);
    let cost = meter.cost(place)?;
    seen.note("Idle", "cores that the leading control takes", Middle::once(cost.control), IDLE_CORES);
    seen.note("Idle", "MiB of RSS of the leading control", Middle::once(cost.control_rss), RSS_MIB);
    seen.cost("idle", &meter, place)
}

fn list(place: &Place, nodes: usize, seen: &mut Seen) -> Result<(), Failure> {
    for (skip_live, work) in [(true, "A list of all nodes in pages of 500"), (false, "The same with live figures")] {
        let (mut times, meter) = (Vec::new(), Meter::start(place)?);
        for _ in 0..LISTS {
            let began = Instant::now();
            let found = place.client.nodes(skip_live)?.len();
            times.push(began.elapsed().as_secs_f64());
            if found != nodes {
                return Err(format!("{found} of {nodes} nodes were listed").into());
            }
        }
        let taken = middle(times).ok_or("no lists")?;
        match skip_live {
            true => seen.note(work, "seconds", taken, LISTED_WITHIN),
            false => {
                println!("        {work}: {:.2} s; each Agent is asked", taken.median);
                seen.cost("lists with live figures", &meter, place)?;
            }
        }
    }
    Ok(())
}

fn roll_out(place: &Place, nodes: usize, seen: &mut Seen) -> Result<(), Failure> {
    let (meter, began) = (Meter::start(place)?, Instant::now());
    place.apply(2)?;
    place.client.wait_rolled_out(2, PATIENCE)?;
    let took = Middle::once(began.elapsed().as_secs_f64());
    if place.swarm()?.running(2) != nodes {
        return Err("the rollout completed, but not all nodes serve its revision".into());
    }
    let work = "A rollout over all, minHealthy 1s";
    seen.note(work, "seconds until it is completed", took, ROLLED_OUT_WITHIN);
    let expired = Middle::once(meter.expired(place)?);
    seen.note(work, "records that ran out", expired, 0.0);
    seen.cost("rollout", &meter, place)
}

fn answer(place: &Place, count: usize, seen: &mut Seen) -> Result<(), Failure> {
    let (nodes, meter) = (place.swarm()?.size(), Meter::start(place)?);
    let mut lags = Vec::new();
    for round in 0..LISTS {
        let what = format!("round {round}");
        place.swarm()?.stir(count, &what);
        wait("all have answered", || Ok(place.swarm()?.told() == nodes))?;
        let written = Instant::now();
        wait("control knows their answers", || Ok(place.client.said(&what)? == count))?;
        lags.push(written.elapsed().as_secs_f64());
    }
    let lag = middle(lags).ok_or("no rounds")?;
    let work = format!("{count} answers written at once");
    seen.note(&work, "seconds from the last of them until a list of all nodes shows every one", lag, FOLDED_WITHIN);
    let grown = Middle::once(meter.control_growth(place)?);
    seen.note(&work, "MiB of RSS that control grew by, over five rounds", grown, RSS_MIB / 10.0);
    seen.cost("answers", &meter, place)
}

fn fail_over(place: &mut Place, seen: &mut Seen) -> Result<(), Failure> {
    let before = place.leader();
    place.kill_leader()?;
    let began = Instant::now();
    wait("another leads", || Ok(place.leader().is_some_and(|leader| Some(&leader) != before.as_ref())))?;
    println!("        another leads after {:.1} s", began.elapsed().as_secs_f64());
    place.apply(3)?;
    wait("it drives", || Ok(place.swarm()?.running(3) > 0))?;
    let took = Middle::once(began.elapsed().as_secs_f64());
    let figure = "seconds until another leads and has given a new revision to the first node";
    seen.note("The leading control is killed", figure, took, FAILED_OVER_WITHIN);
    Ok(())
}

/// Told without a bound: it is what this machine's etcd can do, and how long it takes to start.
fn lose_etcd(place: &mut Place, nodes: usize, seen: &mut Seen) -> Result<(), Failure> {
    place.client.wait_rolled_out(3, PATIENCE)?;
    place.kill_etcd();
    wait("all have noticed that etcd is gone", || Ok(place.swarm()?.told() == 0))?;
    let began = Instant::now();
    place.restart_etcd();
    println!("        etcd was killed; it answers again {:.1} s after its start", began.elapsed().as_secs_f64());
    let meter = Meter::start(place)?;
    let fresh = wait("all records are fresh", || Ok(place.swarm()?.told() == nodes));
    fresh.map_err(|error| format!("{error}: {}", place.swarm().map_or_else(|e| e.to_string(), Swarm::troubles)))?;
    println!("        all records are fresh after {:.1} s", began.elapsed().as_secs_f64());
    wait("control knows all", || place.client.synced(nodes))?;
    println!("        control knows all after {:.1} s", began.elapsed().as_secs_f64());
    println!("        records that ran out: {}", meter.expired(place)?);
    seen.cost("etcd came back", &meter, place)
}

/// Looks until it holds.
fn wait(what: &str, mut holds: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() >= end {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        echo_tests::wait::pause();
    }
    Ok(())
}

/// Lets time pass: what is measured is what happens meanwhile.
fn rest(long: Duration) {
    let began = Instant::now();
    while began.elapsed() < long {
        echo_tests::wait::pause();
    }
}
