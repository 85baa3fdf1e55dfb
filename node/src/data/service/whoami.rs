//! Whoami: one line of JSON that says who answers and what was seen, then close; TCP only.
//!
//! Called by [`super`]. `local` and `peer` are the connection's own ends, as the node's kernel has them. Where a PROXY
//! protocol header named the client, `peer` is that client, and `proxy` says from which balancer the connection came and
//! which address the client had reached.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::super::reason::End;
use super::super::tcp::Connection;
use super::super::who::Who;

/// Says it and closes.
pub(super) async fn serve(connection: &mut Connection) -> io::Result<End> {
    let line = seen(connection)?;
    connection.say(line.into_bytes()).await
}

fn seen(connection: &Connection) -> io::Result<String> {
    let proxy = connection.proxied().map(|proxied| {
        let to = proxied.header.ends.map(|(_, server)| server.to_string());
        json!({"version": proxied.header.version, "from": proxied.from.to_string(), "to": to})
    });
    Ok(line(&connection.who(), connection.local()?, connection.peer(), &proxy.unwrap_or_default()))
}

fn line(who: &Who, local: SocketAddr, peer: SocketAddr, proxy: &Value) -> String {
    let Who { node, pool, zone, labels, revision, .. } = who;
    let said: Value = json!({
        "node": node,
        "pool": pool,
        "zone": zone,
        "labels": labels,
        "revision": {"n": revision.n, "digest": revision.digest},
        "local": local.to_string(),
        "peer": peer.to_string(),
        "proxy": proxy,
    });
    format!("{said}\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_of_json() {
        let labels = [("rack".to_owned(), "a\n1".to_owned())].into();
        let revision = echo_proto::v1::RevisionRef { n: 3, digest: "ab".to_owned(), ..Default::default() };
        let who = Who { node: "n-1".into(), pool: "edge".into(), zone: "z".into(), labels, revision, ..Who::default() };
        let line = line(&who, "[::1]:7".parse().unwrap(), "127.0.0.1:50000".parse().unwrap(), &Value::Null);
        let expected = concat!(
            r#"{"node":"n-1","pool":"edge","zone":"z","labels":{"rack":"a\n1"},"revision":{"n":3,"digest":"ab"},"#,
            r#""local":"[::1]:7","peer":"127.0.0.1:50000","proxy":null}"#,
            "\n"
        );
        assert_eq!(line, expected);
    }
}
