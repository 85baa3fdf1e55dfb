//! Pools from files: every document of every file, read and checked before anything is done with one.
//!
//! Used by `apply` and `up`. It must report all mistakes of all files at once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use echo_proto::codec::{self, FieldError, FieldErrors, MAX_DOCUMENT_BYTES};
use echo_proto::{spec, v1};

use crate::connect::io_cause;
use crate::failure::{Failure, Mistakes};

/// Stands for stdin.
const STDIN: &str = "-";

/// The valid pools of `files`, in order; `-` is stdin.
///
/// # Errors
/// A file that can't be read, or every mistake in all of them.
pub(crate) fn read_pools(files: &[String]) -> Result<Vec<v1::Pool>, Failure> {
    let mut mistakes = Mistakes::default();
    let mut pools = Vec::new();
    let mut seen = BTreeMap::new();
    for file in files {
        let name = if file == STDIN { "stdin" } else { file };
        match codec::parse_yaml(&read_text(file)?) {
            Err(error) => mistakes.add(name, FieldErrors(vec![error])),
            Ok(documents) => {
                let documents: Vec<_> = documents.into_iter().filter(|d| !d.is_null()).collect();
                if documents.is_empty() {
                    mistakes.add(name, FieldErrors(vec![FieldError::new("", "holds no pool")]));
                }
                let several = documents.len() > 1;
                for (index, document) in documents.iter().enumerate() {
                    let name = if several { format!("{name} document {}", index + 1) } else { name.to_owned() };
                    match read_pool(document, &name, &mut seen) {
                        Ok(pool) => pools.push(pool),
                        Err(errors) => mistakes.add(&name, errors),
                    }
                }
            }
        }
    }
    mistakes.check()?;
    Ok(pools)
}

/// One document; `seen` tells where each pool was met before.
fn read_pool(
    document: &serde_json::Value,
    name: &str,
    seen: &mut BTreeMap<String, String>,
) -> Result<v1::Pool, FieldErrors> {
    let (pool, plan) = spec::read_pool(document)?;
    match seen.insert(plan.name.to_string(), name.to_owned()) {
        None => Ok(pool),
        Some(before) => {
            let cause = format!("pool {:?} stands in {before} too; give each pool once", plan.name.as_str());
            Err(FieldErrors(vec![FieldError::new("metadata.name", cause)]))
        }
    }
}

fn read_text(file: &str) -> Result<String, Failure> {
    let failure = |cause: String| Failure::File { name: file.to_owned(), cause };
    // One byte more than the codec takes, so that it can refuse what is too long without all of it being read.
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if file == STDIN {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(Path::new(file)).and_then(|f| f.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|e| failure(io_cause(&e)))?;
    String::from_utf8(bytes).map_err(|e| failure(format!("not UTF-8 text at byte {}", e.utf8_error().valid_up_to())))
}
