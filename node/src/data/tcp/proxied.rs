//! The start of a connection that comes through a load balancer: reading the PROXY protocol's header.
//!
//! Called by [`super::serve`], where a listener asks for it, before any service. It looks before it reads, so that it
//! never takes a byte of what follows the header; and a header must come within [`HEADER_TIMEOUT`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::super::proxy::{Header, Parsed, parse};
use super::super::reason::Refusal;
use super::super::ticket::plain;
use super::Connection;

/// How long the header may take. Balancers send it at once, and repeat it when it is lost.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that are looked at together; most headers are shorter.
const LOOK: usize = 256;

/// What a load balancer has said.
#[derive(Debug)]
pub(in super::super) struct Proxied {
    /// The header.
    pub(in super::super) header: Header,
    /// The balancer itself.
    pub(in super::super) from: SocketAddr,
}

impl Connection {
    /// Reads the header, after which the connection belongs to the client that it names.
    ///
    /// # Errors
    /// Why the connection is not to be served.
    pub(super) async fn read_header(&mut self) -> Result<(), Refusal> {
        let read = timeout(HEADER_TIMEOUT, self.take_header()).await;
        let Ok(Ok(Some(header))) = read else { return Err(Refusal::ProxyHeader) };
        let from = self.ticket.peer;
        let header = Header { ends: header.ends.map(|(client, server)| (plain(client), plain(server))), ..header };
        let client = header.ends.map_or(from, |(client, _)| client);
        self.proxied = Some(Box::new(Proxied { header, from }));
        self.ticket.belongs_to(client)
    }

    /// `None` if what comes is none.
    async fn take_header(&self) -> io::Result<Option<Header>> {
        let mut bytes = Vec::with_capacity(LOOK);
        let mut look = [0; LOOK];
        loop {
            let had = bytes.len();
            let seen = self.stream.peek(&mut look).await?;
            bytes.extend_from_slice(look.get(..seen).unwrap_or_default());
            match parse(&bytes) {
                Parsed::Partial if seen > 0 => self.skip(&mut look, seen)?,
                Parsed::Whole(header, len) => {
                    self.skip(&mut look, len.saturating_sub(had))?;
                    return Ok(Some(header));
                }
                Parsed::Partial | Parsed::Broken => return Ok(None),
            }
        }
    }

    /// Takes `count` bytes that are there.
    fn skip(&self, look: &mut [u8], mut count: usize) -> io::Result<()> {
        while count > 0 {
            count -= self.stream.try_read(look.get_mut(..count).unwrap_or_default())?.clamp(1, count);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpStream as Client;
    use std::rc::Rc;
    use std::sync::Arc;

    use echo_proto::spec::ServicePlan;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::super::super::listener::{Listener, Served};
    use super::super::super::ranges::Ranges;
    use super::super::super::shard::Shard;
    use super::super::super::slot::Slot;
    use super::super::super::ticket::Ticket;
    use super::super::serve;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_send_its_header_in_time_is_closed_and_counted() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = Client::connect(socket.local_addr().unwrap()).unwrap();
        let (stream, peer) = socket.accept().await.unwrap();
        let (shard, slot) = (Rc::new(Shard::new(Arc::default(), Arc::default())), Arc::<Slot>::default());
        shard.gate.set_limits(1, None);
        let balancers = Some(Arc::new(Ranges::new(&["127.0.0.0/8".parse().unwrap()])));
        let plain = Rc::into_inner(Served::of(ServicePlan::Discard, Arc::clone(&slot))).unwrap();
        let listener = Rc::new(Listener(RefCell::new(Rc::new(Served { balancers, ..plain }))));
        let ticket = Ticket::new(peer, &listener, &shard).unwrap();
        let start = Instant::now();
        serve(Connection::new(stream, ticket)).await;
        assert!(start.elapsed() >= HEADER_TIMEOUT);
        assert_eq!(slot.refused.each().collect::<Vec<_>>(), [("proxy_header", 1)]);
        assert_eq!((slot.ended.each().collect::<Vec<_>>(), shard.gate.open()), (vec![("refused", 1)], 0));
    }
}
