//! Several controls that follow files: what the leader did not come to is done by the next one, and nothing is taken back.

use echo_tests::cluster::{SETTLED, pool_file, text};
use echo_tests::replicas::Replicas;
use echo_tests::wait::ensure;
use echo_tests::{Echoctl, eventually};
use nix::sys::signal::Signal;

use super::mount::{Mount, events, found, pool, wait_limit};

/// Of each leader's lease: long enough that a busy machine changes no leader.
const LEADER_TTL: &str = "3s";

/// Controls each of which follows one of these.
fn following<'a>(mounts: impl IntoIterator<Item = &'a Mount>) -> Replicas {
    let env = |mount: &Mount| vec![("ECHO_POOLS_FROM", mount.path()), ("ECHO_LEADER_TTL", LEADER_TTL.to_owned())];
    Replicas::start_each(&pool_file(0), mounts.into_iter().map(env).collect(), 0)
}

/// Waits until a control has read its folder so often, of which each time was another.
#[track_caller]
fn wait_read(replicas: &Replicas, control: usize, times: usize) {
    eventually(&format!("control {control} has read {times} versions of its folder"), SETTLED, || {
        let log = replicas.controls[control].process.log();
        ensure(log.matches("the pool files are read").count() >= times, || log)
    });
}

/// The revisions of a pool.
fn revisions(echoctl: &Echoctl, name: &str) -> usize {
    echoctl.items(&format!("rollout history pool/{name}")).unwrap().len()
}

#[test]
fn a_change_just_before_the_leader_dies_is_applied_by_the_next_that_saw_it() {
    let edge = |limit| pool("edge", limit, "replicas: 0");
    // As on three hosts, each with a mount of its own.
    let mut mounts: Vec<Mount> = (0..3).map(|_| Mount::of(&[("edge.yaml", &edge(100))])).collect();
    let mut replicas = following(&mounts);
    let leader = replicas.leader();
    let followers: Vec<usize> = (0..3).filter(|control| *control != leader).collect();
    let echoctl = replicas.echoctl(followers[0]);
    wait_limit(&echoctl, "edge", 100);
    followers.iter().for_each(|control| wait_read(&replicas, *control, 1));

    replicas.controls[leader].process.signal(Signal::SIGSTOP);
    let more = pool("zone", 5, "replicas: 0");
    mounts.iter_mut().for_each(|mount| mount.switch(&[("edge.yaml", &edge(200)), ("zone.yaml", &more)]));
    replicas.controls[leader].process.kill();
    wait_limit(&echoctl, "edge", 200);
    wait_limit(&echoctl, "zone", 5);
    let next = replicas.leader();
    assert!(next != leader && revisions(&echoctl, "edge") == 2);

    // So it is when that one dies, and a file that went is gone.
    let last = followers.into_iter().find(|control| *control != next).unwrap();
    wait_read(&replicas, last, 2);
    let echoctl = replicas.echoctl(last);
    mounts[last].switch(&[("edge.yaml", &edge(300))]);
    replicas.controls[next].process.kill();
    wait_limit(&echoctl, "edge", 300);
    assert_eq!(text(&found(&echoctl, "edge").unwrap(), "/metadata/owner"), mounts[last].owner());
    assert_eq!(events(&echoctl, "PoolFileHeld").unwrap(), Vec::<String>::new());
}

#[test]
fn two_controls_on_one_folder_make_one_revision_of_a_change() {
    let edge = |limit| pool("edge", limit, "replicas: 0");
    let seen = |limit| pool("seen", limit, "replicas: 0");
    let mut mount = Mount::of(&[("edge.yaml", &edge(100))]);
    let mut replicas = following([&mount; 2]);
    let leader = replicas.leader();
    let echoctl = replicas.echoctl(1 - leader);
    wait_limit(&echoctl, "edge", 100);
    wait_read(&replicas, 1 - leader, 1);
    mount.switch(&[("edge.yaml", &edge(200))]);
    wait_limit(&echoctl, "edge", 200);
    wait_read(&replicas, 1 - leader, 2);

    // Whichever of the two applies it.
    mount.switch(&[("edge.yaml", &edge(300))]);
    replicas.controls[leader].process.kill();
    wait_limit(&echoctl, "edge", 300);
    // Pools are applied by their names: the other one has looked at this one, too.
    mount.switch(&[("edge.yaml", &edge(300)), ("seen.yaml", &seen(1))]);
    wait_limit(&echoctl, "seen", 1);
    assert_eq!((replicas.leader(), revisions(&echoctl, "edge")), (1 - leader, 3));
}

#[test]
fn a_follower_whose_folder_is_behind_takes_nothing_back_when_it_leads() {
    let edge = |limit| pool("edge", limit, "replicas: 0");
    let core = pool("core", 5, "replicas: 0");
    let mut mounts: Vec<Mount> =
        (0..2).map(|_| Mount::of(&[("core.yaml", &core), ("edge.yaml", &edge(100))])).collect();
    let mut replicas = following(&mounts);
    let leader = replicas.leader();
    let late = 1 - leader;
    let echoctl = replicas.echoctl(late);
    wait_limit(&echoctl, "edge", 100);
    wait_limit(&echoctl, "core", 5);
    wait_read(&replicas, late, 1);
    for limit in [200, 300] {
        mounts[leader].switch(&[("edge.yaml", &edge(limit))]);
        wait_limit(&echoctl, "edge", u64::from(limit));
    }
    assert_eq!(text(&found(&echoctl, "core").unwrap(), "/metadata/owner"), "", "its file is gone");
    echoctl.ok("delete pool/core");

    // It comes as far as to the one before, and leads.
    mounts[late].switch(&[("core.yaml", &core), ("edge.yaml", &edge(200))]);
    replicas.controls[leader].process.kill();
    let held = eventually("both files wait", SETTLED, || {
        let held = events(&echoctl, "PoolFileHeld")?;
        ensure(held.len() == 2, || format!("{held:?}")).map(|()| held)
    });
    let edge_file = mounts[late].folder.join("edge.yaml").display().to_string();
    let told = held.iter().find(|told| told.starts_with(&edge_file)).unwrap();
    for part in ["is not what was applied last", "or for 1", "s more (--pools-behind; 0s where all"] {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
    for line in ["doctor", "describe pool/edge"] {
        let told = echoctl.run(line).stdout;
        assert!(told.contains(&edge_file) && told.contains("--pools-behind"), "{line}: {told}");
    }
    wait_limit(&echoctl, "edge", 300);
    assert!(found(&echoctl, "core").is_err(), "it was deleted");

    // It comes after the others, and further.
    let seen = pool("seen", 1, "replicas: 0");
    mounts[late].switch(&[("edge.yaml", &edge(300)), ("seen.yaml", &seen)]);
    wait_limit(&echoctl, "seen", 1);
    mounts[late].switch(&[("edge.yaml", &edge(400)), ("seen.yaml", &seen)]);
    wait_limit(&echoctl, "edge", 400);
    let history = echoctl.ok("rollout history pool/edge");
    assert_eq!(revisions(&echoctl, "edge"), 4, "{history}");
}
