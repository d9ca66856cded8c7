//! Texts of HTML as a reader sees them (NRM-1): markup gone, a run of white space is one space, ends trimmed. JSON and
//! XML strings are never touched.

use std::collections::HashSet;

use ego_tree::{NodeId, NodeRef, iter::Edge};
use scraper::Node;

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
pub(crate) fn of_node(node: NodeRef<'_, Node>, ignored: &HashSet<NodeId>) -> String {
    let mut out = Collapsing::default();
    append(node, ignored, &mut out);
    out.finish()
}

/// The text below several sibling nodes.
pub(crate) fn of_nodes(nodes: &[NodeRef<'_, Node>], ignored: &HashSet<NodeId>) -> String {
    let mut out = Collapsing::default();
    for node in nodes {
        append(*node, ignored, &mut out);
    }
    out.finish()
}

/// The text that stands in a node itself, not in elements below it.
pub(crate) fn own(node: NodeRef<'_, Node>) -> String {
    let mut out = Collapsing::default();
    for child in node.children() {
        match child.value() {
            Node::Text(text) => out.push(text),
            _ => out.gap(),
        }
    }
    out.finish()
}

fn append(root: NodeRef<'_, Node>, ignored: &HashSet<NodeId>, out: &mut Collapsing) {
    walk(root, ignored, &mut |token| match token {
        Token::Text(text) => out.push(text),
        Token::Break | Token::Block => out.gap(),
    });
}

/// The lines below nodes, as `<br>` cuts them; blank lines count.
pub(crate) fn lines(nodes: &[NodeRef<'_, Node>], ignored: &HashSet<NodeId>) -> Vec<String> {
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

fn walk<'a>(root: NodeRef<'a, Node>, ignored: &HashSet<NodeId>, see: &mut impl FnMut(Token<'a>)) {
    let mut skip: Option<NodeId> = None;
    for edge in root.traverse() {
        match edge {
            Edge::Open(node) => {
                if skip.is_some() {
                    continue;
                }
                match node.value() {
                    Node::Text(text) => see(Token::Text(text)),
                    Node::Element(element) => {
                        let name = element.name();
                        if SILENT.contains(&name) || ignored.contains(&node.id()) {
                            skip = Some(node.id());
                        } else if name == "br" {
                            see(Token::Break);
                        } else if INLINE.binary_search(&name).is_err() {
                            see(Token::Block);
                        }
                    }
                    _ => {}
                }
            }
            Edge::Close(node) => {
                if skip == Some(node.id()) {
                    skip = None;
                    continue;
                }
                if skip.is_none()
                    && let Node::Element(element) = node.value()
                    && element.name() != "br"
                    && INLINE.binary_search(&element.name()).is_err()
                {
                    see(Token::Block);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use scraper::Html;

    #[test]
    fn nrm_1_html_text_is_what_a_reader_sees() {
        let html = Html::parse_document(
            "<div>\n A&nbsp;\t<b>b</b>c<br>d<p>e</p>f<script>no</script><!-- no --> &uuml;&#8217; </div>",
        );
        assert_eq!(of_node(html.tree.root(), &HashSet::new()), "A bc d e f \u{fc}\u{2019}");
        assert_eq!(collapse("  a \u{a0}\n b "), "a b");
        assert!(INLINE.is_sorted());
    }

    #[test]
    fn lines_are_cut_by_br_and_blank_ones_count() {
        let html = Html::parse_fragment("<span><b>one</b></span><br>two<br> <br><p>four</p>");
        let nodes: Vec<_> = html.root_element().children().collect();
        assert_eq!(lines(&nodes, &HashSet::new()), ["one", "two", "", "four"]);
    }
}
