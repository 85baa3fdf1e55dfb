//! The last events of the objects that are described, read once for all of them.
//!
//! Used by `describe`. Reads page by page, since a page may be empty and yet not the last, and stops as soon as every
//! object has its events.

use std::collections::HashMap;

use echo_proto::v1;
use tonic::Status;

use crate::connect::Control;
use crate::failure::Failure;
use crate::object::Object as _;

/// Events of an object that are shown, the last ones.
const EVENTS: usize = 10;
/// Events asked for at once; control gives no more.
const PAGE_SIZE: u32 = 500;
/// Most pages read: more than the events that control keeps.
const MAX_PAGES: usize = 100;

/// The last events of some objects.
#[derive(Debug, Default)]
pub(super) struct Recent(HashMap<String, Vec<v1::Event>>);

impl Recent {
    /// Those of one object, the one seen last at the end, and whether there are more.
    pub(super) fn take(&mut self, object: &str) -> (Vec<v1::Event>, bool) {
        let mut events = self.0.remove(object).unwrap_or_default();
        // Pages have them by when they began.
        events.reverse();
        events.sort_by_key(v1::Event::rank);
        let more = events.len().saturating_sub(EVENTS);
        (events.split_off(more), more > 0)
    }

    /// Takes all of a page, since a repeated event that began early may be the last one seen.
    fn add(&mut self, event: v1::Event) {
        if let Some(events) = self.0.get_mut(&event.object) {
            events.push(event);
        }
    }

    /// Every object has its events, and one over, which tells that there are more.
    fn is_full(&self) -> bool {
        self.0.values().all(|events| events.len() > EVENTS)
    }
}

/// The last events of these objects.
///
/// # Errors
/// Control is away or refuses.
pub(super) async fn events_of(control: &mut Control, objects: Vec<String>) -> Result<Recent, Failure> {
    let object = match objects.as_slice() {
        [one] => one.clone(),
        _ => String::new(),
    };
    let mut client = control.events.clone();
    let page = async |page_token: String| {
        let object = object.clone();
        let request = v1::EventsListRequest { object, page_size: PAGE_SIZE, page_token, newest_first: true };
        client.list(request).await.map(tonic::Response::into_inner)
    };
    collect(objects, page).await.map_err(|status| control.explain(status))
}

/// Reads pages, the newest event first, until every object has enough or there are no more.
async fn collect(
    objects: Vec<String>,
    mut page: impl AsyncFnMut(String) -> Result<v1::EventsListResponse, Status>,
) -> Result<Recent, Status> {
    let mut recent = Recent(objects.into_iter().map(|object| (object, Vec::new())).collect());
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        if recent.is_full() {
            break;
        }
        let list = page(token).await?;
        list.events.into_iter().for_each(|event| recent.add(event));
        if list.next_page_token.is_empty() {
            break;
        }
        token = list.next_page_token;
    }
    Ok(recent)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(object: &str, message: usize) -> v1::Event {
        v1::Event { object: object.to_owned(), message: message.to_string(), ..Default::default() }
    }

    fn list(events: Vec<v1::Event>, next: &str) -> v1::EventsListResponse {
        v1::EventsListResponse { events, next_page_token: next.to_owned(), ..Default::default() }
    }

    #[tokio::test]
    async fn events_behind_an_empty_page_are_found() {
        let objects = vec!["node/a".to_owned(), "node/b".to_owned()];
        let page = async |token: String| {
            Ok(match token.as_str() {
                "" => list(Vec::new(), "second"),
                "second" => list((0..30).rev().map(|n| event("node/a", n)).collect(), "third"),
                _ => list(vec![event("node/b", 1), event("node/c", 1)], ""),
            })
        };
        let mut recent = collect(objects, page).await.unwrap();
        let (told, more) = recent.take("node/a");
        let told: Vec<_> = told.into_iter().map(|event| event.message).collect();
        assert_eq!(told, (20..30).map(|n| n.to_string()).collect::<Vec<_>>(), "the last ones, oldest first");
        assert!(more);
        let (told, more) = recent.take("node/b");
        assert_eq!((told.len(), more), (1, false));
        assert!(recent.take("node/c").0.is_empty());
    }

    #[test]
    fn an_event_that_was_repeated_stands_where_it_was_last_seen() {
        let mut recent = Recent([("node/a".to_owned(), Vec::new())].into());
        let seen = |n: usize, seconds| {
            let last_time = Some(prost_types::Timestamp { seconds, nanos: 0 });
            v1::Event { last_time, ..event("node/a", n) }
        };
        (1..=10).rev().for_each(|n| recent.add(seen(n, 10)));
        recent.add(seen(0, 11));
        let (told, more) = recent.take("node/a");
        assert_eq!(told.last().unwrap().message, "0");
        assert!(more && told.iter().all(|event| event.message != "1"));
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_shown() {
        let mut pages = 0;
        let page = async |_: String| {
            pages += 1;
            Ok(list(vec![event("pool/p", 1); EVENTS + 1], "more"))
        };
        collect(vec!["pool/p".to_owned()], page).await.unwrap();
        assert_eq!(pages, 1);
    }
}
