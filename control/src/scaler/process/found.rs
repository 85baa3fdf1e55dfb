//! The nodes of this state directory that run already: those that are remembered, and those that nobody remembers.
//!
//! Used when leadership begins, on a blocking thread, and by the app before that. A control that is killed between a
//! start and its record leaves a node that only its command line tells of: it names a state directory that is ours
//! alone. A process counts by pidfd and start time, never by its number.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use echo_proto::ids::{NodeId, PoolName};

use super::child::Handle;
use super::count;
use super::launch::Launcher;
use super::record::{self, Record};
use crate::plan::scale::MAX_PER_HOST;

/// All of them, one an index. Records of processes that are gone are removed, missing ones are written.
pub(super) fn all(launcher: &Launcher) -> Vec<(Record, Handle)> {
    let directory = launcher.nodes_dir();
    let mut found = Vec::new();
    for record in record::read_all(&directory) {
        match Handle::open(record.pid).filter(|handle| handle.start_time == record.start_time) {
            Some(handle) => found.push((record, handle)),
            None => record::remove(&directory, record.index),
        }
    }
    let mut known: BTreeSet<u32> = found.iter().map(|(record, _)| record.index).collect();
    let mut unknown: Vec<(Record, Handle)> = processes().filter_map(|pid| recognized(launcher, pid)).collect();
    // Of two, the older one has the lock of the state directory; the other ends by itself.
    unknown.sort_by_key(|(record, _)| record.start_time);
    for (record, handle) in unknown {
        if known.insert(record.index) {
            tracing::warn!(node = format!("node-{}", record.index), pid = record.pid, "runs, but was not remembered");
            if let Err(error) = record.write(&directory) {
                tracing::warn!(%error, index = record.index, "the record of a node is not written");
            }
            found.push((record, handle));
        }
    }
    found
}

/// A node of another cluster that runs on this state directory; told in words.
pub(super) fn foreign(launcher: &Launcher) -> Option<String> {
    let (record, _) = all(launcher).into_iter().find(|(record, _)| record.cluster != launcher.cluster.as_str())?;
    let Record { index, pid, cluster, .. } = record;
    Some(format!("node-{index} (pid {pid}) of cluster {cluster} runs here; stop it, or choose another --state-dir"))
}

/// The nodes of a pool that were not told to go. Only looks: the supervisor may be at its work.
pub(super) fn living(launcher: &Launcher, pool: &PoolName) -> BTreeSet<NodeId> {
    let found = processes().filter_map(|pid| recognized(launcher, pid));
    let of_pool = found.filter(|(record, _)| record.pool == *pool && launcher.agrees(record));
    let staying = of_pool.filter(|(record, _)| !record::is_leaving(&launcher.nodes_dir(), record));
    staying.filter_map(|(record, _)| count::node_id(record.index)).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process, if its command line is one of the launcher's.
fn recognized(launcher: &Launcher, pid: u32) -> Option<(Record, Handle)> {
    command_line(launcher, pid)?;
    let handle = Handle::open(pid)?;
    // Again, now that the number can't become another's.
    let record = Record { start_time: handle.start_time, ..command_line(launcher, pid)? };
    Some((record, handle))
}

fn command_line(launcher: &Launcher, pid: u32) -> Option<Record> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&str> = bytes.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
    let value = |flag: &str| words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('='));
    let index = value("--id")?.strip_prefix("node-")?.parse().ok().filter(|i| (1..=MAX_PER_HOST).contains(i))?;
    let pool = value("--pool")?.parse().ok()?;
    let ours = launcher.node_dir(index, &pool);
    (value("--state-dir").map(OsStr::new) == Some(ours.as_os_str())).then_some(())?;
    Some(Record {
        index,
        pool,
        zone: value("--zone").unwrap_or_default().to_owned(),
        cluster: value("--cluster")?.to_owned(),
        etcd: value("--etcd")?.split(',').map(str::to_owned).collect(),
        pid,
        start_time: 0,
        leaving: false,
    })
}
