//! What mistakes in a document say: its own text, cut; the known name that was probably meant.
//!
//! Used by the reader, and by who completes names that people type. However long a text is, what is told of it is short.

use std::borrow::Cow;

use serde_json::Value;

/// Most characters of a document's own text, such as a name or a value, that a mistake shows.
const SHOWN: usize = 40;

/// Most known names that a mistake lists.
const MAX_KNOWN: usize = 16;

/// A document's own text, cut to a readable length.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// Names a value as its writer would, cut to a readable length.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("{:?}", cut(s)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}

/// "unknown field", with the nearest known name, or where none is near with what there is.
pub(super) fn unknown(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let mut names: Vec<_> = known.collect();
    if let Some(nearest) = nearest(name, names.iter().cloned()) {
        return format!("unknown {what}; did you mean {nearest}?");
    }
    let more = if names.len() > MAX_KNOWN { ", ..." } else { "" };
    names.truncate(MAX_KNOWN);
    match names.as_slice() {
        [] => format!("unknown {what}; there are none here"),
        [one] => format!("unknown {what}; there is only {one}"),
        names => format!("unknown {what}; there are {}{more}", names.join(", ")),
    }
}

/// The known name that `name` was probably meant to be, if one is near.
pub fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    if name.len() > SHOWN {
        // None of ours is near, and to look would take as long as its writer likes.
        return None;
    }
    let (far, nearest) =
        known.map(|k| (strsim::damerau_levenshtein(&k.to_lowercase(), &name.to_lowercase()), k)).min()?;
    (far <= name.chars().count().max(3) / 3).then_some(nearest)
}
