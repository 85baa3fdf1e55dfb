//! The unary services of the scripted etcd: keys, leases, maintenance; and heartbeats.
//!
//! Each call goes through the script first ([`super::shared::Shared::call`]).

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::pb::{self, kv_server::Kv, lease_server::Lease, maintenance_server::Maintenance};
use super::refusal::Refusal;
use super::script::Call;
use super::shared::Shared;
use super::store::Store;
use super::txn;

/// Version that `Status` tells.
const VERSION: &str = "3.5.99-scripted";
/// Heartbeats that wait for a slow client.
const ANSWERS: usize = 16;

/// A handle on what is served; one type serves all.
#[derive(Debug, Clone)]
pub(super) struct Service(pub(super) Arc<Shared>);

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl Kv for Service {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Answer<pb::RangeResponse> {
        let request = request.into_inner();
        let range = |store: &mut Store| {
            if request.key.is_empty() {
                return Err(Refusal::EmptyKey);
            }
            Ok(pb::RangeResponse { header: store.header(), ..store.range(&request)? })
        };
        self.0.call(Call::Range, range).await
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        let request = request.into_inner();
        let put = |store: &mut Store| {
            store.check_put(&request)?;
            let answer = store.commit(|store, at| store.put_at(&request, at))?;
            Ok(pb::PutResponse { header: store.header(), ..answer })
        };
        self.0.call(Call::Put, put).await
    }

    async fn delete_range(&self, request: Request<pb::DeleteRangeRequest>) -> Answer<pb::DeleteRangeResponse> {
        let request = request.into_inner();
        let delete = |store: &mut Store| {
            if request.key.is_empty() {
                return Err(Refusal::EmptyKey);
            }
            let answer = store.commit(|store, at| store.delete_at(&request, at));
            Ok(pb::DeleteRangeResponse { header: store.header(), ..answer })
        };
        self.0.call(Call::Delete, delete).await
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Answer<pb::TxnResponse> {
        let request = request.into_inner();
        self.0.call_with(Call::Txn, &txn::puts(&request), |store| store.txn(&request)).await
    }

    async fn compact(&self, request: Request<pb::CompactionRequest>) -> Answer<pb::CompactionResponse> {
        let at = request.into_inner().revision;
        let compact = |store: &mut Store| {
            store.compact(at)?;
            Ok(pb::CompactionResponse { header: store.header() })
        };
        self.0.call(Call::Compact, compact).await
    }
}

#[async_trait]
impl Lease for Service {
    async fn lease_grant(&self, request: Request<pb::LeaseGrantRequest>) -> Answer<pb::LeaseGrantResponse> {
        let request = request.into_inner();
        let grant = |store: &mut Store| {
            if store.no_space {
                return Err(Refusal::NoSpace);
            }
            let (id, ttl) = store.leases.grant(request.id, request.ttl)?;
            Ok(pb::LeaseGrantResponse { header: store.header(), id, ttl, error: String::new() })
        };
        self.0.call(Call::Grant, grant).await
    }

    async fn lease_revoke(&self, request: Request<pb::LeaseRevokeRequest>) -> Answer<pb::LeaseRevokeResponse> {
        let id = request.into_inner().id;
        let revoke = |store: &mut Store| match store.revoke(id) {
            true => Ok(pb::LeaseRevokeResponse { header: store.header() }),
            false => Err(Refusal::NoLease),
        };
        self.0.call(Call::Revoke, revoke).await
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let (sender, answers) = mpsc::channel(ANSWERS);
        tokio::spawn(heartbeats(Arc::clone(&self.0), request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Answer<pb::LeaseTimeToLiveResponse> {
        let request = request.into_inner();
        let look = |store: &mut Store| {
            let (ttl, granted_ttl) = store.leases.left(request.id).unwrap_or((-1, 0));
            let keys = if request.keys { store.leased(request.id) } else { Vec::new() };
            Ok(pb::LeaseTimeToLiveResponse { header: store.header(), id: request.id, ttl, granted_ttl, keys })
        };
        self.0.call(Call::TimeToLive, look).await
    }

    async fn lease_leases(&self, _: Request<pb::LeaseLeasesRequest>) -> Answer<pb::LeaseLeasesResponse> {
        let list = |store: &mut Store| {
            let leases = store.leases.ids().map(|id| pb::LeaseStatus { id }).collect();
            Ok(pb::LeaseLeasesResponse { header: store.header(), leases })
        };
        self.0.call(Call::Leases, list).await
    }
}

/// Answers heartbeats until the client goes, a refusal, or the loss of the leader.
async fn heartbeats(
    shared: Arc<Shared>,
    mut requests: Streaming<pb::LeaseKeepAliveRequest>,
    answers: mpsc::Sender<Result<pb::LeaseKeepAliveResponse, Status>>,
) {
    let (stream, mut changes) = (shared.stream(), shared.changes());
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            _ = changes.changed() => {
                if stream <= shared.fate().ended {
                    let _ = answers.send(Err(Refusal::NoLeader.into())).await;
                    return;
                }
                continue;
            }
        };
        let Ok(Some(pb::LeaseKeepAliveRequest { id })) = request else { return };
        // Of a lease that is gone etcd tells no error, but a life of 0.
        let renew = |store: &mut Store| {
            let ttl = store.leases.renew(id);
            Ok(pb::LeaseKeepAliveResponse { header: store.header(), id, ttl })
        };
        let answer = shared.call(Call::KeepAlive, renew).await.map(Response::into_inner);
        let refused = answer.is_err();
        if answers.send(answer).await.is_err() || refused {
            return;
        }
    }
}

#[async_trait]
impl Maintenance for Service {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Answer<pb::AlarmResponse> {
        let request = request.into_inner();
        let alarm = |store: &mut Store| {
            if request.alarm() == pb::AlarmType::Nospace {
                match request.action() {
                    pb::alarm_request::AlarmAction::Get => {}
                    action => store.no_space = action == pb::alarm_request::AlarmAction::Activate,
                }
            }
            let raised = pb::AlarmMember { member_id: 1, alarm: pb::AlarmType::Nospace.into() };
            let alarms = Vec::from_iter(store.no_space.then_some(raised));
            Ok(pb::AlarmResponse { header: store.header(), alarms })
        };
        self.0.call(Call::Maintenance, alarm).await
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Answer<pb::StatusResponse> {
        let status = |store: &mut Store| {
            let errors = Vec::from_iter(store.no_space.then(|| "memberID:1 alarm:NOSPACE ".to_owned()));
            let (version, leader, raft_term) = (VERSION.to_owned(), 1, 2);
            Ok(pb::StatusResponse { header: store.header(), version, leader, raft_term, errors, ..Default::default() })
        };
        self.0.call(Call::Maintenance, status).await
    }
}
