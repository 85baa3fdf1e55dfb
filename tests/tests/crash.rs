//! A node that dies: soon after it took a config, and what its next start makes of that; again and again, and what is
//! told of it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_tests::cluster::{SETTLED, text};
use echo_tests::node::{SOON, assign, revision, start, wait_log};
use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::process::{alive, kill_pid};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Etcd, Process, client, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::Value;

const RECORD: &str = "/echo/v1/default/nodes/default/lonely";
/// No config of a test becomes good by itself.
const NEVER: &str = "1h";
const AT_ONCE: &str = "10ms";
/// A node that the scaler started stays, for all that is told, once it has run for so long.
const STAYS: Duration = Duration::from_secs(30);

/// One node over its lives, and the etcd that it goes by.
struct Home {
    etcd: Etcd,
    address: Ipv4Addr,
    dir: PathBuf,
}

impl Home {
    /// A node that has found revision 1, an echo on this port, to be good.
    fn good() -> (Self, u16) {
        let dir = tools::scratch("crash");
        let (etcd, address) = (Etcd::start(&dir), own_loopback_address());
        let home = Self { etcd, address, dir };
        let port = free_port(address);
        assign(&home.etcd, 1, revision(1, port), None);
        let mut first = home.start(AT_ONCE);
        wait_log(&first, "saved for a start without etcd");
        first.signal(Signal::SIGTERM);
        assert!(first.wait(SOON).success(), "{}", first.log());
        (home, port)
    }

    fn start(&self, good_after: &str) -> Process {
        let (address, state) = (self.address.to_string(), self.state());
        let args = ["--address", &address, "--state-dir", &state, "--lease-ttl", "2s", "--good-after", good_after];
        start(&self.dir, self.etcd.url(), "lonely", &args)
    }

    /// Kills a node, and starts it again: its old record is gone.
    fn crash(&self, mut node: Process) -> Process {
        node.kill();
        let back = self.start(NEVER);
        wait_log(&back, "ended the registration of our predecessor");
        back
    }

    fn state(&self) -> String {
        self.dir.join("state").display().to_string()
    }

    /// Waits until a node has registered that serves this revision.
    #[track_caller]
    fn wait_serves(&self, n: u32, port: u16) -> Value {
        let record = eventually("it serves", SOON, || {
            let record = self.record().ok_or("not registered")?;
            ensure(record["status"]["applied"]["n"] == n, || record.to_string())?;
            Ok::<_, String>(record)
        });
        client::tcp_echo(SocketAddr::from((self.address, port)), b"hello").unwrap();
        record
    }

    fn record(&self) -> Option<Value> {
        let (_, record) = self.etcd.get_prefix(RECORD).into_iter().next()?;
        serde_json::from_str(&record).ok()
    }
}

fn noted(state: &str) -> bool {
    Path::new(state).join("trial").exists()
}

#[test]
fn a_config_that_its_node_died_with_is_refused_at_the_next_start() {
    let (home, one) = Home::good();
    let two = free_port(home.address);
    let dies = home.start(NEVER);
    home.wait_serves(1, one);
    assign(&home.etcd, 2, revision(1, one), Some(revision(2, two)));
    home.wait_serves(2, two);

    let _back = home.crash(dies);
    let record = home.wait_serves(1, one);
    let rejection = &record["status"]["rejection"];
    assert_eq!((&rejection["reason"], &rejection["rollout"]), (&"Crashed".into(), &2.into()), "{record}");
    assert_eq!(rejection["revision"]["n"], 2, "{record}");
    let cause = rejection["cause"].as_str().unwrap();
    assert!(cause.starts_with("the node died within 3600s of applying it, which began "), "{cause}");
    assert!(client::tcp_echo(SocketAddr::from((home.address, two)), b"hello").is_err(), "not served again");

    assign(&home.etcd, 3, revision(1, one), Some(revision(2, two)));
    let record = home.wait_serves(2, two);
    assert!(record["status"]["rejection"].is_null(), "a new rollout is a new try: {record}");
}

#[test]
fn a_config_that_served_long_enough_serves_again_after_a_kill() {
    let (home, one) = Home::good();
    let two = free_port(home.address);
    let node = home.start(AT_ONCE);
    home.wait_serves(1, one);
    assign(&home.etcd, 2, revision(1, one), Some(revision(2, two)));
    home.wait_serves(2, two);
    eventually("it has passed", SOON, || ensure(!noted(&home.state()), || "still on trial".into()));
    let _back = home.crash(node);
    let record = home.wait_serves(2, two);
    assert!(record["status"]["rejection"].is_null(), "{record}");
}

#[test]
fn who_is_told_to_end_has_not_crashed() {
    let (home, one) = Home::good();
    let two = free_port(home.address);
    for end in [Process::cut_lifeline, |node: &mut Process| node.signal(Signal::SIGTERM)] {
        let mut node = home.start(NEVER);
        assign(&home.etcd, 2, revision(1, one), Some(revision(2, two)));
        home.wait_serves(2, two);
        assert!(noted(&home.state()));
        end(&mut node);
        node.wait(SOON);
        assert!(!noted(&home.state()), "{}", node.log());
        eventually("its record goes", SOON, || ensure(home.record().is_none(), || "still there".into()));
    }
}

#[test]
fn a_stable_that_its_node_died_with_is_tried_again() {
    let (home, one) = Home::good();
    let two = free_port(home.address);
    let dies = home.start(NEVER);
    home.wait_serves(1, one);
    assign(&home.etcd, 2, revision(2, two), None);
    home.wait_serves(2, two);
    let back = home.crash(dies);
    wait_log(&back, "serving the config of the state directory meanwhile");
    let record = home.wait_serves(2, two);
    assert!(record["status"]["rejection"].is_null(), "{record}");
}

/// Whether a pool's condition, its description and `doctor` tell that node-1 does not stay; an error where only some do.
fn told(cluster: &Cluster) -> Result<bool, String> {
    let cause = "node-1: no start lasts, so that each waits longer; see `echoctl get events --for node/node-1`";
    let pool = cluster.echoctl().items("get pools")?.remove(0);
    let conditions = pool["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| text(condition, "/reason") == "BackOff");
    let is_told =
        found.is_some_and(|found| text(found, "/type") == "ScalerFailed" && text(found, "/message").contains(cause));
    let (sheet, doctor) =
        (cluster.echoctl().run("describe pool/default").stdout, cluster.echoctl().run("doctor").stdout);
    let others = [sheet.contains("BackOff") && sheet.contains(cause), doctor.contains(cause)];
    ensure(others == [is_told; 2], || format!("{pool}\n{sheet}\n{doctor}")).map(|()| is_told)
}

#[test]
fn a_node_that_does_not_stay_is_told_of_until_it_does() {
    let cluster = Cluster::start(2);
    assert_eq!(told(&cluster), Ok(false));
    let mut pid = cluster.node_pid("node-1");
    // The first start in its place is at once, and counts for nothing.
    for _ in 0..2 {
        kill_pid(pid, Signal::SIGKILL);
        pid = eventually("another process of it runs", SETTLED, || {
            cluster.known_pid("node-1").filter(|now| *now != pid && alive(*now)).ok_or("not yet")
        });
    }
    eventually("it is told", SETTLED, || ensure(told(&cluster)?, || "not yet".into()));
    let events = cluster.echoctl().ok("get events --for node/node-1");
    assert!(events.contains("BackOff") && events.contains("it ends again and again soon after its start"), "{events}");
    cluster.wait_nodes(2);
    eventually("it is not told any more", STAYS + SETTLED, || ensure(!told(&cluster)?, || "still".into()));
    assert_eq!(cluster.node_pid("node-1"), pid, "it has run since");
}
