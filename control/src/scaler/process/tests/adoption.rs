//! Nodes that run already when a control comes: adopted, and counted before that.

use std::sync::Arc;

use super::*;
use crate::scaler::there;

#[tokio::test]
async fn another_control_adopts_what_runs() {
    let host = Host::new("adopt");
    let first = host.control(&host.binary);
    first.scaler.want(want(2));
    let before = host.until(&[1, 2]).await;
    first.task.abort();
    let gone = Record { index: 9, pid: u32::MAX - 1, ..before.get(&1).unwrap().clone() };
    gone.write(&host.nodes()).unwrap();
    let second = host.control(&host.binary);
    second.scaler.want(want(3));
    let after = host.until(&[1, 2, 3]).await;
    assert!(before.iter().all(|(index, record)| after.get(index) == Some(record)), "nobody was started again");
}

#[tokio::test]
async fn who_lives_is_known_without_leadership_and_counts_where_nothing_is_stored() {
    let host = Host::with_node("living", &NODE.replace("while", "trap '' TERM\nwhile"));
    let first = host.control(&host.binary);
    first.scaler.want(want(3));
    host.until(&[1, 2, 3]).await;
    first.scaler.want(want(2));
    until(|| record::read_all(&host.nodes()).iter().any(|record| record.leaving)).await;
    first.task.abort();
    // Neither a record in etcd nor a file is needed, and none is written.
    fs::remove_file(record::path(&host.nodes(), 2)).unwrap();
    let second = host.control(&host.binary);
    let edge = "edge".parse().unwrap();
    assert_eq!(second.scaler.living(&edge), ["node-1", "node-2"].map(|id| id.parse().unwrap()).into());
    assert!(second.scaler.living(&"web".parse().unwrap()).is_empty());
    assert!(!record::path(&host.nodes(), 2).exists());
    let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
    let scaler: Arc<dyn Scaler> = Arc::new(second.scaler);
    assert_eq!(there(&scaler, &view, &edge).await, 2);
    found::all(&host.launcher(&host.binary)).iter().for_each(|(_, handle)| handle.kill());
}

#[tokio::test]
async fn a_node_that_nobody_remembers_is_adopted() {
    let host = Host::new("unremembered");
    let first = host.control(&host.binary);
    first.scaler.want(want(3));
    let before = host.until(&[1, 2, 3]).await;
    first.task.abort();
    // As if the first control had been killed between the start and the record.
    fs::remove_file(record::path(&host.nodes(), 2)).unwrap();
    fs::write(record::path(&host.nodes(), 3), "torn").unwrap();
    let second = host.control(&host.binary);
    second.scaler.want(want(3));
    assert_eq!(host.until(&[1, 2, 3]).await, before, "nobody was started again");
    second.scaler.want(want(1));
    host.until(&[1]).await;
    for index in [2, 3] {
        let Record { pid, start_time, .. } = before[&index];
        until(|| Handle::open(pid).is_none_or(|h| h.start_time != start_time)).await;
    }
}
