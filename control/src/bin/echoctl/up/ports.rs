//! Loopback ports that a cluster chose once and keeps in its state dir.
//!
//! Used by `up`: for its private etcd always (Debian's package may run another on 2379), for control where the address
//! on the command line leaves the port open.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::files::write_whole;

/// Below those that the kernel hands out by itself (32768 to 60999), to whoever connects or leaves the port open: between
/// the choice and the start of the program that binds it, which may be seconds, it would be anybody's.
const RANGE: Range<u16> = 20_000..32_000;
/// So many of them are tried; each is free but for chance.
const TRIES: usize = 64;

/// Ports by name, as `ports.json` keeps them.
#[derive(Debug, Default)]
pub(super) struct Ports(Map<String, Value>);

impl Ports {
    /// What was kept; nothing, when the file is absent or unreadable: other ports do as well.
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self(serde_json::from_str(&text).unwrap_or_default())
    }

    /// The port called `name`, if it is free still, else another free one.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn choose(&mut self, name: &str) -> Result<u16, Failure> {
        let kept = self.0.get(name).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        // The port is free again at once: whoever takes it all the same, before our program does, is told when that ends.
        let free = |port: u16| bind((Ipv4Addr::LOCALHOST, port).into()).ok();
        let others: Vec<_> = self.0.iter().filter(|(other, _)| *other != name).map(|(_, port)| port.clone()).collect();
        let any = std::iter::repeat_with(|| fastrand::u16(RANGE)).take(TRIES).filter_map(free);
        let mut any = any.filter(|port| !others.contains(&Value::from(*port)));
        let port = kept.filter(|port| *port != 0).and_then(free).or_else(|| any.next());
        let port = port.ok_or_else(|| Failure::Up("no free port on 127.0.0.1".to_owned()))?;
        self.0.insert(name.to_owned(), port.into());
        Ok(port)
    }

    /// Keeps the ports for the next run.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = format!("{:#}\n", Value::Object(self.0.clone()));
        write_whole(path, &text).map_err(|e| Failure::unwritable(path, &e))
    }
}

fn bind(address: SocketAddr) -> std::io::Result<u16> {
    TcpListener::bind(address)?.local_addr().map(|address| address.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_while_it_is_free() {
        let mut ports = Ports::default();
        let first = ports.choose("etcd").unwrap();
        assert!(RANGE.contains(&first), "{first}");
        assert_eq!(ports.choose("etcd").unwrap(), first);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(ports.choose("etcd").unwrap(), first);
    }
}
