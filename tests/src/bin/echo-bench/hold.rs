//! A process that holds connections which do nothing, and has echoes on some of them when it is asked to.
//!
//! Started by [`crate::idle`], which could not open as many files itself. It tells a line once all are open, one for
//! each line that it is told, and ends with its standard input.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use echo_probe::pattern;

use crate::Failure;
use crate::stats::quantile;

/// Echoes that are timed together, each on a connection of chance.
const TIMED: usize = 1_000;
/// How long one echo may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Such a process.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    asks: ChildStdin,
    tells: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts one and waits until all its connections are open and have had an echo.
    pub(crate) fn start(address: SocketAddr, connections: u32) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hold", &address.to_string(), &connections.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (asks, tells) = child.stdin.take().zip(child.stdout.take()).ok_or("a holder has pipes")?;
        let mut holder = Self { child, asks, tells: BufReader::new(tells) };
        holder.line()?;
        Ok(holder)
    }

    /// Has it time some echoes; returns what a half and 99 % of them did not exceed, in microseconds.
    pub(crate) fn time(&mut self) -> Result<[f64; 2], Failure> {
        writeln!(self.asks)?;
        let line = self.line()?;
        let (p50, p99) = line.trim().split_once(' ').ok_or("a holder tells two figures")?;
        Ok([p50.parse()?, p99.parse()?])
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.tells.read_line(&mut line)? {
            0 => Err("a holder of idle connections failed; see above".into()),
            _ => Ok(line),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is such a process.
pub(crate) fn hold(address: SocketAddr, connections: u32) -> Result<(), Failure> {
    let mut held = Vec::new();
    for number in 0..connections {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        echo(&mut stream, number.into())?;
        held.push(stream);
    }
    println!();
    for line in io::stdin().lines() {
        line?;
        let mut times = Vec::with_capacity(TIMED);
        for number in 0..TIMED {
            let stream = held.get_mut(fastrand::usize(..connections as usize)).ok_or("no connection to hold")?;
            times.push(echo(stream, number as u64)?.as_secs_f64() * 1e6);
        }
        let mut of = |share| quantile(&mut times, share).ok_or("no echoes");
        println!("{} {}", of(0.5)?, of(0.99)?);
    }
    Ok(())
}

fn echo(stream: &mut TcpStream, number: u64) -> Result<Duration, Failure> {
    let (mut sent, mut answer) = ([0; 64], [0; 64]);
    pattern::fill(&mut sent, 0, number);
    let start = Instant::now();
    stream.write_all(&sent)?;
    stream.read_exact(&mut answer)?;
    if answer == sent { Ok(start.elapsed()) } else { Err("a wrong echo on an idle connection".into()) }
}
