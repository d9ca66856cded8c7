//! One view of the three shapes: a node of an HTML, JSON or XML document, and paths that select below it.

use std::{collections::HashSet, rc::Rc};

use serde_json::Value;

use crate::{
    error::Fault,
    html::{At, Id, Selector},
    jsonpath,
    jsonpath::JsonPath,
    spec::Shape,
    text, work, xmlpath,
    xmlpath::XmlPath,
};

/// A place in a document.
#[derive(Debug, Clone)]
pub(crate) enum Node<'d> {
    Html(At<'d>),
    /// Sibling nodes between two separators.
    Block(Rc<[At<'d>]>),
    /// With the name that it bears in the object it stands in.
    Json(&'d Value, Option<&'d str>),
    Xml(roxmltree::Node<'d, 'd>),
}

/// A compiled path of one shape.
#[derive(Debug, Clone)]
pub(crate) enum Path {
    Css(Selector),
    Json(JsonPath),
    Xml(XmlPath),
}

impl Path {
    pub(crate) fn compile(shape: Shape, text: &str) -> Result<Self, Fault> {
        Ok(match shape {
            Shape::Html => Self::Css(css(text)?),
            Shape::Json => Self::Json(JsonPath::compile(text)?),
            Shape::Xml => Self::Xml(XmlPath::compile(text)?),
        })
    }
}

pub(crate) fn css(text: &str) -> Result<Selector, Fault> {
    Selector::parse(text).map_err(|why| {
        Fault::new(text, format!("`{text}` is no CSS selector ({why}); only standard selectors are understood"))
    })
}

/// Nodes of an HTML document whose text is left out.
pub(crate) type Ignored = HashSet<Id>;

impl<'d> Node<'d> {
    /// The nodes at `path` below this one, in the document's order.
    pub(crate) fn select(&self, path: &Path) -> Vec<Node<'d>> {
        match (self, path) {
            (Self::Html(element), Path::Css(css)) => element.select(css).map(Node::Html).collect(),
            (Self::Block(nodes), Path::Css(css)) => {
                let mut found = Vec::new();
                for element in nodes.iter().filter(|node| node.is_element()) {
                    if css.matches(*element) {
                        found.push(Node::Html(*element));
                    }
                    found.extend(element.select(css).map(Node::Html));
                }
                found
            }
            (Self::Json(value, _), Path::Json(path)) => {
                path.select_named(value).into_iter().map(|(value, name)| Node::Json(value, name)).collect()
            }
            (Self::Xml(node), Path::Xml(path)) => path.select(*node).into_iter().map(Node::Xml).collect(),
            _ => Vec::new(),
        }
    }

    /// The first node at `path`.
    pub(crate) fn first(&self, path: &Path) -> Option<Node<'d>> {
        match (self, path) {
            (Self::Html(element), Path::Css(css)) => element.select(css).next().map(Node::Html),
            _ => self.select(path).into_iter().next(),
        }
    }

    /// Whether it is JSON's null: said to be there, and nothing.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Json(serde_json::Value::Null, _))
    }

    /// This node's text; `path` is the one that led here.
    pub(crate) fn text(&self, path: Option<&Path>, ignored: &Ignored) -> Option<String> {
        let text = match self {
            Self::Html(element) => Some(text::of_node(*element, ignored)),
            Self::Block(nodes) => Some(text::of_nodes(nodes, ignored)),
            Self::Json(value, _) => jsonpath::text_of(value),
            Self::Xml(node) => match path {
                Some(Path::Xml(path)) => path.text_of(*node),
                _ => Some(xmlpath::text_of(*node)),
            },
        };
        work::text(text.as_deref().map_or(0, str::len), 16);
        text
    }

    /// The text in this node itself.
    pub(crate) fn own_text(&self) -> Option<String> {
        match self {
            Self::Html(element) => Some(text::own(*element)),
            Self::Xml(node) => Some(node.children().filter_map(|c| c.is_text().then(|| c.text()).flatten()).collect()),
            Self::Block(_) | Self::Json(..) => None,
        }
    }

    /// The n-th line, from 1.
    pub(crate) fn line(&self, n: usize, ignored: &Ignored) -> Option<String> {
        let lines = match self {
            Self::Html(element) => text::lines(&[*element], ignored),
            Self::Block(nodes) => text::lines(nodes, ignored),
            Self::Json(value, _) => return jsonpath::text_of(value)?.lines().nth(n.checked_sub(1)?).map(str::to_owned),
            Self::Xml(node) => return xmlpath::text_of(*node).lines().nth(n.checked_sub(1)?).map(str::to_owned),
        };
        lines.into_iter().nth(n.checked_sub(1)?)
    }

    /// The n-th cell of a table row, from 1.
    pub(crate) fn cell(&self, n: usize) -> Option<Node<'d>> {
        let Self::Html(row) = self else { return None };
        let cells = row.child_elements().filter(|child| matches!(child.name(), "td" | "th"));
        cells.map(Node::Html).nth(n.checked_sub(1)?)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        match self {
            Self::Html(element) => element.attribute(name).map(str::to_owned),
            Self::Xml(node) => node.attributes().find(|a| a.name() == name).map(|a| a.value().to_owned()),
            Self::Block(_) | Self::Json(..) => None,
        }
    }

    /// The name that a JSON value bears in the object it stands in.
    pub(crate) fn key(&self) -> Option<String> {
        match self {
            Self::Json(_, name) => name.map(str::to_owned),
            Self::Html(_) | Self::Block(_) | Self::Xml(_) => None,
        }
    }

    /// The next or previous sibling element.
    pub(crate) fn sibling(&self, direction: Direction) -> Option<Node<'d>> {
        match self {
            Self::Html(element) => {
                let mut at = *element;
                loop {
                    at = match direction {
                        Direction::Next => at.next()?,
                        Direction::Previous => at.previous()?,
                    };
                    if at.is_element() {
                        return Some(Node::Html(at));
                    }
                }
            }
            Self::Xml(node) => match direction {
                Direction::Next => node.next_sibling_element(),
                Direction::Previous => node.prev_sibling_element(),
            }
            .map(Node::Xml),
            Self::Block(_) | Self::Json(..) => None,
        }
    }

    /// Whether an HTML element is what a selector asks for.
    pub(crate) fn is(&self, path: &Path) -> bool {
        match (self, path) {
            (Self::Html(element), Path::Css(css)) => css.matches(*element),
            (_, path) => !self.select(path).is_empty(),
        }
    }

    /// The blocks that children of the first `container` form between children that are `at`.
    pub(crate) fn split(&self, container: &Path, at: &Path) -> Vec<Node<'d>> {
        let (Some(Node::Html(container)), Path::Css(at)) = (self.first(container), at) else { return Vec::new() };
        let mut blocks = Vec::new();
        let mut block: Vec<At<'d>> = Vec::new();
        for child in container.children() {
            if at.matches(child) {
                blocks.push(Node::Block(std::mem::take(&mut block).into()));
            } else {
                block.push(child);
            }
        }
        blocks.push(Node::Block(block.into()));
        blocks
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Next,
    Previous,
}
