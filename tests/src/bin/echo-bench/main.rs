//! `echo-bench`: what an echo costs a node, side by side with other servers on the same work. `make bench` runs it.
//!
//! Each case starts every server on core 0 and puts each in turn under the same load from the last core, again and
//! again; a server's figure is told beside raw epoll's (or another base's) of the same round, so that what the machine
//! does meanwhile falls on both. Then come busy polling, what single features cost, idle connections, and minutes at
//! full rate. What thousands of nodes ask of etcd and control is measured by itself (`fleet`). It is not shipped, and must
//! never print a figure of a load in which an echo was wrong or lost.
//!
//! Exit code 0: all numbers of the project that were measured are met; 3: one was missed; 1: a byte was wrong, or a
//! part could not be measured. What it has is written down in any case.
#![forbid(unsafe_code)]

mod burst;
mod busy;
mod case;
mod chart;
mod core;
mod cost;
mod features;
mod figures;
mod fleet;
mod hold;
mod idle;
mod kind;
mod pool;
mod result;
mod rivals;
mod rounds;
mod run;
mod sample;
mod server;
mod stats;
mod steady;
mod target;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use run::Verdict;

/// Longest run at full rate, in minutes: a day.
const MOST_MINUTES: f64 = 1_440.0;
/// Exit code of a run that measured everything, of which something is not as it should be; 2 is wrong usage.
const MISSED: u8 = 3;

/// Why the bench ends early, in words for a person.
type Failure = Box<dyn Error + Send + Sync>;

/// What an echo costs a node, side by side with other servers.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure
    Run(Plan),
    /// Measure what a fleet of thousands of nodes asks of etcd and control
    Fleet(fleet::Plan),
    /// Be one of the servers that are measured
    Serve {
        /// Which one
        #[arg(value_enum)]
        rival: rivals::Own,
    },
    /// Hold idle connections until standard input ends
    Hold {
        /// To whom
        address: std::net::SocketAddr,
        /// How many
        connections: u32,
    },
}

/// What to measure, and how well.
#[derive(Debug, Clone, clap::Args)]
struct Plan {
    /// Folder of echo-node
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
    /// Rounds of each case
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Milliseconds of load in each round and on each server
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    millis: u64,
    /// Only cases and checks whose name contains one of these, separated by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,
    /// Idle connections to hold on one node, in three steps; 0 leaves them out
    #[arg(long, default_value_t = 15_000, value_parser = connections)]
    idle: u32,
    /// Minutes at full rate while memory and file descriptors are watched; 0 leaves them out
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Where bench.json and bench.svg go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    fn load_time(&self) -> Duration {
        Duration::from_millis(self.millis)
    }
}

/// Reads a number of idle connections.
fn connections(text: &str) -> Result<u32, String> {
    let least = idle::STEPS;
    let connections: u32 = text.parse().map_err(|e| format!("{e}"))?;
    if (1..least).contains(&connections) {
        return Err(format!("at least {least}, one for each step, or 0 for none"));
    }
    Ok(connections)
}

/// Reads a number of minutes.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|e| format!("{e}"))?;
    // NaN is in no range.
    let good = (0.0..=MOST_MINUTES).contains(&minutes);
    good.then_some(minutes).ok_or_else(|| format!("not in 0 to {MOST_MINUTES}"))
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(plan) => run::run(&plan),
        Command::Fleet(plan) => fleet::run(&plan),
        Command::Serve { rival } => rivals::serve(rival).map(|()| Verdict::Met),
        Command::Hold { address, connections } => hold::hold(address, connections).map(|()| Verdict::Met),
    };
    match done {
        Ok(Verdict::Met) => ExitCode::SUCCESS,
        Ok(Verdict::Missed) => MISSED.into(),
        Ok(Verdict::Faulty) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("echo-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_measured_is_refused_where_it_is_written() {
        for good in ["0", "3", "15000"] {
            assert!(connections(good).is_ok(), "{good}");
        }
        for bad in ["1", "2", "-1", "many"] {
            assert!(connections(bad).is_err(), "{bad}");
        }
        for good in ["0", "0.01", "1440"] {
            assert!(minutes(good).is_ok(), "{good}");
        }
        for bad in ["NaN", "-1", "inf", "1441", "long"] {
            assert!(minutes(bad).is_err(), "{bad}");
        }
        let refused = |args: &[&str]| Args::try_parse_from(args).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused(&["echo-bench", "run", "--idle", "2"]).contains("one for each step"));
        assert!(refused(&["echo-bench", "run", "--minutes", "NaN"]).contains("not in 0 to 1440"));
    }
}
