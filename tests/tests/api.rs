//! What control's API promises whoever writes: whole deletions, conflicts that name the other writer, one intent a node.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use echo_tests::Cluster;
use echo_tests::cluster::text;
use serde_json::Value;

const ROOT: &str = "/echo/v1/default/";

/// Keys of the pool itself, without what its nodes wrote.
fn keys_of_the_pool(cluster: &Cluster) -> Vec<String> {
    let kinds = ["pools/", "assignments/", "rollouts/", "revisions/", "intents/"];
    let found = kinds.iter().flat_map(|kind| cluster.etcd.get_prefix(&format!("{ROOT}{kind}")));
    found.map(|(key, _)| key).collect()
}

fn events(cluster: &Cluster, object: &str) -> Vec<Value> {
    let events = cluster.echoctl().items("get events").expect("events are listed");
    events.into_iter().filter(|event| text(event, "/object") == object).collect()
}

fn reasons(cluster: &Cluster, object: &str) -> Vec<String> {
    events(cluster, object).iter().map(|event| text(event, "/reason")).collect()
}

#[test]
fn a_pool_goes_whole_with_all_its_keys_or_not_at_all() {
    let cluster = Cluster::start(1);
    cluster.echoctl().ok("cordon node-1");
    assert_eq!(keys_of_the_pool(&cluster).len(), 5, "one of each kind: {:?}", keys_of_the_pool(&cluster));
    cluster.echoctl().ok("delete pool/default --dry-run=server");
    assert_eq!(keys_of_the_pool(&cluster).len(), 5, "nothing was deleted");
    cluster.echoctl().ok("delete pool/default");
    assert_eq!(keys_of_the_pool(&cluster), Vec::<String>::new());
    assert!(reasons(&cluster, "pool/default").contains(&"PoolDeleted".to_owned()));
    let again = cluster.echoctl().run("delete pool/default");
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("\"default\" not found"), "{}", again.stderr);
}

#[test]
fn a_stale_writer_is_told_who_was_faster() {
    let cluster = Cluster::start(1);
    let seen = cluster.file("seen.yaml", &cluster.echoctl().ok("get pool/default -o yaml"));
    cluster.echoctl().ok("scale pool/default --replicas 2");
    let output = cluster.echoctl().run(&format!("apply -f {seen}"));
    assert_eq!(output.code, 1, "{output:?}");
    for part in ["pool/default was changed meanwhile", "scaled from 1 to 2 nodes", "get it again"] {
        assert!(output.stderr.contains(part), "{part:?} is not in: {}", output.stderr);
    }
}

#[test]
fn a_stronger_wish_for_a_node_is_not_weakened_unasked() {
    let cluster = Cluster::start(1);
    let intents = || cluster.etcd.get_prefix(&format!("{ROOT}intents/"));
    cluster.echoctl().ok("cordon node-1");
    cluster.echoctl().ok("drain node-1 --detach");
    assert_eq!(intents().len(), 1, "one intent a node");
    let refused = cluster.echoctl().run("cordon node-1");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("echoctl undrain node-1"), "{}", refused.stderr);
    let refused = cluster.echoctl().run("uncordon node-1");
    assert_eq!(refused.code, 1, "{refused:?}");
    cluster.echoctl().ok("undrain node-1");
    assert_eq!(intents().len(), 1, "the cordon of before holds again");
    cluster.echoctl().ok("uncordon node-1");
    assert!(intents().is_empty());
    let told = reasons(&cluster, "node/node-1");
    for reason in ["NodeCordoned", "NodeDrainRequested", "NodeUndrained", "NodeUncordoned"] {
        assert!(told.contains(&reason.to_owned()), "{reason} is not in {told:?}");
    }
}

#[test]
fn labels_select_and_a_selector_that_is_none_is_named() {
    let cluster = Cluster::start(2);
    let count = |line: &str| cluster.echoctl().items(line).expect("a list").len();
    assert_eq!(count("get nodes -l pool=default"), 2);
    assert_eq!(count("get nodes -l pool!=default"), 0);
    assert_eq!(count("get nodes -l !pool"), 0);
    assert_eq!(count("get pools -l team!=net"), 1);
    let output = cluster.echoctl().run("get nodes -l a=b=c");
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("a=b=c"), "{}", output.stderr);
}
