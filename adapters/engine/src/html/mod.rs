//! HTML documents: a compact tree, made by one of two parsers.
//!
//! [`plain`] reads what nearly all pages are made of, several times faster than a full parser can, and gives up at the
//! first thing out of the ordinary; then [`full`] (html5ever, the whole standard) reads the page from its beginning.
//! Where [`plain`] does not give up, both make the same tree: a test and a fuzzer compare them. So what a page says never
//! depends on which one read it.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod compare;
mod css;
mod full;
mod names;
mod plain;
mod refs;
#[cfg(test)]
mod tests;
mod tokens;

use std::ops::Range;

use crate::{guard, spec::Shape};

pub(crate) use css::Selector;

/// A node's place in its document.
pub(crate) type Id = u32;

const NONE: Id = Id::MAX;
/// The document itself.
const ROOT: Id = 0;

/// A piece of the document's heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    parent: Id,
    previous: Id,
    next: Id,
    first: Id,
    last: Id,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Root,
    /// Attributes by their range in the document's list.
    Element {
        name: Span,
        attributes: (u32, u32),
        html: bool,
    },
    Text(Span),
    /// Comments, contents of templates, and whatever else is not read.
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Attribute {
    name: Span,
    value: Span,
    known: Known,
}

/// The attributes that selectors ask for most, told by more than their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Id,
    Class,
    Other,
}

impl Known {
    fn of(name: &str) -> Self {
        match name {
            "id" => Self::Id,
            "class" => Self::Class,
            _ => Self::Other,
        }
    }
}

/// A parsed document.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Record>,
    attributes: Vec<Attribute>,
    /// All names and texts: of the quick parser the page itself, and behind it what differs from how it is written there.
    heap: String,
}

impl Document {
    /// Parses a page; `None` where that would cost more than any real page is worth. The quick parser bounds itself.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if guard::too_large(Shape::Html, text) {
            return None;
        }
        plain::parse(text).or_else(|| guard::refusal(Shape::Html, text).is_none().then(|| full::parse(text)))
    }

    /// The `html` element.
    pub(crate) fn root(&self) -> At<'_> {
        let root = At { document: self, id: ROOT };
        root.children().find(At::is_element).unwrap_or(root)
    }

    fn new(text_length: usize) -> Self {
        let mut document = Self {
            nodes: Vec::with_capacity(text_length / 16 + 8),
            attributes: Vec::with_capacity(text_length / 64 + 8),
            heap: String::with_capacity(text_length + text_length / 8 + 64),
        };
        document.add(What::Root);
        document
    }

    /// With the page as the beginning of its heap, so that pieces of it need no copies.
    fn of_page(text: &str) -> Self {
        let mut document = Self::new(text.len());
        document.heap.push_str(text);
        document
    }

    /// A node without place.
    fn add(&mut self, what: What) -> Id {
        let id = Id::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Record { parent: NONE, previous: NONE, next: NONE, first: NONE, last: NONE, what });
        id
    }

    fn record(&self, id: Id) -> &Record {
        &self.nodes[id as usize]
    }

    fn record_mut(&mut self, id: Id) -> &mut Record {
        &mut self.nodes[id as usize]
    }

    fn append(&mut self, parent: Id, child: Id) {
        let last = self.record(parent).last;
        let record = self.record_mut(child);
        (record.parent, record.previous, record.next) = (parent, last, NONE);
        match last {
            NONE => self.record_mut(parent).first = child,
            last => self.record_mut(last).next = child,
        }
        self.record_mut(parent).last = child;
    }

    fn text(&self, span: Span) -> &str {
        self.heap.get(span.range()).unwrap_or_default()
    }

    /// Takes a text into the heap.
    fn keep(&mut self, text: &str) -> Span {
        let start = self.heap_end();
        self.heap.push_str(text);
        Span { start, end: self.heap_end() }
    }

    fn heap_end(&self) -> u32 {
        u32::try_from(self.heap.len()).unwrap_or(u32::MAX)
    }

    /// Appends a text that stands at the heap's end. Neighbouring texts may stay apart: whoever reads joins them.
    fn append_text(&mut self, parent: Id, span: Span) {
        if span.start == span.end {
            return;
        }
        let last = self.record(parent).last;
        if last != NONE
            && let What::Text(before) = &mut self.record_mut(last).what
            && before.end == span.start
        {
            before.end = span.end;
            return;
        }
        let node = self.add(What::Text(span));
        self.append(parent, node);
    }
}

/// A node of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'d> {
    document: &'d Document,
    id: Id,
}

impl PartialEq for At<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && std::ptr::eq(self.document, other.document)
    }
}

/// A step of a walk through a subtree.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Edge<'d> {
    Open(At<'d>),
    Close(At<'d>),
}

impl<'d> At<'d> {
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    fn record(&self) -> &'d Record {
        self.document.record(self.id)
    }

    fn at(&self, id: Id) -> Option<At<'d>> {
        (id != NONE).then_some(At { document: self.document, id })
    }

    pub(crate) fn is_element(&self) -> bool {
        matches!(self.record().what, What::Element { .. })
    }

    /// An element's name, in lower case; nothing for other nodes.
    pub(crate) fn name(&self) -> &'d str {
        match self.record().what {
            What::Element { name, .. } => self.document.text(name),
            _ => "",
        }
    }

    /// A text node's text.
    pub(crate) fn text(&self) -> Option<&'d str> {
        match self.record().what {
            What::Text(span) => Some(self.document.text(span)),
            _ => None,
        }
    }

    fn all_attributes(&self) -> &'d [Attribute] {
        let (from, to) = match self.record().what {
            What::Element { attributes, .. } => attributes,
            _ => (0, 0),
        };
        self.document.attributes.get(from as usize..to as usize).unwrap_or_default()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn attributes(&self) -> impl Iterator<Item = (&'d str, &'d str)> + use<'d> {
        let document = self.document;
        self.all_attributes().iter().map(|one| (document.text(one.name), document.text(one.value)))
    }

    fn known(&self, known: Known) -> Option<&'d str> {
        let found = self.all_attributes().iter().find(|one| one.known == known)?;
        Some(self.document.text(found.value))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&'d str> {
        match Known::of(name) {
            Known::Other => {
                let mut others = self.all_attributes().iter().filter(|one| one.known == Known::Other);
                let found = others.find(|one| self.document.text(one.name) == name)?;
                Some(self.document.text(found.value))
            }
            known => self.known(known),
        }
    }

    pub(crate) fn parent(&self) -> Option<At<'d>> {
        self.at(self.record().parent)
    }

    pub(crate) fn next(&self) -> Option<At<'d>> {
        self.at(self.record().next)
    }

    pub(crate) fn previous(&self) -> Option<At<'d>> {
        self.at(self.record().previous)
    }

    pub(crate) fn first_child(&self) -> Option<At<'d>> {
        self.at(self.record().first)
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = At<'d>> + use<'d> {
        std::iter::successors(self.first_child(), At::next)
    }

    pub(crate) fn child_elements(&self) -> impl Iterator<Item = At<'d>> + use<'d> {
        self.children().filter(At::is_element)
    }

    /// The elements below this one that a selector matches, in the document's order.
    pub(crate) fn select<'s>(&self, selector: &'s Selector) -> css::Select<'d, 's> {
        css::Select::new(*self, selector)
    }

    /// The node behind this one in the document's order, within `root`.
    fn following(&self, root: At<'d>) -> Option<At<'d>> {
        if let Some(child) = self.first_child() {
            return Some(child);
        }
        let mut at = *self;
        loop {
            if at.id == root.id {
                return None;
            }
            if let Some(next) = at.next() {
                return Some(next);
            }
            at = at.parent()?;
        }
    }

    /// Walks this node and everything below it; `see` answers whether to enter what was opened.
    pub(crate) fn walk(&self, mut see: impl FnMut(Edge<'d>) -> bool) {
        let mut at = *self;
        loop {
            if see(Edge::Open(at))
                && let Some(child) = at.first_child()
            {
                at = child;
                continue;
            }
            loop {
                see(Edge::Close(at));
                if at.id == self.id {
                    return;
                }
                if let Some(next) = at.next() {
                    at = next;
                    break;
                }
                let Some(parent) = at.parent() else { return };
                at = parent;
            }
        }
    }

    /// All text below, as it stands.
    pub(crate) fn plain_text(&self) -> String {
        let mut out = String::new();
        self.walk(|edge| {
            if let Edge::Open(node) = edge {
                out.push_str(node.text().unwrap_or_default());
            }
            true
        });
        out
    }
}
