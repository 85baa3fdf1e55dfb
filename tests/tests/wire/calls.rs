//! Calls of etcd whose answers are kept as text, without what differs between any two etcds.

use echo_tests::scripted::pb::{
    self, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest, compare, kv_client::KvClient, lease_client::LeaseClient, request_op::Request, watch_client,
    watch_request::RequestUnion,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// One client, and what it was answered.
pub(crate) struct Caller {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    watch: watch_client::WatchClient<Channel>,
    pub(crate) answers: Vec<String>,
}

macro_rules! call {
    ($name:ident, $service:ident . $method:ident, $request:ty) => {
        pub(crate) async fn $name(&mut self, request: $request) {
            let asked = format!("{request:?}");
            let answer = self.$service.$method(request).await.map(Response::into_inner);
            let answer = answer.map(|mut answer| {
                answer.header = answer.header.map(same);
                answer
            });
            self.note(&asked, answer);
        }
    };
}

impl Caller {
    pub(crate) async fn connect(url: &str) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        let (kv, lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel.clone()));
        Self { kv, lease, watch: watch_client::WatchClient::new(channel), answers: Vec::new() }
    }

    call!(range, kv.range, RangeRequest);
    call!(put, kv.put, PutRequest);
    call!(delete, kv.delete_range, DeleteRangeRequest);
    call!(txn, kv.txn, TxnRequest);
    call!(grant, lease.lease_grant, LeaseGrantRequest);

    pub(crate) async fn compact(&mut self, revision: i64) {
        let answer = self.kv.compact(pb::CompactionRequest { revision, physical: false }).await;
        self.note(&format!("compact {revision}"), answer.map(drop));
    }

    pub(crate) async fn revoke(&mut self, id: i64) {
        let answer = self.lease.lease_revoke(pb::LeaseRevokeRequest { id }).await;
        self.note(&format!("revoke {id}"), answer.map(|a| a.into_inner().header.map(same)));
    }

    pub(crate) async fn keep_alive(&mut self, id: i64) {
        let requests = tokio_stream::iter([pb::LeaseKeepAliveRequest { id }]);
        let mut answers = self.lease.lease_keep_alive(requests).await.unwrap().into_inner();
        let answer = answers.message().await.map(|answer| answer.map(|a| (a.id, a.ttl)));
        self.note(&format!("keep alive {id}"), answer);
    }

    pub(crate) async fn time_to_live(&mut self, id: i64) {
        let answer = self.lease.lease_time_to_live(pb::LeaseTimeToLiveRequest { id, keys: true }).await;
        let answer = answer.map(Response::into_inner);
        // The clock goes on between the calls.
        // etcd tells a lease's keys in no order.
        let told = answer.map(|mut a| {
            a.keys.sort_unstable();
            (a.id, a.ttl.signum(), a.granted_ttl, a.keys)
        });
        self.note(&format!("time to live {id}"), told);
    }

    pub(crate) async fn list_leases(&mut self) {
        let answer = self.lease.lease_leases(pb::LeaseLeasesRequest {}).await;
        self.note("leases", answer.map(|a| a.into_inner().leases));
    }

    /// Opens a watch and waits for so many messages or events.
    pub(crate) async fn watch(&mut self, create: WatchCreateRequest, wanted: usize) {
        let asked = format!("{create:?}");
        let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // Ended by the client only.
        let requests = tokio_stream::iter([create]).chain(tokio_stream::pending());
        let mut messages = self.watch.watch(requests).await.unwrap().into_inner();
        let mut told = Vec::new();
        // How events are spread over messages is etcd's own business.
        while told.len() <= wanted {
            let message = messages.message().await.unwrap().expect("a watch goes on");
            let about = (message.watch_id, message.created, message.canceled, message.compact_revision);
            if message.events.is_empty() {
                told.push(format!("{about:?}"));
            }
            told.extend(message.events.iter().map(|event| format!("{event:?}")));
        }
        self.note(&asked, Ok(told));
    }

    /// Two watches on one stream: opened, asked for progress, and one of them canceled.
    pub(crate) async fn talk(&mut self) {
        let create =
            |key: &str| RequestUnion::CreateRequest(WatchCreateRequest { key: key.into(), ..Default::default() });
        let asked = [
            create("a"),
            create("b"),
            RequestUnion::ProgressRequest(pb::WatchProgressRequest {}),
            RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 0 }),
        ];
        let (sender, requests) = mpsc::channel(asked.len());
        let mut asked = asked.map(|request| pb::WatchRequest { request_union: Some(request) }).into_iter();
        // etcd opens its half of the stream with its first answer only.
        sender.send(asked.next().unwrap()).await.unwrap();
        let mut messages = self.watch.watch(ReceiverStream::new(requests)).await.unwrap().into_inner();
        loop {
            let answer = messages.message().await.map(Option::unwrap);
            let answer = answer.map(|m| (m.watch_id, m.created, m.canceled, m.events.len(), m.header.map(same)));
            self.note("two watches", answer);
            let Some(next) = asked.next() else { break };
            sender.send(next).await.unwrap();
        }
    }

    fn note(&mut self, asked: &str, answer: Result<impl std::fmt::Debug, Status>) {
        let answer = answer.map_err(|status| (status.code(), status.message().to_owned()));
        self.answers.push(format!("{asked} -> {answer:?}"));
    }
}

/// Only the revision is the same in two etcds.
fn same(header: pb::ResponseHeader) -> pb::ResponseHeader {
    pb::ResponseHeader { revision: header.revision, ..Default::default() }
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.into(), ..Default::default() }
}

pub(crate) fn range_of(key: &str, end: &str) -> RangeRequest {
    RangeRequest { range_end: end.into(), ..get(key) }
}

pub(crate) fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: false }
}

pub(crate) fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success, failure }
}

/// Holds if the key was made at this revision; 0: if there is none.
pub(crate) fn equal(key: &str, create_revision: i64) -> Compare {
    let target_union = Some(compare::TargetUnion::CreateRevision(create_revision));
    let target = compare::CompareTarget::Create.into();
    Compare { result: 0, target, key: key.into(), target_union, range_end: Vec::new() }
}

/// An operation of a transaction.
pub(crate) fn branch(request: impl Into<Op>) -> RequestOp {
    RequestOp { request: Some(request.into().0) }
}

pub(crate) struct Op(Request);

impl From<PutRequest> for Op {
    fn from(put: PutRequest) -> Self {
        Self(Request::RequestPut(put))
    }
}

impl From<RangeRequest> for Op {
    fn from(range: RangeRequest) -> Self {
        Self(Request::RequestRange(range))
    }
}

impl From<DeleteRangeRequest> for Op {
    fn from(delete: DeleteRangeRequest) -> Self {
        Self(Request::RequestDeleteRange(delete))
    }
}
