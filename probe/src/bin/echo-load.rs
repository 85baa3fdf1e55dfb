//! `echo-load`: puts a node under load and prints what came back, and what it cost the node.
//!
//! For `make bench` and for people who measure. It runs on one thread, so that it can have one core and the node
//! another.
#![forbid(unsafe_code)]

use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use echo_probe::load::{self, Load, MAX_SIZE, MIN_DATAGRAM, Report, Transport};

/// Clock ticks a second in /proc/PID/stat: what every Linux tells user space (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Echoes as fast as both sides can, every byte compared. Exits 0 only if all came back, once and right.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Whom to ask.
    address: SocketAddr,
    /// How.
    #[arg(long, value_enum, default_value = "tcp")]
    transport: Kind,
    /// TCP connections, or UDP sockets.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=MAX_SIZE as i64))]
    size: u32,
    /// Datagrams in flight from each UDP socket.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// How long.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Process id of the node, to print the CPU time that it spent on each echo.
    #[arg(long)]
    server_pid: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Tcp,
    Udp,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let transport = match args.transport {
        Kind::Tcp => Transport::Tcp,
        Kind::Udp if (args.size as usize) < MIN_DATAGRAM => {
            eprintln!("echo-load: a datagram holds its number; use --size {MIN_DATAGRAM} or more");
            return ExitCode::from(2);
        }
        Kind::Udp => Transport::Udp,
    };
    let load = Load {
        address: args.address,
        transport,
        connections: args.connections.into(),
        size: args.size as usize,
        in_flight: args.in_flight.into(),
        duration: Duration::from_secs(args.seconds),
    };
    let before = args.server_pid.map(cpu_seconds);
    let report = load::run(load).await;
    let after = args.server_pid.map(cpu_seconds);
    let spent = match (before, after) {
        (Some(Ok(before)), Some(Ok(after))) => Some(after - before),
        (Some(Err(e)), _) | (_, Some(Err(e))) => {
            eprintln!("echo-load: {e}");
            return ExitCode::FAILURE;
        }
        _ => None,
    };
    print(&report, spent);
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report, spent: Option<f64>) {
    let micros = |share| report.latency(share).as_nanos() as f64 / 1_000.0;
    print!("{:>9.0} echoes/s  p50 {:>7.1} us  p99 {:>7.1} us", report.rate(), micros(0.5), micros(0.99));
    if let Some(spent) = spent {
        print!("  server CPU {:>5.2} us/echo", spent * 1e6 / report.echoes.max(1) as f64);
    }
    let bad =
        [("lost", report.lost), ("stray", report.strays), ("wrong", report.mismatches), ("failed", report.errors)];
    for (what, count) in bad.into_iter().filter(|(_, count)| *count > 0) {
        print!("  {count} {what}");
    }
    println!();
    if let Some(error) = &report.first_error {
        eprintln!("echo-load: {error}");
    }
}

/// User and system time of a process so far (proc(5): fields 14 and 15 of stat).
fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}; is --server-pid right?"))?;
    // The second field is the command in parentheses, which may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}
