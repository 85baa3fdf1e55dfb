//! A process that holds connections which do nothing, and has echoes on some of them when it is asked to.
//!
//! Started by [`crate::idle`], which could not open as many files itself. It tells a line once all are open, one for
//! each line that it is told, and ends with its standard input.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use echo_probe::pattern;

use crate::Failure;
use crate::stats::quantile;

/// Echoes that are timed together, each on a connection of chance.
const TIMED: usize = 1_000;
/// How long one echo may take, and one connection until it is open.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a holder may take until all its connections are open; fifteen thousand take a second or two.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take for the echoes that it times; they take a tenth of a second.
const TIMED_LIMIT: Duration = Duration::from_secs(60);

/// Such a process.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    asks: ChildStdin,
    /// Its lines: a read of its pipe would know no limit.
    tells: Receiver<io::Result<String>>,
}

impl Holder {
    /// Starts one and waits until all its connections are open and have had an echo.
    pub(crate) fn start(address: SocketAddr, connections: u32) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hold", &address.to_string(), &connections.to_string()]);
        let holder = Self::spawn(&mut command)?;
        holder.line(OPEN_LIMIT)?;
        Ok(holder)
    }

    fn spawn(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (asks, tells) = child.stdin.take().zip(child.stdout.take()).ok_or("a holder has pipes")?;
        let (lines, told) = mpsc::sync_channel(1);
        // Ends with the holder's output, or once nobody listens.
        thread::spawn(move || BufReader::new(tells).lines().try_for_each(|line| lines.send(line)));
        Ok(Self { child, asks, tells: told })
    }

    /// Has it time some echoes; returns what a half and 99 % of them did not exceed, in microseconds.
    pub(crate) fn time(&mut self) -> Result<[f64; 2], Failure> {
        writeln!(self.asks)?;
        let line = self.line(TIMED_LIMIT)?;
        let (p50, p99) = line.split_once(' ').ok_or("a holder tells two figures")?;
        Ok([p50.parse()?, p99.parse()?])
    }

    fn line(&self, limit: Duration) -> Result<String, Failure> {
        match self.tells.recv_timeout(limit) {
            Ok(line) => Ok(line?),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("a holder of idle connections has said nothing for {limit:?}").into())
            }
            Err(RecvTimeoutError::Disconnected) => Err("a holder of idle connections failed; see above".into()),
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
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_says_nothing_or_ends_is_given_up() {
        let said = |script: &str, limit| {
            let holder = Holder::spawn(Command::new("sh").args(["-c", script])).unwrap();
            holder.line(limit).unwrap_err().to_string()
        };
        assert_eq!(
            said("read -r _", Duration::from_millis(10)),
            "a holder of idle connections has said nothing for 10ms"
        );
        assert_eq!(said("exit 1", OPEN_LIMIT), "a holder of idle connections failed; see above");
    }
}
