//! Stamped requests over UDP, as a prober sends them, and what a node's Agent knows of them.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use echo_proto::stamp::{Answer, Request, STAMP_BYTES};
use serde_json::Value;

use crate::finish::finish;
use crate::tools;
use crate::wait::ensure;

/// Longest wait for an answer that comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two requests that are repeated until one is answered.
const AGAIN: Duration = Duration::from_millis(100);

/// One flow of a session: a socket with a source port of its own.
#[derive(Debug)]
pub struct Flow {
    socket: UdpSocket,
    session: u64,
    flow: u32,
}

impl Flow {
    /// A flow to `node` from any free port.
    pub fn open(session: u64, flow: u32, node: SocketAddr) -> Self {
        let socket = UdpSocket::bind(if node.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).expect("a free port");
        socket.connect(node).expect("an address of the test");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { socket, session, flow }
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Sends a request and waits for nothing.
    pub fn send(&self, sequence: u64) {
        let mut message = vec![7; STAMP_BYTES + 100];
        let request = Request { session: self.session, flow: self.flow, sequence, ..Request::default() };
        assert!(request.write(&mut message), "there is room");
        // What the kernel refuses, for the ICMP of one before, is lost like others.
        let _ = self.socket.send(&message);
    }

    /// The next answer.
    ///
    /// # Errors
    /// None came, or one that can't be read.
    pub fn receive(&self) -> Result<Answer, String> {
        let mut message = vec![0; 65_536];
        let len = self.socket.recv(&mut message).map_err(|e| e.to_string())?;
        Answer::read(&message[..len]).ok_or_else(|| format!("{len} bytes that are no answer"))
    }

    /// Sends a request and takes its answer.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn ask(&self, sequence: u64) -> Answer {
        self.send(sequence);
        let answer = self.receive().expect("an answer");
        assert_eq!(answer.request.sequence, sequence, "in order");
        answer
    }

    /// Sends requests from `first` on, until one is answered.
    ///
    /// # Panics
    /// When none is in time.
    #[track_caller]
    pub fn ask_until_answered(&self, first: u64, deadline: Duration) -> Answer {
        let end = Instant::now() + deadline;
        self.socket.set_read_timeout(Some(AGAIN)).expect("a timeout can be set");
        for sequence in first.. {
            self.send(sequence);
            // Answers of earlier ones may still stand in the queue.
            while let Ok(answer) = self.receive() {
                if answer.request.sequence >= first {
                    return answer;
                }
            }
            assert!(Instant::now() < end, "no answer in {deadline:?}");
        }
        unreachable!("sequences do not end")
    }
}

/// What the Agent at `agent` tells of a session, asked by a foreign gRPC client.
///
/// # Errors
/// What that client printed.
pub fn sessions(agent: SocketAddr, session: u64) -> Result<Vec<Value>, String> {
    let script = tools::workspace().join("tests/foreign/reflect.py");
    let request = format!(r#"{{"session": "{session:016x}"}}"#);
    let mut command = Command::new(tools::venv("bin/python"));
    let output = finish(command.arg(script).args([&agent.to_string(), "echo.v1.Agent/ListSessions", &request]));
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    Ok(answer["flows"].as_array().cloned().unwrap_or_default())
}
