//! What the command line may say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use clap::Parser as _;

use super::*;

fn read(flags: &[&str]) -> Result<Settings, SettingsError> {
    let args = Args::try_parse_from(["echo-node"].iter().chain(flags)).unwrap();
    Settings::read(args, "Host-7".into())
}

#[test]
fn defaults_are_those_of_the_design() {
    let settings = read(&[]).unwrap();
    assert_eq!(
        (settings.cluster.as_str(), settings.pool.as_str(), settings.id.as_str()),
        ("default", "default", "host-7")
    );
    assert_eq!(settings.address, IpAddr::from([0, 0, 0, 0]));
    assert_eq!(settings.grpc, "127.0.0.1:7401".parse().unwrap());
    assert_eq!(settings.http, "127.0.0.1:7481".parse().unwrap());
    let (lease_ttl, reread) = (Duration::from_secs(10), Duration::from_secs(60));
    let etcd = Source::Etcd { endpoints: vec!["http://127.0.0.1:2379".into()], lease_ttl, reread };
    assert_eq!(settings.source, etcd);
    assert!(settings.shards.get() >= 1);
}

#[test]
fn every_bad_value_is_told_at_once() {
    let error = read(&[
        "--cluster=Prod",
        "--id=a/b",
        "--address=here",
        "--grpc=0.0.0.0:7401",
        "--http=7481",
        "--etcd=https://a:1,b",
        "--label=x",
        "--lease-ttl=2h",
        "--reread-interval=0s",
        "--shards=0",
        "--drain-deadline=5",
        "--advertise=a/b",
    ])
    .unwrap_err();
    let flags: Vec<_> = error.0.iter().filter_map(|line| line.split(':').next()).collect();
    let expected = [
        "--cluster",
        "--id",
        "--address",
        "--grpc",
        "--http",
        "--etcd",
        "--etcd",
        "--lease-ttl",
        "--reread-interval",
        "--label",
        "--advertise",
        "--shards",
        "--drain-deadline",
    ];
    assert_eq!(flags, expected, "{error}");
    assert!(error.to_string().contains("--grpc: 0.0.0.0:7401 is not a loopback address"), "{error}");
}

#[test]
fn values_are_understood() {
    let settings = read(&[
        "--etcd=10.0.0.1:2379,http://etcd-1:2379/",
        "--lease-ttl=1500ms",
        "--label=rack=r1",
        "--label=tier=",
        "--grpc=[::]:0",
        "--insecure",
        "--shards=3",
        "--drain-deadline=5s",
        "--clock-error=20us",
    ])
    .unwrap();
    let endpoints = vec!["http://10.0.0.1:2379".to_owned(), "http://etcd-1:2379".to_owned()];
    let (lease_ttl, reread) = (Duration::from_secs(2), Duration::from_secs(60));
    let etcd = Source::Etcd { endpoints, lease_ttl, reread };
    assert_eq!(settings.source, etcd, "etcd counts whole seconds");
    assert_eq!(settings.labels["rack"], "r1");
    assert_eq!(settings.labels["tier"], "");
    assert_eq!(settings.shards.get(), 3);
    assert_eq!(settings.drain_deadline, Some(Duration::from_secs(5)));
    assert_eq!(settings.clock_error, Some(Duration::from_micros(20)));
}

#[test]
fn a_pool_file_replaces_etcd() {
    let settings = read(&["--config=pool.yaml", "--etcd=nonsense"]).unwrap();
    assert_eq!(settings.source, Source::File("pool.yaml".into()));
}
