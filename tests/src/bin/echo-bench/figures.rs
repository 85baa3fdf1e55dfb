//! One case measured: rounds in which every server gets the same load, one after the other.
//!
//! It must never count a load in which an echo was wrong or lost: of `echo-node` and of the base that is the end of the
//! case; a rival is left out, and its wrong bytes are a fault of the run.

use crate::case::{Case, Wanted};
use crate::kind::Kind;
use crate::rounds::{of, ratio, turns};
use crate::run::Log;
use crate::sample::{self, Flaw, Sample};
use crate::server::Server;
use crate::stats::Middle;
use crate::target::Target;
use crate::{Failure, Plan};

/// A load that takes more of its core than so much may be what was waited for.
const LOAD_AT_ITS_LIMIT: f64 = 0.97;

/// What a case showed.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) case: &'static Case,
    /// In the order of the case.
    pub(crate) servers: Vec<Figure>,
}

/// What one server showed.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) kind: Kind,
    /// CPU time of the server for one echo, in microseconds.
    pub(crate) cpu: Middle,
    /// The same over that of the first server in the same round.
    pub(crate) ratio: Middle,
    /// Echoes a second.
    pub(crate) rate: Middle,
    /// Latencies that a half, 99 % and 99.9 % did not exceed, in microseconds.
    pub(crate) latency: [Middle; 3],
    /// The part of the time in which the server had its core.
    pub(crate) busy: Middle,
    /// CPU time of the load for one echo, and the part of the time in which it had its core.
    pub(crate) load_cpu: Middle,
    pub(crate) load_busy: Middle,
}

/// A server of the case and what it has shown so far.
struct Contestant {
    server: Server,
    samples: Vec<Sample>,
}

impl Contestant {
    fn sample(&self, case: &Case, plan: &Plan) -> Result<Sample, Flaw> {
        sample::take(case.load(plan.load_time()), &self.server)
    }
}

/// Runs all rounds of a case.
pub(crate) fn measure(case: &'static Case, plan: &Plan, log: &mut Log) -> Result<Figures, Failure> {
    eprintln!("{}: {} rounds on {} servers", case.name, plan.rounds, case.servers.len());
    let mut contestants = Vec::new();
    for kind in case.servers {
        if let Some(why) = kind.unfit(case) {
            log.leave_out(case.name, *kind, why);
            continue;
        }
        let ready = Server::start(*kind, case.udp(), plan).map_err(Flaw::from).and_then(|server| {
            let contestant = Contestant { server, samples: Vec::new() };
            // Once without counting, for caches and what is made at the first use.
            contestant.sample(case, plan)?;
            Ok(contestant)
        });
        match ready {
            Ok(contestant) => contestants.push(contestant),
            Err(flaw) => refuse(case, *kind, &flaw, log)?,
        }
    }
    let mut out = Vec::new();
    for place in turns(plan.rounds, contestants.len()) {
        let Some(contestant) = contestants.get_mut(place).filter(|_| !out.contains(&place)) else { continue };
        match contestant.sample(case, plan) {
            Ok(sample) => contestant.samples.push(sample),
            Err(flaw) => {
                refuse(case, contestant.server.kind, &flaw, log)?;
                out.push(place);
            }
        }
    }
    let base = contestants.first().map(|base| base.samples.clone()).unwrap_or_default();
    let stayed = contestants.iter().enumerate().filter(|(place, _)| !out.contains(place));
    let servers = stayed.map(|(_, contestant)| figure(contestant, &base)).collect::<Option<_>>();
    Ok(Figures { case, servers: servers.ok_or("a case without rounds")? })
}

/// Leaves a rival out; fails if it is none.
fn refuse(case: &Case, kind: Kind, flaw: &Flaw, log: &mut Log) -> Result<(), Failure> {
    if matches!(kind, Kind::Node(_)) || case.servers.first() == Some(&kind) {
        return Err(format!("{}: {flaw}", kind.title()).into());
    }
    if flaw.wrong {
        log.fault(case.name, format_args!("{}: {flaw}", kind.title()));
    }
    log.leave_out(case.name, kind, flaw);
    Ok(())
}

fn figure(contestant: &Contestant, base: &[Sample]) -> Option<Figure> {
    let samples = &contestant.samples;
    Some(Figure {
        kind: contestant.server.kind,
        cpu: of(samples, |s| s.cpu)?,
        ratio: ratio(samples, base, |s| s.cpu)?,
        rate: of(samples, |s| s.rate)?,
        latency: [of(samples, |s| s.latency[0])?, of(samples, |s| s.latency[1])?, of(samples, |s| s.latency[2])?],
        busy: of(samples, |s| s.busy)?,
        load_cpu: of(samples, |s| s.load_cpu)?,
        load_busy: of(samples, |s| s.load_busy)?,
    })
}

impl Figures {
    /// What is asked of `echo-node` here.
    pub(crate) fn target(&self) -> Option<Target> {
        let node = self.servers.iter().find(|figure| matches!(figure.kind, Kind::Node(_)))?;
        let (figure, measured) = match self.case.wanted {
            Wanted::TimeAtMost(_) => ("server CPU time for one echo, over that of the first", node.ratio),
            Wanted::RateAtLeast(_) => {
                ("echoes for each second of server CPU, over those of the first", node.ratio.inverse())
            }
        };
        Some(Target { work: self.case.title.to_owned(), figure, measured, wanted: self.case.wanted.bound() })
    }

    /// Prints the table of this case.
    pub(crate) fn print(&self) {
        println!("\n{}", self.case.title);
        println!(
            "  {:<22} {:>8}  {:>22}  {:>8}  {:>6} {:>6} {:>7}   {:>5} {:>12}",
            "", "us CPU", "ratio", "echoes/s", "p50", "p99", "p99.9 us", "busy", "load: us CPU, busy"
        );
        for Figure { kind, cpu, ratio, rate, latency: [p50, p99, p999], busy, load_cpu, load_busy } in &self.servers {
            print!("  {:<22} {:>8.2}  ", kind.title(), cpu.median);
            print!("{:>6.3} [{:.3}, {:.3}]  {:>8.0}  ", ratio.median, ratio.low, ratio.high, rate.median);
            print!("{:>6.0} {:>6.0} {:>7.0}    ", p50.median, p99.median, p999.median);
            let limit = if load_busy.median > LOAD_AT_ITS_LIMIT { " (full)" } else { "" };
            println!(
                "{:>3.0} % {:>8.2} {:>3.0} %{limit}",
                busy.median * 100.0,
                load_cpu.median,
                load_busy.median * 100.0
            );
        }
    }
}
