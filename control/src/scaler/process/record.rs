//! What is remembered of each process, so that the next control can adopt it: `nodes/node-<i>.json`.
//!
//! Written by the launcher right after a start, read when leadership begins. A record whose process is gone, or that
//! cannot be read, is removed: the plan then starts what is missing.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use echo_proto::ids::PoolName;
use serde_json::{Value, json};

use crate::plan::scale::MAX_PER_HOST;

/// A process as remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) index: u32,
    pub(super) pool: PoolName,
    /// Where it was told that it is; empty: nowhere.
    pub(super) zone: String,
    /// The cluster that it was started for.
    pub(super) cluster: String,
    /// Where it was told that etcd is.
    pub(super) etcd: Vec<String>,
    pub(super) pid: u32,
    pub(super) start_time: u64,
    /// Was told to drain and exit.
    pub(super) leaving: bool,
}

impl Record {
    /// Writes it whole or not at all, and to the disk: after a power cut, too, a process must not run twice.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let path = path(directory, self.index);
        let draft = path.with_extension("json.new");
        let mut file = File::create(&draft)?;
        writeln!(file, "{}", self.to_json())?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    }

    fn to_json(&self) -> Value {
        json!({
            "pid": self.pid,
            "startTime": self.start_time,
            "index": self.index,
            "pool": self.pool.as_str(),
            "zone": self.zone,
            "cluster": self.cluster,
            "etcd": self.etcd,
            "leaving": self.leaving,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let etcd = value.get("etcd")?.as_array()?.iter().map(|url| url.as_str().map(str::to_owned));
        Some(Self {
            index: number("index")?.try_into().ok().filter(|index| (1..=MAX_PER_HOST).contains(index))?,
            pool: value.get("pool")?.as_str()?.parse().ok()?,
            zone: value.get("zone").and_then(Value::as_str).unwrap_or_default().to_owned(),
            cluster: value.get("cluster")?.as_str()?.to_owned(),
            etcd: etcd.collect::<Option<_>>()?,
            pid: number("pid")?.try_into().ok()?,
            start_time: number("startTime")?,
            leaving: value.get("leaving").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// All records of a directory; those that can't be read, or lie under another's name, are removed.
pub(super) fn read_all(directory: &Path) -> Vec<Record> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let files = entries.flatten().map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let mut records = Vec::new();
    for file in files {
        let record = fs::read_to_string(&file).ok().as_deref().and_then(Record::parse);
        match record.filter(|record| path(directory, record.index) == file) {
            Some(record) => records.push(record),
            None => {
                tracing::warn!(path = %file.display(), "not a process record; removed");
                let _ = fs::remove_file(&file);
            }
        }
    }
    records
}

/// Whether a process that runs is remembered as told to go.
pub(super) fn is_leaving(directory: &Path, process: &Record) -> bool {
    let record = fs::read_to_string(path(directory, process.index)).ok().as_deref().and_then(Record::parse);
    record.is_some_and(|r| r.leaving && (r.pid, r.start_time) == (process.pid, process.start_time))
}

/// Forgets a process that is gone.
pub(super) fn remove(directory: &Path, index: u32) {
    // One that stays names a process that is gone: the next reader finds that out.
    let _ = fs::remove_file(path(directory, index));
}

/// Where a process is remembered.
pub(super) fn path(directory: &Path, index: u32) -> PathBuf {
    directory.join(format!("node-{index}.json"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_restart_and_garbage() {
        let directory = std::env::temp_dir().join(format!("echo-records-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let record = Record {
            index: 3,
            pool: "edge".parse().unwrap(),
            zone: "a".into(),
            cluster: "test".into(),
            etcd: vec!["http://e:1".into()],
            pid: 7,
            start_time: 4711,
            leaving: true,
        };
        record.write(&directory).unwrap();
        fs::write(directory.join("node-9.json"), "{\"pid\": -1}").unwrap();
        // No index of ours; another's name.
        fs::write(directory.join("node-0.json"), Record { index: 0, ..record.clone() }.to_json().to_string()).unwrap();
        Record { index: 300, ..record.clone() }.write(&directory).unwrap();
        fs::copy(directory.join("node-3.json"), directory.join("node-4.json")).unwrap();
        assert_eq!(read_all(&directory), [record]);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "what is no record is removed");
        remove(&directory, 3);
        assert_eq!(read_all(&directory), []);
        fs::remove_dir_all(&directory).unwrap();
    }
}
