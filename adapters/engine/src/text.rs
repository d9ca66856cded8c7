//! Texts of HTML as a reader sees them (NRM-1): markup gone, a run of white space is one space, ends trimmed. JSON and
//! XML strings are never touched.

use crate::{
    html::{At, Edge},
    node::Ignored,
    work,
};

/// Elements whose content is not text for people.
const SILENT: [&str; 5] = ["script", "style", "template", "noscript", "head"];

/// Elements that do not stand on a line of their own; every other one does.
const INLINE: [&str; 29] = [
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "dfn", "em", "font", "i", "img", "kbd", "label",
    "mark", "nobr", "q", "s", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "wbr",
];

/// Appends with every run of white space as one space; nothing at the ends.
#[derive(Default)]
pub(crate) struct Collapsing {
    out: String,
    space: bool,
}

impl Collapsing {
    pub(crate) fn push(&mut self, text: &str) {
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end_matches(char::is_whitespace);
            if !word.is_empty() {
                if self.space && !self.out.is_empty() {
                    self.out.push(' ');
                }
                self.space = false;
                self.out.push_str(word);
            }
            if word.len() < piece.len() {
                self.space = true;
            }
        }
    }

    pub(crate) fn gap(&mut self) {
        self.space = true;
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// White space collapsed, ends trimmed.
pub fn collapse(text: &str) -> String {
    let mut out = Collapsing::default();
    out.push(text);
    out.finish()
}

/// The text below a node; subtrees in `ignored` are skipped.
pub(crate) fn of_node(node: At<'_>, ignored: &Ignored) -> String {
    let mut out = Collapsing::default();
    append(node, ignored, &mut out);
    out.finish()
}

/// The text below several sibling nodes.
pub(crate) fn of_nodes(nodes: &[At<'_>], ignored: &Ignored) -> String {
    let mut out = Collapsing::default();
    for node in nodes {
        append(*node, ignored, &mut out);
    }
    out.finish()
}

/// The text that stands in a node itself, not in elements below it.
pub(crate) fn own(node: At<'_>) -> String {
    let mut out = Collapsing::default();
    for child in node.children() {
        work::step(1);
        match child.text() {
            Some(text) => out.push(text),
            None => out.gap(),
        }
    }
    out.finish()
}

fn append(root: At<'_>, ignored: &Ignored, out: &mut Collapsing) {
    walk(root, ignored, &mut |token| match token {
        Token::Text(text) => out.push(text),
        Token::Break | Token::Block => out.gap(),
    });
}

/// The lines below nodes, as `<br>` cuts them; blank lines count.
pub(crate) fn lines(nodes: &[At<'_>], ignored: &Ignored) -> Vec<String> {
    let mut lines = vec![Collapsing::default()];
    for node in nodes {
        walk(*node, ignored, &mut |token| {
            if matches!(token, Token::Break) {
                lines.push(Collapsing::default());
            } else if let Some(line) = lines.last_mut() {
                match token {
                    Token::Text(text) => line.push(text),
                    Token::Break | Token::Block => line.gap(),
                }
            }
        });
    }
    lines.into_iter().map(Collapsing::finish).collect()
}

enum Token<'a> {
    Text(&'a str),
    Break,
    Block,
}

fn walk<'a>(root: At<'a>, ignored: &Ignored, see: &mut impl FnMut(Token<'a>)) {
    // The element whose subtree is left out, while it is.
    let mut skipped = None;
    root.walk(|edge| match edge {
        Edge::Open(node) => {
            work::step(1);
            if let Some(text) = node.text() {
                see(Token::Text(text));
            } else if node.is_element() {
                let name = node.name();
                if SILENT.contains(&name) || (!ignored.is_empty() && ignored.contains(&node.id())) {
                    skipped = Some(node.id());
                    return false;
                }
                if name == "br" {
                    see(Token::Break);
                } else if INLINE.binary_search(&name).is_err() {
                    see(Token::Block);
                }
            }
            true
        }
        Edge::Close(node) => {
            if skipped == Some(node.id()) {
                skipped = None;
            } else if node.is_element() && node.name() != "br" && INLINE.binary_search(&node.name()).is_err() {
                see(Token::Block);
            }
            true
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::html::Document;

    #[test]
    fn nrm_1_html_text_is_what_a_reader_sees() {
        let html = Document::parse(
            "<div>\n A&nbsp;\t<b>b</b>c<br>d<p>e</p>f<script>no</script><!-- no --> &uuml;&#8217; </div>",
        )
        .unwrap();
        assert_eq!(of_node(html.root(), &Ignored::new()), "A bc d e f \u{fc}\u{2019}");
        assert_eq!(collapse("  a \u{a0}\n b "), "a b");
        assert!(INLINE.is_sorted());
    }

    #[test]
    fn lines_are_cut_by_br_and_blank_ones_count() {
        let html = Document::parse("<body><span><b>one</b></span><br>two<br> <br><p>four</p>").unwrap();
        let nodes: Vec<_> = html.root().children().collect();
        assert_eq!(lines(&nodes, &Ignored::new()), ["one", "two", "", "four"]);
    }
}
