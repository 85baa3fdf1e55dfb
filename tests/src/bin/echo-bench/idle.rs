//! What an idle connection costs a node: memory by the number of connections, and how quick an echo on one still is.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::core::{Core, stay_on};
use crate::server::{Kind, Server};
use crate::{Failure, Plan, cost, stats};

pub(crate) const NAME: &str = "idle";
/// How many nodes share the load of the last step, and how many connections they hold together.
const FLEET: (u32, u32) = (6, 70_000);
/// Connections on which the last echo is timed.
const TIMED: usize = 1_000;
/// How long one echo may take.
const LIMIT: Duration = Duration::from_secs(10);

/// One number of idle connections.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) nodes: u32,
    pub(crate) connections: u32,
    /// Of all nodes together.
    pub(crate) rss_kib: u64,
    /// Of an echo on one of them.
    pub(crate) p50_micros: f64,
}

/// Measures one connection, three steps on one node each, and a fleet.
pub(crate) fn measure(plan: &Plan) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for connections in [1, plan.idle / 3, plan.idle / 3 * 2, plan.idle] {
        steps.push(step(1, connections, plan)?);
    }
    if plan.idle >= FLEET.1.div_ceil(FLEET.0) {
        steps.push(step(FLEET.0, FLEET.1, plan)?);
    }
    for Step { nodes, connections, rss_kib, p50_micros } in &steps {
        println!(
            "idle: {connections:>6} connections on {nodes} nodes  RSS {rss_kib:>7} KiB  echo p50 {p50_micros:.0} us"
        );
    }
    if let Some(slope) = slope(&steps) {
        println!("idle: {slope:.3} KiB of RSS a connection (wanted: at most 1)");
    }
    Ok(steps)
}

/// KiB a connection, by least squares over the steps on one node with many.
pub(crate) fn slope(steps: &[Step]) -> Option<f64> {
    let many = steps.iter().filter(|step| step.nodes == 1 && step.connections > 1);
    let points: Vec<(f64, f64)> = many.map(|step| (step.connections.into(), step.rss_kib as f64)).collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let over = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let under = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    (under > 0.0).then_some(over / under)
}

fn step(nodes: u32, connections: u32, plan: &Plan) -> Result<Step, Failure> {
    let servers: Vec<Server> =
        (0..nodes).map(|_| Server::start(Kind::Node, false, plan)).collect::<Result<_, Failure>>()?;
    stay_on(Core::Last)?;
    let mut holders = Vec::new();
    let mut slowest: f64 = 0.0;
    for (index, server) in (0..).zip(&servers) {
        let share = connections / nodes + u32::from(index < connections % nodes);
        let mut holder = Holder::start(server.address, share)?;
        slowest = slowest.max(holder.p50()?);
        holders.push(holder);
    }
    let rss_kib = servers.iter().map(|server| cost::rss_kib(server.pid())).sum::<Result<u64, Failure>>()?;
    Ok(Step { nodes, connections, rss_kib, p50_micros: slowest })
}

/// A process that holds connections: this one could not open as many files.
struct Holder(Child);

impl Holder {
    fn start(address: SocketAddr, connections: u32) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hold", &address.to_string(), &connections.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Waits until it holds them all; returns the median of its last echoes, in microseconds.
    fn p50(&mut self) -> Result<f64, Failure> {
        let told = self.0.stdout.take().ok_or("a holder has an output")?;
        let mut line = String::new();
        BufReader::new(told).read_line(&mut line)?;
        Ok(line.trim().parse().map_err(|_| "a holder of idle connections failed; see above")?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens connections, has an echo on each, then again on some of them, and tells how long those took.
pub(crate) fn hold(address: SocketAddr, connections: u32) -> Result<(), Failure> {
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        echo(&mut stream)?;
        held.push(stream);
    }
    let step = (held.len() / TIMED).max(1);
    let mut times = Vec::new();
    for _ in 0..TIMED.div_ceil(held.len().max(1)) {
        for stream in held.iter_mut().step_by(step) {
            times.push(echo(stream)?.as_secs_f64() * 1e6);
        }
    }
    let p50 = stats::middle(times).ok_or("no connection to hold")?.median;
    println!("{p50}");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn echo(stream: &mut TcpStream) -> Result<Duration, Failure> {
    let (sent, mut answer) = ([7; 64], [0; 64]);
    let start = Instant::now();
    stream.write_all(&sent)?;
    stream.read_exact(&mut answer)?;
    if answer == sent { Ok(start.elapsed()) } else { Err("a wrong echo on an idle connection".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_taken_over_many_connections_on_one_node() {
        let step = |nodes, connections, rss_kib| Step { nodes, connections, rss_kib, p50_micros: 0.0 };
        let steps = [step(1, 1, 9), step(1, 100, 1_050), step(1, 200, 1_100), step(1, 300, 1_150), step(6, 900, 1)];
        assert_eq!(slope(&steps), Some(0.5));
        assert_eq!(slope(&steps[..2]), None);
    }
}
