//! The pool of a new cluster: applied once etcd answers, where no pool of its name exists.
//!
//! Read before anything is bound, so that a mistake in the file ends the start. It never changes a pool that exists:
//! that one has a history of its own.

use std::time::Duration;
use tracing::{Instrument as _, info_span};

use echo_proto::codec::{self, FieldError, FieldErrors};
use echo_proto::{spec, v1};

use super::AppError;
use crate::api::Api;
use crate::settings::Bootstrap;
use crate::stop::Stop;
use echo_proto::backoff::Backoff;

/// Waits while etcd is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Reads and checks the file.
pub(super) fn read(bootstrap: &Bootstrap) -> Result<v1::ApplyRequest, AppError> {
    let path = &bootstrap.file;
    let text = std::fs::read_to_string(path).map_err(|cause| AppError::File { path: path.clone(), cause })?;
    let invalid = |errors| AppError::Pool { path: path.clone(), errors };
    let documents = codec::parse_yaml(&text).map_err(|e| invalid(FieldErrors(vec![e])))?;
    let [document] = documents.as_slice() else {
        let cause = format!("{} documents; a bootstrap pool is one", documents.len());
        return Err(invalid(FieldErrors(vec![FieldError::new("", cause)])));
    };
    let (mut pool, _) = spec::read_pool(document).map_err(invalid)?;
    if let Some(replicas) = bootstrap.replicas {
        pool.spec.get_or_insert_default().replicas = Some(replicas);
        spec::check_pool(&pool).map_err(invalid)?;
    }
    // No path: the message is read wherever the pool is.
    let bootstrap = || "bootstrap".to_owned();
    Ok(v1::ApplyRequest { pool: Some(pool), author: bootstrap(), message: bootstrap(), ..Default::default() })
}

/// Applies it, trying until etcd answers; then waits for `stop`, as all tasks do.
pub(super) async fn run(api: Api, request: v1::ApplyRequest, mut stop: Stop) {
    tokio::select! {
        // A span of its own: also this change is a trace that its records carry.
        () = apply(&api, &request).instrument(info_span!("bootstrap")) => stop.wait().await,
        () = stop.wait() => {}
    }
}

async fn apply(api: &Api, request: &v1::ApplyRequest) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    loop {
        match api.create_pool(request).await {
            Ok(true) => return tracing::info!("the bootstrap pool is created"),
            Ok(false) => return tracing::info!("the bootstrap pool exists already; it is left as it is"),
            Err(error) if error.is_unavailable() => tokio::time::sleep(backoff.next_wait()).await,
            Err(error) => return tracing::error!(%error, "the bootstrap pool is not created"),
        }
    }
}
