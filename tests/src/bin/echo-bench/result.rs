//! What one run measured: as JSON for programs, as a table and a chart for people.
//!
//! Written again after each case, so that a run that is broken off leaves what it has.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::figures::{Figure, Figures};
use crate::idle::{Step, slope};
use crate::stats::Middle;
use crate::steady::Steady;
use crate::{Failure, Plan, chart};

/// Version of the JSON's shape.
const FORMAT: u32 = 1;

/// One run.
#[derive(Debug)]
pub(crate) struct Result {
    date: String,
    machine: String,
    rounds: u32,
    cases: Vec<Figures>,
    pub(crate) idle: Vec<Step>,
    pub(crate) steady: Option<Steady>,
}

impl Result {
    /// Of a run that begins now, here.
    pub(crate) fn new(plan: &Plan) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machine = format!("{}, {cores} cores", told("uname", &["-sr"]));
        let date = told("date", &["+%Y-%m-%d"]);
        println!(
            "{date}, {machine}; CPU time of the server for one echo, its ratio to the first and the 95 % interval"
        );
        Self { date, machine, rounds: plan.rounds, cases: Vec::new(), idle: Vec::new(), steady: None }
    }

    /// Adds what a case showed.
    pub(crate) fn add(&mut self, figures: Figures) {
        self.cases.push(figures);
    }

    /// Writes bench.json and bench.svg.
    pub(crate) fn write(&self, plan: &Plan) -> std::result::Result<(), Failure> {
        fs::create_dir_all(&plan.out)?;
        let json = serde_json::to_string_pretty(&self.json())?;
        fs::write(plan.out.join("bench.json"), json + "\n")?;
        let caption = format!("{}, {}, {} rounds", self.date, self.machine, self.rounds);
        fs::write(plan.out.join("bench.svg"), chart::draw(&self.cases, &caption))?;
        Ok(())
    }

    fn json(&self) -> Value {
        let cases: Vec<Value> = self.cases.iter().map(case).collect();
        let steps: Vec<Value> = self.idle.iter().map(step).collect();
        let steady = self.steady.as_ref().map(|steady| {
            let Steady { minutes, echoes, rss_kib, files } = steady;
            json!({"minutes": minutes, "echoes": echoes, "rssKib": rss_kib, "files": files})
        });
        json!({
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "rounds": self.rounds,
            "interval": "sign test, at least 95 %",
            "cases": cases,
            "idle": {"steps": steps, "kibPerConnection": slope(&self.idle)},
            "steady": steady,
        })
    }
}

/// What a program prints, on one line; empty if it cannot be had.
fn told(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn case(figures: &Figures) -> Value {
    let case = figures.case;
    let servers: Vec<Value> = figures.servers.iter().map(figure).collect();
    json!({
        "name": case.name,
        "title": case.title,
        "connections": case.connections,
        "inFlight": case.in_flight,
        "size": case.size,
        "wantedCpuRatio": case.wanted,
        "servers": servers,
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
    })
}

fn middle(middle: Middle) -> Value {
    json!({"median": middle.median, "low": middle.low, "high": middle.high})
}

fn step(step: &Step) -> Value {
    let Step { nodes, connections, rss_kib, p50_micros } = step;
    json!({"nodes": nodes, "connections": connections, "rssKib": rss_kib, "echoP50Micros": p50_micros})
}
