//! Addresses of control, as people write them.
//!
//! Used by the command line, the config file and `up`. Pure: nothing is looked up or connected here.

use std::fmt;
use std::str::FromStr;

use tonic::transport::{Endpoint, Uri};

/// Most servers of one command: each that is away costs a wait.
const MAX_SERVERS: usize = 8;

/// Address of a control, as `http://host:port`.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    uri: Uri,
    text: String,
}

impl Server {
    /// What a channel to it begins with.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from(self.uri.clone())
    }

    /// Its host, a name or an IP address, and its port.
    pub(crate) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = url.trim_end_matches('/');
        let uri: Uri = url.parse().map_err(|e| format!("{e}; expected http://HOST:PORT"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("https is not supported by this version; use http://HOST:PORT".to_owned()),
            _ => return Err("expected http://HOST:PORT".to_owned()),
        }
        if uri.port_u16().is_none() || uri.path() != "/" || uri.query().is_some() {
            return Err("expected http://HOST:PORT".to_owned());
        }
        Ok(Self { uri, text: url.to_owned() })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The servers of one control plane, at least one, in the order in which they are tried.
#[derive(Debug, Clone)]
pub(crate) struct Servers(Vec<Server>);

impl Servers {
    /// In their order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Server> {
        self.0.iter()
    }

    /// All of them, beginning with the one after `server`.
    pub(crate) fn after(&self, server: &Server) -> Self {
        let mut servers = self.0.clone();
        let at = servers.iter().position(|s| s.text == server.text).map_or(0, |at| at + 1);
        servers.rotate_left(at);
        Self(servers)
    }

    /// Whether there is another one to try.
    pub(crate) fn are_several(&self) -> bool {
        self.0.len() > 1
    }
}

impl From<Server> for Servers {
    fn from(server: Server) -> Self {
        Self(vec![server])
    }
}

impl FromStr for Servers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let servers = text.split(',').map(|server| {
            let named = |cause: String| if text.contains(',') { format!("{server:?}: {cause}") } else { cause };
            server.trim().parse().map_err(named)
        });
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        match servers.len() {
            1..=MAX_SERVERS => Ok(Self(servers)),
            count => Err(format!("{count} servers; at most {MAX_SERVERS} are tried")),
        }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|server| server.text.as_str()).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_with_or_without_its_scheme() {
        let read = |text: &str| text.parse::<Server>().map(|s| s.to_string());
        assert_eq!(read("http://127.0.0.1:7400").unwrap(), "http://127.0.0.1:7400");
        assert_eq!(read("127.0.0.1:7400").unwrap(), "http://127.0.0.1:7400");
        assert_eq!(read("http://[::1]:7400/").unwrap(), "http://[::1]:7400");
        assert!(read("https://control:7400").unwrap_err().contains("not supported by this version"));
        for bad in ["", "http://", "http://control", "ftp://control:1", "http://control:7400/path", "c:1?a=b", "a b:1"]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn several_servers_stand_in_their_order() {
        let servers: Servers = "a:1, http://b:2".parse().unwrap();
        assert_eq!(servers.to_string(), "http://a:1,http://b:2");
        assert!(servers.are_several());
        let next = |text: &str| servers.after(&text.parse().unwrap()).to_string();
        assert_eq!((next("a:1"), next("b:2")), ("http://b:2,http://a:1".into(), "http://a:1,http://b:2".into()));
        let told = "a:1,b".parse::<Servers>().unwrap_err();
        assert!(told.starts_with("\"b\": expected http://HOST:PORT"), "{told}");
        let many = ["a:1"; MAX_SERVERS + 1].join(",");
        assert!(many.parse::<Servers>().unwrap_err().contains("at most 8"), "{many}");
    }
}
