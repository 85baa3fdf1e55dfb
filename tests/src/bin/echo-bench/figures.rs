//! One case measured: rounds in which every server gets the same load, one after the other.
//!
//! It must never count a round in which an echo was wrong, or in which the node lost one.

use std::net::SocketAddr;
use std::sync::Arc;

use echo_probe::load::{self, ANSWER_TIMEOUT, Load, Report, Transport};

use crate::case::Case;
use crate::server::{Kind, Server};
use crate::stats::{Middle, middle};
use crate::{Failure, Plan, cost};

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
}

/// One server in one round.
#[derive(Debug, Clone, Copy)]
struct Sample {
    cpu: f64,
    rate: f64,
    latency: [f64; 3],
}

/// Runs all rounds of a case. Every other round goes through the servers backwards.
pub(crate) fn measure(case: &'static Case, plan: &Plan) -> Result<Figures, Failure> {
    eprintln!("{}: {} rounds on {} servers", case.name, plan.rounds, case.servers.len());
    let udp = case.transport == Transport::Udp;
    let mut servers = Vec::new();
    for kind in case.servers {
        match Server::start(*kind, udp, plan) {
            Ok(server) => servers.push((server, Vec::new())),
            Err(e) if !matches!(kind, Kind::Node) && !servers.is_empty() => eprintln!("LEFT OUT: {e}"),
            Err(e) => return Err(e),
        }
    }
    // Once without counting, for caches and what is made at the first use.
    for (server, _) in &servers {
        sample(case, server, plan)?;
    }
    for round in 0..plan.rounds {
        let turn = |(server, samples): &mut (Server, Vec<Sample>)| {
            samples.push(sample(case, server, plan)?);
            Ok::<_, Failure>(())
        };
        if round % 2 == 0 {
            servers.iter_mut().try_for_each(turn)?;
        } else {
            servers.iter_mut().rev().try_for_each(turn)?;
        }
    }
    let base = servers.first().map(|(_, samples)| samples.clone()).unwrap_or_default();
    let figures = servers.iter().map(|(server, samples)| figure(server.kind, samples, &base));
    Ok(Figures { case, servers: figures.collect::<Option<_>>().ok_or("a case without rounds")? })
}

fn sample(case: &Case, server: &Server, plan: &Plan) -> Result<Sample, Failure> {
    let load = Load {
        transport: case.transport,
        connections: case.connections,
        reconnect: case.reconnect,
        size: case.size,
        in_flight: case.in_flight,
        duration: plan.load_time(),
        timeout: ANSWER_TIMEOUT,
        rate: None,
    };
    let before = cost::cpu(server.pid())?;
    let report = put(load, server.address)?;
    let spent = cost::cpu(server.pid())?.saturating_sub(before);
    if !report.is_clean() {
        return Err(
            format!("{}, {}: not every echo came back right: {report:?}", case.name, server.kind.title()).into()
        );
    }
    let cpu = spent.as_secs_f64() * 1e6 / report.echoes as f64;
    let latency = [0.5, 0.99, 0.999].map(|share| report.latency(share).as_secs_f64() * 1e6);
    Ok(Sample { cpu, rate: report.rate(), latency })
}

/// Runs a load on this thread, which has a core of its own.
pub(crate) fn put(load: Load, address: SocketAddr) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(load::run(load, &[address], &Arc::default())).iter().sum())
}

fn figure(kind: Kind, samples: &[Sample], base: &[Sample]) -> Option<Figure> {
    let of = |value: fn(&Sample) -> f64| middle(samples.iter().map(value));
    let ratio = middle(samples.iter().zip(base).map(|(own, base)| own.cpu / base.cpu))?;
    let latency = [of(|s| s.latency[0])?, of(|s| s.latency[1])?, of(|s| s.latency[2])?];
    Some(Figure { kind, cpu: of(|s| s.cpu)?, ratio, rate: of(|s| s.rate)?, latency })
}

impl Figures {
    /// Prints the table of this case.
    pub(crate) fn print(&self) {
        println!("{}", self.case.title);
        for figure in &self.servers {
            let Figure { kind, cpu, ratio, rate, latency: [p50, p99, p999] } = figure;
            print!("  {:<22} {:>7.2} us CPU/echo  ", kind.title(), cpu.median);
            print!("{:>6.3} [{:.3}, {:.3}]  {:>7.0} echoes/s", ratio.median, ratio.low, ratio.high, rate.median);
            print!("  p50 {:.0} p99 {:.0} p99.9 {:.0} us", p50.median, p99.median, p999.median);
            match (*kind == Kind::Node, ratio.median <= self.case.wanted) {
                (true, true) => println!("  (wanted: at most {:.2})", self.case.wanted),
                (true, false) => println!("  MISSED: wanted at most {:.2}", self.case.wanted),
                (false, _) => println!(),
            }
        }
    }
}
