//! Which objects a command is about: named ones, or those that a selector finds.
//!
//! Used by the verbs that change nodes, and by `delete`. A mistake in one name keeps the command from touching any.

use echo_proto::{codec, v1};

use crate::args::selector;
use crate::connect::Control;
use crate::dry_run::DryRunArgs;
use crate::failure::Failure;
use crate::object::source::{Filter, Source, list};
use crate::output::{print, tell};
use crate::target;

/// Why a dry run at the client has no selector.
pub(crate) const ONLY_CONTROL_KNOWS: &str =
    "--dry-run=client asks no control, which alone knows what --selector finds; use --dry-run=server";

/// The words and flags that choose nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Names of nodes, as node-1 or node/node-1.
    #[arg(required_unless_present = "selector", conflicts_with = "selector", value_name = "NODE")]
    nodes: Vec<String>,
    /// All nodes whose labels match, as in zone=a,tier!=test,!canary; `pool` and `zone` are labels too.
    #[arg(short = 'l', long, value_parser = selector, value_name = "LABELS")]
    selector: Option<String>,
    /// Pool of the nodes, where several pools have nodes of the same name.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pool: String,
}

/// The choice, read.
#[derive(Debug)]
pub(crate) struct Nodes {
    names: Vec<String>,
    filter: Filter,
}

impl NodeArgs {
    /// Reads the words, before anything is asked.
    ///
    /// # Errors
    /// One names no node.
    pub(crate) fn read(&self) -> Result<Nodes, Failure> {
        let names = target::nodes(&self.nodes)?.iter().map(ToString::to_string).collect();
        let selector = self.selector.clone().unwrap_or_default();
        Ok(Nodes { names, filter: Filter { pool: self.pool.clone(), selector, ..Filter::default() } })
    }
}

impl Nodes {
    /// The nodes as control knows them.
    ///
    /// # Errors
    /// One isn't there, none matches, or control is away or refuses.
    pub(crate) async fn find(&self, control: &mut Control) -> Result<Vec<v1::Node>, Failure> {
        chosen(control, &self.names, &self.filter).await
    }

    /// Name and pool of each node as they were typed; `None`: only control knows what is meant.
    pub(crate) fn named(&self) -> Option<Vec<(String, String)>> {
        let pool = &self.filter.pool;
        let pairs = self.names.iter().map(|name| (name.clone(), pool.clone()));
        self.filter.selector.is_empty().then(|| pairs.collect())
    }

    /// What a dry run says that asks nobody.
    ///
    /// # Errors
    /// Only control knows what a selector finds; or stdout is closed.
    pub(crate) fn unasked(&self, done: &str, dry_run: &DryRunArgs) -> Result<(), Failure> {
        if !self.filter.selector.is_empty() {
            return Err(Failure::Usage(ONLY_CONTROL_KNOWS.to_owned()));
        }
        print(&self.names.iter().map(|name| line(&format!("node/{name}"), done, dry_run)).collect::<String>())
    }
}

/// The objects of these names, or without names all that the filter's selector finds.
///
/// # Errors
/// One isn't there, none matches, or control is away or refuses.
pub(crate) async fn chosen<T: Source>(
    control: &mut Control,
    names: &[String],
    filter: &Filter,
) -> Result<Vec<T>, Failure> {
    if names.is_empty() {
        let (objects, _) = list::<T>(control, filter).await?;
        if objects.is_empty() {
            return Err(Failure::NoMatch { what: T::TYPE, selector: filter.selector.clone(), list: T::LIST });
        }
        return Ok(objects);
    }
    let (mut objects, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match T::find(control, name, filter).await {
            Ok(object) => objects.push(object),
            Err(failure @ Failure::NotFound { .. }) => missing.push(spelt::<T>(control, name, filter, failure).await),
            Err(failure @ Failure::Refused(_)) => missing.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    let Some(last) = missing.pop() else { return Ok(objects) };
    missing.iter().for_each(Failure::tell);
    if !objects.is_empty() {
        tell("nothing was changed");
    }
    Err(last)
}

/// The object called `name`.
///
/// # Errors
/// Control is away, or there is no such object: with the name that was probably meant.
pub(crate) async fn one<T: Source>(control: &mut Control, name: &str) -> Result<T, Failure> {
    let filter = Filter::default();
    match T::find(control, name, &filter).await {
        Err(missing @ Failure::NotFound { .. }) => Err(spelt::<T>(control, name, &filter, missing).await),
        answer => answer,
    }
}

/// With the name that was probably meant, where there is one.
async fn spelt<T: Source>(control: &mut Control, name: &str, filter: &Filter, missing: Failure) -> Failure {
    let filter = Filter { skip_live: true, ..filter.clone() };
    // Only adds to the answer.
    let known = list::<T>(control, &filter).await.map(|(objects, _)| objects).unwrap_or_default();
    match codec::nearest(name, known.iter().map(|object| object.name().to_owned())) {
        Some(near) => Failure::Misspelt { missing: Box::new(missing), near },
        None => missing,
    }
}

/// The answer; `None` where control refused this one object, which was told then.
///
/// # Errors
/// Control is away.
pub(crate) fn one_of_several<T>(path: &str, answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure @ (Failure::Refused(_) | Failure::NotFound { .. })) => {
            let told = failure.to_string();
            let name = path.split_once('/').map_or(path, |(_, name)| name);
            // Most refusals name their object; among several the others must not leave a doubt.
            tell(&if told.contains(name) { format!("error: {told}") } else { format!("error: {path}: {told}") });
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// What is printed of a change: `node/node-1 cordoned`.
pub(crate) fn line(path: &str, done: &str, dry_run: &DryRunArgs) -> String {
    format!("{path} {done}{}\n", dry_run.suffix())
}
