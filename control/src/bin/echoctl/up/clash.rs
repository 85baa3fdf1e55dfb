//! Ports that somebody else holds, all of them and with their holders, before anything is started.
//!
//! Used by the settings of `up`. A port is tried by binding it as its later owner will; who holds it is only a help.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use echo_proto::spec::Protocol;
use procfs::process::{FDTarget, all_processes};
use tokio::time::{Instant, sleep};

use crate::connect::io_cause;
use crate::failure::Failure;
use echo_control::words::count;

/// Time for the processes of an `up` that was killed just now to end.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);
/// Most clashes that are told one by one.
const MAX_NAMED: usize = 16;

/// A port that the cluster will need.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Whose it will be.
    pub(super) owner: String,
    pub(super) protocol: Protocol,
    pub(super) address: SocketAddr,
    /// How to have another one.
    pub(super) advice: &'static str,
}

/// Fails if one of the ports can't be had.
///
/// # Errors
/// All that can't, each with its holder and the way out.
pub(super) async fn check(mut wanted: Vec<Wanted>) -> Result<(), Failure> {
    // The kernel chooses those that are left open.
    wanted.retain(|port| port.address.port() != 0);
    let by = Instant::now() + GRACE;
    loop {
        wanted.retain(|port| port.bind().is_err());
        if wanted.is_empty() {
            return Ok(());
        }
        if Instant::now() >= by {
            return Err(Failure::Up(told(&wanted)));
        }
        sleep(POLL).await;
    }
}

impl Wanted {
    fn bind(&self) -> std::io::Result<()> {
        match self.protocol {
            Protocol::Tcp => TcpListener::bind(self.address).map(drop),
            Protocol::Udp => UdpSocket::bind(self.address).map(drop),
        }
    }

    fn line(&self) -> String {
        let Self { owner, protocol, address, advice } = self;
        let cause = self.bind().err().map_or_else(|| "taken".to_owned(), |e| io_cause(&e));
        let holder = holder(*protocol, *address).map(|holder| format!(" by {holder}")).unwrap_or_default();
        format!("\n  {owner}: {} {address}: {cause}{holder}; {advice}", protocol.label())
    }
}

fn told(clashes: &[Wanted]) -> String {
    let lines: String = clashes.iter().take(MAX_NAMED).map(Wanted::line).collect();
    let more = match clashes.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let ports = count(clashes.len(), "port");
    format!("{ports} cannot be had; nothing was started{lines}{more}")
}

/// The process that holds a port, as far as /proc lets us see.
fn holder(protocol: Protocol, wanted: SocketAddr) -> Option<String> {
    let clashes = |held: SocketAddr| {
        held.port() == wanted.port()
            && (held.ip() == wanted.ip() || held.ip().is_unspecified() || wanted.ip().is_unspecified())
    };
    let inode = match protocol {
        Protocol::Tcp => {
            let mut entries = procfs::net::tcp().into_iter().chain(procfs::net::tcp6()).flatten();
            entries.find(|e| e.state == procfs::net::TcpState::Listen && clashes(e.local_address))?.inode
        }
        Protocol::Udp => {
            let mut entries = procfs::net::udp().into_iter().chain(procfs::net::udp6()).flatten();
            entries.find(|entry| clashes(entry.local_address))?.inode
        }
    };
    let holds = |process: &procfs::process::Process| {
        let mut files = process.fd().into_iter().flatten().flatten();
        files.any(|file| matches!(file.target, FDTarget::Socket(held) if held == inode))
    };
    let process = all_processes().ok()?.flatten().find(holds)?;
    Some(format!("{} (pid {})", process.stat().ok()?.comm, process.pid()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_clash_is_told_with_its_holder() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp_at, udp_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let port = |owner: &str, protocol, address| Wanted { owner: owner.into(), protocol, address, advice: "end it" };
        let wanted = vec![
            port("control", Protocol::Tcp, tcp_at),
            port("node-1", Protocol::Udp, udp_at),
            port("node-2", Protocol::Tcp, "127.0.0.1:0".parse().unwrap()),
        ];
        let told = check(wanted.clone()).await.unwrap_err().to_string();
        let pid = std::process::id();
        assert!(told.starts_with("2 ports cannot be had; nothing was started\n"), "{told}");
        for line in [format!("control: tcp {tcp_at}: address already in use by "), format!("node-1: udp {udp_at}: ")] {
            let found = told.lines().find(|l| l.contains(&line)).unwrap_or_default();
            assert!(found.contains(&format!("(pid {pid})")) && found.ends_with("end it"), "{told}");
        }
        drop((tcp, udp));
        check(wanted).await.unwrap();
    }
}
