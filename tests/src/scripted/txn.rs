//! Transactions of the scripted etcd: what is compared, and what is done then.
//!
//! Called by the KV service. A transaction is checked whole before anything of it is done.

use super::pb::compare::{CompareResult, CompareTarget, TargetUnion};
use super::pb::request_op::Request;
use super::pb::response_op::Response;
use super::pb::{Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, ResponseOp};
use super::pb::{TxnRequest, TxnResponse};
use super::refusal::Refusal;
use super::store::{Keys, Store};

/// Most operations of a transaction, by etcd's default.
const MAX_OPS: usize = 128;

/// The keys that it puts if all compares hold.
pub(super) fn puts(request: &TxnRequest) -> Vec<&[u8]> {
    let ops = request.success.iter().filter_map(|op| op.request.as_ref());
    ops.filter_map(|op| if let Request::RequestPut(put) = op { Some(put.key.as_slice()) } else { None }).collect()
}

impl Store {
    /// Does one branch, all at one revision.
    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Refusal> {
        self.check(request)?;
        let mut answer = self.commit(|store, at| store.txn_at(request, at));
        answer.header = self.header();
        Ok(answer)
    }

    fn txn_at(&mut self, request: &TxnRequest, at: i64) -> TxnResponse {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &request.success } else { &request.failure };
        let responses = ops.iter().filter_map(|op| self.op(op.request.as_ref()?, at)).collect();
        TxnResponse { header: self.header_within(at), succeeded, responses }
    }

    fn op(&mut self, request: &Request, at: i64) -> Option<ResponseOp> {
        let mut response = match request {
            Request::RequestRange(range) => Response::ResponseRange(self.range(range).ok()?),
            Request::RequestPut(put) => Response::ResponsePut(self.put_at(put, at).ok()?),
            Request::RequestDeleteRange(delete) => Response::ResponseDeleteRange(self.delete_at(delete, at)),
            Request::RequestTxn(txn) => Response::ResponseTxn(self.txn_at(txn, at)),
        };
        let header = match &mut response {
            Response::ResponseRange(range) => &mut range.header,
            Response::ResponsePut(put) => &mut put.header,
            Response::ResponseDeleteRange(delete) => &mut delete.header,
            Response::ResponseTxn(txn) => &mut txn.header,
        };
        *header = self.header_within(at);
        Some(ResponseOp { response: Some(response) })
    }

    /// Whether all of it can be done, whichever branch it takes.
    fn check(&self, request: &TxnRequest) -> Result<(), Refusal> {
        if request.compare.iter().any(|compare| compare.key.is_empty()) {
            return Err(Refusal::EmptyKey);
        }
        for branch in [&request.success, &request.failure] {
            if branch.len().max(request.compare.len()) > MAX_OPS {
                return Err(Refusal::TooManyOps);
            }
            no_key_twice(branch)?;
            for op in branch.iter().filter_map(|op| op.request.as_ref()) {
                self.check_op(op)?;
            }
        }
        Ok(())
    }

    fn check_op(&self, op: &Request) -> Result<(), Refusal> {
        match op {
            Request::RequestTxn(txn) => self.check(txn),
            Request::RequestRange(RangeRequest { key, .. })
            | Request::RequestDeleteRange(DeleteRangeRequest { key, .. })
                if key.is_empty() =>
            {
                Err(Refusal::EmptyKey)
            }
            Request::RequestRange(range) => self.range(range).map(drop),
            Request::RequestDeleteRange(_) => Ok(()),
            Request::RequestPut(put) => self.check_put(put),
        }
    }

    /// Whether a put can be done now.
    pub(super) fn check_put(&self, put: &PutRequest) -> Result<(), Refusal> {
        match put {
            put if put.key.is_empty() => Err(Refusal::EmptyKey),
            _ if self.no_space => Err(Refusal::NoSpace),
            put if put.lease != 0 && !self.leases.knows(put.lease) => Err(Refusal::NoLease),
            _ => Ok(()),
        }
    }

    /// A compare of a range holds for each key of it; of none, for a key that was never there.
    fn holds(&self, compare: &Compare) -> bool {
        let all =
            RangeRequest { key: compare.key.clone(), range_end: compare.range_end.clone(), ..RangeRequest::default() };
        let found = self.range(&all).map(|found| found.kvs).unwrap_or_default();
        match found.as_slice() {
            [] if compare.target() == CompareTarget::Value => false,
            [] => compares(compare, &KeyValue::default()),
            found => found.iter().all(|kv| compares(compare, kv)),
        }
    }
}

fn compares(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target_union {
        Some(TargetUnion::Version(wanted)) => kv.version.cmp(wanted),
        Some(TargetUnion::CreateRevision(wanted)) => kv.create_revision.cmp(wanted),
        Some(TargetUnion::ModRevision(wanted)) => kv.mod_revision.cmp(wanted),
        Some(TargetUnion::Value(wanted)) => kv.value.cmp(wanted),
        Some(TargetUnion::Lease(wanted)) => kv.lease.cmp(wanted),
        None => return false,
    };
    match compare.result() {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}

/// A branch may write a key only once.
fn no_key_twice(branch: &[RequestOp]) -> Result<(), Refusal> {
    let ops = || branch.iter().filter_map(|op| op.request.as_ref());
    let puts: Vec<&PutRequest> =
        ops().filter_map(|op| if let Request::RequestPut(put) = op { Some(put) } else { None }).collect();
    let twice = puts.iter().enumerate().any(|(i, put)| puts[..i].iter().any(|other| other.key == put.key));
    let deleted = ops().any(|op| match op {
        Request::RequestDeleteRange(delete) => {
            let keys = Keys::new(&delete.key, &delete.range_end);
            puts.iter().any(|put| keys.contain(&put.key))
        }
        _ => false,
    });
    if twice || deleted { Err(Refusal::DuplicateKey) } else { Ok(()) }
}
