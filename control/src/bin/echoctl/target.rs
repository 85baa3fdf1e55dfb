//! What a command is about: `TYPE/NAME` or `TYPE NAME`.
//!
//! Used by the verbs. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use echo_proto::codec;
use echo_proto::ids::{NodeId, PoolName};

use crate::failure::Failure;

/// A type of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Node,
    Pool,
    Revision,
    Event,
}

impl Type {
    /// As in `node/node-1`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pool => "pool",
            Self::Revision => "revision",
            Self::Event => "event",
        }
    }

    /// As in `echoctl get nodes`.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Pool => "pools",
            Self::Revision => "revisions",
            Self::Event => "events",
        }
    }
}

impl FromStr for Type {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "node" | "nodes" => Self::Node,
            "pool" | "pools" => Self::Pool,
            "revision" | "revisions" => Self::Revision,
            "event" | "events" => Self::Event,
            _ => return Err(unknown(text)),
        })
    }
}

fn unknown(text: &str) -> String {
    // As in `delete node-1`: the name alone, of what has its type in its name.
    if let Some((of, _)) = text.split_once('-')
        && of.parse::<Type>().is_ok()
    {
        return format!("unknown type {text:?}; did you mean {of}/{text}?");
    }
    // Among names as near as each other the first by alphabet would win; a plural is never misleading.
    let types = [Type::Node, Type::Pool, Type::Revision, Type::Event];
    let near = |name: fn(Type) -> &'static str| codec::nearest(text, types.map(|of| name(of).to_owned()).into_iter());
    match near(Type::plural).or_else(|| near(Type::singular)) {
        Some(near) => format!("unknown type {text:?}; did you mean {near}?"),
        None => format!("unknown type {text:?}; there are nodes, pools, revisions and events"),
    }
}

/// The type and the names of a command; no names: all of the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) of: Type,
    pub(crate) names: Vec<String>,
}

/// Reads `TYPE`, `TYPE NAME...` or `TYPE/NAME...`.
///
/// # Errors
/// What is wrong with the words.
pub(crate) fn parse(words: &[String]) -> Result<Target, Failure> {
    let (first, rest) = words.split_first().ok_or_else(|| usage("name a type, as in `nodes` or `pool/default`"))?;
    let Some((of, name)) = first.split_once('/') else {
        let of = first.parse().map_err(usage)?;
        if let Some(pair) = rest.iter().find(|name| name.contains('/')) {
            return Err(usage(format!("{pair:?} stands after a type; use either TYPE NAME or TYPE/NAME")));
        }
        return Ok(Target { of, names: once_each(rest.to_vec()) });
    };
    let of: Type = of.parse().map_err(usage)?;
    let mut names = vec![name.to_owned()];
    for word in rest {
        match word.split_once('/').map(|(other, name)| (other.parse(), name)) {
            Some((Ok(other), name)) if of == other => names.push(name.to_owned()),
            _ => return Err(usage(format!("{word:?}: expected {first} to be followed by more of the same type"))),
        }
    }
    if names.iter().any(String::is_empty) {
        return Err(usage(format!("{first:?} names no object; use TYPE/NAME")));
    }
    Ok(Target { of, names: once_each(names) })
}

/// What is named twice is meant once.
pub(crate) fn once_each(mut names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// What an event is about; a value parser for clap. Objects that are gone have events too, so that none is looked for.
///
/// # Errors
/// It is no `TYPE/NAME`.
pub(crate) fn about(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        // Only events know these: the cluster itself, and keys of etcd that can't be read.
        Some(("cluster" | "key", name)) if !name.is_empty() => Ok(text.to_owned()),
        Some((of, name)) if !name.is_empty() => Ok(format!("{}/{name}", of.parse::<Type>()?.singular())),
        _ => Err("expected TYPE/NAME, as in pool/default or node/node-1".to_owned()),
    }
}

/// Reads the one pool of a command such as `rollout status pool/default`, where a name alone is a pool's.
///
/// # Errors
/// It is no pool, or not one.
pub(crate) fn pool(words: &[String]) -> Result<PoolName, Failure> {
    let mut pools = pools(words)?;
    match (pools.pop(), pools.as_slice()) {
        (Some(pool), []) => Ok(pool),
        _ => Err(usage("name one pool, as in pool/default")),
    }
}

/// Reads the pools of a command such as `scale edge pool/core`, where a name alone is a pool's.
///
/// # Errors
/// Something else than a pool is named.
pub(crate) fn pools(words: &[String]) -> Result<Vec<PoolName>, Failure> {
    if let [word] = words
        && let Ok(of) = word.parse::<Type>()
    {
        return Err(usage(format!("this works on a pool, as in pool/default, not on all {}", of.plural())));
    }
    named(words, Type::Pool, "pools, as in pool/default")
}

/// Reads the nodes of a command such as `drain node-1 node/node-2`, where a name alone is a node's.
///
/// # Errors
/// Something else than a node is named.
pub(crate) fn nodes(words: &[String]) -> Result<Vec<NodeId>, Failure> {
    named(words, Type::Node, "nodes, as in node/node-1")
}

/// Reads names of one type, each with it or without, or all after it.
fn named<T>(words: &[String], wanted: Type, like: &str) -> Result<Vec<T>, Failure>
where
    T: FromStr<Err: fmt::Display> + PartialEq,
{
    let names = match words.split_first() {
        Some((of, names)) if !names.is_empty() && of.parse() == Ok(wanted) => names,
        _ => words,
    };
    let mut found = Vec::with_capacity(names.len());
    for word in names {
        let name = match word.split_once('/') {
            None => word,
            Some((of, name)) if of.parse() == Ok(wanted) => name,
            Some(_) => return Err(usage(format!("this works on {like}, not on {word:?}"))),
        };
        let name = name.parse().map_err(usage)?;
        if !found.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

fn usage(cause: impl fmt::Display) -> Failure {
    Failure::Usage(cause.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Type, String), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).map(|t| (t.of, t.names.join(","))).map_err(|e| e.to_string())
    }

    #[test]
    fn a_type_is_singular_or_plural_with_names_either_way() {
        assert_eq!(read("nodes").unwrap(), (Type::Node, String::new()));
        assert_eq!(read("pool/edge").unwrap(), (Type::Pool, "edge".into()));
        assert_eq!(read("pools edge core").unwrap(), (Type::Pool, "edge,core".into()));
        assert_eq!(read("pool b a b a").unwrap(), (Type::Pool, "b,a".into()), "each once");
        assert_eq!(read("pool/b pool/a pool/b").unwrap(), (Type::Pool, "b,a".into()), "each once");
        assert_eq!(read("revision/edge-1 revisions/edge-2").unwrap(), (Type::Revision, "edge-1,edge-2".into()));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        assert!(read("podz").unwrap_err().starts_with("unknown type \"podz\"; there are nodes, pools"));
        assert_eq!(read("node-1").unwrap_err(), "unknown type \"node-1\"; did you mean node/node-1?");
        assert_eq!(about("nodes/node-1").unwrap(), "node/node-1");
        assert_eq!(read("nods").unwrap_err(), "unknown type \"nods\"; did you mean nodes?");
        for bad in ["", "pool/", "/edge", "pool/edge node/a", "pool edge pool/core", "pool/edge core"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let pool_of = |line: &str| pool(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in ["pool edge", "pool/edge", "edge"] {
            assert_eq!(pool_of(line).unwrap().as_str(), "edge");
        }
        for bad in ["pools", "node/node-1", "pool/a pool/b", "a b", "pool/Edge"] {
            assert!(pool_of(bad).is_err(), "{bad:?}");
        }
        assert!(pool_of("a b").unwrap_err().to_string().starts_with("name one pool"));
    }

    #[test]
    fn several_pools_are_names_with_or_without_their_type() {
        let read = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            pools(&words).map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        };
        for line in ["a b", "pool/a b", "pools a b", "a pools/b pool/a"] {
            assert_eq!(read(line).unwrap(), "a,b", "{line}");
        }
        for bad in ["pool", "node/a", "a node/b", "A B"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_node_is_a_name_with_or_without_its_type() {
        let read = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            nodes(&words).map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        };
        for line in ["a b", "node/a b", "nodes a b", "a nodes/b node/a"] {
            assert_eq!(read(line).unwrap(), "a,b", "{line}");
        }
        assert_eq!(read("node").unwrap(), "node", "a node may be called so");
        for bad in ["pool/a", "a/b", "node/", "A B"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
