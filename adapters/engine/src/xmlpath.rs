//! Paths of local names through XML; namespaces are ignored, because carriers change them and readers do not care.
//!
//! `a/b` children · `*` any · `//b` or `a//b` at any depth · `b[1]` the first · `b[@k=v]`, `b[k=v]` by attribute or child
//! text · a last `@k` gives an attribute · `.` the node itself.

use roxmltree::Node;

use crate::{error::Fault, work};

/// A compiled path.
#[derive(Debug, Clone)]
pub(crate) struct XmlPath {
    steps: Vec<Step>,
    attribute: Option<String>,
}

#[derive(Debug, Clone)]
struct Step {
    deep: bool,
    name: Option<String>,
    tests: Vec<Test>,
}

#[derive(Debug, Clone)]
enum Test {
    Position(usize),
    Attribute(String, String),
    Child(String, String),
}

impl XmlPath {
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::new(text, format!("`{text}` is no path of element names ({why}); write a/b/c"));
        let mut path = Self { steps: Vec::new(), attribute: None };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong("it is empty"));
        }
        if rest == "." {
            return Ok(path);
        }
        let mut deep_steps = 0;
        loop {
            let deep = rest.starts_with("//");
            rest = rest.trim_start_matches('/');
            if let Some(name) = rest.strip_prefix('@') {
                if name.is_empty() || name.contains(['/', '[']) {
                    return Err(wrong("an attribute ends a path"));
                }
                path.attribute = Some(name.to_owned());
                return Ok(path);
            }
            deep_steps += usize::from(deep);
            if deep_steps > 1 {
                return Err(wrong("at most one //"));
            }
            let end = end_of_step(rest);
            path.steps.push(
                step(&rest[..end], deep)
                    .ok_or_else(|| wrong("a step is malformed; there are no prefixes, functions and parents"))?,
            );
            rest = &rest[end..];
            if rest.is_empty() {
                return Ok(path);
            }
        }
    }

    /// The elements at the path, in the document's order.
    pub(crate) fn select<'a, 'i>(&self, node: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
        let mut current = vec![node];
        for step in &self.steps {
            let mut next = Vec::new();
            for node in current {
                if step.deep {
                    let below = node.descendants().skip(1).take_while(|_| work::step(1)).filter(|n| step.accepts(n));
                    next.extend(step.position(below));
                } else {
                    let children = node.children().take_while(|_| work::step(1));
                    next.extend(step.position(children.filter(|n| step.accepts(n))));
                }
            }
            current = next;
        }
        current
    }

    /// A found element's text: that of the attribute if the path ends in one, else all text below it, exactly.
    pub(crate) fn text_of(&self, node: Node<'_, '_>) -> Option<String> {
        match &self.attribute {
            Some(name) => attribute(node, name).map(str::to_owned),
            None => Some(text_of(node)),
        }
    }
}

fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

/// All text below an element, exactly.
pub(crate) fn text_of(node: Node<'_, '_>) -> String {
    node.descendants().take_while(|_| work::step(1)).filter(Node::is_text).filter_map(|text| text.text()).collect()
}

fn end_of_step(text: &str) -> usize {
    let mut depth = 0usize;
    for (index, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => return index,
            _ => {}
        }
    }
    text.len()
}

fn step(text: &str, deep: bool) -> Option<Step> {
    let (name, mut rest) = text.split_at(text.find('[').unwrap_or(text.len()));
    if name.is_empty() || name.starts_with('.') || name.contains(|c: char| c.is_whitespace() || "]@=:()".contains(c)) {
        return None;
    }
    // XPath has values in quotes.
    let bare = |value: &str| -> String {
        let quoted = |sign: char| value.strip_prefix(sign).and_then(|value| value.strip_suffix(sign));
        quoted('\'').or_else(|| quoted('"')).unwrap_or(value).to_owned()
    };
    let mut tests = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(']')?;
        let inner = rest.strip_prefix('[')?.get(..end - 1)?;
        tests.push(match inner.split_once('=') {
            None => Test::Position(inner.parse().ok().filter(|n| *n > 0)?),
            Some((key, value)) => match key.strip_prefix('@') {
                Some(key) => Test::Attribute(key.to_owned(), bare(value)),
                None => Test::Child(key.to_owned(), bare(value)),
            },
        });
        rest = &rest[end + 1..];
    }
    Some(Step { deep, name: (name != "*").then(|| name.to_owned()), tests })
}

impl Step {
    fn accepts(&self, node: &Node<'_, '_>) -> bool {
        node.is_element()
            && self.name.as_deref().is_none_or(|name| node.tag_name().name() == name)
            && self.tests.iter().all(|test| match test {
                Test::Position(_) => true,
                Test::Attribute(key, value) => attribute(*node, key) == Some(value),
                Test::Child(key, value) => node.children().take_while(|_| work::step(1)).any(|child| {
                    child.is_element() && child.tag_name().name() == key && text_of(child).trim() == value
                }),
            })
    }

    fn position<'a, 'i: 'a>(&self, nodes: impl Iterator<Item = Node<'a, 'i>>) -> Vec<Node<'a, 'i>> {
        let position = self.tests.iter().find_map(|test| match test {
            Test::Position(n) => Some(*n),
            _ => None,
        });
        match position {
            Some(n) => nodes.skip(n - 1).take(1).collect(),
            None => nodes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn namespaces_are_ignored_and_tests_select() {
        let text =
            "<r xmlns='urn:x' xmlns:q='urn:q'><a k='1'><q:b>one</q:b></a><a k='2'><b>two</b><b>three</b></a></r>";
        let document = roxmltree::Document::parse(text).unwrap();
        let found = |path: &str| -> Vec<String> {
            let path = XmlPath::compile(path).unwrap();
            path.select(document.root_element()).into_iter().filter_map(|n| path.text_of(n)).collect()
        };
        assert_eq!(found("a/b"), ["one", "two", "three"]);
        assert_eq!(found("//b[1]"), ["one"]);
        assert_eq!(found("a[@k=2]/b"), ["two", "three"]);
        assert_eq!(found("a[b=three]/@k"), ["2"]);
        assert_eq!(found("*/b[2]"), ["three"]);
        assert_eq!(found("a[@k='2']/b[1]"), ["two"]);
        assert_eq!(found("a[b=\"three\"]/@k"), ["2"]);
        for broken in ["", "a/@", "a[", "a[0]", "//a//b", "a b", "q:b", "a/text()", "a/../b", ".//b"] {
            assert!(XmlPath::compile(broken).is_err(), "{broken}");
        }
    }
}
