//! Where the objects of a type come from: its list, its single objects and its watch, over gRPC.
//!
//! Implemented by each type, used by `get` and `up`. It must ask for bounded pages only.

use std::future::Future;

use echo_proto::v1;
use tonic::{Code, Status, Streaming};

use super::Object;
use crate::args::selector;
use crate::connect::Control;
use crate::failure::Failure;
use crate::target::Type;

/// Objects asked for at once; control gives no more.
pub(super) const PAGE_SIZE: u32 = 500;
/// Most pages of one list; against a server whose list never ends.
const MAX_PAGES: usize = 2_000;

/// Narrows a list; empty: all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Nodes and revisions of this pool.
    pub(crate) pool: String,
    /// Events of this object, `TYPE/NAME`.
    pub(crate) about: String,
    /// Nodes and pools whose labels match.
    pub(crate) selector: String,
    /// Nodes without live figures: no Agent is asked.
    pub(crate) skip_live: bool,
}

/// The flags that narrow a list, for the verbs that show one.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Selection {
    /// Only nodes or revisions of this pool.
    #[arg(short, long, value_name = "NAME")]
    pool: Option<String>,
    /// Only nodes or pools whose labels match, as in zone=a,tier!=test,!canary.
    #[arg(short = 'l', long, value_parser = selector, value_name = "LABELS")]
    selector: Option<String>,
}

impl Selection {
    /// The filter, where the flags fit the type and the names.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn filter(&self, of: Type, names: &[String]) -> Result<Filter, Failure> {
        if self.pool.is_some() && !matches!(of, Type::Node | Type::Revision) {
            return Err(Failure::Usage(format!("--pool is for nodes and revisions, not for {}", of.plural())));
        }
        if self.selector.is_some() && !matches!(of, Type::Node | Type::Pool) {
            return Err(Failure::Usage(format!("--selector is for nodes and pools, not for {}", of.plural())));
        }
        if self.selector.is_some() && !names.is_empty() {
            return Err(Failure::Usage("give names or --selector, not both".to_owned()));
        }
        let (pool, selector) = (self.pool.clone().unwrap_or_default(), self.selector.clone().unwrap_or_default());
        Ok(Filter { pool, selector, ..Filter::default() })
    }
}

/// A part of a list.
pub(crate) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Token of the next page; empty at the end.
    pub(super) next: String,
    /// Resource version of the list.
    pub(super) version: String,
    /// Keys whose objects control can't read, where it tells them.
    pub(super) unreadable: Vec<String>,
}

/// A whole list.
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    /// Its resource version.
    pub(crate) version: String,
    /// Keys whose objects control can't read, where it tells them.
    pub(crate) unreadable: Vec<String>,
}

/// What a watch tells.
pub(crate) struct Change<T> {
    pub(crate) kind: v1::WatchType,
    pub(crate) object: Option<T>,
    /// Resource version of the list after it.
    pub(crate) version: String,
}

/// A type that control serves.
pub(crate) trait Source: Object {
    /// Its rows tell something of their pools.
    const NEEDS_POOLS: bool = false;

    /// The page at `token`.
    fn page(control: &mut Control, filter: &Filter, token: String) -> impl Future<Output = Result<Page<Self>, Status>>;

    /// The object called `name`.
    fn find(control: &mut Control, name: &str, filter: &Filter) -> impl Future<Output = Result<Self, Failure>> {
        search(control, name, filter)
    }
}

/// A type whose changes can be followed.
pub(crate) trait Watched: Source {
    /// Where old objects are removed without a word: most of them that a watch keeps, the last by name.
    const KEPT: Option<usize> = None;

    /// A message of its watch.
    type Message;

    /// The list, then every change of it; or only the changes after the version `since`, where control still knows it.
    fn watch(
        control: &mut Control,
        filter: &Filter,
        since: &str,
    ) -> impl Future<Output = Result<Streaming<Self::Message>, Status>>;

    /// What a message of the watch says.
    fn change(message: Self::Message) -> Change<Self>;
}

/// All objects and the list's resource version.
///
/// # Errors
/// Control is away or refuses, or its list has no end.
pub(crate) async fn list<T: Source>(control: &mut Control, filter: &Filter) -> Result<(Vec<T>, String), Failure> {
    let List { items, version, .. } = whole_list(control, filter).await?;
    Ok((items, version))
}

/// All objects, the list's resource version, and what is missing.
///
/// # Errors
/// Control is away or refuses, or its list has no end.
pub(crate) async fn whole_list<T: Source>(control: &mut Control, filter: &Filter) -> Result<List<T>, Failure> {
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    let mut version = None;
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        let page = T::page(control, filter, token).await.map_err(|s| control.explain(s))?;
        items.extend(page.items);
        unreadable.extend(page.unreadable);
        let version = version.get_or_insert(page.version).clone();
        if page.next.is_empty() {
            items.sort_by_key(Object::rank);
            return Ok(List { items, version, unreadable });
        }
        token = page.next;
    }
    Err(Failure::Refused(Box::new(Status::internal(format!("the list of {}s has no end", T::TYPE)))))
}

/// Finds an object in the list of its type.
pub(super) async fn search<T: Source>(control: &mut Control, name: &str, filter: &Filter) -> Result<T, Failure> {
    let (items, _) = list::<T>(control, filter).await?;
    items.into_iter().find(|item: &T| item.name() == name).ok_or_else(|| not_found::<T>(name))
}

fn not_found<T: Object>(name: &str) -> Failure {
    Failure::NotFound { what: format!("{} {name:?}", T::TYPE), list: T::LIST }
}

/// The object of a reply that control filled, or what its status says.
pub(super) fn single<T: Source>(
    control: &Control,
    name: &str,
    answer: Result<Option<T>, Status>,
) -> Result<T, Failure> {
    match answer {
        Ok(Some(object)) => Ok(object),
        Ok(None) => Err(not_found::<T>(name)),
        Err(status) if status.code() == Code::NotFound => Err(not_found::<T>(name)),
        Err(status) => Err(control.explain(status)),
    }
}
