//! Label selectors in kubectl's equality grammar: `team=net,tier!=test,canary,!old`.
//!
//! Used by the API's lists and watches, and by `echoctl` to check `-l` before anything is sent. As in Kubernetes, all
//! parts must hold, and `a!=b` also holds for what has no label `a`. Pure and bounded; a part that can't be read is an
//! error that names it, since a selector that is half understood selects the wrong nodes.

use std::str::FromStr;

use echo_proto::spec::{MAX_LABEL_BYTES, MAX_LABELS};

/// Longest selector: as many labels as an object may have, each as long as it may be.
const MAX_BYTES: usize = MAX_LABELS * 2 * MAX_LABEL_BYTES;
/// Characters of a part that a mistake shows.
const SHOWN: usize = 40;

/// What labels must be; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Part>);

/// One part of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    key: String,
    wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// `a`
    Present,
    /// `!a`
    Absent,
    /// `a=b`, `a==b`
    Value(String),
    /// `a!=b`
    NotValue(String),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} {cause}; write it as in \"team=net,tier!=test,canary,!old\"")]
pub struct InvalidSelector {
    part: String,
    cause: String,
}

impl Selector {
    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels, by key, are as wanted.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|part| {
            let found = label(&part.key);
            match &part.wanted {
                Wanted::Present => found.is_some(),
                Wanted::Absent => found.is_none(),
                Wanted::Value(value) => found == Some(value),
                Wanted::NotValue(value) => found != Some(value),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if text.len() > MAX_BYTES {
            return Err(invalid(text, format!("has {} bytes; at most {MAX_BYTES}", text.len())));
        }
        let parts = text.split(',').map(|part| read(part.trim())).collect::<Result<Vec<_>, _>>()?;
        if parts.len() > MAX_LABELS {
            return Err(invalid(text, format!("has {} parts; at most {MAX_LABELS}", parts.len())));
        }
        Ok(Self(parts))
    }
}

fn read(part: &str) -> Result<Part, InvalidSelector> {
    let (key, wanted) = if let Some((key, value)) = part.split_once("!=") {
        (key, Wanted::NotValue(label_value(part, value)?))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Wanted::Value(label_value(part, value)?))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Wanted::Absent)
    } else {
        (part, Wanted::Present)
    };
    let key = key.trim();
    if key.is_empty() {
        return Err(invalid(part, "names no label"));
    }
    if key.len() > MAX_LABEL_BYTES {
        return Err(invalid(part, format!("names a label of {} bytes; at most {MAX_LABEL_BYTES}", key.len())));
    }
    if key.contains(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '!' | '=')) {
        return Err(invalid(part, "is not understood: only a=b, a!=b, a and !a are"));
    }
    Ok(Part { key: key.to_owned(), wanted })
}

fn label_value(part: &str, value: &str) -> Result<String, InvalidSelector> {
    let value = value.trim();
    if value.len() > MAX_LABEL_BYTES {
        return Err(invalid(part, format!("has a value of {} bytes; at most {MAX_LABEL_BYTES}", value.len())));
    }
    if value.contains('=') || value.starts_with('!') {
        return Err(invalid(part, "has two operators"));
    }
    Ok(value.to_owned())
}

fn invalid(part: &str, cause: impl Into<String>) -> InvalidSelector {
    InvalidSelector { part: part.chars().take(SHOWN).collect(), cause: cause.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let find = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
        selector.parse::<Selector>().unwrap().matches(find)
    }

    #[test]
    fn every_operator_does_what_kubectl_does() {
        let labels = [("team", "net"), ("canary", "")];
        for good in
            ["", " ", "team=net", "team==net", "team = net", "canary", "canary=", "!old", "tier!=test", "team!=web"]
        {
            assert!(matches(good, &labels), "{good}");
        }
        for bad in ["team=web", "team!=net", "old", "!team", "team=", "old=x", "team=net,old"] {
            assert!(!matches(bad, &labels), "{bad}");
        }
        assert!(matches("team=net, canary ,!old,tier!=test", &labels), "all parts hold");
    }

    #[test]
    fn a_bad_part_is_named() {
        for (text, part) in [
            ("a=b,,c", "\"\""),
            ("a=b,=c", "\"=c\""),
            ("!", "\"!\""),
            ("a in (b,c)", "\"a in (b\""),
            ("a=b=c", "\"a=b=c\""),
            ("a=!b", "\"a=!b\""),
            ("!!a", "\"!!a\""),
            ("!a=b", "\"!a=b\""),
        ] {
            let error = text.parse::<Selector>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{part} ")), "{text}: {error}");
        }
    }

    #[test]
    fn selectors_are_bounded() {
        let many = vec!["a"; MAX_LABELS + 1].join(",");
        let long = "k".repeat(MAX_LABEL_BYTES + 1);
        for text in [many, long.clone(), format!("k={long}"), "x".repeat(MAX_BYTES + 1)] {
            let error = text.parse::<Selector>().unwrap_err();
            assert!(error.to_string().len() < 200, "{error}");
        }
    }
}
