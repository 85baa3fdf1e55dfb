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
    /// A context of the config file.
    Context,
}

impl Wanted {
    /// What may follow `current`.
    pub(super) fn candidates(self, typed: &Typed, current: &OsStr) -> Vec<CompletionCandidate> {
        // What is no text is no name.
        let Some(current) = current.to_str() else { return Vec::new() };
        let mut texts = once_each(self.texts(typed, current, &|of| ask(typed, of)));
        texts.retain(|text| text.starts_with(current) && !typed.words.contains(text));
        texts.truncate(MAX_OFFERED);
        texts.into_iter().map(CompletionCandidate::new).collect()
    }

    /// All texts of which one may be meant; `names` knows the objects of a type.
    fn texts(self, typed: &Typed, current: &str, names: &dyn Fn(Type) -> Vec<String>) -> Vec<String> {
        let first = typed.words.first().and_then(|word| word.parse::<Type>().ok());
        match (self, current.split_once('/')) {
            (Self::Context, _) => contexts(typed),
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

fn with_type(of: &str, names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| format!("{of}/{name}")).collect()
}

fn contexts(typed: &Typed) -> Vec<String> {
    let config = Config::read(typed.global.config.as_deref());
    config.map_or_else(|_| Vec::new(), |config| config.names().map(str::to_owned).collect())
}

/// The names of all objects of a type; none where control doesn't say in time.
fn ask(typed: &Typed, of: Type) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER, names(typed, of)).await });
    // Does not wait for a name server.
    runtime.shutdown_background();
    answer.ok().and_then(Result::ok).unwrap_or_default()
}

async fn names(typed: &Typed, of: Type) -> Result<Vec<String>, Failure> {
    let context = Context { timeout: Some(ANSWER), ..Context::resolve(&typed.global)? };
    let mut control = Control::of(&context).await?;
    let pool = if of == Type::Node || of == Type::Revision { typed.pool.clone() } else { String::new() };
    let filter = Filter { pool, skip_live: true, ..Filter::default() };
    match of {
        Type::Node => of_type::<v1::Node>(&mut control, &filter).await,
        Type::Pool => of_type::<v1::Pool>(&mut control, &filter).await,
        Type::Revision => of_type::<v1::Revision>(&mut control, &filter).await,
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
        let names = |of: Type| vec![format!("{}-a", of.singular())];
        wanted.texts(&Typed { words, ..Typed::default() }, current, &names).join(" ")
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
    fn where_the_type_is_known_a_name_is_enough() {
        assert_eq!(texts(Wanted::Node, "", "n"), "node-a");
        assert_eq!(texts(Wanted::Node, "", "node/"), "node/node-a");
        assert_eq!(texts(Wanted::Pool, "", "po"), "pool/pool-a");
        assert_eq!(texts(Wanted::Pool, "", "e"), "pool-a");
        assert_eq!(texts(Wanted::Pool, "pool", ""), "pool-a");
        assert_eq!(texts(Wanted::PoolName, "nodes", ""), "pool-a");
    }
}
