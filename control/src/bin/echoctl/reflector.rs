//! Whom probes and load go to: HOST:PORT, a node, or all nodes of a pool, whose addresses control tells.
//!
//! Used by `probe` and `bench`. Control is asked only for the names of nodes and pools.

mod wish;

use std::net::SocketAddr;
use std::time::Duration;

use echo_probe::load::Transport;
use echo_proto::v1::{self, Protocol, service::Kind};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::args::Global;
use crate::chosen::one;
use crate::connect::{Control, io_cause};
use crate::context::Context;
use crate::failure::Failure;
use crate::object::Object as _;
use crate::object::source::{Filter, Source as _, list};
use crate::output::tell;
use crate::target::Type;
use wish::{Wish, wish};

/// Longest wait for the addresses of a name.
const LOOKUP: Duration = Duration::from_secs(10);
/// The words and flags that choose whom to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct ReflectorArgs {
    /// Whom to ask: HOST:PORT, node/NAME, or pool/NAME for all its nodes in turn.
    #[arg(required = true, num_args = 1..=2, value_name = "TARGET")]
    target: Vec<String>,
    /// Listener to ask, where nodes have several echoes of the protocol.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Ask HOST at an IPv4 address.
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Ask HOST at an IPv6 address.
    #[arg(short = '6', long)]
    ipv6: bool,
}

/// The protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Over {
    Tcp,
    Udp,
}

impl Over {
    /// What a listener serves.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
        }
    }

    /// What is sent.
    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reflector {
    pub(crate) address: SocketAddr,
    /// Where control told it.
    pub(crate) node: Option<Known>,
}

/// A node as control knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) pool: String,
}

impl ReflectorArgs {
    /// As it was written, in one word: `node node-1` is `node/node-1`.
    pub(crate) fn target(&self) -> String {
        self.target.join(if self.target.first().is_some_and(|of| of.parse::<Type>().is_ok()) { "/" } else { " " })
    }

    /// Whether the words make sense by themselves.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match wish(&self.target())? {
            Wish::Host(..) if self.listener.is_some() => {
                Err(Failure::Usage("--listener is for nodes and pools; of a host the port says it".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Those to ask, at least one.
    ///
    /// # Errors
    /// The target makes no sense, there is no such thing, or it does not serve the protocol.
    pub(crate) async fn find(&self, global: &Global, protocol: Protocol) -> Result<Vec<Reflector>, Failure> {
        self.check()?;
        match wish(&self.target())? {
            Wish::Host(host, port) => Ok(vec![Reflector { address: self.look_up(&host, port).await?, node: None }]),
            Wish::Node(name) => {
                let mut control = control(global).await?;
                let node = one::<v1::Node>(&mut control, &name).await?;
                Ok(vec![self.of_node(&mut control, &node, protocol, None).await?])
            }
            Wish::Pool(name) => self.of_pool(&mut control(global).await?, &name, protocol).await,
        }
    }

    async fn of_pool(&self, control: &mut Control, name: &str, protocol: Protocol) -> Result<Vec<Reflector>, Failure> {
        let pool = one::<v1::Pool>(control, name).await?;
        let filter = Filter { pool: name.to_owned(), skip_live: true, ..Filter::default() };
        let (nodes, _) = list::<v1::Node>(control, &filter).await?;
        let all = nodes.len();
        let serves = |node: &v1::Node| {
            let lost = v1::SyncState::Lost;
            node.status.as_ref().is_some_and(|s| s.phase() == v1::NodePhase::Ready && s.sync() != lost)
        };
        let nodes: Vec<_> = nodes.into_iter().filter(serves).collect();
        if nodes.is_empty() {
            let cause = format!("none of the {all} nodes of pool/{name} is ready; `echoctl get nodes --pool {name}`");
            return Err(Failure::Probe(cause));
        }
        if nodes.len() < all {
            tell(&format!("{} of {all} nodes of pool/{name} are not ready, and not asked", all - nodes.len()));
        }
        let mut found = Vec::with_capacity(nodes.len());
        for node in &nodes {
            found.push(self.of_node(control, node, protocol, Some(&pool)).await?);
        }
        Ok(found)
    }

    async fn of_node(
        &self,
        control: &mut Control,
        node: &v1::Node,
        protocol: Protocol,
        pool: Option<&v1::Pool>,
    ) -> Result<Reflector, Failure> {
        let status = node.status.clone().unwrap_or_default();
        let own = match pool {
            Some(_) => None,
            // Without its pool it is not known what its listeners serve; they are asked all the same.
            None => v1::Pool::find(control, &status.pool, &Filter::default()).await.ok(),
        };
        let template = pool.or(own.as_ref()).and_then(|pool| pool.spec.as_ref()?.template.as_ref());
        let bound = choose(template, &status, protocol, self.listener.as_deref());
        let bound = bound.map_err(|cause| Failure::Usage(format!("{}: {cause}", node.path())))?;
        let address = if bound.ip().is_unspecified() {
            // It is bound to every address: the one that it advertises is meant.
            let host = status.http_address.rsplit_once(':').map_or(status.http_address.as_str(), |(host, _)| host);
            self.look_up(host.trim_matches(['[', ']']), bound.port()).await?
        } else {
            bound
        };
        let known = Known { name: node.name().to_owned(), pool: status.pool };
        Ok(Reflector { address, node: Some(known) })
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<SocketAddr, Failure> {
        let failed = |cause: String| Failure::Probe(format!("no address of {host:?}: {cause}"));
        let found = timeout(LOOKUP, lookup_host((host, port))).await;
        let found = found.map_err(|_| failed(format!("no answer within {LOOKUP:?}")))?;
        let mut found = found.map_err(|error| failed(io_cause(&error)))?;
        let fits = |address: &SocketAddr| !(self.ipv4 && address.is_ipv6() || self.ipv6 && address.is_ipv4());
        found.find(fits).ok_or_else(|| failed(format!("it has none of IPv{}", if self.ipv4 { 4 } else { 6 })))
    }
}

/// Connects to control, which may take as long as ever: `--timeout` is for answers of those who are asked.
pub(crate) async fn control(global: &Global) -> Result<Control, Failure> {
    let mut context = Context::resolve(global)?;
    if global.given.timeout {
        context.timeout = None;
    }
    Control::of(&context).await
}

/// Where the node's echo of the protocol is bound, or why that is not clear.
fn choose(
    template: Option<&v1::PoolTemplate>,
    status: &v1::NodeStatus,
    protocol: Protocol,
    named: Option<&str>,
) -> Result<SocketAddr, String> {
    let of = protocol.as_str_name().trim_start_matches("PROTOCOL_");
    let spec = |name: &str| template?.listeners.iter().find(|listener| listener.name == name);
    let is_echo = |bound: &&v1::BoundListener| {
        let kind = spec(&bound.name).and_then(|listener| listener.service.as_ref()?.kind.as_ref());
        kind.is_none_or(|kind| matches!(kind, Kind::Echo(_)))
    };
    let names = |of: &[&v1::BoundListener]| of.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", ");
    let echoes = status.listeners.iter().filter(|bound| bound.protocol() == protocol).filter(is_echo);
    let echoes: Vec<_> = echoes.collect();
    let fits: Vec<_> = echoes.iter().copied().filter(|bound| named.is_none_or(|name| bound.name == name)).collect();
    match (fits.as_slice(), named) {
        ([bound], _) => bound.address.parse().map_err(|_| format!("its address {:?} can't be read", bound.address)),
        ([], _) if echoes.is_empty() => {
            Err(format!("it serves no {of} echo now; `echoctl describe` shows its listeners"))
        }
        ([], Some(name)) => Err(format!("it has no {of} echo called {name:?}, but {}", names(&echoes))),
        (several, _) => Err(format!("it has several {of} echoes: {}; choose one with --listener", names(several))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::documents::parse_pools;

    #[test]
    fn the_one_echo_of_the_protocol_is_asked_or_the_one_that_is_named() {
        let file = "
apiVersion: echo/v1
kind: Pool
metadata: {name: edge}
spec:
  template:
    listeners:
    - {name: greet, protocol: TCP, port: 1, service: {greet: {}}}
    - {name: a, protocol: TCP, port: 2, service: {echo: {}}}
    - {name: b, protocol: TCP, port: 3, service: {echo: {}}}
    - {name: u, protocol: UDP, port: 3, service: {echo: {}}}
";
        let template = parse_pools("test", file).unwrap().pop().unwrap().spec.unwrap().template.unwrap();
        let bound = |(name, protocol, port): (&str, Protocol, u16)| v1::BoundListener {
            name: name.to_owned(),
            protocol: protocol.into(),
            address: format!("10.0.0.1:{port}"),
            ..Default::default()
        };
        let all =
            [("greet", Protocol::Tcp, 1), ("a", Protocol::Tcp, 2), ("b", Protocol::Tcp, 3), ("u", Protocol::Udp, 3)];
        let status = v1::NodeStatus { listeners: all.map(bound).into(), ..Default::default() };
        let port = |protocol, named| choose(Some(&template), &status, protocol, named).map(|address| address.port());
        assert_eq!(port(Protocol::Udp, None), Ok(3));
        assert_eq!(port(Protocol::Tcp, Some("b")), Ok(3));
        assert!(port(Protocol::Tcp, None).unwrap_err().contains("several TCP echoes: a, b; choose"));
        assert!(port(Protocol::Tcp, Some("greet")).unwrap_err().contains("but a, b"), "it is no echo");
        assert!(port(Protocol::Udp, Some("a")).unwrap_err().contains("but u"));
        let none = choose(None, &v1::NodeStatus::default(), Protocol::Tcp, None);
        assert!(none.unwrap_err().contains("serves no TCP echo"));
    }
}
