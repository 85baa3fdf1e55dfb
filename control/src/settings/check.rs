//! The checks of all flags, one after the other, none of which stops at a mistake.
//!
//! Called by [`Flags::check`] only.

use std::net::SocketAddr;
use std::time::Duration;

use crate::programs;
use echo_proto::codec::parse_duration;
use echo_proto::ids::ClusterName;
use echo_proto::spec::MAX_LABEL_BYTES;

use super::{Bootstrap, Flags, PoolsFrom, ScalerSettings, Settings, SettingsError};

/// Shortest lease: etcd grants none below its election timeout.
const MIN_TTL: Duration = Duration::from_secs(1);
/// Longest path of the pool files' folder.
const MAX_FOLDER_BYTES: usize = 200;
/// Most that the folders of two controls may be apart.
const MAX_BEHIND: Duration = Duration::from_secs(3600);
/// Longest lease.
const MAX_TTL: Duration = Duration::from_secs(3600);

impl Flags {
    /// Checks all flags together.
    ///
    /// # Errors
    /// Every bad value, one line each.
    pub fn check(self) -> Result<Settings, SettingsError> {
        let mut check = Check::default();
        let cluster = check.parsed("cluster", &self.cluster, str::parse::<ClusterName>);
        let grpc = check.parsed("grpc", &self.grpc, address);
        let http = check.parsed("http", &self.http, address);
        if let Some(grpc) = grpc.filter(|grpc| !grpc.ip().is_loopback() && !self.insecure) {
            check.fail(
                "grpc",
                &format!("{grpc} is no loopback address and gRPC is plaintext; add --insecure to allow it"),
            );
        }
        let etcd = check.urls(&self.etcd);
        let leader_ttl = check.ttl("leader-ttl", &self.leader_ttl);
        let scaler = check.scaler(&self);
        let bootstrap = check.bootstrap(&self);
        let pools_from = check.pools_from(&self);
        match (cluster, grpc, http, leader_ttl, scaler) {
            (Some(cluster), Some(grpc), Some(http), Some(leader_ttl), Some(scaler)) if check.errors.is_empty() => {
                let (state_dir, lifeline) = (self.state_dir, self.lifeline);
                Ok(Settings {
                    cluster,
                    grpc,
                    http,
                    etcd,
                    state_dir,
                    scaler,
                    bootstrap,
                    pools_from,
                    lifeline,
                    leader_ttl,
                })
            }
            _ => Err(SettingsError(check.errors)),
        }
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Check {
    errors: Vec<String>,
}

impl Check {
    fn fail(&mut self, flag: &str, cause: &str) {
        self.errors.push(format!("--{flag}: {cause}"));
    }

    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(text).map_err(|e| self.fail(flag, &format!("{text:?}: {e}"))).ok()
    }

    fn urls(&mut self, text: &str) -> Vec<String> {
        let urls: Vec<String> = text.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        for url in &urls {
            let host = url.strip_prefix("http://");
            if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
                self.fail("etcd", &format!("{url:?} is no URL of etcd; expected one like http://127.0.0.1:2379"));
            }
        }
        urls
    }

    fn duration(&mut self, flag: &str, text: &str) -> Option<Duration> {
        let parsed = parse_duration(text);
        if parsed.is_none() {
            self.fail(flag, &format!("expected a duration such as 10s or 500ms, got {text:?}"));
        }
        parsed
    }

    /// Leases count in whole seconds.
    fn ttl(&mut self, flag: &str, text: &str) -> Option<Duration> {
        let ttl = self.duration(flag, text)?;
        if ttl < MIN_TTL || ttl > MAX_TTL || ttl.subsec_nanos() != 0 {
            let (min, max) = (MIN_TTL.as_secs(), MAX_TTL.as_secs());
            self.fail(flag, &format!("{text} is out of range; use whole seconds from {min}s to {max}s"));
            return None;
        }
        Some(ttl)
    }

    fn scaler(&mut self, flags: &Flags) -> Option<ScalerSettings> {
        let grpc_port = self.parsed("node-grpc-port", &flags.node_grpc_port, str::parse::<u16>);
        let http_port = self.parsed("node-http-port", &flags.node_http_port, str::parse::<u16>);
        let lease_ttl = self.ttl("node-lease-ttl", &flags.node_lease_ttl);
        if flags.node_zones.iter().any(|zone| zone.is_empty() || zone.len() > MAX_LABEL_BYTES) {
            self.fail("node-zones", &format!("a zone has 1 to {MAX_LABEL_BYTES} bytes"));
        }
        let drain = flags.node_drain_deadline.as_deref();
        let drain_deadline = drain.map(|text| self.duration("node-drain-deadline", text));
        match flags.scaler.as_str() {
            "none" => return Some(ScalerSettings::None),
            "process" => {}
            "kubernetes" => {
                self.fail("scaler", "kubernetes is not supported by this version");
                return None;
            }
            other => {
                self.fail("scaler", &format!("expected process or none, got {other:?}"));
                return None;
            }
        }
        if flags.state_dir.is_none() {
            self.fail("state-dir", "required with --scaler process: it holds the nodes' records, state and logs");
        }
        let binary = flags.node_binary.clone().or_else(|| programs::ours("echo-node"));
        if binary.is_none() {
            self.fail("node-binary", "no echo-node beside this executable or in PATH; name one");
        }
        Some(ScalerSettings::Process {
            binary: binary?,
            state_dir: flags.state_dir.clone()?,
            grpc_port: grpc_port?,
            http_port: http_port?,
            lease_ttl: lease_ttl?,
            zones: flags.node_zones.clone(),
            // A given one that can't be read has been reported.
            drain_deadline: drain_deadline.flatten(),
        })
    }

    /// The folder by the path that every replica knows it by, whatever it was started in.
    fn pools_from(&mut self, flags: &Flags) -> Option<PoolsFrom> {
        let behind = self.duration("pools-behind", &flags.pools_behind);
        if behind.is_some_and(|behind| behind > MAX_BEHIND) {
            self.fail("pools-behind", &format!("at most {}s", MAX_BEHIND.as_secs()));
        }
        match std::path::absolute(flags.pools_from.as_deref()?) {
            Ok(folder) if folder.as_os_str().len() <= MAX_FOLDER_BYTES => {
                return Some(PoolsFrom { folder, behind: behind? });
            }
            Ok(_) => self.fail("pools-from", &format!("at most {MAX_FOLDER_BYTES} bytes: it is named in every pool")),
            Err(cause) => self.fail("pools-from", &cause.to_string()),
        }
        None
    }

    fn bootstrap(&mut self, flags: &Flags) -> Option<Bootstrap> {
        let replicas = flags.bootstrap_replicas.as_deref();
        let replicas = replicas.and_then(|text| self.parsed("bootstrap-replicas", text, str::parse::<u32>));
        if flags.bootstrap_replicas.is_some() && flags.bootstrap_pool.is_none() {
            self.fail("bootstrap-replicas", "means nothing without --bootstrap-pool");
        }
        Some(Bootstrap { file: flags.bootstrap_pool.clone()?, replicas })
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:7400")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn check(flags: &[&str]) -> Result<Settings, SettingsError> {
        Flags::parse_from([&["echo-control"], flags].concat()).check()
    }

    #[test]
    fn every_bad_value_is_told_at_once() {
        let SettingsError(errors) = check(&[
            "--cluster=A B",
            "--grpc=0.0.0.0:7400",
            "--http=nowhere",
            "--etcd=http://a:1,https://b:2",
            "--leader-ttl=1500ms",
            "--scaler=kubernetes",
            "--bootstrap-replicas=3",
            "--node-zones=a,,b",
            "--pools-behind=2h",
        ])
        .unwrap_err();
        let starts = [
            "--cluster",
            "--http",
            "--node-zones",
            "--grpc: 0.0.0.0:7400",
            "--etcd: \"https://b:2\"",
            "--leader-ttl",
            "--pools-behind: at most 3600s",
        ];
        for start in starts {
            assert!(errors.iter().any(|e| e.starts_with(start)), "{start}: {errors:?}");
        }
        assert!(errors.contains(&"--scaler: kubernetes is not supported by this version".to_owned()));
        assert_eq!(errors.len(), 9, "{errors:?}");
    }

    #[test]
    fn the_process_scaler_needs_a_place_and_a_binary() {
        let SettingsError(errors) = check(&["--scaler=process", "--node-binary=/x"]).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let settings = check(&["--scaler=process", "--node-binary=/x", "--state-dir=/s", "--node-zones=a,b"]).unwrap();
        let ScalerSettings::Process { grpc_port, zones, .. } = settings.scaler else { unreachable!() };
        assert_eq!((grpc_port, zones), (7401, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn defaults_are_good() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.grpc.to_string(), "127.0.0.1:7400");
        assert_eq!(settings.etcd, ["http://127.0.0.1:2379"]);
        assert_eq!(settings.leader_ttl, Duration::from_secs(5));
    }
}
