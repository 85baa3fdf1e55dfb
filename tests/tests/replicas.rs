//! Three controls over one etcd: the leader is killed or frozen in each phase of a rollout, which goes on where it was
//! and ends right; one that was frozen and wakes up writes nothing.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use echo_tests::cluster::{DRAIN, text};
use echo_tests::eventually;
use echo_tests::replicas::{DRIVEN, Replicas};
use echo_tests::wait::{ensure, throughout};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Another control leads after this; the issue promises 7 s for a lease of 5 s, and this one is of 1 s.
const TAKEOVER: Duration = Duration::from_secs(7);
/// Long enough to strike while a step has to stay healthy, however busy the machine is.
const HEALTHY: &str = "10s";
/// As good as no wait.
const AT_ONCE: &str = "100ms";

/// Three nodes; another limit is another revision, and changes no socket.
fn pool(limit: u32, min_healthy: &str) -> String {
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: default}}\nspec:\n  replicas: 3\n  \
         rollout: {{canary: 1, waves: [100%], minHealthy: {min_healthy}, ackDeadline: 60s}}\n  template:\n    \
         drain: {DRAIN}\n    limits: {{maxConnections: {limit}}}\n    listeners:\n    \
         - {{name: echo-tcp, protocol: TCP, port: 0, service: {{echo: {{}}}}}}\n"
    )
}

/// What befalls a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    Kill,
    Freeze,
}

/// A cluster, and what befalls its leaders.
struct Trial {
    cluster: Replicas,
    strike: Strike,
    applied: u32,
    /// How long it took until another one led.
    takeovers: Vec<Duration>,
}

impl Trial {
    fn new(strike: Strike) -> Self {
        Self { cluster: Replicas::start(&pool(100, AT_ONCE), 3, 3), strike, applied: 0, takeovers: Vec::new() }
    }

    /// Asks a control for something.
    #[track_caller]
    fn ask(&self, line: &str) {
        let output = self.cluster.echoctl(self.cluster.leader()).run(line);
        assert_eq!(output.code, 0, "{line}: {output:?}");
    }

    /// Applies another revision, and waits until it is in this phase and step.
    #[track_caller]
    fn apply(&mut self, min_healthy: &str, step: u64) {
        self.applied += 1;
        let file = self.cluster.file("pool.yaml", &pool(100 + self.applied, min_healthy));
        self.ask(&format!("apply -f {file}"));
        let newest = u64::from(self.applied) + 1;
        self.wait("PROGRESSING", |rollout| {
            rollout["to"]["n"].as_u64() == Some(newest) && rollout["step"].as_u64().unwrap_or(0) == step
        });
    }

    /// Waits until the rollout is in this phase, and so.
    #[track_caller]
    fn wait(&self, phase: &str, so: impl Fn(&Value) -> bool) {
        eventually(&format!("the rollout is {phase}"), DRIVEN, || {
            let rollout = self.cluster.rollout();
            ensure(text(&rollout, "/phase") == format!("ROLLOUT_PHASE_{phase}") && so(&rollout), || rollout.to_string())
        });
    }

    /// Waits until nodes run the revision applied last.
    #[track_caller]
    fn wait_applied(&self, nodes: &[&str]) {
        let newest = u64::from(self.applied) + 1;
        eventually(&format!("{nodes:?} run revision {newest}"), DRIVEN, || {
            let applied: Vec<u64> = nodes.iter().map(|node| self.cluster.applied(node)).collect();
            ensure(applied.iter().all(|n| *n == newest), || format!("{applied:?}"))
        });
    }

    /// Strikes the leader down while the rollout is in this phase and step, waits for the next one, does what makes the
    /// rollout go on, waits for its end, and lets the old leader back in.
    #[track_caller]
    fn strike(&mut self, phase: &str, step: u64, go_on: impl FnOnce(&Self), end: &str) {
        let leader = self.cluster.leader();
        let stands = |rollout: &Value| (text(rollout, "/phase"), rollout["step"].as_u64().unwrap_or(0));
        let stood = (format!("ROLLOUT_PHASE_{phase}"), step);
        let signal = if self.strike == Strike::Kill { Signal::SIGKILL } else { Signal::SIGSTOP };
        let start = Instant::now();
        self.cluster.controls[leader].process.signal(signal);
        let before = self.cluster.rollout();
        assert_eq!(stands(&before), stood, "struck too late: {before}");
        eventually("another control leads", TAKEOVER, || {
            ensure(self.cluster.leads().is_some_and(|leads| leads != leader), || format!("{:?}", self.cluster.leads()))
        });
        self.takeovers.push(start.elapsed());
        let after = self.cluster.rollout();
        assert_eq!((&before["id"], &before["to"]), (&after["id"], &after["to"]), "it goes on where it was");
        assert_eq!(stands(&after), stood, "nothing has happened that makes it go on: {after}");
        go_on(self);
        self.wait(end, |_| true);
        assert_eq!(self.cluster.rollout()["id"], before["id"], "it is the same rollout that ended");
        let quiet = self.cluster.quiet();
        match self.strike {
            Strike::Kill => self.cluster.restart(leader),
            Strike::Freeze => self.wake(leader, quiet),
        }
    }

    /// Wakes a frozen leader: it does not know yet that it leads no more, nor what the others did, and its timers are
    /// all over. Nothing of what it makes of that is stored.
    #[track_caller]
    fn wake(&self, frozen: usize, quiet: i64) {
        let control = &self.cluster.controls[frozen].process;
        let told = control.log().len();
        control.signal(Signal::SIGCONT);
        eventually("it knows that it leads no more", DRIVEN, || {
            let log = control.log();
            ensure(log[told..].contains("lease") || log[told..].contains("leader"), || log)
        });
        assert_eq!(self.cluster.quiet(), quiet, "it has written");
        let pools = self.cluster.echoctl(frozen).run("get pools");
        assert_eq!(pools.code, 0, "it serves again: {pools:?}");
    }
}

/// The canary has been named, and not answered yet.
fn before_the_canary_answers(trial: &mut Trial) {
    trial.cluster.signal_nodes(&[0, 1, 2], Signal::SIGSTOP);
    trial.apply(AT_ONCE, 0);
    let go_on = |trial: &Trial| trial.cluster.signal_nodes(&[0, 1, 2], Signal::SIGCONT);
    trial.strike("PROGRESSING", 0, go_on, "COMPLETED");
    trial.wait_applied(&["node-1", "node-2", "node-3"]);
}

/// The canary answered, and has to stay healthy.
fn while_the_canary_stays_healthy(trial: &mut Trial) {
    trial.apply(HEALTHY, 0);
    trial.wait_applied(&["node-1"]);
    trial.strike("PROGRESSING", 0, |_| {}, "COMPLETED");
    trial.wait_applied(&["node-1", "node-2", "node-3"]);
}

/// Of the others, one has answered.
fn in_a_wave(trial: &mut Trial) {
    trial.cluster.signal_nodes(&[2], Signal::SIGSTOP);
    trial.apply(AT_ONCE, 1);
    trial.wait_applied(&["node-1", "node-2"]);
    let go_on = |trial: &Trial| trial.cluster.signal_nodes(&[2], Signal::SIGCONT);
    trial.strike("PROGRESSING", 1, go_on, "COMPLETED");
    trial.wait_applied(&["node-1", "node-2", "node-3"]);
}

/// Told to wait; it does so under the next leader too, though all have answered, until it is told to go on.
fn while_paused(trial: &mut Trial) {
    trial.cluster.signal_nodes(&[2], Signal::SIGSTOP);
    trial.apply(AT_ONCE, 1);
    trial.ask("rollout pause pool/default");
    trial.wait("PAUSED", |_| true);
    let go_on = |trial: &Trial| {
        trial.cluster.signal_nodes(&[2], Signal::SIGCONT);
        trial.wait_applied(&["node-1", "node-2", "node-3"]);
        throughout(Duration::from_millis(500), || {
            let phase = text(&trial.cluster.rollout(), "/phase");
            ensure(phase == "ROLLOUT_PHASE_PAUSED", || phase)
        });
        trial.ask("rollout resume pool/default");
    };
    trial.strike("PAUSED", 1, go_on, "COMPLETED");
}

/// Aborted, and the canary has not gone back yet.
fn while_it_is_taken_back(trial: &mut Trial) {
    trial.apply("60s", 0);
    trial.wait_applied(&["node-1"]);
    trial.cluster.signal_nodes(&[0], Signal::SIGSTOP);
    trial.ask("rollout abort pool/default");
    trial.wait("REVERTING", |_| true);
    let go_on = |trial: &Trial| trial.cluster.signal_nodes(&[0], Signal::SIGCONT);
    trial.strike("REVERTING", 0, go_on, "REVERTED");
    let stable = trial.cluster.record("assignments/default").unwrap()["stable"]["n"].as_u64().unwrap();
    let applied: Vec<u64> = ["node-1", "node-2", "node-3"].map(|node| trial.cluster.applied(node)).into();
    assert_eq!(applied, [stable, stable, stable]);
}

fn in_every_phase(strike: Strike) {
    let mut trial = Trial::new(strike);
    before_the_canary_answers(&mut trial);
    while_the_canary_stays_healthy(&mut trial);
    in_a_wave(&mut trial);
    while_paused(&mut trial);
    while_it_is_taken_back(&mut trial);
    println!("{strike:?}: another control led after {:.1?}", trial.takeovers);
}

#[test]
fn a_rollout_goes_on_when_its_leader_is_killed_in_any_phase() {
    in_every_phase(Strike::Kill);
}

#[test]
fn a_rollout_goes_on_when_its_leader_freezes_in_any_phase_and_the_fence_holds_when_it_wakes() {
    in_every_phase(Strike::Freeze);
}

#[test]
fn echoctl_follows_a_rollout_from_one_control_to_the_next() {
    let mut trial = Trial::new(Strike::Kill);
    trial.cluster.signal_nodes(&[0, 1, 2], Signal::SIGSTOP);
    trial.apply(AT_ONCE, 0);
    let leader = trial.cluster.leader();
    let mut following = trial.cluster.following(leader, "rollout status pool/default");
    eventually("it follows", DRIVEN, || {
        ensure(following.log().contains("step 1 of 2: canary node-1"), || following.log())
    });
    let go_on = |trial: &Trial| trial.cluster.signal_nodes(&[0, 1, 2], Signal::SIGCONT);
    trial.strike("PROGRESSING", 0, go_on, "COMPLETED");
    assert_eq!(following.wait(DRIVEN).code(), Some(0), "{}", following.log());
    let told = following.log();
    assert!(told.contains("all 3 nodes of pool/default run revision 2"), "{told}");
    // The first of several that are asked is frozen: the next one answers.
    trial.cluster.controls[leader].process.signal(Signal::SIGSTOP);
    let pools = trial.cluster.echoctl(leader).run("get pools");
    assert_eq!(pools.code, 0, "{pools:?}");
    trial.cluster.controls[leader].process.signal(Signal::SIGCONT);
}
