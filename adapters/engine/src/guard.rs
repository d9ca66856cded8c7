//! What is refused before it is parsed: sizes and nestings that would cost more than any real answer is worth.

use crate::spec::Shape;

/// Largest HTML document that is parsed, in bytes.
const MAX_HTML_BYTES: usize = 4 << 20;
/// Largest JSON or XML document that is parsed, in bytes.
const MAX_DATA_BYTES: usize = waybill_schemas::limits::MAX_ANSWER_BYTES;
/// Deepest nesting of elements: HTML parsers look through all open elements at many tags.
const MAX_OPEN: i32 = 1_500;
/// Most formatting elements left open: each is opened again in every later block.
const MAX_FORMATTING: i32 = 200;
/// Most XML nodes.
pub(crate) const MAX_XML_NODES: u32 = 500_000;
/// Deepest XML nesting.
const MAX_XML_DEPTH: usize = 256;

const FORMATTING: [&[u8]; 13] =
    [b"a", b"b", b"big", b"code", b"em", b"font", b"i", b"nobr", b"s", b"small", b"strike", b"strong", b"u"];
/// Elements that close themselves or hold nothing.
const SHALLOW: [&[u8]; 26] = [
    b"area", b"base", b"br", b"col", b"dd", b"dt", b"embed", b"hr", b"img", b"input", b"li", b"link", b"meta",
    b"option", b"p", b"param", b"path", b"source", b"tbody", b"td", b"th", b"thead", b"tr", b"track", b"use", b"wbr",
];

/// Whether a text can be of a shape at all, by its beginning: spares parsers what they would refuse much later.
pub(crate) fn plausible(shape: Shape, text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let first = text.as_bytes().first();
    match shape {
        Shape::Html => !matches!(first, None | Some(b'{' | b'[')),
        Shape::Json => matches!(first, Some(b'{' | b'[' | b'"')),
        Shape::Xml => {
            let head = &text.as_bytes()[..text.len().min(64)];
            first == Some(&b'<') && !starts(head, b"<!doctype") && !starts(head, b"<html")
        }
    }
}

fn starts(text: &[u8], head: &[u8]) -> bool {
    text.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head))
}

/// Why a document is not parsed, if so.
pub(crate) fn refusal(shape: Shape, text: &str) -> Option<String> {
    let most = if shape == Shape::Html { MAX_HTML_BYTES } else { MAX_DATA_BYTES };
    if text.len() > most {
        return Some(format!("the answer is larger than {most} bytes"));
    }
    match shape {
        Shape::Html => html(text.as_bytes()),
        // serde_json stops at a depth of 128 by itself.
        Shape::Json => None,
        Shape::Xml => xml(text.as_bytes()),
    }
}

fn html(text: &[u8]) -> Option<String> {
    let (mut open, mut formatting) = (0i32, 0i32);
    for tag in tags(text) {
        let (name, step) = match tag.strip_prefix(b"/") {
            Some(name) => (name, -1),
            None => (tag, 1),
        };
        if SHALLOW.iter().any(|shallow| name.eq_ignore_ascii_case(shallow)) {
            continue;
        }
        // Closing tags without opening ones are ignored by parsers.
        open = (open + step).max(0);
        if FORMATTING.iter().any(|element| name.eq_ignore_ascii_case(element)) {
            formatting = (formatting + step).max(0);
        }
        if open > MAX_OPEN || formatting > MAX_FORMATTING {
            return Some("the page nests elements deeper than any real page".to_owned());
        }
    }
    None
}

/// Names of tags, with their slash; comments and scripts are not told apart, which only errs on the side of refusing.
fn tags(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.iter().position(|byte| *byte == b'<')? + 1;
            at = start;
            let rest = &text[start..];
            let slash = usize::from(rest.first() == Some(&b'/'));
            let length = rest[slash..].iter().take(20).take_while(|byte| byte.is_ascii_alphanumeric()).count();
            if length > 0 {
                return Some(&rest[..slash + length]);
            }
        }
    })
}

fn xml(text: &[u8]) -> Option<String> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|byte| *byte == b'<') {
        let start = at + found + 1;
        match text.get(start) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                let end =
                    text[start..].iter().position(|byte| *byte == b'>').map_or(text.len(), |length| start + length);
                if end == start || text[end - 1] != b'/' {
                    depth += 1;
                }
            }
        }
        if depth > MAX_XML_DEPTH {
            return Some("the answer nests elements deeper than any real one".to_owned());
        }
        at = start;
    }
    None
}
