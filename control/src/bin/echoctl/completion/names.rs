//! The names that may stand in a place: of types and contexts, and of objects, as control knows them.
//!
//! Used by completion. Control is asked once, with a short deadline; where it can't be, nothing is offered.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use echo_proto::v1;

use super::typed::Typed;
use crate::config::Config;
use crate::connect::Control;
use crate::context::Context;
use crate::failure::Failure;
use crate::object::source::{Filter, Source, list};
use crate::target::{Type, once_each};

/// Longest wait for control: somebody holds a finger over a key.
const ANSWER: Duration = Duration::from_millis(300);
/// Most names that are offered.
const MAX_OFFERED: usize = 1_000;

/// What may stand in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `TYPE[/NAME]`, or a name behind a type.
    Listed,
    /// The same, for what can be deleted.
    Deletable,
    /// `TYPE/NAME` in one word.
    Object,
    /// A node, with or without its type.
    Node,
    /// A pool, with or without its type.
    Pool,
    /// A pool, by its name alone.
    PoolName,
    /// The number of a revision of the pool that stands before it.
    RevisionOfPool,
    /// The same of the pool of the node that stands before it.
    RevisionOfNode,
    /// A context of the config file.
    Context,
}

/// What control is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked<'a> {
    /// The names of all objects of a type.
    Names(Type),
    /// The numbers of a pool's revisions, by its name.
    OfPool(&'a str),
    /// Of the pool of a node, by the node's name.
    OfNode(&'a str),
}

impl Wanted {
    /// What may follow `current`.
    pub(super) fn candidates(self, typed: &Typed, current: &OsStr) -> Vec<CompletionCandidate> {
        // What is no text is no name.
        let Some(current) = current.to_str() else { return Vec::new() };
        let mut texts = once_each(self.texts(typed, current, &|asked| ask(typed, asked)));
        texts.retain(|text| text.starts_with(current) && !typed.words.contains(text));
        texts.truncate(MAX_OFFERED);
        texts.into_iter().map(CompletionCandidate::new).collect()
    }

    /// All texts of which one may be meant; `ask` knows what control knows.
    fn texts(self, typed: &Typed, current: &str, ask: &dyn Fn(Asked<'_>) -> Vec<String>) -> Vec<String> {
        let first = typed.words.first().and_then(|word| word.parse::<Type>().ok());
        let names = |of| ask(Asked::Names(of));
        match (self, current.split_once('/')) {
            (Self::Context, _) => contexts(typed),
            (Self::RevisionOfPool, _) => named(typed).map_or_else(Vec::new, |pool| ask(Asked::OfPool(pool))),
            (Self::RevisionOfNode, _) => named(typed).map_or_else(Vec::new, |node| ask(Asked::OfNode(node))),
            (Self::PoolName, _) => names(Type::Pool),
            (_, Some((of, _))) => of.parse().map_or_else(|_| Vec::new(), |kind| with_type(of, names(kind))),
            (Self::Node, None) => names(Type::Node),
            (Self::Pool, None) if first == Some(Type::Pool) => names(Type::Pool),
            (Self::Pool, None) if "pool/".starts_with(current) => with_type("pool", names(Type::Pool)),
            (Self::Pool, None) => names(Type::Pool),
            (Self::Object, None) => ["node/", "pool/"].map(str::to_owned).to_vec(),
            (Self::Listed | Self::Deletable, None) => match (first, typed.words.first()) {
                (Some(of), _) => names(of),
                (None, Some(word)) => word.split_once('/').map_or_else(Vec::new, |(of, _)| vec![format!("{of}/")]),
                (None, None) => self.types().iter().map(|of| of.plural().to_owned()).collect(),
            },
        }
    }

    fn types(self) -> &'static [Type] {
        match self {
            Self::Deletable => &[Type::Node, Type::Pool],
            _ => &[Type::Node, Type::Pool, Type::Revision, Type::Event],
        }
    }
}

/// The name of the first object that stands on the line, with or without its type.
fn named(typed: &Typed) -> Option<&str> {
    let words = typed.words.iter().map(String::as_str);
    let mut names = words.filter(|word| word.parse::<Type>().is_err());
    names.next().map(|word| word.split_once('/').map_or(word, |(_, name)| name))
}

fn with_type(of: &str, names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| format!("{of}/{name}")).collect()
}

fn contexts(typed: &Typed) -> Vec<String> {
    let config = Config::read(typed.global.config.as_deref());
    config.map_or_else(|_| Vec::new(), |config| config.names().map(str::to_owned).collect())
}

/// What control says; nothing where it doesn't in time.
fn ask(typed: &Typed, asked: Asked<'_>) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, told(typed, asked)).await });
    // Does not wait for a name server.
    runtime.shutdown_background();
    answer.ok().and_then(Result::ok).unwrap_or_default()
}

async fn told(typed: &Typed, asked: Asked<'_>) -> Result<Vec<String>, Failure> {
    let context = Context { timeout: Some(ANSWER), ..Context::resolve(&typed.global)? };
    let mut control = Control::of(&context).await?;
    match asked {
        Asked::Names(of) => names(&mut control, typed, of).await,
        Asked::OfPool(pool) => numbers(&mut control, pool).await,
        Asked::OfNode(node) => {
            let filter = Filter { pool: typed.pool.clone(), skip_live: true, ..Filter::default() };
            let node = v1::Node::find(&mut control, node, &filter).await?;
            numbers(&mut control, node.status.as_ref().map_or("", |status| status.pool.as_str())).await
        }
    }
}

async fn numbers(control: &mut Control, pool: &str) -> Result<Vec<String>, Failure> {
    let (revisions, _) = list::<v1::Revision>(control, &Filter { pool: pool.to_owned(), ..Filter::default() }).await?;
    Ok(revisions.iter().filter_map(|revision| Some(revision.revision.as_ref()?.n.to_string())).collect())
}

async fn names(control: &mut Control, typed: &Typed, of: Type) -> Result<Vec<String>, Failure> {
    let pool = if of == Type::Node || of == Type::Revision { typed.pool.clone() } else { String::new() };
    let filter = Filter { pool, skip_live: true, ..Filter::default() };
    match of {
        Type::Node => of_type::<v1::Node>(control, &filter).await,
        Type::Pool => of_type::<v1::Pool>(control, &filter).await,
        Type::Revision => of_type::<v1::Revision>(control, &filter).await,
        // Nobody types the name of an event.
        Type::Event => Ok(Vec::new()),
    }
}

async fn of_type<T: Source>(control: &mut Control, filter: &Filter) -> Result<Vec<String>, Failure> {
    let (objects, _) = list::<T>(control, filter).await?;
    Ok(objects.iter().map(|object| object.name().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(wanted: Wanted, words: &str, current: &str) -> String {
        let words = words.split_whitespace().map(str::to_owned).collect();
        let ask = |asked: Asked<'_>| match asked {
            Asked::Names(of) => vec![format!("{}-a", of.singular())],
            Asked::OfPool(name) => vec![format!("pool:{name}")],
            Asked::OfNode(name) => vec![format!("node:{name}")],
        };
        wanted.texts(&Typed { words, ..Typed::default() }, current, &ask).join(" ")
    }

    #[test]
    fn a_type_comes_before_its_names() {
        assert_eq!(texts(Wanted::Listed, "", ""), "nodes pools revisions events");
        assert_eq!(texts(Wanted::Deletable, "", ""), "nodes pools");
        assert_eq!(texts(Wanted::Listed, "nodes", ""), "node-a");
        assert_eq!(texts(Wanted::Listed, "", "pools/"), "pools/pool-a");
        assert_eq!(texts(Wanted::Listed, "node/b", "n"), "node/");
        assert_eq!(texts(Wanted::Listed, "", "nonsense/"), "");
        assert_eq!(texts(Wanted::Object, "", ""), "node/ pool/");
    }

    #[test]
    fn revisions_are_those_of_what_stands_before() {
        for words in ["edge", "pool/edge", "pool edge", "pools edge"] {
            assert_eq!(texts(Wanted::RevisionOfPool, words, ""), "pool:edge");
        }
        assert_eq!(texts(Wanted::RevisionOfNode, "node/node-1 node/node-2", ""), "node:node-1");
        assert_eq!(texts(Wanted::RevisionOfPool, "", ""), "");
    }

    #[test]
    fn where_the_type_is_known_a_name_is_enough() {
        assert_eq!(texts(Wanted::Node, "", "n"), "node-a");
        assert_eq!(texts(Wanted::Node, "", "node/"), "node/node-a");
        assert_eq!(texts(Wanted::Pool, "", "po"), "pool/pool-a");
        assert_eq!(texts(Wanted::Pool, "", "e"), "pool-a");
        assert_eq!(texts(Wanted::Pool, "pool", ""), "pool-a");
        assert_eq!(texts(Wanted::PoolName, "nodes", ""), "pool-a");
    }
}
