//! A UDP flow: a datagram at each interval, whatever became of those before.
//!
//! Run by [`super::Traffic`] on a thread of its own.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use echo_probe::pattern;

use super::{Flow, INTERVAL, LATE, PATIENCE};

/// Shortest datagram: it holds its number.
const SHORTEST: usize = 8;
/// Longest datagram that no path cuts in pieces.
const LONGEST: usize = 1400;
/// Shortest timeout of a socket: zero would be none.
const TICK: Duration = Duration::from_millis(1);

/// Sends until it is told to stop, then waits for the last answers.
pub(super) fn run(flow: &mut Flow) {
    let any = if flow.to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("a free port");
    socket.connect(flow.to).expect("an address of the lab");
    let mut waiting = BTreeMap::new();
    while !flow.stopped() {
        let (number, message) = flow.message(SHORTEST, LONGEST);
        let due = Instant::now() + INTERVAL;
        waiting.insert(number, Instant::now());
        // What the kernel refuses, for the ICMP of one before, stays without an answer.
        let _ = socket.send(&message);
        take(flow, &socket, &mut waiting, due);
        give_up(flow, &mut waiting, Instant::now().checked_sub(PATIENCE));
    }
    let end = Instant::now() + LATE;
    while !waiting.is_empty() && Instant::now() < end {
        take(flow, &socket, &mut waiting, Instant::now() + TICK);
    }
    give_up(flow, &mut waiting, Some(Instant::now()));
}

/// Takes answers until `due`.
fn take(flow: &mut Flow, socket: &UdpSocket, waiting: &mut BTreeMap<u64, Instant>, due: Instant) {
    let mut answer = [0; LONGEST + 1];
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        socket.set_read_timeout(Some(left.max(TICK))).expect("a timeout is set");
        // An error is the timeout, or says that one before was refused.
        let Ok(length) = socket.recv(&mut answer) else { continue };
        judge(flow, &answer[..length], waiting);
    }
}

fn judge(flow: &mut Flow, answer: &[u8], waiting: &mut BTreeMap<u64, Instant>) {
    let now = Instant::now();
    let sent = pattern::number(answer).and_then(|number| Some((number, waiting.remove(&number)?)));
    match sent {
        None => flow.lost(now, now, format!("{} bytes that nobody waits for", answer.len()), true),
        Some((number, sent)) if answer == flow.expected(number, SHORTEST, LONGEST) => flow.echoed(sent),
        Some((number, sent)) => flow.lost(sent, now, format!("datagram {number} came back changed"), true),
    }
}

/// Counts those as lost that were sent before `limit`.
fn give_up(flow: &mut Flow, waiting: &mut BTreeMap<u64, Instant>, limit: Option<Instant>) {
    while let Some(entry) = waiting.first_entry().filter(|entry| limit.is_some_and(|limit| *entry.get() < limit)) {
        let (number, sent) = entry.remove_entry();
        flow.lost(sent, sent, format!("no answer to datagram {number}"), false);
    }
}
