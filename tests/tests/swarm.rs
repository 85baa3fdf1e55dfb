//! A thousand real agents, a real etcd and a real control: what a rollout does to a fleet that is large.
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
    fn start() -> Self {
        let dir = tools::scratch("swarm");
        let etcd = Etcd::start(&dir);
        let ip = own_loopback_address();
        let address = SocketAddr::from((ip, free_port(ip)));
        let control = control(&dir, etcd.url(), address);
        let swarm = Swarm::start(etcd.url(), SIZE, TTL, JOINING);
        let fleet = Self { swarm, etcd, control, address, dir };
        fleet.apply(1);
        fleet.wait_running(1, SIZE);
        fleet
    }

    fn echoctl(&self) -> Echoctl {
        Echoctl::new(&format!("http://{}", self.address))
    }

    /// Applies a pool file that differs with `n`.
    fn apply(&self, n: u16) {
        let file = self.dir.join("pool.yaml");
        std::fs::write(&file, pool(n)).unwrap();
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
}

fn control(dir: &Path, etcd: &str, address: SocketAddr) -> Process {
    let mut command = Command::new(tools::ours("echo-control"));
    command.args(["--grpc", &address.to_string(), "--http", "127.0.0.1:0", "--etcd", etcd, "--lifeline"]);
    command.args(["--leader-ttl", "2s"]);
    Process::start("control", dir, command)
}

fn pool(n: u16) -> String {
    let listener = format!("{{name: echo, protocol: TCP, port: {}, service: {{echo: {{}}}}}}", 7_000 + n);
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  template:\n    listeners: [{listener}]\n  \
         rollout: {{minHealthy: 100ms, maxFailures: 100%}}\n"
    )
}

#[test]
fn a_thousand_agents_follow_a_rollout_revert_one_and_outlive_their_control() {
    let mut fleet = Fleet::start();
    fleet.apply(2);
    fleet.wait_running(2, SIZE);
    fleet.echoctl().ok("rollout status pool/default --timeout 60s");

    fleet.swarm.refuse(SIZE / 2, 3);
    fleet.apply(3);
    let output = fleet.echoctl().run("rollout status pool/default --timeout 60s");
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains(&name(SIZE / 2)), "{output:?}");
    fleet.wait_running(2, SIZE);

    fleet.apply(4);
    eventually("the rollout is on its way", SETTLED, || ensure(fleet.swarm.running(4) > 0, || "not yet".to_owned()));
    fleet.control.kill();
    fleet.control = control(&fleet.dir, fleet.etcd.url(), fleet.address);
    fleet.wait_running(4, SIZE);
    eventually("it is over", SETTLED, || {
        let output = fleet.echoctl().run("rollout status pool/default --timeout 60s");
        ensure(output.code == 0, || output.stderr)
    });
}
