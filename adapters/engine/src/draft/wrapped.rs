//! Documents within documents: JSON that a script assigns or passes on, JSON in a string, JSON in a script of its own, JSON in
//! the stream that Next.js pushes piece by piece, a document in a text of XML. Each is got at by stages of `unwrap`, and kept
//! only where these, applied to the whole, come to a document.

use regex::Regex;
use serde_json::Value;

use super::write::quoted;
use crate::{
    guard,
    html::{Document, Edge},
    spec::{Shape, StageSpec},
    unwrap::Stage,
    xmlpath,
};

/// How deep documents are looked for in each other.
const DEPTH: usize = 3;
/// Most documents that are looked at, over all.
const MOST_DOCUMENTS: usize = 24;
/// Most of each kind that one document is tried for.
const MOST_TRIED: usize = 12;
/// Most names that are looked at in a stream.
const MOST_NAMES: usize = 300;
/// A text shorter than this holds no events.
const LEAST_BYTES: usize = 40;

/// A document that others are wrapped around.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    /// The stages to it, in YAML.
    pub(super) unwrap: Vec<String>,
    pub(super) text: String,
}

/// The documents within one, the outer ones first.
pub(super) fn documents(text: &str) -> Vec<Inner> {
    let mut found: Vec<Inner> = pushed(text);
    let mut next = 0;
    for stage in stages(text) {
        found.extend(opened(text, &[], stage));
    }
    while next < found.len() && found.len() < MOST_DOCUMENTS {
        let Inner { unwrap, text } = found[next].clone();
        if unwrap.len() < DEPTH {
            let inside = stages(&text).into_iter().filter_map(|stage| opened(&text, &unwrap, stage));
            found.extend(inside.collect::<Vec<_>>());
        }
        next += 1;
    }
    found.truncate(MOST_DOCUMENTS);
    found
}

/// What a stage makes of a text, where that may be a document.
fn opened(text: &str, before: &[String], stage: String) -> Option<Inner> {
    let inner = applied(text, &stage)?;
    let is = inner.len() >= LEAST_BYTES && inner.len() < text.len() && begins(&inner);
    is.then(|| Inner { unwrap: before.iter().cloned().chain([stage]).collect(), text: inner })
}

fn applied(text: &str, stage: &str) -> Option<String> {
    let spec: StageSpec = serde_saphyr::from_str(stage).ok()?;
    Some(Stage::compile(&spec).ok()?.apply(text)?.into_owned())
}

fn begins(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '<'])
}

/// Stages that may lead to a document in this one.
fn stages(text: &str) -> Vec<String> {
    if let Some(value) = guard::json(text) {
        let mut found = Vec::new();
        strings(&value, "$", 0, &mut found);
        return found;
    }
    let mut found = own_scripts(text);
    found.extend(assigned(text));
    if guard::plausible(Shape::Xml, text)
        && let Some(document) = guard::xml_document(text)
    {
        found.extend(in_elements(document.root_element()));
    }
    found
}

/// Documents in the stream that the app router of Next.js pushes in pieces, which end anywhere: `id:json` lines, whose ids
/// change from build to build. So each is found by the name that it bears; what holds elements of the page is none.
fn pushed(text: &str) -> Vec<Inner> {
    const PUSHED: &str = r"{after: '__next_f\S{0,30}\.push\(\[1,', take: strings}";
    const NAMED: &str = r#""([A-Za-z_][A-Za-z0-9_]{0,60})":\s*[\[{]"#;
    if !text.contains("__next_f") {
        return Vec::new();
    }
    let (Some(stream), Ok(named)) = (applied(text, PUSHED), Regex::new(NAMED)) else { return Vec::new() };
    let mut names: Vec<&str> = Vec::new();
    let mut found: Vec<Inner> = Vec::new();
    for captures in named.captures_iter(&stream) {
        let Some(name) = captures.get(1).map(|name| name.as_str()) else { continue };
        if names.contains(&name) {
            continue;
        }
        names.push(name);
        // What the stage finds first is this one.
        let written = format!("\"{name}\":");
        if stream.find(&written) != captures.get(0).map(|whole| whole.start()) {
            continue;
        }
        let inner = opened(&stream, &[PUSHED.to_owned()], format!("{{after: '{written}', take: json}}"));
        found.extend(inner.filter(|inner| !inner.text.contains("[\"$\",")));
        if found.len() >= MOST_TRIED || names.len() >= MOST_NAMES {
            break;
        }
    }
    found
}

/// Texts of XML that may hold a document, escaped or as character data.
fn in_elements(root: roxmltree::Node<'_, '_>) -> Vec<String> {
    let holds = |node: &roxmltree::Node<'_, '_>| {
        if node.children().any(|child| child.is_element()) {
            return false;
        }
        let text = xmlpath::text_of(*node);
        text.len() >= LEAST_BYTES && begins(&text)
    };
    let mut found: Vec<String> = Vec::new();
    for node in root.descendants().filter(roxmltree::Node::is_element).filter(holds).take(MOST_TRIED) {
        let open = format!(r"<(?:[\w.-]+:)?{}(?:\s[^>]*)?>", regex::escape(node.tag_name().name()));
        for stage in [
            format!("{{match: {}}}", quoted(&format!(r"(?s){open}\s*<!\[CDATA\[(.*?)\]\]>"))),
            format!("{{match: {}, unescape: html}}", quoted(&format!("{open}([^<]*)<"))),
        ] {
            if !found.contains(&stage) {
                found.push(stage);
            }
        }
    }
    found
}

/// Strings of JSON that may hold a document.
fn strings(value: &Value, path: &str, depth: usize, found: &mut Vec<String>) {
    if depth > 8 || found.len() >= MOST_TRIED {
        return;
    }
    match value {
        Value::String(text) if path != "$" && text.len() >= LEAST_BYTES && begins(text) => {
            found.push(format!("{{json: {}}}", quoted(path)));
        }
        Value::Object(fields) => {
            for (name, child) in fields {
                strings(child, &format!("{path}{}", super::trees::step(name)), depth + 1, found);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                strings(first, &format!("{path}[0]"), depth + 1, found);
            }
        }
        _ => {}
    }
}

/// Scripts that hold nothing but JSON.
fn own_scripts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.contains("<script") {
        return found;
    }
    let Some(document) = Document::parse(text) else { return found };
    document.root().walk(|edge| {
        if let Edge::Open(node) = edge
            && node.is_element()
            && node.name() == "script"
            && node.plain_text().trim_start().starts_with(['{', '['])
        {
            let plain = |id: &&str| {
                id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            };
            let id = node.attribute("id").filter(plain).map(|id| format!("script#{id}"));
            let kind = || node.attribute("type").map(|_| "script[type=\"application/json\"]".to_owned());
            found.extend(id.or_else(kind).map(|css| format!("{{css: {}}}", quoted(&css))));
        }
        found.len() < MOST_TRIED
    });
    found.dedup();
    found
}

/// What a script assigns to a name, or a whole answer passes to a function.
fn assigned(text: &str) -> Vec<String> {
    const ASSIGNED: &str = r#"([A-Za-z_$][A-Za-z0-9_$.]{0,60})\s*=\s*(JSON\.parse\(\s*)?(["'`]\s*[\[{<]|[\[{])"#;
    const CALLED: &str = r"\A\s*([A-Za-z_$][A-Za-z0-9_$.]{0,60})\(\s*[\[{]";
    let (Ok(assigned), Ok(called)) = (Regex::new(ASSIGNED), Regex::new(CALLED)) else { return Vec::new() };
    // Names stand behind a border where they begin with what may be part of a word.
    let name = |name: &str| {
        let border = if name.starts_with('$') { "" } else { r"\b" };
        format!("{border}{}", regex::escape(name))
    };
    let mut found: Vec<String> = Vec::new();
    found.extend(called.captures(text).map(|call| format!("{{after: '{}\\(', take: json}}", name(&call[1]))));
    for captures in assigned.captures_iter(text).take(20 * MOST_TRIED) {
        let parsed = if captures.get(2).is_some() { r"JSON\.parse\(\s*" } else { "" };
        let take = if captures[3].starts_with(['[', '{']) { "json" } else { "string" };
        let stage = format!("{{after: '{}\\s*=\\s*{parsed}', take: {take}}}", name(&captures[1]));
        if !found.contains(&stage) {
            found.push(stage);
        }
        if found.len() >= MOST_TRIED {
            break;
        }
    }
    found
}
