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
/// Most comparisons of attributes with each other, over all tags.
const MAX_COMPARISONS: u64 = 100_000_000;
/// Most XML nodes.
const MAX_XML_NODES: u32 = 500_000;
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

const fn most_bytes(shape: Shape) -> usize {
    match shape {
        Shape::Html => MAX_HTML_BYTES,
        Shape::Json | Shape::Xml => MAX_DATA_BYTES,
    }
}

/// Whether a document is not even looked at.
pub(crate) fn too_large(shape: Shape, text: &str) -> bool {
    text.len() > most_bytes(shape)
}

/// A JSON document within the caps.
pub(crate) fn json(text: &str) -> Option<serde_json::Value> {
    if too_large(Shape::Json, text) {
        return None;
    }
    // serde_json stops at a depth of 128 by itself.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
}

/// An XML document within the caps; document types, and with them entities of their own, are refused.
pub(crate) fn xml_document(text: &str) -> Option<roxmltree::Document<'_>> {
    if refusal(Shape::Xml, text).is_some() {
        return None;
    }
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_XML_NODES, ..Default::default() };
    roxmltree::Document::parse_with_options(text, options).ok()
}

/// Why a document is not parsed, if so.
pub(crate) fn refusal(shape: Shape, text: &str) -> Option<String> {
    if too_large(shape, text) {
        return Some(format!("the answer is larger than {} bytes", most_bytes(shape)));
    }
    match shape {
        Shape::Html => html(text.as_bytes()).or_else(|| crowded(text.as_bytes())),
        Shape::Json => None,
        Shape::Xml => {
            let text = text.as_bytes();
            document_type(text).or_else(|| xml(text)).or_else(|| crowded(text))
        }
    }
}

/// Whether XML states a document type, which the parser refuses: entities of its own may grow without bound. Pages state
/// one as well; they are no XML.
fn document_type(text: &[u8]) -> Option<String> {
    let mut rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    loop {
        let length = if rest.starts_with(b"<?") {
            end_of(rest, b"?>")
        } else if rest.starts_with(b"<!--") {
            end_of(rest, b"-->")
        } else {
            break;
        };
        rest = rest[length..].trim_ascii_start();
    }
    let name = starts(rest, b"<!doctype").then(|| rest[b"<!doctype".len()..].trim_ascii_start())?;
    let why = "the answer states a document type (<!DOCTYPE …>), which is not read in XML; take it out";
    (!starts(name, b"html")).then(|| why.to_owned())
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
    while let Some(found) = text.get(at..)?.iter().position(|byte| *byte == b'<') {
        let start = at + found + 1;
        let rest = text.get(start..)?;
        // Comments and character data may hold what looks like elements.
        let (length, kind) = if rest.starts_with(b"!--") {
            (end_of(rest, b"-->"), b'!')
        } else if rest.starts_with(b"![CDATA[") {
            (end_of(rest, b"]]>"), b'!')
        } else {
            (end_of(rest, b">"), rest.first().copied().unwrap_or(b'!'))
        };
        match kind {
            b'/' => depth = depth.saturating_sub(1),
            b'!' | b'?' => {}
            _ if rest[..length].ends_with(b"/>") => {}
            _ => depth += 1,
        }
        if depth > MAX_XML_DEPTH {
            return Some("the answer nests elements deeper than any real one".to_owned());
        }
        // Within a tag no other begins in well-formed text, and a parser stops where it is not.
        at = start + length;
    }
    None
}

/// The length up to and with `end`, else all.
fn end_of(text: &[u8], end: &[u8]) -> usize {
    memchr::memmem::find(text, end).map_or(text.len(), |at| at + end.len())
}

/// Parsers compare each attribute with all before it in its tag: what that comes to is bounded.
fn crowded(text: &[u8]) -> Option<String> {
    let mut comparisons = 0u64;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'<', &text[at..]) {
        at += found + 1;
        if !text.get(at).is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        let mut attributes = 0u64;
        let mut separated = false;
        while let Some(byte) = text.get(at).copied() {
            at += 1;
            match byte {
                b'>' => break,
                b'=' => {
                    let value = at + text[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                    if let Some(quote @ (b'"' | b'\'')) = text.get(value).copied() {
                        at = value + 1 + end_of(&text[(value + 1).min(text.len())..], &[quote]);
                        // A name may follow a closing quote at once.
                        separated = true;
                    }
                }
                b'/' => separated = true,
                byte if byte.is_ascii_whitespace() => separated = true,
                _ if separated => {
                    separated = false;
                    attributes += 1;
                }
                _ => {}
            }
        }
        comparisons += attributes * attributes;
        if comparisons > MAX_COMPARISONS {
            return Some("the page has elements with more attributes than any real page".to_owned());
        }
    }
    None
}

/// Elements that hold rows and have no business being left open; end tags of the others may be left out.
const CONTAINERS: [&[u8]; 4] = [b"table", b"div", b"ul", b"ol"];

/// The container of rows that a part of a page opens and never closes. Comments and scripts are passed over.
pub(crate) fn unclosed(text: &[u8]) -> Option<&'static str> {
    let mut open = [0u32; CONTAINERS.len()];
    let mut raw: Option<&[u8]> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'<', &text[at..]) {
        at += found + 1;
        let rest = &text[at..];
        if raw.is_none() && rest.starts_with(b"!--") {
            at += end_of(rest, b"-->");
            continue;
        }
        let closes = rest.first() == Some(&b'/');
        let name = &rest[usize::from(closes)..];
        let name = &name[..name.iter().take(20).take_while(|byte| byte.is_ascii_alphanumeric()).count()];
        if let Some(within) = raw {
            if closes && name.eq_ignore_ascii_case(within) {
                raw = None;
            }
        } else if let Some(index) = CONTAINERS.iter().position(|container| name.eq_ignore_ascii_case(container)) {
            open[index] = if closes { open[index].saturating_sub(1) } else { open[index] + 1 };
        } else if !closes && (name.eq_ignore_ascii_case(b"script") || name.eq_ignore_ascii_case(b"style")) {
            raw = Some(name);
        }
    }
    let index = open.iter().position(|count| *count > 0)?;
    std::str::from_utf8(CONTAINERS[index]).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_would_cost_too_much_is_refused_and_what_is_usual_is_not() {
        let cheap = |shape, text: &str| refusal(shape, text).is_none();
        assert!(cheap(Shape::Html, &"<div class='a' id=b data-x=\"1 2 3 4\"><br></div>".repeat(20_000)));
        assert!(cheap(Shape::Html, &format!("<path d=\"{}\">", "M 1 2 L ".repeat(50_000))));
        assert!(!cheap(Shape::Html, &format!("<p {}>", "a ".repeat(50_000))));
        assert!(!cheap(Shape::Html, &format!("<p {}>", "/a".repeat(50_000))));
        assert!(!cheap(Shape::Html, &format!("<p {}>", "a='1'".repeat(50_000))));
        assert!(!cheap(Shape::Html, &format!("<p {}>", "a ".repeat(5_000)).repeat(50)));
        assert!(cheap(Shape::Xml, &format!("<a><!-- {} --><![CDATA[{}]]></a>", "<b>".repeat(999), "<br>".repeat(999))));
        assert!(!cheap(Shape::Xml, &"<a>".repeat(300)));
        assert!(!cheap(Shape::Xml, &format!("<a {}/>", (0..50_000).map(|n| format!("a{n}='' ")).collect::<String>())));
        let stated = "<?xml version='1.0'?>\n<!-- a > b --><!DOCTYPE t SYSTEM 't.dtd'><t/>";
        assert!(refusal(Shape::Xml, stated).is_some_and(|why| why.contains("DOCTYPE")));
        assert!(xml_document(stated).is_none());
        assert!(cheap(Shape::Xml, "<!DOCTYPE html><html></html>"), "a page, which is not said to be wrong XML");
        assert!(cheap(Shape::Xml, "<t><![CDATA[<!DOCTYPE t>]]></t>"));
        assert!(cheap(Shape::Xml, &"<?".repeat(2_000_000)));
        // Found in one pass, however it ends.
        assert!(cheap(Shape::Xml, &"<a".repeat(2_000_000)));
        assert!(cheap(Shape::Html, &"<".repeat(4_000_000)));
    }

    #[test]
    fn a_part_of_a_page_is_whole_when_its_containers_are_closed() {
        let open = |text: &str| unclosed(text.as_bytes());
        let rows = "<table id=t><tr><td>a<td>b<tr><td>c";
        assert_eq!(open(&format!("{rows}</TABLE>")), None);
        assert_eq!(open(rows), Some("table"));
        assert_eq!(open(&format!("{rows}</tabl")), Some("table"));
        assert_eq!(open("<div class=a><b>x</b></div><div><ul><li>y</ul>"), Some("div"));
        assert_eq!(open("</table></div><ul><li>one<li>two</ul><p>three"), None, "what others opened, and implied ends");
        assert_eq!(open("<script>x = '<table>'</script><style>/*<div>*/</style><!-- <ul> --><b>"), None);
        // Found in one pass, however it ends.
        assert_eq!(open(&"<".repeat(4_000_000)), None);
        assert_eq!(open(&"<script>".repeat(100_000)), None);
        assert_eq!(open(&"<!--".repeat(100_000)), None);
    }
}
