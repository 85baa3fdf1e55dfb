//! The folder that files lie in, and what is seen of the pools that they make.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use echo_tests::cluster::{SETTLED, pool_file, text};
use echo_tests::wait::ensure;
use echo_tests::{Cluster, Echoctl, eventually, tools};
use serde_json::Value;

/// A folder as the kubelet mounts a ConfigMap: each file is a link through `..data`, a link that is switched whole.
pub(super) struct Mount {
    pub(super) folder: PathBuf,
    versions: u32,
}

impl Mount {
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut mount = Self { folder: tools::scratch("pools-from"), versions: 0 };
        mount.switch(files);
        mount
    }

    /// Has exactly these files from now on.
    pub(super) fn switch(&mut self, files: &[(&str, &str)]) {
        self.versions += 1;
        let version = format!("..{}", self.versions);
        fs::create_dir(self.folder.join(&version)).unwrap();
        for (name, text) in files {
            fs::write(self.folder.join(&version).join(name), text).unwrap();
        }
        symlink(&version, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
        for (name, _) in files.iter().filter(|(name, _)| !self.folder.join(name).is_symlink()) {
            symlink(Path::new("..data").join(name), self.folder.join(name)).unwrap();
        }
        let links = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        for link in links.filter(|path| !path.exists()) {
            fs::remove_file(link).unwrap();
        }
    }

    /// Is mounted anew, with these files.
    pub(super) fn renew(&mut self, files: &[(&str, &str)]) {
        fs::rename(&self.folder, self.folder.with_extension("before")).unwrap();
        fs::create_dir(&self.folder).unwrap();
        self.switch(files);
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        self.folder.display().to_string()
    }

    pub(super) fn cluster(&self) -> Cluster {
        self.cluster_behind("3m")
    }

    pub(super) fn cluster_behind(&self, behind: &str) -> Cluster {
        let env = [("ECHO_POOLS_FROM", &*self.path()), ("ECHO_POOLS_BEHIND", behind)];
        Cluster::start_with(&pool_file(0), &env)
    }

    pub(super) fn owner(&self) -> String {
        format!("files:{}", self.path())
    }
}

/// A pool file that starts no node; another limit is another revision.
pub(super) fn pool(name: &str, limit: u32, more: &str) -> String {
    format!(
        "apiVersion: echo/v1\nkind: Pool\nmetadata: {{name: {name}}}\nspec:\n  {more}\n  template:\n    \
         limits: {{maxConnections: {limit}}}\n    listeners:\n    \
         - {{name: echo-tcp, protocol: TCP, port: 7007, service: {{echo: {{}}}}}}\n"
    )
}

pub(super) fn found(echoctl: &Echoctl, name: &str) -> Result<Value, String> {
    Ok(echoctl.items(&format!("get pool/{name}"))?.remove(0))
}

/// Waits until the pool has this limit.
#[track_caller]
pub(super) fn wait_limit(echoctl: &Echoctl, name: &str, limit: u64) -> Value {
    eventually(&format!("pool/{name} has the limit {limit}"), SETTLED, || {
        let pool = found(echoctl, name)?;
        let now = pool.pointer("/spec/template/limits/maxConnections").and_then(Value::as_u64);
        ensure(now == Some(limit), || format!("{pool}"))?;
        Ok::<_, String>(pool)
    })
}

/// The messages of the events with this reason.
pub(super) fn events(echoctl: &Echoctl, reason: &str) -> Result<Vec<String>, String> {
    let events = echoctl.items("get events")?.into_iter().filter(|event| text(event, "/reason") == reason);
    Ok(events.map(|event| text(&event, "/message")).collect())
}

/// Waits for an event with this reason, and returns its message.
#[track_caller]
pub(super) fn wait_event(echoctl: &Echoctl, reason: &str) -> String {
    eventually(reason, SETTLED, || events(echoctl, reason)?.pop().ok_or_else(|| format!("no {reason}")))
}
