//! Which servers there are to measure, what people call them, and how each is started.
//!
//! Used by [`crate::server`].

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use echo_tests::ports;

use crate::case::Case;
use crate::pool::Setup;
use crate::rivals::{Own, RECEIVE_BUFFER};
use crate::{Failure, Plan};

const ASYNCIO: &str = include_str!("rivals/asyncio_echo.py");
const THREADS: &str = include_str!("rivals/threads_echo.py");
/// Runs a program that knows no lifeline, and ends it with the shell's standard input.
const ON_A_LIFELINE: &str = r#""$@" </dev/null & child=$!; read -r _; kill -9 $child; wait $child"#;
/// Connections that ncat takes at once; 100 by itself.
const NCAT_CONNECTIONS: &str = "1024";
/// New connections that it can be given at once: its queue holds 10, and of more some wait for seconds.
const NCAT_AT_ONCE: usize = 16;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Node(Setup),
    Epoll,
    Blocking,
    Tokio,
    Fortio,
    Asyncio,
    Threads,
    Socat,
    Ncat,
}

/// A program that runs as it is found in PATH.
struct Foreign {
    program: &'static str,
    args: Vec<String>,
}

impl Kind {
    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Node(_) => "echo-node",
            Self::Epoll => "raw epoll",
            Self::Blocking => "one call per datagram",
            Self::Tokio => "plain tokio",
            Self::Fortio => "fortio",
            Self::Asyncio => "Python asyncio",
            Self::Threads => "Python threads",
            Self::Socat => "socat",
            Self::Ncat => "ncat",
        }
    }

    /// What stands before the address in what it says first.
    pub(crate) fn mark(self, udp: bool) -> &'static str {
        match (self, udp) {
            (Self::Fortio, false) => "listening on tcp ",
            (Self::Fortio, true) => "listening on udp ",
            (Self::Socat, false) => "listening on AF=2 ",
            (Self::Socat, true) => "receiving on AF=2 ",
            (Self::Ncat, _) => "Listening on ",
            (_, false) => "echo-tcp ",
            (_, true) => "echo-udp ",
        }
    }

    /// Whether other processes do its work, and it ends with its standard input only.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Fortio | Self::Socat | Self::Ncat)
    }

    /// Why it can't have so many connections that are made at once, if so.
    pub(crate) fn unfit(self, case: &Case) -> Option<&'static str> {
        let fits = self != Self::Ncat || case.connections <= NCAT_AT_ONCE;
        (!fits).then_some("its queue has no room for so many new connections")
    }

    /// How to start it; `log` is where its output goes, and what it needs is put beside that.
    pub(crate) fn command(self, plan: &Plan, log: &Path, udp: bool) -> Result<Command, Failure> {
        match self {
            Self::Node(setup) => node(setup, plan, log),
            Self::Epoll if udp => own(Own::UdpEpoll),
            Self::Epoll => own(Own::Epoll),
            Self::Blocking => own(Own::UdpBlocking),
            Self::Tokio if udp => own(Own::TokioUdp),
            Self::Tokio => own(Own::Tokio),
            Self::Asyncio => Ok(python(ASYNCIO, udp)),
            Self::Threads => Ok(python(THREADS, udp)),
            Self::Fortio => fortio(udp).command(),
            Self::Socat => socat(udp).command(),
            Self::Ncat => ncat().command(),
        }
    }
}

fn node(setup: Setup, plan: &Plan, log: &Path) -> Result<Command, Failure> {
    let pool = log.with_extension("yaml");
    fs::write(&pool, setup.file())?;
    let mut command = Command::new(plan.binaries.join("echo-node"));
    command.arg("--config").arg(pool);
    command.args(["--address", "127.0.0.1", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--lifeline"]);
    Ok(command)
}

fn own(rival: Own) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    let name = rival.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    command.args(["serve", &name]);
    Ok(command)
}

fn python(script: &str, udp: bool) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script, if udp { "udp" } else { "tcp" }]);
    command
}

fn fortio(udp: bool) -> Foreign {
    let (verb, port) = if udp { ("udp-echo", "-udp-port") } else { ("tcp-echo", "-tcp-port") };
    Foreign { program: "fortio", args: [verb, port, "127.0.0.1:0"].map(str::to_owned).into() }
}

/// A process for each connection, or for each datagram; of a port for datagrams it tells only what it was told.
fn socat(udp: bool) -> Foreign {
    let listen = if udp {
        format!("UDP4-RECVFROM:{},fork,bind=127.0.0.1,rcvbuf={RECEIVE_BUFFER}", free_port())
    } else {
        "TCP4-LISTEN:0,fork,bind=127.0.0.1,nodelay,backlog=1024".to_owned()
    };
    Foreign { program: "socat", args: ["-d", "-d", "-b", "65536", &listen, "PIPE"].map(str::to_owned).into() }
}

/// Two processes for each connection; of its port it tells only what it was told.
fn ncat() -> Foreign {
    let args = ["-v", "-n", "-l", "-k", "-m", NCAT_CONNECTIONS, "-e", "/bin/cat", "127.0.0.1", &free_port()];
    Foreign { program: "ncat", args: args.map(str::to_owned).into() }
}

fn free_port() -> String {
    ports::free_port(Ipv4Addr::LOCALHOST).to_string()
}

impl Foreign {
    fn command(self) -> Result<Command, Failure> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| dir.join(self.program).is_file()) {
            return Err("not installed".into());
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", ON_A_LIFELINE, "sh", self.program]).args(self.args);
        Ok(shell)
    }
}
