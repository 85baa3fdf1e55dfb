//! Revisions: their columns, with the mark of the one in use, and where they come from.
//!
//! Used through the traits of `object`. A revision never changes, so it can't be watched.

use echo_proto::v1;
use tonic::Status;

use super::source::{Filter, PAGE_SIZE, Page, Source, search};
use super::{Object, View, created, in_use, revision, text};
use crate::connect::Control;
use crate::failure::Failure;
use crate::output::human::shorten;

/// Characters of a digest that a table shows.
const DIGEST_CHARS: usize = 12;
/// Characters of a message that a table shows; `-o wide` shows all.
const MESSAGE_CHARS: usize = 32;

impl Object for v1::Revision {
    const TYPE: &'static str = "revision";
    const LIST: &'static str = "revisions";

    fn titles(_: &View) -> Vec<&'static str> {
        vec!["NAME", "POOL", "REVISION", "DIGEST", "AUTHOR", "MESSAGE", "AGE"]
    }

    fn cells(&self, view: &View) -> Vec<String> {
        let this = self.revision.as_ref();
        let status = view.pools.iter().find(|p| p.name() == self.pool).and_then(|p| p.status.as_ref());
        let mark = in_use(this, status).map(|mark| format!(" ({mark})")).unwrap_or_default();
        let digest: String = this.map(|r| r.digest.chars().take(DIGEST_CHARS).collect()).unwrap_or_default();
        vec![
            self.name().to_owned(),
            text(&self.pool),
            revision(this) + &mark,
            text(&digest),
            text(&self.author),
            text(&if view.wide { self.message.clone() } else { shorten(&self.message, MESSAGE_CHARS) }),
            created(self.meta(), view),
        ]
    }

    fn meta(&self) -> Option<&v1::ObjectMeta> {
        self.metadata.as_ref()
    }
}

impl Source for v1::Revision {
    const NEEDS_POOLS: bool = true;

    async fn page(control: &mut Control, filter: &Filter, token: String) -> Result<Page<Self>, Status> {
        let request = v1::ListRevisionsRequest { pool: filter.pool.clone(), page_size: PAGE_SIZE, page_token: token };
        let list = control.pools.list_revisions(request).await?.into_inner();
        let (next, version) = (list.next_page_token, list.resource_version);
        Ok(Page { items: list.revisions, next, version, unreadable: Vec::new() })
    }

    async fn find(control: &mut Control, name: &str, filter: &Filter) -> Result<Self, Failure> {
        // Its name is `<pool>-<n>`: only that pool's revisions need to be listed.
        let pool = name.rsplit_once('-').map_or(name, |(pool, _)| pool).to_owned();
        search(control, name, &Filter { pool, ..filter.clone() }).await
    }
}
