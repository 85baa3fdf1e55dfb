//! What a watcher gets, and how it ends.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_stream::StreamExt as _;

use super::*;
use crate::store::{StoreError, Update};

/// Objects 1 to `shown`.
struct Numbers(Arc<AtomicU32>);

impl Source for Numbers {
    type Key = u32;
    type Version = ();
    type Object = u32;
    type Reply = (WatchType, Option<u32>, String);

    fn versions(&self, _: &State) -> BTreeMap<u32, ()> {
        (1..=self.0.load(Ordering::SeqCst)).map(|n| (n, ())).collect()
    }

    fn object(&self, _: &State, key: &u32) -> Option<u32> {
        Some(*key)
    }

    /// 1 was there before, 2 came at revision 5, and 9 went.
    fn since(&self, _: &State, _: i64) -> Option<BTreeMap<u32, i64>> {
        Some(BTreeMap::from([(1, 1), (2, 5), (9, 0)]))
    }

    fn gone(&self, key: &u32) -> u32 {
        *key
    }

    /// Nothing to watch is a broken watch.
    fn broken(&self, _: &State) -> Option<ApiError> {
        (self.0.load(Ordering::SeqCst) == 0).then(|| ApiError::missing("number/0", "no numbers"))
    }

    fn reply(&self, kind: WatchType, object: Option<u32>, version: String) -> Option<Self::Reply> {
        Some((kind, object, version))
    }
}

fn view() -> View {
    View::new(echo_proto::keys::Keys::new(&"test".parse().unwrap()))
}

async fn next<R>(stream: &mut Stream<R>) -> Result<R, Status> {
    tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap()
}

/// The next message, without its version.
async fn shown_next(stream: &mut Stream<<Numbers as Source>::Reply>) -> (WatchType, Option<u32>) {
    let (kind, object, _) = next(stream).await.unwrap();
    (kind, object)
}

#[tokio::test]
async fn a_list_in_its_frame_then_changes_then_why_it_ends() {
    use WatchType::{Added, Bookmark, Deleted, Resync};
    let (view, shown) = (view(), Arc::new(AtomicU32::new(2)));
    let (trigger, stop) = crate::stop::stop();
    let mut stream = serve(Numbers(shown.clone()), None, view.clone(), stop, &Watchers::default()).unwrap();
    for expected in [(Resync, None), (Added, Some(1)), (Added, Some(2)), (Bookmark, None)] {
        assert_eq!(shown_next(&mut stream).await, expected);
    }
    shown.store(1, Ordering::SeqCst);
    view.apply(Update::Changes(Vec::new()), 1);
    assert_eq!(shown_next(&mut stream).await, (Deleted, Some(2)));
    trigger.set();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), tonic::Code::Unavailable);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_or_everything() {
    use WatchType::{Added, Bookmark, Deleted, Modified, Resync};
    let (view, shown) = (view(), Arc::new(AtomicU32::new(2)));
    view.apply(Update::Reset(Vec::new()), 4);
    view.apply(Update::Changes(Vec::new()), 6);
    let (_trigger, stop) = crate::stop::stop();
    let watchers = Watchers::default();
    let again = |after| serve(Numbers(shown.clone()), Some(after), view.clone(), stop.clone(), &watchers).unwrap();
    let mut stream = again(4);
    for expected in [(Modified, Some(1)), (Added, Some(2)), (Deleted, Some(9)), (Bookmark, None)] {
        assert_eq!(shown_next(&mut stream).await, expected);
    }
    shown.store(3, Ordering::SeqCst);
    view.apply(Update::Changes(Vec::new()), 7);
    assert_eq!(shown_next(&mut stream).await, (Added, Some(3)), "and goes on");
    for forgotten_or_to_come in [3, 8] {
        let mut stream = again(forgotten_or_to_come);
        assert_eq!(next(&mut stream).await.unwrap().0, Resync, "{forgotten_or_to_come}");
    }
}

#[tokio::test]
async fn a_version_is_told_with_the_last_message_of_a_look_only() {
    use WatchType::{Added, Bookmark, Deleted, Modified, Resync};
    let (view, shown) = (view(), Arc::new(AtomicU32::new(2)));
    view.apply(Update::Reset(Vec::new()), 4);
    let (_trigger, stop) = crate::stop::stop();
    let watchers = Watchers::default();
    let begin = |after| serve(Numbers(shown.clone()), after, view.clone(), stop.clone(), &watchers).unwrap();
    let told = |kind, object, version: &str| (kind, object, version.to_owned());
    let mut stream = begin(None);
    for expected in
        [told(Resync, None, ""), told(Added, Some(1), ""), told(Added, Some(2), ""), told(Bookmark, None, "4")]
    {
        assert_eq!(next(&mut stream).await.unwrap(), expected, "half a list is nothing to go on from");
    }
    shown.store(4, Ordering::SeqCst);
    view.apply(Update::Changes(Vec::new()), 7);
    // Who is cut between these two goes on after 4, and gets the second.
    assert_eq!(next(&mut stream).await.unwrap(), told(Added, Some(3), "4"));
    assert_eq!(next(&mut stream).await.unwrap(), told(Added, Some(4), "7"));
    let mut again = begin(Some(4));
    for expected in [told(Modified, Some(1), "4"), told(Added, Some(2), "4"), told(Deleted, Some(9), "4")] {
        assert_eq!(next(&mut again).await.unwrap(), expected);
    }
    assert_eq!(next(&mut again).await.unwrap(), told(Bookmark, None, "7"));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_and_told() {
    let shown = Arc::new(AtomicU32::new(1_000));
    let (_trigger, stop) = crate::stop::stop();
    let mut stream = serve(Numbers(shown), None, view(), stop, &Watchers::default()).unwrap();
    tokio::time::sleep(SEND_DEADLINE * 2).await;
    let mut got = 0;
    let end = loop {
        match stream.next().await.unwrap() {
            Ok(_) => got += 1,
            Err(status) => break status,
        }
    };
    assert_eq!((got, end.code()), (QUEUE, tonic::Code::ResourceExhausted));
}

#[tokio::test]
async fn who_watches_nothing_any_more_is_told() {
    let (view, shown) = (view(), Arc::new(AtomicU32::new(1)));
    let (_trigger, stop) = crate::stop::stop();
    let mut stream = serve(Numbers(shown.clone()), None, view.clone(), stop, &Watchers::default()).unwrap();
    while next(&mut stream).await.unwrap().0 != WatchType::Bookmark {}
    shown.store(0, Ordering::SeqCst);
    view.apply(Update::Changes(Vec::new()), 1);
    assert_eq!(next(&mut stream).await.unwrap_err().code(), tonic::Code::NotFound);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn what_is_old_is_not_watched() {
    let (view, shown) = (view(), Arc::new(AtomicU32::new(1)));
    let (_trigger, stop) = crate::stop::stop();
    let mut stream = serve(Numbers(shown), None, view.clone(), stop, &Watchers::default()).unwrap();
    while next(&mut stream).await.unwrap().0 != WatchType::Bookmark {}
    let error = StoreError::Unavailable { endpoints: "http://e".into(), cause: "refused".into() };
    view.apply(Update::Away { error, since: Instant::now() }, 1);
    let end = next(&mut stream).await.unwrap_err();
    assert!(end.code() == tonic::Code::Unavailable && end.message().contains("etcd at http://e"), "{end:?}");
    assert!(stream.next().await.is_none());
}

#[test]
fn watchers_are_counted() {
    let watchers = Watchers::default();
    let open: Vec<_> = (0..MAX_WATCHERS).map(|_| Outlet::<()>::channel(&watchers).unwrap()).collect();
    assert!(matches!(Outlet::<()>::channel(&watchers), Err(ApiError::Crowded(_))));
    drop(open);
    assert!(Outlet::<()>::channel(&watchers).is_ok());
}
