//! Getting at a document that is wrapped in another: JSON in a script, HTML in a JavaScript string, JSON in JSON.

use std::borrow::Cow;

use crate::{
    error::Fault,
    field::regex,
    guard,
    html::{Document, Selector},
    jsonpath::{self, JsonPath},
    node::css,
    pattern::Pattern,
    spec::{StageSpec, TakeWhat, Unescape},
};

/// A compiled stage.
#[derive(Debug)]
pub(crate) struct Stage {
    way: Way,
    unescape: Option<Unescape>,
}

#[derive(Debug)]
enum Way {
    Match(Pattern),
    After(Pattern, TakeWhat),
    Json(JsonPath),
    Css(Selector),
    Window(String, Option<String>),
}

impl Stage {
    pub(crate) fn compile(spec: &StageSpec) -> Result<Self, Fault> {
        let way = match spec {
            StageSpec { pattern: Some(pattern), after: None, json: None, css: None, from: None, .. } => {
                Way::Match(regex(pattern)?)
            }
            StageSpec { after: Some(after), pattern: None, json: None, css: None, from: None, take, .. } => Way::After(
                regex(after)?,
                take.ok_or_else(|| Fault::new(after, "`after` needs `take: string`, `take: json` or `take: strings`"))?,
            ),
            StageSpec { json: Some(path), after: None, pattern: None, css: None, from: None, .. } => {
                Way::Json(JsonPath::compile(path)?)
            }
            StageSpec { css: Some(selector), after: None, pattern: None, json: None, from: None, .. } => {
                Way::Css(css(selector)?)
            }
            StageSpec { from: Some(from), to, after: None, pattern: None, json: None, css: None, .. } => {
                Way::Window(from.clone(), to.clone())
            }
            _ => {
                return Err(Fault::new(
                    "unwrap",
                    "a stage of unwrap has exactly one of match, after, json, css and from",
                ));
            }
        };
        Ok(Self { way, unescape: spec.unescape })
    }

    /// The text inside; `None` where it is not.
    pub(crate) fn apply<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        let inner = match &self.way {
            Way::Match(regex) => {
                let captures = regex.captures(text)?;
                Cow::Borrowed(captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?.as_str())
            }
            Way::After(regex, what) => {
                let rest = &text[regex.find(text)?.end()..];
                match what {
                    TakeWhat::Json => Cow::Borrowed(first_json(rest)?),
                    TakeWhat::String => Cow::Owned(js_string(rest)?.0),
                    TakeWhat::Strings => Cow::Owned(js_strings(regex, text)?),
                }
            }
            Way::Json(path) => {
                let value = guard::json(text)?;
                let found = path.select(&value).into_iter().next()?;
                Cow::Owned(jsonpath::text_of(found).unwrap_or_else(|| found.to_string()))
            }
            Way::Css(selector) => {
                let html = Document::parse(text)?;
                Cow::Owned(html.root().select(selector).next()?.plain_text())
            }
            Way::Window(from, to) => {
                let start = text.find(from.as_str())?;
                let end = match to {
                    None => text.len(),
                    Some(to) => {
                        let behind = start + from.len();
                        behind + text[behind..].find(to.as_str())? + to.len()
                    }
                };
                Cow::Borrowed(&text[start..end])
            }
        };
        Some(match self.unescape {
            None => inner,
            Some(Unescape::Js) => Cow::Owned(unescape_js(&inner)),
            Some(Unescape::Html) => Cow::Owned(Document::parse(&format!("<body>{inner}"))?.root().plain_text()),
        })
    }
}

/// The first JSON value at the beginning of a text.
fn first_json(text: &str) -> Option<&str> {
    let start = text.find(['{', '['])?;
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    text.get(start..start + values.byte_offset())
}

/// The JavaScript strings behind each match, joined; a match within a string counts as part of it. One pass.
fn js_strings(regex: &Pattern, text: &str) -> Option<String> {
    let mut out = String::new();
    let mut at = 0;
    while let Some(found) = regex.find_at(text, at) {
        let (string, length) = js_string(&text[found.end()..])?;
        out.push_str(&string);
        at = found.end() + length;
    }
    (at > 0).then_some(out)
}

/// The JavaScript string literal that comes first in a text, and where it ends.
fn js_string(text: &str) -> Option<(String, usize)> {
    let start = text.find(['"', '\'', '`'])?;
    let quote = text[start..].chars().next()?;
    let inner = &text[start + 1..];
    let mut escaped = false;
    for (index, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some((unescape_js(&inner[..index]), start + 1 + index + 1)),
            _ => {}
        }
    }
    None
}

/// Resolves the escapes of a JavaScript string; a lone surrogate becomes U+FFFD.
fn unescape_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut high: Option<u32> = None;
    while let Some(c) = chars.next() {
        let unit = if c != '\\' {
            None
        } else {
            match chars.next() {
                Some('u') => hex(&mut chars, 4),
                Some('x') => hex(&mut chars, 2),
                Some('\n') => continue,
                Some(escape) => {
                    let c = match escape {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'v' => '\u{b}',
                        '0' => '\0',
                        other => other,
                    };
                    Some(u32::from(c))
                }
                None => None,
            }
        };
        let unit = unit.unwrap_or(u32::from(c));
        match (high.take(), unit) {
            (Some(first), 0xDC00..=0xDFFF) => {
                let whole = 0x10000 + ((first - 0xD800) << 10) + (unit - 0xDC00);
                out.push(char::from_u32(whole).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            (before, unit) => {
                if before.is_some() {
                    out.push(char::REPLACEMENT_CHARACTER);
                }
                if (0xD800..=0xDBFF).contains(&unit) {
                    high = Some(unit);
                } else {
                    out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
        }
    }
    if high.is_some() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
    out
}

fn hex(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, digits: usize) -> Option<u32> {
    let mut value = 0;
    for _ in 0..digits {
        value = value * 16 + chars.peek()?.to_digit(16)?;
        chars.next();
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn stage(yaml: &str) -> Stage {
        Stage::compile(&serde_saphyr::from_str::<StageSpec>(yaml).unwrap()).unwrap()
    }

    #[test]
    fn documents_come_out_of_their_wrappings() {
        let text = r#"x = JSON.parse("{\"a\":\"\u00FC \\\"q\\\"\"}"); var y = {"b":[1,{}]} ;"#;
        assert_eq!(stage("{after: 'JSON\\.parse\\(', take: string}").apply(text).unwrap(), r#"{"a":"ü \"q\""}"#);
        assert_eq!(stage("{after: 'var y =', take: json}").apply(text).unwrap(), r#"{"b":[1,{}]}"#);
        assert_eq!(stage("{json: d}").apply(r#"{"d":"[1]"}"#).unwrap(), "[1]");
        assert_eq!(stage("{css: 'script#s'}").apply("<script id=s>{1}</script>").unwrap(), "{1}");
        assert_eq!(stage("{match: 'a(.)c', unescape: html}").apply("abc").unwrap(), "b");
        assert_eq!(stage("{from: '<t', to: 't>'}").apply("..<t>..</t>..").unwrap(), "<t>..</t>");
        assert!(stage("{after: 'JSON\\.parse\\(', take: string}").apply("JSON.parse(\"cut").is_none());
        let pushed = r#"f.push([1,"0:[\"a\"]\n5:{\"b"]); f.push([0]); f.push([1,"\":\u003c1}"])"#;
        let joined = stage(r"{after: 'f\.push\(\[1,', take: strings}").apply(pushed).unwrap();
        assert_eq!(joined, "0:[\"a\"]\n5:{\"b\":<1}");
        assert!(stage(r"{after: 'f\.push\(\[1,', take: strings}").apply("f.push([1,\"cut").is_none());
        assert!(stage(r"{after: 'g\.push\(\[1,', take: strings}").apply(pushed).is_none());
        assert_eq!(unescape_js(r"\ud83d\ude00 \ud83d! \x41 \'"), "\u{1f600} \u{fffd}! A '");
    }
}
