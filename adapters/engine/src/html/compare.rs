//! Whether both parsers make the same tree of a page: for tests and the fuzzer.
#![allow(clippy::panic, reason = "a difference is a fault of ours, and must be seen")]

use std::fmt::Write as _;

use super::{At, Document, Edge, full, plain};

/// A tree as a text; neighbouring texts joined, comments told as such.
fn shape(document: &Document) -> String {
    let mut out = String::new();
    let mut in_text = false;
    let close = |out: &mut String, in_text: &mut bool| {
        if std::mem::take(in_text) {
            out.push_str("\"\n");
        }
    };
    At { document, id: super::ROOT }.walk(|edge| {
        match edge {
            Edge::Open(node) => {
                if let Some(text) = node.text() {
                    if !std::mem::replace(&mut in_text, true) {
                        out.push('"');
                    }
                    out.push_str(text);
                } else {
                    close(&mut out, &mut in_text);
                    let mut attributes: Vec<_> = node.attributes().collect();
                    attributes.sort_unstable();
                    let name = if node.is_element() { node.name() } else { "#" };
                    let _ = writeln!(out, "<{name} {attributes:?}");
                }
            }
            Edge::Close(node) if node.text().is_none() => {
                close(&mut out, &mut in_text);
                out.push_str(">\n");
            }
            Edge::Close(_) => {}
        }
        true
    });
    out
}

/// Whether the quick parser read it; it must then have read the same.
pub(crate) fn same(page: &str) -> bool {
    let Some(quick) = plain::parse(page) else { return false };
    let (quick, whole) = (shape(&quick), shape(&full::parse(page)));
    if quick != whole {
        let line = quick.lines().zip(whole.lines()).position(|(a, b)| a != b).unwrap_or(0);
        let near = |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
        panic!("the parsers differ\n--- quick\n{}\n--- full\n{}\n--- page\n{page}", near(&quick), near(&whole));
    }
    true
}
