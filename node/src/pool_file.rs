//! The pool file of `--config`: what a node serves without any etcd.
//!
//! Read once, by `main`, before anything is told under the pool's name. The same validity rule as everywhere; every
//! mistake is told with its path.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use echo_proto::codec::{self, FieldError, FieldErrors, MAX_DOCUMENT_BYTES};
use echo_proto::ids::{Digest, PoolName};
use echo_proto::spec::{self, Plan};
use echo_proto::v1;

use crate::settings::Source;

/// What a file says.
#[derive(Debug, Clone)]
pub struct PoolFile {
    /// Name of the pool.
    pub pool: PoolName,
    /// What it serves: a digest, but neither a pool's uid nor a number.
    pub revision: v1::RevisionRef,
    /// How to serve it.
    pub plan: Arc<Plan>,
}

/// Why a file can't be served.
#[derive(Debug, thiserror::Error)]
pub enum PoolFileError {
    /// It can't be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is no valid pool.
    #[error("{}", lines(.path, .errors))]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Every mistake.
        errors: FieldErrors,
    },
}

/// One line for each mistake: file, path in it, cause.
fn lines(path: &Path, errors: &FieldErrors) -> String {
    let line = |error: &FieldError| format!("{}: {error}", path.display());
    errors.0.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Reads the file of a node that has one.
///
/// # Errors
/// It can't be read, or it is not exactly one valid pool.
pub fn of(source: &Source) -> Result<Option<PoolFile>, PoolFileError> {
    match source {
        Source::File(path) => read(path).map(Some),
        Source::Etcd { .. } => Ok(None),
    }
}

fn read(path: &Path) -> Result<PoolFile, PoolFileError> {
    let text = text(path).map_err(|source| PoolFileError::Io { path: path.to_owned(), source })?;
    parse(&text).map_err(|errors| PoolFileError::Invalid { path: path.to_owned(), errors })
}

/// At most as much as the codec will take, and a byte to show that there is more.
fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Result<PoolFile, FieldErrors> {
    let documents = codec::parse_yaml(text).map_err(|error| FieldErrors(vec![error]))?;
    let [document] = documents.as_slice() else {
        let cause = format!("expected one pool, got {} documents", documents.len());
        return Err(FieldErrors(vec![FieldError::new("", cause)]));
    };
    let (pool, plan) = spec::read_pool(document)?;
    let template = pool.spec.and_then(|spec| spec.template).unwrap_or_default();
    let digest = Digest::of(&template).to_string();
    let revision = v1::RevisionRef { digest, ..Default::default() };
    Ok(PoolFile { pool: plan.name, revision, plan: Arc::new(plan.template) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const POOL: &str = "
apiVersion: echo/v1
kind: Pool
metadata: {name: edge}
spec:
  template:
    listeners:
    - {name: a, protocol: TCP, port: 7007, service: {echo: {}}}
";

    #[test]
    fn a_pool_becomes_a_plan() {
        let file = parse(POOL).unwrap();
        assert_eq!((file.pool.as_str(), file.revision.n, file.revision.digest.len()), ("edge", 0, 64));
        assert_eq!(file.plan.listeners.len(), 1);
    }

    #[test]
    fn every_mistake_has_its_path_and_its_line() {
        let errors = parse(&POOL.replace("7007", "70000").replace("echo: {}", "eco: {}")).unwrap_err();
        let error = PoolFileError::Invalid { path: "pool.yaml".into(), errors }.to_string();
        let paths: Vec<_> = error.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
        let listener = "spec.template.listeners[0]";
        assert_eq!(
            paths,
            [format!("{listener}.service.eco"), format!("{listener}.port"), format!("{listener}.service")]
        );
        assert!(error.lines().all(|line| line.starts_with("pool.yaml: ")), "{error}");
    }

    #[test]
    fn one_pool_is_wanted() {
        for text in ["", &format!("{POOL}---{POOL}"), "- [", "7"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let missing = read(Path::new("/nonexistent/pool.yaml")).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/pool.yaml: No such file"), "{missing}");
    }
}
