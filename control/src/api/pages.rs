//! Lists in pages: how large, and where the next one starts.
//!
//! Used by all `List` calls. A page ends at its number of items or at its bytes, whichever comes first: gRPC clients
//! take 4 MiB a message by default. Page tokens are ours; one that is not is refused, since a list that began again
//! would never end.

use echo_proto::codec::Message;

use super::Api;
use super::error::ApiError;
use crate::store::{Entry, MAX_PAGE, prefix_end};

/// Most bytes of one page.
const MAX_PAGE_BYTES: usize = 2 << 20;

/// The page size asked for, within bounds; 0 is the largest.
pub(super) fn size(asked: u32) -> usize {
    match asked as usize {
        0 => MAX_PAGE,
        asked => asked.min(MAX_PAGE),
    }
}

/// Collects one page's items.
#[derive(Debug)]
pub(super) struct PageOf<T> {
    pub(super) items: Vec<T>,
    bytes: usize,
    limit: usize,
}

impl<T: Message> PageOf<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { items: Vec::new(), bytes: 0, limit }
    }

    /// Takes an item, unless the page is full. The first always fits.
    pub(super) fn push(&mut self, item: T) -> bool {
        let bytes = item.encoded_len();
        let full = self.items.len() >= self.limit || self.bytes + bytes > MAX_PAGE_BYTES;
        if full && !self.items.is_empty() {
            return false;
        }
        self.bytes += bytes;
        self.items.push(item);
        true
    }
}

/// One page of a list, as a reply holds it.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    pub(super) next_page_token: String,
    pub(super) resource_version: String,
}

impl Api {
    /// One page of the keys under `prefix`, from etcd itself; `read` passes over what is not wanted or can't be read, so
    /// that a page may be empty and yet not the last.
    pub(super) async fn list_page<T: Message>(
        &self,
        prefix: &str,
        wanted: &Wanted<'_>,
        mut read: impl FnMut(&Entry) -> Option<T>,
    ) -> Result<Listed<T>, ApiError> {
        let token = wanted.token(prefix)?;
        let found = match token.back {
            false => self.store.page(&token.key, &prefix_end(prefix), MAX_PAGE, token.revision).await?,
            true => self.store.page_back(prefix, &token.key, MAX_PAGE, token.revision).await?,
        };
        let mut page = PageOf::new(size(wanted.size));
        let mut next = found.next;
        // Backwards, a page ends before its key, so that the last one taken is named.
        let mut taken = token.key.clone();
        for entry in &found.entries {
            if let Some(item) = read(entry)
                && !page.push(item)
            {
                next = Some(if token.back { taken } else { entry.key.clone() });
                break;
            }
            taken.clone_from(&entry.key);
        }
        let token = next.map(|key| Token { revision: found.revision, back: token.back, key }.text());
        Ok(Listed {
            items: page.items,
            next_page_token: token.unwrap_or_default(),
            resource_version: found.revision.to_string(),
        })
    }
}

/// Which page a caller asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Empty: the first.
    pub(super) token: &'a str,
    pub(super) size: u32,
    /// From the end of the range, the last key first.
    pub(super) back: bool,
}

impl Wanted<'_> {
    fn token(&self, prefix: &str) -> Result<Token, ApiError> {
        if self.token.is_empty() {
            let key = if self.back { prefix_end(prefix) } else { prefix.to_owned() };
            return Ok(Token { revision: 0, back: self.back, key: key.into_bytes() });
        }
        let ours = |token: &Token| token.back == self.back && token.key.starts_with(prefix.as_bytes());
        Token::parse(self.token).filter(ours).ok_or_else(foreign_token)
    }
}

/// What is said of a token that no page of this list came with.
pub(super) fn foreign_token() -> ApiError {
    ApiError::argument("page_token", "not one of this list; leave it out to list from the start")
}

/// `revision:key`, or `revision<key` backwards, the key in hex: the rest of a list as of one etcd revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) revision: i64,
    pub(super) back: bool,
    pub(super) key: Vec<u8>,
}

impl Token {
    /// Reads a token; `None` for one that is not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (revision, hex) = text.split_once([':', '<'])?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let key = hex.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
        Some(Self { revision: revision.parse().ok().filter(|r| *r > 0)?, back: text.contains('<'), key })
    }

    pub(super) fn text(&self) -> String {
        let hex: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}{}{hex}", self.revision, if self.back { '<' } else { ':' })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use echo_proto::v1;

    #[test]
    fn a_page_ends_at_its_number_or_its_bytes() {
        let event = |bytes| v1::Event { message: "x".repeat(bytes), ..Default::default() };
        let mut page = PageOf::new(2);
        assert!(page.push(event(1)) && page.push(event(1)) && !page.push(event(1)));
        let mut page = PageOf::new(9);
        assert!(page.push(event(MAX_PAGE_BYTES + 1)), "a page holds one item at least");
        assert!(!page.push(event(1)));
    }

    #[test]
    fn tokens_read_back() {
        for back in [false, true] {
            let token = Token { revision: 7, back, key: b"/echo/v1/a/pools/x:\xff".to_vec() };
            assert_eq!(Token::parse(&token.text()).unwrap(), token);
            let wanted = |back| Wanted { token: &token.text(), back, ..Default::default() }.token("/echo/v1/a/pools/");
            assert_eq!(wanted(back), Ok(token.clone()));
            assert!(wanted(!back).is_err(), "a list of the other direction");
        }
        for foreign in ["", "x", "-1:00", "0:00", ":", "7:zz", "7:é"] {
            assert_eq!(Token::parse(foreign), None);
        }
    }
}
