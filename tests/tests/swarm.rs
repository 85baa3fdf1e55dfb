//! Many real agents, a real etcd and a real control: what a rollout does to a fleet that is large, and what it makes of
//! agents that die or flap.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use echo_tests::ports::{free_port, own_loopback_address};
use echo_tests::swarm::{JOINING, name};
use echo_tests::wait::ensure;
use echo_tests::{Echoctl, Etcd, Process, Swarm, eventually, tools};

const SIZE: usize = 1_000;
const TTL: Duration = Duration::from_secs(10);
/// Of those whose losses are waited for: control judges none before it has watched for twice as long.
const SHORT_TTL: Duration = Duration::from_secs(6);
/// Until any one change has reached all of them; some seconds on an idle machine.
const SETTLED: Duration = Duration::from_secs(60);

/// A swarm, and the control of its pool.
struct Fleet {
    swarm: Swarm,
    etcd: Etcd,
    control: Process,
    address: SocketAddr,
    dir: PathBuf,
}

impl Fleet {
    fn start(name: &str, size: usize, ttl: Duration) -> Self {
        let dir = tools::scratch(name);
        let etcd = Etcd::start(&dir);
        let ip = own_loopback_address();
        let address = SocketAddr::from((ip, free_port(ip)));
        let control = control(&dir, etcd.url(), address);
        let swarm = Swarm::start(etcd.url(), size, ttl, JOINING);
        let fleet = Self { swarm, etcd, control, address, dir };
        fleet.apply(1, QUICKLY);
        fleet.wait_running(1, size);
        fleet
    }

    fn echoctl(&self) -> Echoctl {
        Echoctl::new(&format!("http://{}", self.address))
    }

    /// Applies a pool file that differs with `n`, to be rolled out this way.
    fn apply(&self, n: u16, rollout: &str) {
        let file = self.dir.join("pool.yaml");
        std::fs::write(&file, pool(n, rollout)).unwrap();
        let apply = format!("apply -f {}", file.display());
        eventually("it is applied", SETTLED, || {
            let output = self.echoctl().run(&apply);
            ensure(output.code == 0, || output.stderr)
        });
    }

    #[track_caller]
    fn wait_running(&self, n: u32, count: usize) {
        eventually(&format!("{count} serve revision {n}"), SETTLED, || {
            let running = self.swarm.running(n);
            ensure(running == count, || format!("{running} do"))
        });
    }

    /// The record of the agent of this index goes, as it does when its lease runs out.
    fn expire(&self, index: usize) {
        self.etcd.delete(&format!("/echo/v1/default/nodes/default/{}", name(index)));
    }

    /// The record of the first agent goes and comes back, again and again; returns the rollout once the agent counts
    /// as lost for that.
    fn flap_until_lost(&self) -> String {
        let (size, mut flaps) = (self.swarm.size(), 0);
        eventually("the agent is lost", SETTLED, || {
            flaps += 1;
            self.expire(0);
            self.swarm.stir(1, &format!("flap {flaps}"));
            eventually("it is back", SETTLED, || ensure(self.swarm.told() == size, || self.swarm.troubles()));
            let rollout = self.etcd.get_prefix("/echo/v1/default/rollouts/default").remove(0).1;
            let lost = rollout.contains("lost: its record went away again and again");
            if lost { Ok(rollout) } else { Err(rollout) }
        })
    }
}

fn control(dir: &Path, etcd: &str, address: SocketAddr) -> Process {
    let mut command = Command::new(tools::ours("echo-control"));
    command.args(["--grpc", &address.to_string(), "--http", "127.0.0.1:0", "--etcd", etcd, "--lifeline"]);
    command.args(["--leader-ttl", "2s"]);
    Process::start("control", dir, command)
}

/// How a rollout goes that is not to be waited for.
const QUICKLY: &str = "minHealthy: 100ms, maxFailures: 100%";

fn pool(n: u16, rollout: &str) -> String {
    let listener = format!("{{name: echo, protocol: TCP, port: {}, service: {{echo: {{}}}}}}", 7_000 + n);
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  template:\n    listeners: [{listener}]\n  \
         rollout: {{{rollout}}}\n"
    )
}

#[test]
fn a_thousand_agents_follow_a_rollout_revert_one_and_outlive_their_control() {
    let mut fleet = Fleet::start("swarm", SIZE, TTL);
    fleet.apply(2, QUICKLY);
    fleet.wait_running(2, SIZE);
    fleet.echoctl().ok("rollout status pool/default --timeout 60s");

    fleet.swarm.refuse(SIZE / 2, 3);
    fleet.apply(3, QUICKLY);
    let output = fleet.echoctl().run("rollout status pool/default --timeout 60s");
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains(&name(SIZE / 2)), "{output:?}");
    fleet.wait_running(2, SIZE);

    fleet.apply(4, QUICKLY);
    eventually("the rollout is on its way", SETTLED, || ensure(fleet.swarm.running(4) > 0, || "not yet".to_owned()));
    fleet.control.kill();
    fleet.control = control(&fleet.dir, fleet.etcd.url(), fleet.address);
    fleet.wait_running(4, SIZE);
    eventually("it is over", SETTLED, || {
        let output = fleet.echoctl().run("rollout status pool/default --timeout 60s");
        ensure(output.code == 0, || output.stderr)
    });

    // One dies without a word, and the wave in which it is waits for it until its record is gone.
    fleet.swarm.crash(SIZE / 2);
    fleet.apply(5, QUICKLY);
    eventually("a wave has it", SETTLED, || {
        let running = fleet.swarm.running(5);
        ensure(running >= SIZE / 4 - 1, || format!("{running} have"))
    });
    fleet.expire(SIZE / 2);
    fleet.wait_running(5, SIZE - 1);
    fleet.echoctl().ok("rollout status pool/default --timeout 60s");
}

#[test]
fn a_canary_that_flaps_is_lost_and_its_revision_is_taken_back_or_waits_for_an_operator_as_the_policy_says() {
    let fleet = Fleet::start("flaps", 12, SHORT_TTL);
    fleet.apply(2, "minHealthy: 300s");
    fleet.wait_running(2, 1);
    let rollout = fleet.flap_until_lost();
    assert!(rollout.contains("REVERT"), "{rollout}");
    fleet.wait_running(1, 12);

    fleet.apply(3, "minHealthy: 300s, autoRevert: false");
    fleet.wait_running(3, 1);
    let rollout = fleet.flap_until_lost();
    assert!(rollout.contains("PAUSED"), "{rollout}");
    assert!(fleet.swarm.running(3) >= 1, "nothing is taken back");
}
