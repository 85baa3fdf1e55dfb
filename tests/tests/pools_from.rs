//! Files that own their pools: applied at the start and when a mounted folder is switched, never over a later request,
//! with every mistake told; also when the control that leads dies.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "pools_from/mount.rs"]
mod mount;
#[path = "pools_from/replicas.rs"]
mod replicas;

use echo_tests::cluster::{SETTLED, text};
use echo_tests::wait::ensure;
use echo_tests::{eventually, tools};

use self::mount::{Mount, events, found, pool, wait_event, wait_limit};

#[test]
fn files_are_applied_at_the_start_and_when_their_folder_is_switched() {
    let mut mount = Mount::of(&[("edge.yaml", &pool("edge", 100, "replicas: 0"))]);
    let cluster = mount.cluster();
    let echoctl = cluster.echoctl();
    let edge = wait_limit(&echoctl, "edge", 100);
    assert_eq!(text(&edge, "/metadata/owner"), mount.owner());
    assert!(text(&found(&echoctl, "default").unwrap(), "/metadata/owner").is_empty(), "no file names it");
    for line in ["get pools -o wide", "describe pool/edge"] {
        assert!(echoctl.ok(line).contains(&mount.owner()), "{line}");
    }

    mount.switch(&[("edge.yaml", &pool("edge", 200, "replicas: 0"))]);
    wait_limit(&echoctl, "edge", 200);
    let history = echoctl.ok("rollout history pool/edge");
    let last = history.lines().last().unwrap();
    assert!(last.starts_with('2') && last.contains(&mount.owner()) && last.contains("edge.yaml"), "{history}");
}

#[test]
fn a_request_is_left_alone_until_its_file_changes_and_says_so() {
    let mut mount = Mount::of(&[("edge.yaml", &pool("edge", 100, "replicas: 0"))]);
    let mut cluster = mount.cluster_behind("0s");
    let echoctl = cluster.echoctl();
    wait_limit(&echoctl, "edge", 100);
    let file = cluster.file("by-hand.yaml", &pool("edge", 101, ""));
    for line in [&format!("apply -f {file}"), "scale pool/edge --replicas 1", "scale pool/edge --replicas 0"] {
        let output = echoctl.run(line);
        assert_eq!(output.code, 0, "{output:?}");
        let told = format!("warning: pool/edge is owned by {}: this ", mount.owner());
        assert!(output.stderr.starts_with(&told) && output.stderr.lines().count() == 1, "{line}: {}", output.stderr);
    }
    assert_eq!(echoctl.run("scale pool/edge --replicas 0").stderr, "", "nothing was changed");
    let again = echoctl.run(&format!("apply -f {file} --now"));
    assert!(again.code == 0 && again.stderr.starts_with("warning: pool/edge: --now changes nothing"), "{again:?}");

    // Another control reads all files anew; that it has is seen by a new one, whose pool
    // comes after the other.
    cluster.control.kill();
    mount.switch(&[("zone.yml", &pool("zone", 5, "replicas: 0")), ("edge.yaml", &pool("edge", 100, "replicas: 0"))]);
    cluster.replace_control();
    wait_limit(&echoctl, "zone", 5);
    wait_limit(&echoctl, "edge", 101);

    // So is it where the folder is mounted anew, and empty meanwhile.
    mount.switch(&[]);
    let told = wait_event(&echoctl, "PoolFilesMissing");
    assert!(told.contains("has no pool file any more, and owns 2 pools"), "{told}");
    mount.switch(&[("zone.yml", &pool("zone", 6, "replicas: 0")), ("edge.yaml", &pool("edge", 100, "replicas: 0"))]);
    wait_limit(&echoctl, "zone", 6);
    let edge = wait_limit(&echoctl, "edge", 101);
    assert_eq!(text(&edge, "/metadata/owner"), mount.owner());

    mount.switch(&[("zone.yml", &pool("zone", 6, "replicas: 0")), ("edge.yaml", &pool("edge", 300, "replicas: 0"))]);
    wait_limit(&echoctl, "edge", 300);

    let deleted = echoctl.run("delete pool/edge");
    assert!(deleted.code == 0 && deleted.stderr.contains("makes it anew"), "{deleted:?}");
    mount.switch(&[("zone.yml", &pool("zone", 7, "replicas: 0")), ("edge.yaml", &pool("edge", 300, "replicas: 0"))]);
    wait_limit(&echoctl, "edge", 300);
}

#[test]
fn a_new_leader_whose_mount_is_behind_takes_nothing_back() {
    let edge = |limit| pool("edge", limit, "replicas: 0");
    let (core, zone) = (pool("core", 5, "replicas: 0"), pool("zone", 5, "replicas: 0"));
    let mut mount = Mount::of(&[("core.yaml", &core), ("edge.yaml", &edge(100))]);
    let mut cluster = mount.cluster();
    let echoctl = cluster.echoctl();
    wait_limit(&echoctl, "edge", 100);
    mount.switch(&[("core.yaml", &core), ("edge.yaml", &edge(200))]);
    wait_limit(&echoctl, "edge", 200);

    // The next one's mount has the text of before, lacks a file, and has one of a pool that is not there. That it has
    // looked at all of it is seen by a clash, which is told last.
    cluster.control.kill();
    let both = pool("both", 1, "replicas: 0");
    mount.renew(&[("edge.yaml", &edge(100)), ("one.yaml", &both), ("two.yaml", &both), ("zone.yaml", &zone)]);
    cluster.replace_control();
    wait_event(&echoctl, "PoolFilesClash");
    let held = events(&echoctl, "PoolFileHeld").unwrap();
    let told = |file: &str| held.iter().any(|told| told.contains(&format!("{file} is not what was applied last")));
    assert!(held.len() == 2 && told("edge.yaml") && told("zone.yaml"), "{held:?}");
    wait_limit(&echoctl, "edge", 200);
    assert_eq!(text(&found(&echoctl, "core").unwrap(), "/metadata/owner"), mount.owner());
    assert!(found(&echoctl, "zone").is_err(), "it may have been deleted");

    // What it sees change is not of before, whatever it says.
    mount.switch(&[("core.yaml", &core), ("edge.yaml", &edge(300)), ("zone.yaml", &zone)]);
    wait_limit(&echoctl, "edge", 300);
    mount.switch(&[("core.yaml", &core), ("edge.yaml", &edge(100)), ("zone.yaml", &zone)]);
    wait_limit(&echoctl, "edge", 100);
}

#[test]
fn a_control_that_is_started_again_takes_what_changed_in_its_folder_meanwhile() {
    let (core, zone) = (pool("core", 5, "replicas: 0"), pool("zone", 5, "replicas: 0"));
    let edge = |limit| pool("edge", limit, "replicas: 0");
    let mut mount = Mount::of(&[("core.yaml", &core), ("edge.yaml", &edge(100))]);
    let mut cluster = mount.cluster();
    let echoctl = cluster.echoctl();
    wait_limit(&echoctl, "core", 5);
    wait_limit(&echoctl, "edge", 100);

    cluster.control.kill();
    mount.switch(&[("edge.yaml", &edge(200)), ("zone.yaml", &zone)]);
    cluster.replace_control();
    wait_limit(&echoctl, "edge", 200);
    wait_event(&echoctl, "PoolDisowned");
    assert_eq!(text(&found(&echoctl, "core").unwrap(), "/metadata/owner"), "");
    // What no pool is there for may have been deleted.
    wait_event(&echoctl, "PoolFileHeld");
    let held = events(&echoctl, "PoolFileHeld").unwrap();
    assert!(held.len() == 1 && held[0].contains("zone.yaml is not what was applied last"), "{held:?}");
    let doctor = echoctl.run("doctor").stdout;
    assert!(doctor.contains("zone.yaml") && doctor.contains("--pools-behind"), "{doctor}");
}

#[test]
fn what_is_wrong_is_told_and_the_rest_applied() {
    let wrong = pool("wrong", 0, "replicas: 100001") + "colour: red\n";
    let mut mount = Mount::of(&[
        ("wrong.yaml", &wrong),
        ("one.yaml", &pool("both", 1, "replicas: 0")),
        ("two.json", &pool("both", 2, "replicas: 0")),
        ("good.yaml", &pool("good", 1, "replicas: 0")),
        ("many.yaml", &pool("many", 1, "replicas: 255")),
    ]);
    let mut cluster = mount.cluster();
    let echoctl = cluster.echoctl();
    wait_limit(&echoctl, "good", 1);
    let refused = wait_event(&echoctl, "PoolFileRefused");
    assert!(refused.contains("many.yaml is not applied: spec.replicas: 255 is too large; at most 254"), "{refused}");
    let told = wait_event(&echoctl, "PoolFileInvalid");
    for part in ["wrong.yaml: 3 mistakes: ", "colour: unknown field", "spec.replicas: 100001", "limits.maxConnections"]
    {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
    let clash = wait_event(&echoctl, "PoolFilesClash");
    let doctor = echoctl.run("doctor").stdout;
    for part in ["PoolFileInvalid", "wrong.yaml: 3 mistakes", "PoolFilesClash", "none of them is applied"] {
        assert!(doctor.contains(part), "{part:?} is not in: {doctor}");
    }
    assert!(clash.contains("one.yaml and in ") && clash.contains("two.json"), "{clash}");
    assert!(["both", "wrong", "many"].iter().all(|name| found(&echoctl, name).is_err()));
    let logged = cluster.control.log();
    assert!(logged.contains("3 mistakes") && logged.contains("two.json"), "{logged}");

    // While a file can't be read, nobody knows whose pools it holds.
    mount.switch(&[("wrong.yaml", &wrong), ("both.yaml", &pool("both", 3, "replicas: 0"))]);
    wait_limit(&echoctl, "both", 3);
    assert_eq!(text(&found(&echoctl, "good").unwrap(), "/metadata/owner"), mount.owner());

    mount.switch(&[("both.yaml", &pool("both", 3, "replicas: 0"))]);
    let gone = wait_event(&echoctl, "PoolDisowned");
    assert!(gone.contains("the pool stays"), "{gone}");
    let good = wait_limit(&echoctl, "good", 1);
    assert_eq!(text(&good, "/metadata/owner"), "");
    // It was told once, however often other files changed, and that it is over.
    eventually("the mended file is told", SETTLED, || {
        let told = events(&echoctl, "PoolFileMended")?;
        ensure(told.iter().any(|told| told.contains("wrong.yaml")), || format!("{told:?}"))
    });
    let told = echoctl.items("get events").unwrap();
    let told: Vec<_> = told.iter().filter(|event| text(event, "/reason") == "PoolFileInvalid").collect();
    assert!(told.len() == 1 && told[0]["count"] == 1, "{told:?}");
    assert!(cluster.control.is_running());
}

#[test]
fn a_folder_that_is_not_there_is_told_at_the_start() {
    let mut command = std::process::Command::new(tools::ours("echo-control"));
    command.args(["--pools-from", "/nonexistent/pools", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let output = echo_tests::finish::finish(&mut command);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("/nonexistent/pools") && told.contains("--pools-from"), "{told}");
}
