//! JSON and YAML <-> messages, driven by the descriptors, so that no message needs code of its own.
//!
//! Called by `echoctl` for files and output, by control and the nodes for every value in etcd. Reading collects every
//! mistake with its path and never stops at the first; writing gives canonical protobuf JSON
//! (<https://protobuf.dev/programming-guides/json/>) for etcd, the same with all defaults for `-o json`, or the human form (short enum names,
//! `10s`) for `-o yaml`. All are read. It must never panic on what a file or etcd holds.

mod duration;
mod read;
mod words;
mod write;

use std::fmt;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

pub use words::nearest;

/// Largest JSON or YAML text that is read, in bytes; etcd's own limit for a value is 1.5 MiB.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// One mistake in a document: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// As in `spec.template.listeners[0].port`; empty for the whole document.
    pub path: String,
    /// What is wrong, and where it helps, what would be right.
    pub cause: String,
}

impl FieldError {
    /// A mistake at `path`.
    pub fn new(path: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { path: path.into(), cause: cause.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.cause) } else { write!(f, "{}: {}", self.path, self.cause) }
    }
}

/// All mistakes of a document, in its order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct FieldErrors(pub Vec<FieldError>);

/// How unknown fields and enum names are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// What people write and what nodes run: nothing unknown passes.
    Strict,
    /// Records and events: a newer writer's fields are passed over.
    Lenient,
    /// A record with a part that must be understood: they are told apart, in [`Decoded::unknown`].
    Apart,
}

/// A message generated from our `.proto` files.
pub trait Message: prost::Message + prost::Name + Default {}
impl<M: prost::Message + prost::Name + Default> Message for M {}

/// What could be read of a document, and every mistake in it.
///
/// The message holds all that was right, so that a validity rule can add its findings before anything is reported.
#[derive(Debug)]
pub struct Decoded<M> {
    /// Fields at fault are absent.
    pub message: M,
    /// In the order of the document.
    pub errors: Vec<FieldError>,
    /// What is unknown, where it is told apart.
    pub unknown: Vec<FieldError>,
}

impl<M> Decoded<M> {
    /// The message, if nothing was wrong.
    pub fn strictly(self) -> Result<M, FieldErrors> {
        if self.errors.is_empty() { Ok(self.message) } else { Err(FieldErrors(self.errors)) }
    }
}

/// The documents of a YAML stream (or one JSON text), as untyped values.
///
/// # Errors
/// The first syntax error, with its line; or a text over [`MAX_DOCUMENT_BYTES`].
pub fn parse_yaml(text: &str) -> Result<Vec<Value>, FieldError> {
    check_size(text.len())?;
    let options = serde_saphyr::Options::default();
    serde_saphyr::from_multiple_with_options(text, options).map_err(|e| {
        let cause = cause(&e);
        if let serde_saphyr::Error::DuplicateMappingKey { key, location } = cause {
            let key = key.as_deref().unwrap_or("a key");
            let place = format!("line {} column {}", location.line(), location.column());
            return FieldError::new("", format!("not YAML: {place}: {key} stands twice in one mapping; give it once"));
        }
        if let serde_saphyr::Error::Budget { .. } = cause {
            let told = "not YAML of ours: aliases or nesting make it larger than anything that is read";
            return FieldError::new("", told);
        }
        // Its first line tells place and cause; below it, the text is shown again under a name that is not the file's.
        let told = e.to_string();
        let first = told.lines().next().unwrap_or_default();
        FieldError::new("", format!("not YAML: {}", first.strip_prefix("error: ").unwrap_or(first)))
    })
}

/// The mistake itself, without where it is shown and through which aliases it was met.
fn cause(mut error: &serde_saphyr::Error) -> &serde_saphyr::Error {
    use serde_saphyr::Error::{AliasError, WithSnippet};
    while let AliasError { error: inner, .. } | WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    error
}

/// Reads one message from an untyped value.
pub fn decode<M: Message>(value: &Value, strictness: Strictness) -> Decoded<M> {
    let mut reader = read::Reader::new(strictness);
    let dynamic = reader.message(&descriptor::<M>(), value);
    let message = dynamic.transcode_to().unwrap_or_else(|e| {
        reader.fail(format!("does not fit {}: {e}", M::full_name()));
        M::default()
    });
    let (errors, unknown) = reader.into_errors();
    Decoded { message, errors, unknown }
}

/// Reads one message from JSON, as it stands in etcd.
///
/// # Errors
/// Every mistake in it, or that it is no JSON.
pub fn from_json<M: Message>(json: &[u8], strictness: Strictness) -> Result<M, FieldErrors> {
    decode_json(json, strictness).strictly()
}

/// Reads what can be read of one message from JSON, for who goes on with the part that was right.
pub fn decode_json<M: Message>(json: &[u8], strictness: Strictness) -> Decoded<M> {
    let parsed = check_size(json.len()).and_then(|()| {
        serde_json::from_slice::<Value>(json).map_err(|e| FieldError::new("", format!("not JSON: {e}")))
    });
    match parsed {
        Ok(value) => decode(&value, strictness),
        Err(error) => Decoded { message: M::default(), errors: vec![error], unknown: Vec::new() },
    }
}

/// A duration as people write it in pool files and flags: `300s`, `50us`, `1h30m`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    duration::parse(text).and_then(|d| d.try_into().ok())
}

/// Canonical protobuf JSON, one line; the same message gives the same bytes.
pub fn to_json<M: Message>(message: &M) -> String {
    to_value(message).to_string()
}

/// Canonical protobuf JSON as an untyped value, in the order of the fields' numbers.
pub fn to_value<M: Message>(message: &M) -> Value {
    write::value(&dynamic(message), write::Form::Canonical)
}

/// As [`to_value`], with what is zero, false or empty, so that a program that reads it can ask for that. What has a
/// presence of its own and was not set is left out still.
pub fn to_full_value<M: Message>(message: &M) -> Value {
    write::value(&dynamic(message), write::Form::Full)
}

/// The form for people: short enum names, durations as `10s`, numbers as numbers.
pub fn to_human_value<M: Message>(message: &M) -> Value {
    write::value(&dynamic(message), write::Form::Human)
}

/// YAML of an untyped value.
pub fn yaml(value: &Value) -> String {
    // A tree of text, numbers and maps with text keys always serialises; the error type is the trait's.
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn check_size(bytes: usize) -> Result<(), FieldError> {
    if bytes <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(FieldError::new("", format!("{bytes} bytes; at most {MAX_DOCUMENT_BYTES} are read")))
}

fn dynamic<M: Message>(message: &M) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor::<M>());
    // Cannot fail: the descriptor is the message's own, from the same protoc run.
    let _ = dynamic.transcode_from(message);
    dynamic
}

/// Descriptors of the whole contract.
#[allow(clippy::expect_used)] // protoc wrote both it and the code that the tests run.
pub(crate) fn descriptors() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).expect("protoc wrote a descriptor set that it can't read")
    });
    &POOL
}

/// The fields of a message as files name them, in the order of the contract.
pub(crate) fn field_names<M: Message>() -> Vec<String> {
    descriptor::<M>().fields().map(|field| field.json_name().to_owned()).collect()
}

#[allow(clippy::expect_used)] // Both come from one protoc run; the tests below go through every record.
fn descriptor<M: Message>() -> MessageDescriptor {
    descriptors().get_message_by_name(&M::full_name()).expect("a generated message is in the descriptor set")
}

#[cfg(test)]
mod tests;
