//! Lists in pages, all of one revision.
//!
//! One range over 10,000 records would be one message of 5.5 MB, which delays all that shares its connection; so nobody
//! here reads a prefix at once.

use etcd_client::{GetOptions, SortOrder, SortTarget};

use super::{Entry, Store, StoreError};

/// Most keys of one page.
pub const MAX_PAGE: usize = 500;
/// Largest message taken from etcd: a page in which every value embeds two templates of 64 KiB.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_PAGE * 2 * 64 * 1024;

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// In the order of their keys, or against it.
    pub entries: Vec<Entry>,
    /// The etcd revision that the list shows.
    pub revision: i64,
    /// Where the next page starts, or ends; `None` after the last.
    pub next: Option<Vec<u8>>,
}

/// Which end of a range a page is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    End,
}

impl Store {
    /// One page of the keys from `start` up to `end`, as of `revision` (0: now). It has fewer keys where their values
    /// are too large for one message.
    ///
    /// # Errors
    /// No answer, or the revision is compacted.
    pub async fn page(&self, start: &[u8], end: &str, limit: usize, revision: i64) -> Result<Page, StoreError> {
        self.range(start, end.as_bytes(), limit, revision, From::Start).await
    }

    /// As [`Store::page`], but the last keys of the range, the last one first; the next page ends where it says.
    ///
    /// # Errors
    /// As [`Store::page`].
    pub async fn page_back(&self, start: &str, end: &[u8], limit: usize, revision: i64) -> Result<Page, StoreError> {
        self.range(start.as_bytes(), end, limit, revision, From::End).await
    }

    async fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        revision: i64,
        from: From,
    ) -> Result<Page, StoreError> {
        let mut limit = limit.clamp(1, MAX_PAGE);
        let mut response = loop {
            let options = GetOptions::new().with_range(end).with_limit(limit as i64).with_revision(revision);
            let options = match from {
                From::Start => options,
                From::End => options.with_sort(SortTarget::Key, SortOrder::Descend),
            };
            let read = || {
                let (mut kv, options) = (self.kv(), options.clone());
                async move { kv.get(start, Some(options)).await }
            };
            match self.read("list", &String::from_utf8_lossy(start), read).await {
                // Ends: a single key is at most as large as a request to etcd.
                Err(StoreError::TooLarge { .. }) if limit > 1 => limit /= 2,
                answer => break answer?,
            }
        };
        let revision = match revision {
            0 => response.header().map_or(0, etcd_client::ResponseHeader::revision),
            fixed => fixed,
        };
        let more = response.more();
        let entries: Vec<Entry> = response.take_kvs().into_iter().map(Entry::from).collect();
        let next = entries.last().filter(|_| more).map(|last| match from {
            From::Start => after(&last.key),
            From::End => last.key.clone(),
        });
        Ok(Page { next, entries, revision })
    }

    /// All keys from `start` up to `end` as of one revision (0: now), and that revision.
    ///
    /// # Errors
    /// As [`Store::page`].
    pub async fn list(&self, start: &str, end: &str, revision: i64) -> Result<(Vec<Entry>, i64), StoreError> {
        let (mut entries, mut revision, mut start) = (Vec::new(), revision, start.as_bytes().to_vec());
        loop {
            let page = self.page(&start, end, MAX_PAGE, revision).await?;
            revision = page.revision;
            entries.extend(page.entries);
            match page.next {
                Some(next) => start = next,
                None => return Ok((entries, revision)),
            }
        }
    }
}

/// The first key after this one.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The first key after all keys that start with `prefix`, which ends in an ASCII character.
pub fn prefix_end(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    if let Some(last) = end.pop() {
        end.push(char::from_u32(u32::from(last) + 1).unwrap_or(char::MAX));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_neighbour() {
        assert_eq!(prefix_end("/echo/v1/a/nodes/"), "/echo/v1/a/nodes0");
        let end = prefix_end("x/pools/");
        assert!("x/pools/zzz" < end.as_str() && end.as_str() < "x/poolsz");
    }
}
