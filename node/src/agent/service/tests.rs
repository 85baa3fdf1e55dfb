//! The Agent service as a caller sees it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::num::NonZeroUsize;
use std::time::SystemTime;

use clap::Parser as _;
use echo_proto::v1::agent_client::AgentClient;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Served;
use tonic_health::pb::health_client::HealthClient;

use super::super::report::REGISTERED;
use super::*;
use crate::live::{Live, LiveOptions, Who};
use crate::settings::{Args, Settings};

/// A served agent and the cells that it reads.
struct Bench {
    report: watch::Sender<Report>,
    link: watch::Sender<Link>,
    channel: Channel,
    _live: Live,
}

impl Bench {
    async fn start() -> Self {
        let args = Args::try_parse_from(["echo-node", "--id=node-1", "--zone=z1", "--label=rack=r1"]).unwrap();
        let settings = Settings::read(args, "host".into()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let live =
            Live::start(LiveOptions { shards: NonZeroUsize::MIN, address: address.ip(), who: Who::default() }).unwrap();
        let identity = Arc::new(Identity::new(&settings, address, address));
        let (report, reported) = watch::channel(Report::starting());
        let (link, linked) = watch::channel(Link::Joining);
        let (counters, sessions, losses) = (live.counters(), live.sessions(), Losses::default());
        let load = Load::sample(counters.clone());
        let data = DataPath { counters, sessions, losses, load, cores: 3, files: Arc::default() };
        let service = AgentService::new(identity, reported, linked, data);
        tokio::spawn(service.serve(listener));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { report, link, channel, _live: live }
    }

    async fn status(&self) -> v1::GetStatusResponse {
        let mut client = AgentClient::new(self.channel.clone());
        client.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner()
    }

    async fn node(&self) -> v1::Node {
        self.status().await.node.unwrap()
    }
}

#[tokio::test]
async fn a_node_tells_who_it_is_and_how_it_stands() {
    let bench = Bench::start().await;
    let node = bench.node().await;
    let (metadata, status) = (node.metadata.unwrap(), node.status.unwrap());
    assert_eq!(
        (node.kind.as_str(), metadata.name.as_str(), metadata.labels["rack"].as_str()),
        ("Node", "node-1", "r1")
    );
    assert_eq!((status.phase(), status.zone.as_str(), status.host.as_str()), (v1::NodePhase::Starting, "z1", "host"));
    assert_eq!(status.incarnation.len(), 16);
    assert!(status.conditions.is_empty());
    let live = status.live.unwrap();
    assert_eq!((live.connections, live.cores), (0, 3.0));
}

#[tokio::test]
async fn a_node_tells_its_files_its_clock_and_whether_it_is_registered() {
    let bench = Bench::start().await;
    let status = bench.status().await;
    assert!(status.open_files > 3 && status.open_files < status.max_files, "{status:?}");
    let skew = SystemTime::now().duration_since(status.time.unwrap().try_into().unwrap()).unwrap();
    assert!(skew < Duration::from_secs(60), "{skew:?}");
    assert!(!status.registered);
    bench.link.send_replace(Link::Registered(Box::new(Report::starting())));
    assert!(bench.status().await.registered);
}

#[tokio::test]
async fn a_lost_etcd_is_told() {
    let bench = Bench::start().await;
    bench.link.send_replace(Link::Lost { since: SystemTime::UNIX_EPOCH, reason: "NoSpace", cause: "refused".into() });
    let conditions = bench.node().await.status.unwrap().conditions;
    let told: Vec<_> =
        conditions.iter().map(|c| (c.r#type.as_str(), c.status, c.reason.as_str(), c.message.as_str())).collect();
    assert_eq!(told, [(REGISTERED, false, "NoSpace", "refused")]);
}

#[tokio::test]
async fn health_is_readiness() {
    let bench = Bench::start().await;
    let mut health = HealthClient::new(bench.channel.clone());
    let request = |service: &str| HealthCheckRequest { service: service.into() };
    let agent = health.check(request("echo.v1.Agent")).await.unwrap().into_inner();
    assert_eq!(agent.status(), Served::Serving, "the service answers, ready or not");
    let mut whole = health.watch(request("")).await.unwrap().into_inner();
    while whole.message().await.unwrap().unwrap().status() != Served::NotServing {}
    bench.report.send_modify(|report| report.phase = v1::NodePhase::Ready);
    while whole.message().await.unwrap().unwrap().status() != Served::Serving {}
}
