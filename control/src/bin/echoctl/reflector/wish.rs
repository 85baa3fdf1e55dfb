//! What the words of a target say: HOST:PORT, a node or a pool.
//!
//! Used by [`super`]. Pure.

use crate::failure::Failure;
use crate::target::{self, Target, Type};

/// What a target may be.
const EXPECTED: &str = "expected HOST:PORT, node/NAME or pool/NAME";

/// What the target's words say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Host(String, u16),
    Node(String),
    Pool(String),
}

/// Reads a target.
///
/// # Errors
/// It makes no sense, with what may have been meant.
pub(super) fn wish(text: &str) -> Result<Wish, Failure> {
    let usage = |cause: String| Failure::Usage(cause);
    if text.contains('/') {
        return match target::parse(&[text.to_owned()])? {
            Target { of: Type::Node, names } => target::nodes(&names).map(|_| Wish::Node(names.concat())),
            Target { of: Type::Pool, names } => target::pool(&names).map(|pool| Wish::Pool(pool.to_string())),
            Target { of, .. } => Err(usage(format!("{} can't be asked; {EXPECTED}", of.plural()))),
        };
    }
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without brackets has no port.
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => (host, port),
        Some(_) => return Err(usage(format!("{text:?}: {EXPECTED}; an IPv6 address stands in brackets"))),
        None if text.contains(' ') => {
            let meant = text.replace(' ', ":");
            return Err(usage(format!("{text:?}: {EXPECTED}; did you mean {meant}?")));
        }
        None => return Err(usage(format!("{text:?}: {EXPECTED}; did you mean node/{text} or {text}:7007?"))),
    };
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok(Wish::Host(host.trim_matches(['[', ']']).to_owned(), port)),
        _ => Err(usage(format!("{text:?}: {EXPECTED}, with a port from 1 to 65535"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_a_node_or_a_pool() {
        let read = |text: &str| wish(text).map_err(|failure| failure.to_string());
        let host = |host: &str, port| Ok(Wish::Host(host.to_owned(), port));
        assert_eq!(read("10.0.0.1:7007"), host("10.0.0.1", 7007));
        assert_eq!(read("[fd00::1]:7"), host("fd00::1", 7));
        assert_eq!(read("echo.example:7007"), host("echo.example", 7007));
        assert_eq!(read("node/a"), Ok(Wish::Node("a".to_owned())));
        assert_eq!(read("pools/edge"), Ok(Wish::Pool("edge".to_owned())));
        let cases = [
            ("node-1", "did you mean node/node-1 or node-1:7007?"),
            ("10.0.0.1 7007", "did you mean 10.0.0.1:7007?"),
            ("fd00::1:7", "in brackets"),
            ("10.0.0.1:0", "a port from 1 to 65535"),
            ("10.0.0.1:70000", "a port from 1 to 65535"),
            (":7007", "expected HOST:PORT"),
            ("event/x", "events can't be asked"),
            ("nod/a", "did you mean"),
            ("node/", "names no object"),
            ("pool/A", "pool"),
        ];
        for (text, expected) in cases {
            let told = read(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
