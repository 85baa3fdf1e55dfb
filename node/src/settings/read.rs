//! Text of the command line -> [`Settings`], collecting every mistake.
//!
//! Used by `main` through [`Settings::read`] only.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use echo_proto::codec::parse_duration;
use echo_proto::ids::NodeId;
use echo_proto::spec::{MAX_DURATION, MAX_LABELS, is_label};

use super::{Args, MAX_LEASE_TTL, MAX_SHARDS, MIN_LEASE_TTL, MIN_REREAD, Settings, SettingsError, Source};
use crate::live::usable_cores;

impl Settings {
    /// Gives the command line its meaning, on a host of this name.
    ///
    /// # Errors
    /// Every bad value, with its flag.
    pub fn read(args: Args, host: String) -> Result<Self, SettingsError> {
        let mut reader = Reader::default();
        let settings = reader.settings(args, host);
        match settings {
            Some(settings) if reader.errors.is_empty() => Ok(settings),
            _ => Err(SettingsError(reader.errors)),
        }
    }
}

/// Collects mistakes.
#[derive(Default)]
struct Reader {
    errors: Vec<String>,
}

impl Reader {
    fn settings(&mut self, args: Args, host: String) -> Option<Settings> {
        // Each is read before any is asked for, so that every mistake is found.
        let cluster = self.parse("cluster", &args.cluster);
        let pool = self.parse("pool", &args.pool);
        let id = self.id(args.id.as_deref(), &host);
        let address = self.parsed("address", &args.address, "an IP address");
        let grpc = self.grpc(&args.grpc, args.insecure);
        let http = self.parsed("http", &args.http, "IP:PORT");
        let source = match args.config {
            Some(file) => Some(Source::File(file)),
            None => self.etcd(&args.etcd, &args.lease_ttl, &args.reread_interval),
        };
        let labels = self.labels(&args.labels);
        let advertise = args.advertise.map(|text| self.advertise(text));
        let shards = self.shards(args.shards.as_deref());
        let drain_deadline = args.drain_deadline.map(|text| self.duration("drain-deadline", &text));
        let good_after = self.duration("good-after", &args.good_after);
        let clock_error = args.clock_error.map(|text| self.duration("clock-error", &text));
        Some(Settings {
            cluster: cluster?,
            pool: pool?,
            id: id?,
            host,
            address: address?,
            grpc: grpc?,
            http: http?,
            source: source?,
            state_dir: args.state_dir,
            zone: args.zone,
            labels,
            advertise: advertise.flatten(),
            shards: shards?,
            lifeline: args.lifeline,
            drain_deadline: drain_deadline.flatten(),
            good_after: good_after?,
            clock_error: clock_error.flatten(),
        })
    }

    fn note(&mut self, flag: &str, cause: impl Display) {
        self.errors.push(format!("--{flag}: {cause}"));
    }

    fn fail<T>(&mut self, flag: &str, cause: impl Display) -> Option<T> {
        self.note(flag, cause);
        None
    }

    /// A type whose error says what is wrong.
    fn parse<T: FromStr<Err: Display>>(&mut self, flag: &str, text: &str) -> Option<T> {
        text.parse().map_or_else(|e| self.fail(flag, e), Some)
    }

    /// A type whose error does not.
    fn parsed<T: FromStr>(&mut self, flag: &str, text: &str, expected: &str) -> Option<T> {
        text.parse().map_or_else(|_| self.fail(flag, format!("expected {expected}, got {text:?}")), Some)
    }

    fn id(&mut self, given: Option<&str>, host: &str) -> Option<NodeId> {
        if let Some(text) = given {
            return self.parse("id", text);
        }
        let id = host.to_lowercase().parse();
        id.map_or_else(|e| self.fail("id", format!("the host's name will not do, name one: {e}")), Some)
    }

    fn grpc(&mut self, text: &str, insecure: bool) -> Option<SocketAddr> {
        let address: SocketAddr = self.parsed("grpc", text, "IP:PORT")?;
        if address.ip().is_loopback() || insecure {
            return Some(address);
        }
        self.fail(
            "grpc",
            format!("{address} is not a loopback address and gRPC is plaintext; add --insecure to allow it"),
        )
    }

    fn etcd(&mut self, endpoints: &[String], lease_ttl: &str, reread: &str) -> Option<Source> {
        let given: Vec<_> = endpoints.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        if given.is_empty() {
            self.note("etcd", "at least one URL is needed");
        }
        let endpoints = given.into_iter().filter_map(|text| self.endpoint(text)).collect();
        let (lease_ttl, reread) = (self.lease_ttl(lease_ttl), self.reread(reread));
        Some(Source::Etcd { endpoints, lease_ttl: lease_ttl?, reread: reread? })
    }

    fn endpoint(&mut self, text: &str) -> Option<String> {
        if text.starts_with("https://") {
            return self.fail("etcd", format!("{text}: TLS is not supported by this version"));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        if is_host_port(authority) {
            return Some(format!("http://{authority}"));
        }
        self.fail("etcd", format!("expected http://HOST:PORT, got {text:?}"))
    }

    /// etcd counts leases in whole seconds.
    fn lease_ttl(&mut self, text: &str) -> Option<Duration> {
        let ttl = self.duration("lease-ttl", text)?;
        let whole = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        if (MIN_LEASE_TTL..=MAX_LEASE_TTL).contains(&whole) {
            return Some(whole);
        }
        self.fail("lease-ttl", format!("{text} is out of range; use 1s to {}s", MAX_LEASE_TTL.as_secs()))
    }

    fn reread(&mut self, text: &str) -> Option<Duration> {
        let interval = self.duration("reread-interval", text)?;
        if interval >= MIN_REREAD {
            return Some(interval);
        }
        self.fail("reread-interval", format!("{text} is out of range; use {}s or more", MIN_REREAD.as_secs()))
    }

    fn duration(&mut self, flag: &str, text: &str) -> Option<Duration> {
        match parse_duration(text) {
            Some(duration) if duration <= MAX_DURATION => Some(duration),
            _ => self.fail(flag, format!("expected a duration of 24h at most, such as 10s or 1500ms, got {text:?}")),
        }
    }

    fn labels(&mut self, given: &[String]) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for text in given.iter().filter(|text| !text.is_empty()) {
            match text.split_once('=') {
                Some((key, value)) if is_label(key, value) => {
                    labels.insert(key.to_owned(), value.to_owned());
                }
                _ => self.note("label", format!("expected KEY=VALUE, got {text:?}")),
            }
        }
        if labels.len() > MAX_LABELS {
            self.note("label", format!("{} labels; at most {MAX_LABELS}", labels.len()));
        }
        labels
    }

    fn advertise(&mut self, text: String) -> Option<String> {
        if !text.is_empty() && !text.contains(['/', ' ']) {
            return Some(text);
        }
        self.fail("advertise", format!("expected HOST or HOST:PORT, got {text:?}"))
    }

    fn shards(&mut self, given: Option<&str>) -> Option<NonZeroUsize> {
        let Some(text) = given else { return Some(usable_cores()) };
        match text.parse::<NonZeroUsize>() {
            Ok(shards) if shards.get() <= MAX_SHARDS => Some(shards),
            _ => self.fail("shards", format!("expected a whole number from 1 to {MAX_SHARDS}, got {text:?}")),
        }
    }
}

/// Whether `authority` is `host:port`; the host may be a name.
fn is_host_port(authority: &str) -> bool {
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok_and(|p| p > 0)
}
