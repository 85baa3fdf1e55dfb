//! What one run measured: as JSON for programs, as a chart for people.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::busy::{Busy, Latencies};
use crate::features::Cost;
use crate::figures::{Figure, Figures};
use crate::idle::{Idle, Step};
use crate::run::{LeftOut, Log};
use crate::stats::Middle;
use crate::steady::Steady;
use crate::target::{Bound, Target};
use crate::{Failure, Plan, chart};

/// Version of the JSON's shape.
const FORMAT: u32 = 2;

/// One run.
#[derive(Debug)]
pub(crate) struct Result {
    date: String,
    machine: String,
    rounds: u32,
    pub(crate) cases: Vec<Figures>,
    pub(crate) busy: Option<Busy>,
    pub(crate) features: Vec<Cost>,
    pub(crate) idle: Option<Idle>,
    pub(crate) steady: Option<Steady>,
}

impl Result {
    /// Of a run that begins now, here.
    pub(crate) fn new(plan: &Plan) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
        let model = model.trim_start_matches([' ', '\t', ':']);
        let machine = format!("{model}, {cores} cores, {}", told("uname", &["-sr"]));
        let date = told("date", &["+%Y-%m-%d"]);
        println!("{date}, {machine}; {} rounds, medians and 95 % intervals", plan.rounds);
        let (cases, features) = (Vec::new(), Vec::new());
        Self { date, machine, rounds: plan.rounds, cases, busy: None, features, idle: None, steady: None }
    }

    /// The project's numbers, as far as they were measured.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<_> = self.cases.iter().filter_map(Figures::target).collect();
        targets.extend(self.busy.as_ref().map(Busy::target));
        targets.extend(self.idle.iter().flat_map(Idle::targets));
        targets.extend(self.steady.iter().flat_map(Steady::targets));
        targets
    }

    /// Writes bench.json and bench.svg.
    pub(crate) fn write(&self, plan: &Plan, log: &Log) -> std::result::Result<(), Failure> {
        fs::create_dir_all(&plan.out)?;
        let json = serde_json::to_string_pretty(&self.json(log))?;
        fs::write(plan.out.join("bench.json"), json + "\n")?;
        let caption = format!("{}, {}, {} rounds", self.date, self.machine, self.rounds);
        fs::write(plan.out.join("bench.svg"), chart::draw(&self.cases, &caption))?;
        Ok(())
    }

    fn json(&self, log: &Log) -> Value {
        json!({
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "rounds": self.rounds,
            "interval": "sign test, at least 95 %",
            "targets": self.targets().iter().map(target).collect::<Vec<_>>(),
            "cases": self.cases.iter().map(case).collect::<Vec<_>>(),
            "leftOut": log.left_out.iter().map(left_out).collect::<Vec<_>>(),
            "faults": log.faults,
            "busyPoll": self.busy.as_ref().map(busy),
            "features": self.features.iter().map(feature).collect::<Vec<_>>(),
            "idle": self.idle.as_ref().map(idle),
            "steady": self.steady.as_ref().map(steady),
        })
    }
}

/// What a program prints, on one line; empty if it cannot be had.
fn told(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) fn target(target: &Target) -> Value {
    let (bound, wanted) = match target.wanted {
        Bound::AtMost(most) => ("atMost", most),
        Bound::AtLeast(least) => ("atLeast", least),
    };
    json!({
        "work": target.work,
        "figure": target.figure,
        "measured": middle(target.measured),
        bound: wanted,
        "met": target.is_met(),
    })
}

fn case(figures: &Figures) -> Value {
    let case = figures.case;
    json!({
        "name": case.name,
        "title": case.title,
        "connections": case.connections,
        "inFlight": case.in_flight,
        "size": case.size,
        "servers": figures.servers.iter().map(figure).collect::<Vec<_>>(),
    })
}

fn figure(figure: &Figure) -> Value {
    let [p50, p99, p999] = figure.latency.map(middle);
    json!({
        "server": figure.kind.title(),
        "cpuMicrosPerEcho": middle(figure.cpu),
        "cpuRatio": middle(figure.ratio),
        "echoesPerSecond": middle(figure.rate),
        "latencyMicros": {"p50": p50, "p99": p99, "p99.9": p999},
        "busy": middle(figure.busy),
        "load": {"cpuMicrosPerEcho": middle(figure.load_cpu), "busy": middle(figure.load_busy)},
    })
}

fn left_out(LeftOut { case, server, why }: &LeftOut) -> Value {
    json!({"case": case, "server": server, "why": why})
}

fn middle(middle: Middle) -> Value {
    json!({"median": middle.median, "low": middle.low, "high": middle.high})
}

fn busy(busy: &Busy) -> Value {
    let latencies = |of: &Latencies| json!({"p50": middle(of.p50), "p99": middle(of.p99)});
    json!({
        "withoutMicros": latencies(&busy.without),
        "withMicros": latencies(&busy.with),
        "p50Ratio": middle(busy.ratio),
    })
}

fn feature(Cost { feature, without, with, ratio }: &Cost) -> Value {
    json!({
        "name": feature.name,
        "title": feature.title,
        "withoutCpuMicrosPerEcho": middle(*without),
        "withCpuMicrosPerEcho": middle(*with),
        "ratio": middle(*ratio),
    })
}

fn idle(idle: &Idle) -> Value {
    json!({"steps": idle.steps.iter().map(step).collect::<Vec<_>>(), "kibPerConnection": idle.slope})
}

fn step(step: &Step) -> Value {
    json!({
        "nodes": step.nodes,
        "connections": step.connections,
        "rssKib": step.rss_kib,
        "echoMicros": {"p50": middle(step.p50), "p99": middle(step.p99)},
        "overOne": {"p50": middle(step.p50_ratio), "p99": middle(step.p99_ratio)},
    })
}

fn steady(Steady { minutes, echoes, rss_kib, files }: &Steady) -> Value {
    json!({"minutes": minutes, "echoes": echoes, "rssKib": rss_kib, "files": files})
}
