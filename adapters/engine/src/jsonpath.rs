//! JSONPath (RFC 9535), with a short way for the plain paths that adapters mostly consist of.

use serde_json::Value;

use crate::error::Fault;

/// A compiled path.
#[derive(Debug, Clone)]
pub(crate) enum JsonPath {
    /// Names, indices and `[*]` only.
    Plain(Vec<Segment>),
    /// Anything else.
    Full(Box<serde_json_path::JsonPath>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Name(String),
    Index(usize),
    Every,
}

impl JsonPath {
    /// Compiles `$.a.b[0]`, `a.b[*]` or any JSONPath; without `$` it starts at the current value.
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        let whole = if text.starts_with('$') {
            text.to_owned()
        } else if text.starts_with('[') {
            format!("${text}")
        } else {
            format!("$.{text}")
        };
        if let Some(segments) = plain(&whole) {
            return Ok(Self::Plain(segments));
        }
        // A descendant step visits everything; two in one path multiply, and a filter may hide further ones.
        if whole.matches("..").count() > 1 || whole.matches("[?").count() > 2 {
            return Err(Fault::new(text, format!("`{text}` may visit an answer too often; use at most one `..`")));
        }
        serde_json_path::JsonPath::parse(&whole)
            .map(|path| Self::Full(Box::new(path)))
            .map_err(|error| Fault::new(text, format!("`{text}` is no JSONPath ({error}); write it as RFC 9535 does")))
    }

    /// The values at the path, in the document's order.
    pub(crate) fn select<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Plain(segments) => {
                let mut found = Vec::new();
                descend(value, segments, &mut found);
                found
            }
            Self::Full(path) => path.query(value).all(),
        }
    }
}

fn descend<'v>(value: &'v Value, segments: &[Segment], found: &mut Vec<&'v Value>) {
    let Some((segment, rest)) = segments.split_first() else {
        found.push(value);
        return;
    };
    match segment {
        Segment::Name(name) => {
            if let Some(child) = value.as_object().and_then(|object| object.get(name)) {
                descend(child, rest, found);
            }
        }
        Segment::Index(index) => {
            if let Some(child) = value.as_array().and_then(|array| array.get(*index)) {
                descend(child, rest, found);
            }
        }
        Segment::Every => match value {
            Value::Array(array) => array.iter().for_each(|child| descend(child, rest, found)),
            Value::Object(object) => object.values().for_each(|child| descend(child, rest, found)),
            _ => {}
        },
    }
}

fn plain(text: &str) -> Option<Vec<Segment>> {
    let mut rest = text.strip_prefix('$')?;
    let mut segments = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = &after[..end];
            let first = name.chars().next()?;
            let word = |c: char| c.is_alphanumeric() || c == '_';
            if !(first.is_alphabetic() || first == '_') || !name.chars().all(word) {
                return None;
            }
            segments.push(Segment::Name(name.to_owned()));
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix("[*]") {
            segments.push(Segment::Every);
            rest = after;
        } else {
            let after = rest.strip_prefix('[')?;
            let end = after.find(']')?;
            let inner = &after[..end];
            let quoted = inner.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
            segments.push(match quoted {
                Some(name) if !name.contains(['\'', '\\']) => Segment::Name(name.to_owned()),
                _ => Segment::Index(inner.parse().ok()?),
            });
            rest = &after[end + 1..];
        }
    }
    Some(segments)
}

/// A value's text: strings as they are, numbers and truth values as written; nothing else has one.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_and_full_paths_agree() {
        let value = json!({"a": [{"b c": 1}, {"b c": 2}], "d": {"e": [3]}});
        for (path, expected) in [
            ("a[*]['b c']", vec![json!(1), json!(2)]),
            ("$.a[1]['b c']", vec![json!(2)]),
            ("$.d.e[0]", vec![json!(3)]),
            ("$..e", vec![json!([3])]),
            ("$.a[?@['b c'] > 1]['b c']", vec![json!(2)]),
            ("nothing.here", vec![]),
        ] {
            let found: Vec<Value> = JsonPath::compile(path).unwrap().select(&value).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
        assert!(JsonPath::compile("$..a..b").is_err());
        assert!(JsonPath::compile("$.a[").is_err());
    }
}
