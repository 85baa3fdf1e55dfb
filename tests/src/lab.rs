//! A network of the test's own: a bridge, and on it parties that each have a network namespace and one address.
//!
//! Used by the tests that cut links, and by those that need fixed ports to themselves. A link is cut silently: its
//! packets go to a hardware address that nobody has, so there is no reset and no ICMP, as when a cable breaks. Nothing
//! here has a name on the machine: a namespace lasts as long as the file that holds it, so all of it ends with the
//! process, however that ends.
//!
//! It needs root, or the right to make user namespaces, iproute2 and nftables; without them a test fails and says so.

mod inside;
pub mod net;

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::finish::finish;
use crate::tools;

pub use inside::{run, run_for};

/// The bridge that joins all.
const BRIDGE: &str = "echo-bridge";
/// What a party calls its end.
const PORT: &str = "eth0";
/// Locally administered, and nobody's.
const NOBODY: &str = "02:ff:ff:ff:ff:ff";

/// The network; one a process, since it is the process' own namespace.
#[derive(Debug)]
pub struct Lab {
    parties: u8,
}

/// One host of it.
#[derive(Debug)]
pub struct Party {
    /// Its name in messages.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    namespace: File,
}

impl Lab {
    /// Lays the bridge. Only within [`run`].
    pub fn new() -> Self {
        ip(&format!("link add {BRIDGE} type bridge"));
        ip(&format!("link set {BRIDGE} up"));
        Self { parties: 0 }
    }

    /// Another host on the bridge.
    pub fn party(&mut self, name: &str) -> Party {
        self.parties += 1;
        let (number, lab) = (self.parties, std::process::id());
        let address = Ipv4Addr::new(10, 77, 0, number);
        let cable = format!("cable-{number}");
        let namespace = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a lab may make namespaces");
            ip("link set lo up");
            // The other end appears where the process' first thread is: in the lab's namespace.
            ip(&format!("link add {PORT} type veth peer name {cable} netns {lab}"));
            ip(&format!("address add {address}/24 dev {PORT}"));
            ip(&format!("link set {PORT} up"));
            File::open("/proc/thread-self/ns/net").expect("a thread has a namespace")
        });
        ip(&format!("link set {cable} master {BRIDGE} up"));
        Party { name: name.to_owned(), address, namespace }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Party {
    /// Does something on this host: sockets opened and processes started by `work` are there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            self.enter();
            work()
        })
    }

    /// Moves the calling thread to this host, for good.
    pub fn enter(&self) {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("a lab may enter its namespaces");
    }

    /// A handle for another thread.
    pub fn share(&self) -> Self {
        let namespace = self.namespace.try_clone().expect("can share a file");
        Self { name: self.name.clone(), address: self.address, namespace }
    }

    /// From now on nothing that it sends to `other` arrives; the other way is left as it is.
    pub fn cut_towards(&self, other: &Self) {
        self.within(|| ip(&format!("neigh replace {} lladdr {NOBODY} dev {PORT} nud permanent", other.address)));
    }

    /// From now on it receives only a part of the datagrams that come from others: of each `of` one is lost on its way, by
    /// chance.
    pub fn lose_arriving(&self, of: u32) {
        let lost = format!("numgen random mod {of} 0");
        self.nft("add table ip loss");
        self.nft("add counter ip loss lost");
        self.nft("add chain ip loss arriving { type filter hook input priority 0; }");
        self.nft(&format!("add rule ip loss arriving iifname {PORT} meta l4proto udp {lost} counter name lost drop"));
    }

    /// All arrive again; returns how many were lost.
    pub fn lose_nothing(&self) -> u64 {
        // First, so that what is counted is all.
        self.nft("flush chain ip loss arriving");
        let rules = self.nft("list counter ip loss lost");
        let lost = rules.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        let lost = lost.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no counter in {rules}"));
        self.nft("delete table ip loss");
        lost
    }

    fn nft(&self, rule: &str) -> String {
        let output = self.within(|| finish(Command::new(tools::foreign("nft")).arg(rule)));
        assert!(output.status.success(), "nft {rule}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What it sends to `other` arrives again.
    pub fn heal_towards(&self, other: &Self) {
        self.within(|| ip(&format!("neigh del {} dev {PORT}", other.address)));
    }
}

/// Cuts a link in both directions.
pub fn cut(one: &Party, other: &Party) {
    one.cut_towards(other);
    other.cut_towards(one);
}

/// Mends a link that was cut in both directions.
pub fn heal(one: &Party, other: &Party) {
    one.heal_towards(other);
    other.heal_towards(one);
}

/// A namespace belongs to a thread; this one's is given up with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
}

fn ip(line: &str) {
    let output = finish(Command::new(tools::foreign("ip")).args(line.split(' ')));
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}
