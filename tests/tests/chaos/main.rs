//! Chaos: random processes of a cluster are killed and stopped at random times, under traffic whose every byte is
//! checked; every echo that failed or was late must be explained by what was done to its node, and in the end the
//! cluster must be whole, with nothing left over and nothing grown.
//!
//! `make test` runs it for a moment, `make chaos` for MINUTES (10). A run is repeated by its SEED: the same faults in the
//! same order, though what they meet is never quite the same.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod census;
mod harm;
mod schedule;

use std::time::{Duration, Instant};

use echo_tests::cluster::pool_on;
use echo_tests::process::naming;
use echo_tests::traffic::Target;
use echo_tests::wait::{ensure, throughout};
use echo_tests::{Cluster, Traffic, eventually, lab};

use census::Census;
use harm::Harms;
use schedule::Schedule;

/// Of a run that is not told how long.
const SHORT: Duration = Duration::from_secs(20);
/// Of such a run: always the same.
const SHORT_SEED: u64 = 8;
const NODES: u32 = 3;
/// The port of a pool in a network of the test's own.
const PORT: u16 = 7007;
/// Between two lines about a long run.
const REPORT: Duration = Duration::from_secs(60);
/// Traffic on the unharmed cluster, before and after: what fails then has no excuse.
const CALM: Duration = Duration::from_secs(3);
/// Until processes that were ended are gone.
const GONE: Duration = Duration::from_secs(20);

#[test]
fn the_cluster_outlives_its_parts() {
    let minutes = setting("MINUTES").map(|minutes| Duration::from_secs(60 * minutes));
    lab::run_for("the_cluster_outlives_its_parts", minutes.unwrap_or_default(), || {
        let random = || fastrand::u64(..u64::from(u32::MAX));
        let seed = setting("SEED").unwrap_or_else(|| if minutes.is_some() { random() } else { SHORT_SEED });
        let duration = minutes.unwrap_or(SHORT);
        println!("chaos: SEED={seed} for {duration:?}; the same faults again: make chaos SEED={seed}");
        run(seed, duration);
    });
}

fn run(seed: u64, duration: Duration) {
    let cluster = Cluster::start_with(&pool_on(NODES, PORT), &[]);
    let dir = cluster.dir().to_owned();
    let traffic = Traffic::start(None, &Target::all(&cluster.wait_nodes(NODES as usize)));
    throughout(CALM, || ensure(traffic.losses().is_empty(), || format!("{:?}", traffic.losses())));
    let before = Census::take(&cluster);

    let mut harms = Harms::new(cluster, traffic);
    let (start, mut told) = (Instant::now(), Instant::now());
    for step in Schedule::new(seed, NODES, duration).take_while(|_| start.elapsed() < duration) {
        harms.mend_until(Instant::now() + step.after);
        harms.begin(step);
        if told.elapsed() > REPORT {
            told = Instant::now();
            println!("chaos: {:.0?}: {}", start.elapsed(), harms.summary());
        }
    }
    harms.mend_all();
    throughout(CALM, || Ok::<_, String>(()));
    let (cluster, traffic, faults, done) = harms.finish();
    let report = traffic.stop();
    cluster.wait_nodes(NODES as usize);
    let after = Census::take(&cluster);

    let unexplained = report.unexplained(&faults);
    println!(
        "chaos: seed {seed}, {:.0?}: {done}; {} echoes, {} failed or late, {} of them unexplained; {before} before, {after} after",
        start.elapsed(),
        report.echoes,
        report.losses.len(),
        unexplained.len(),
    );
    for loss in unexplained.iter().take(5) {
        let at = loss.sent.saturating_duration_since(start);
        println!("chaos: unexplained, {at:.1?} after the start: {} {}: {}", loss.node, loss.kind, loss.cause);
    }
    assert!(unexplained.is_empty(), "{} echoes failed without a reason; seed {seed}", unexplained.len());
    after.assert_not_grown(&before);
    census::assert_no_panic(&dir);
    drop(cluster);
    eventually("no process is left", GONE, || {
        let left = naming(&dir);
        ensure(left.is_empty(), || format!("{left:?}"))
    });
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a whole number")))
}
