//! Who is asked, how often, and what is known of it.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use v1::agent_server::{Agent, AgentServer};

use super::*;
use crate::stop::stop;
use crate::store::{Entry, Update};
use crate::view::View;

/// Long enough for whatever is waited for.
const SOON: Duration = Duration::from_secs(20);

/// An Agent of a node with seven connections.
struct Seven;

#[tonic::async_trait]
impl Agent for Seven {
    async fn get_status(&self, _: Request<v1::GetStatusRequest>) -> Result<Response<v1::GetStatusResponse>, Status> {
        let live = Some(v1::LiveFigures { connections: 7, ..Default::default() });
        let status = Some(v1::NodeStatus { incarnation: "life".to_owned(), live, ..Default::default() });
        let node = Some(v1::Node { status, ..Default::default() });
        Ok(Response::new(v1::GetStatusResponse { node, ..Default::default() }))
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

fn pool(name: &str) -> PoolName {
    name.parse().unwrap()
}

/// A record of a node whose Agent is there.
fn node(pool: &str, node: &str, agent: SocketAddr) -> Entry {
    let value = format!(r#"{{"status":{{"agentAddress":"{agent}"}}}}"#).into_bytes();
    Entry { key: format!("/echo/v1/test/nodes/{pool}/{node}").into_bytes(), value, ..Entry::default() }
}

fn view(nodes: Vec<Entry>) -> View {
    let view = View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()));
    view.apply(Update::Reset(nodes), 3);
    view
}

/// Waits for rounds until one over what `user` wants of `pool` began at `since` or later.
async fn asked(figures: &Figures, user: User, pool: &PoolName, since: Instant) {
    let mut rounds = figures.rounds();
    let seen = async {
        while figures.asked(user, pool).is_none_or(|at| at < since) {
            rounds.changed().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, seen).await.unwrap();
}

#[tokio::test]
async fn who_is_wanted_is_asked_again_and_again_and_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = listener.local_addr().unwrap();
    let serve = tonic::transport::Server::builder().add_service(AgentServer::new(Seven));
    tokio::spawn(serve.serve_with_incoming(TcpListenerStream::new(listener)));
    let nodes = ["a", "b"].map(|name| node("edge", name, agent));
    let (figures, (_trigger, stop)) = (Figures::default(), stop());
    tokio::spawn(figures.clone().run(view(nodes.into()), stop));

    let (edge, [a, b]) = (pool("edge"), ["a", "b"].map(|name| name.parse::<NodeId>().unwrap()));
    let connections = |node| figures.sample(&edge, node).map(|sample| sample.live.connections);
    let begun = Instant::now();
    figures.want(User::Health, &edge, Some(Whom::Nodes([a.clone()].into())));
    asked(&figures, User::Health, &edge, begun).await;
    assert_eq!((connections(&a), connections(&b)), (Some(7), None));
    assert_eq!(figures.silent(User::Health, &edge), 0);
    let first = figures.sample(&edge, &a).unwrap();
    assert!(first.at >= begun && first.incarnation == "life");
    asked(&figures, User::Health, &edge, begun + EVERY_OF_SOME).await;
    assert!(figures.sample(&edge, &a).unwrap().at > first.at);

    figures.want(User::Autoscaler, &edge, Some(Whom::Pool));
    asked(&figures, User::Autoscaler, &edge, begun).await;
    assert_eq!(connections(&b), Some(7));
    figures.want(User::Health, &edge, None);
    assert_eq!(connections(&a), Some(7), "another one wants it still");
    figures.keep(User::Autoscaler, |_| false);
    assert_eq!((connections(&a), figures.asked(User::Autoscaler, &edge)), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_large_pool_that_does_not_answer_keeps_nobody_waiting() {
    // It takes connections, and never answers.
    let silent = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let agent = |n: usize| SocketAddr::from(([127, 1, (n / 200) as u8, (n % 200) as u8 + 1], port));
    let mut nodes: Vec<Entry> = (0..1_000).map(|n| node("large", &format!("n{n}"), agent(n))).collect();
    nodes.push(node("small", "n", agent(1_000)));
    let (figures, (_trigger, stop)) = (Figures::default(), stop());
    tokio::spawn(figures.clone().run(view(nodes), stop));

    let (large, small, begun) = (pool("large"), pool("small"), Instant::now());
    figures.want(User::Autoscaler, &large, Some(Whom::Pool));
    figures.want(User::Health, &small, Some(Whom::Nodes(["n".parse().unwrap()].into())));
    asked(&figures, User::Health, &small, begun).await;
    assert_eq!(figures.asked(User::Autoscaler, &large), None, "its round takes long");
    assert_eq!(figures.silent(User::Health, &small), 1);
    asked(&figures, User::Autoscaler, &large, begun).await;
    let (one, n) = ("n1".parse().unwrap(), "n".parse().unwrap());
    assert!(figures.sample(&large, &one).is_none());
    assert!(figures.missed(&small, &n, "life") > 1, "it is asked again and again");
    assert_eq!(figures.missed(&large, &one, "life"), 0, "who asks many passes over who was late");
}

#[test]
fn what_is_missing_counts_until_the_same_process_answers_and_no_answer_overtakes_a_newer_one() {
    let begun = Instant::now();
    let at = |seconds| begun + Duration::from_secs(seconds);
    let sample = |seconds, connections| {
        let live = v1::LiveFigures { connections, ..Default::default() };
        Some(Sample { at: at(seconds), incarnation: "life".to_owned(), live })
    };
    let (edge, node) = (pool("edge"), "n".parse::<NodeId>().unwrap());
    let figures = Figures::default();
    let note = |asked, sample, counts| {
        let mut known = figures.known();
        let nodes = known.heard.entry(edge.clone()).or_default();
        nodes.entry(node.clone()).or_insert_with(|| Heard::of(asked)).note(asked, sample, counts);
    };
    let missed = |incarnation| figures.missed(&edge, &node, incarnation);
    note(at(1), None, true);
    assert_eq!(missed("any"), 1, "it is not known who does not answer");
    note(at(3), sample(3, 7), true);
    note(at(2), sample(2, 5), true);
    note(at(2), None, true);
    assert_eq!(figures.sample(&edge, &node).unwrap().live.connections, 7);
    note(at(4), None, true);
    note(at(5), None, false);
    note(at(6), None, true);
    assert_eq!((missed("life"), missed("another life")), (2, 0));
    note(at(7), sample(7, 8), false);
    assert_eq!(missed("life"), 0);
}

#[tokio::test]
async fn a_round_ends_with_its_wish() {
    let (figures, edge) = (Figures::default(), pool("edge"));
    let view = view(vec![node("edge", "a", "127.0.0.1:1".parse().unwrap())]);
    let want = |name: &str| figures.want(User::Health, &edge, Some(Whom::Nodes([name.parse().unwrap()].into())));
    want("a");
    let round = figures.begin(&view, Instant::now()).pop().unwrap();
    want("a");
    assert!(figures.is_wanted(&round), "the same wish again");
    want("b");
    assert!(!figures.is_wanted(&round));
}

#[tokio::test(start_paused = true)]
async fn more_nodes_than_connections_are_asked_slowly_and_the_few_at_once() {
    // Without an address: nobody is waited for, so that all time is the round's own.
    let nodes = (0..2_000).map(|n| {
        let key = format!("/echo/v1/test/nodes/large/n{n}").into_bytes();
        Entry { key, value: br#"{"status":{"zone":"z"}}"#.to_vec(), ..Entry::default() }
    });
    let (figures, (_trigger, stop)) = (Figures::default(), stop());
    tokio::spawn(figures.clone().run(view(nodes.collect()), stop));

    let (large, begun) = (pool("large"), Instant::now());
    figures.want(User::Autoscaler, &large, Some(Whom::Pool));
    figures.want(User::Health, &large, Some(Whom::Nodes(["n7".parse().unwrap()].into())));
    asked(&figures, User::Health, &large, begun).await;
    assert_eq!(figures.asked(User::Autoscaler, &large), None);
    let mut rounds = figures.rounds();
    while figures.asked(User::Autoscaler, &large).is_none() {
        rounds.changed().await.unwrap();
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(9) && took <= Duration::from_secs(15), "{took:?}: 200 a second");
    assert_eq!(figures.silent(User::Autoscaler, &large), 2_000, "unknown, and not zero");
}
