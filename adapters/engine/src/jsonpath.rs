//! JSONPath (RFC 9535), with a short way for the plain paths that adapters mostly consist of.

use serde_json::Value;

use crate::{error::Fault, work};

/// A compiled path.
#[derive(Debug, Clone)]
pub(crate) enum JsonPath {
    /// Names, indices and `[*]` only.
    Plain(Vec<Segment>),
    /// Anything else, and how often it may visit a whole answer.
    Full(Box<serde_json_path::JsonPath>, Often),
}

/// How often a path may visit each value of an answer: once, or once for each value that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    Once,
    Each,
}

/// A value, and its name where an object holds it.
pub(crate) type Named<'v> = (&'v Value, Option<&'v str>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Name(String),
    Index(usize),
    Every,
}

impl JsonPath {
    /// Compiles `$.a.b[0]`, `a.b[*]` or any JSONPath; without `$` it starts at the current value.
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        // Elsewhere `.a` is a member; here it would be looked for at any depth.
        if text.starts_with('.') {
            let bare = text.trim_start_matches('.');
            let problem = format!("`{text}` begins with a dot; write {bare}, or $..{bare} for any depth");
            return Err(Fault::new(text, problem));
        }
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
        let Some(often) = how_often(&whole) else {
            let how = "use at most one `..`, and one lookup of many values from `$` on in its filters";
            return Err(Fault::new(text, format!("`{text}` may visit an answer too often; {how}")));
        };
        serde_json_path::JsonPath::parse(&whole).map(|path| Self::Full(Box::new(path), often)).map_err(|error| {
            let remedy = match text.contains('-') {
                true => "a name with a hyphen stands in brackets: ['a-b']",
                false => "write it as RFC 9535 does",
            };
            Fault::new(text, format!("`{text}` is no JSONPath ({error}); {remedy}"))
        })
    }

    /// The values at the path, in the document's order.
    pub(crate) fn select<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.select_named(value).into_iter().map(|(found, _)| found).collect()
    }

    /// The same, each with the name that it bears in the object it stands in. Paths that are not plain tell no names.
    pub(crate) fn select_named<'v>(&self, value: &'v Value) -> Vec<Named<'v>> {
        match self {
            Self::Plain(segments) => {
                let mut found = Vec::new();
                descend((value, None), segments, &mut found);
                found
            }
            Self::Full(path, often) => {
                let size = size(value);
                let steps = if *often == Often::Each { size.saturating_mul(size) } else { size };
                if !work::step(steps) {
                    return Vec::new();
                }
                path.query(value).all().into_iter().map(|found| (found, None)).collect()
            }
        }
    }
}

/// A descendant step visits everything, and two in one path multiply. What a filter looks up from `$` on, it looks up anew for
/// each value that it judges. `None`: more often than any answer is worth.
fn how_often(path: &str) -> Option<Often> {
    let bare = without_texts(path);
    let filters = bare.split_once('?').map_or("", |(_, filters)| filters);
    let from_root = filters.split('$').skip(1).map(lookup);
    let many = from_root.filter(|lookup: &&str| lookup.contains(['*', ':', '?']) || lookup.contains("..")).count();
    match (bare.matches("..").count(), many) {
        (0 | 1, 0) => Some(Often::Once),
        (0, 1) => Some(Often::Each),
        _ => None,
    }
}

/// A path without what stands in its quotes.
fn without_texts(path: &str) -> String {
    let (mut quote, mut escaped, mut bare) = (None, false, String::new());
    for c in path.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None => bare.push(c),
        }
    }
    bare
}

/// The part of a filter that belongs to the lookup at its beginning.
fn lookup(filter: &str) -> &str {
    let mut depth = 0_i32;
    let end = filter.find(|c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth < 0 || (depth == 0 && (c.is_whitespace() || "()&|=!<>,".contains(c)))
    });
    &filter[..end.unwrap_or(filter.len())]
}

/// How many values there are, this one among them.
fn size(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<u64>(),
        _ => 1,
    }
}

fn descend<'v>(at: Named<'v>, segments: &[Segment], found: &mut Vec<Named<'v>>) {
    if !work::step(1) {
        return;
    }
    let Some((segment, rest)) = segments.split_first() else {
        found.push(at);
        return;
    };
    let (value, _) = at;
    match segment {
        Segment::Name(name) => {
            if let Some((name, child)) = value.as_object().and_then(|object| object.get_key_value(name)) {
                descend((child, Some(name.as_str())), rest, found);
            }
        }
        Segment::Index(index) => {
            if let Some(child) = value.as_array().and_then(|array| array.get(*index)) {
                descend((child, None), rest, found);
            }
        }
        Segment::Every => match value {
            Value::Array(array) => array.iter().for_each(|child| descend((child, None), rest, found)),
            Value::Object(object) => {
                object.iter().for_each(|(name, child)| descend((child, Some(name.as_str())), rest, found));
            }
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
        assert!(JsonPath::compile("$.a[").is_err());
        let told = |path: &str| JsonPath::compile(path).unwrap_err().problem;
        assert_eq!(told(".a.b"), "`.a.b` begins with a dot; write a.b, or $..a.b for any depth");
        assert!(told("a-b.c").ends_with("a name with a hyphen stands in brackets: ['a-b']"));
    }

    #[test]
    fn a_path_says_how_often_it_visits_an_answer() {
        for once in [
            "$..a",
            "$.a[?@.b][?@.c].d",
            "$.a[?@.b == $.d.b].c[*]",
            "$.a[?@.b != $.a[0].b]",
            "$.a[?search(@.b, '^(a|$)')].c[*]",
            "$.a[?!@.b[?match(@.c, \"D$|\\\"*\")]].b[*]",
            "$.a[?(@.b == $.c && @.d)][1:]",
        ] {
            assert_eq!(how_often(once), Some(Often::Once), "{once}");
        }
        for each in ["$.a[?count($.a[*]) > 1]", "$.a[?@.b != value($.a[-1:].b)]", "$.a[?count($.b['x'].*) > 1]"] {
            assert_eq!(how_often(each), Some(Often::Each), "{each}");
        }
        for never in
            ["$..a..b", "$.a[?count($..b) > 1]", "$..[?@.a == value($.b[*])]", "$.a[?count($.a[*]) > count($.b[*])]"]
        {
            assert_eq!(how_often(never), None, "{never}");
            assert!(JsonPath::compile(never).is_err(), "{never}");
        }
    }

    #[test]
    fn members_of_objects_bear_their_names_and_items_of_lists_none() {
        let value = json!({"days": {"2026-11-20": [1], "2026-11-21": [2]}});
        let names = |path: &str| -> Vec<Option<String>> {
            let found = JsonPath::compile(path).unwrap().select_named(&value);
            found.into_iter().map(|(_, name)| name.map(str::to_owned)).collect()
        };
        assert_eq!(names("days[*]"), [Some("2026-11-20".to_owned()), Some("2026-11-21".to_owned())]);
        assert_eq!(names("days"), [Some("days".to_owned())]);
        assert_eq!(names("days[*][*]"), [None, None]);
    }
}
