//! The full parser: html5ever, which knows the whole standard, filling the same tree.

use std::{borrow::Cow, cell::RefCell, rc::Rc};

use html5ever::{
    Attribute as Given, ParseOpts, QualName,
    interface::{ElemName, ElementFlags, NodeOrText, QuirksMode, TreeSink},
    local_name, ns, parse_document,
    tendril::{StrTendril, TendrilSink},
};

use super::{Attribute, Document, Id, Known, NONE, ROOT, Span, What};

/// The document of a page.
pub(super) fn parse(text: &str) -> Document {
    let sink = Sink { inner: RefCell::new(Inner { document: Document::new(text.len()), names: vec![None] }) };
    parse_document(sink, ParseOpts::default()).one(StrTendril::from(text))
}

#[derive(Debug)]
struct Sink {
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    document: Document,
    /// Names as the parser asks for them, by node.
    names: Vec<Option<Rc<QualName>>>,
}

#[derive(Debug)]
struct Name(Rc<QualName>);

impl ElemName for Name {
    fn ns(&self) -> &html5ever::Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &html5ever::LocalName {
        &self.0.local
    }
}

impl Inner {
    fn add(&mut self, what: What, name: Option<Rc<QualName>>) -> Id {
        let id = self.document.add(what);
        self.names.resize(id as usize, None);
        self.names.push(name);
        id
    }

    fn keep_attributes(&mut self, given: Vec<Given>) -> (u32, u32) {
        let document = &mut self.document;
        let place = |document: &Document| u32::try_from(document.attributes.len()).unwrap_or(u32::MAX);
        let first = place(document);
        for one in given {
            let (name, value) = (document.keep(&one.name.local), document.keep(&one.value));
            document.attributes.push(Attribute { name, value, known: Known::of(&one.name.local) });
        }
        (first, place(document))
    }

    fn detach(&mut self, node: Id) {
        let record = *self.document.record(node);
        if record.parent == NONE {
            return;
        }
        match record.previous {
            NONE => self.document.record_mut(record.parent).first = record.next,
            previous => self.document.record_mut(previous).next = record.next,
        }
        match record.next {
            NONE => self.document.record_mut(record.parent).last = record.previous,
            next => self.document.record_mut(next).previous = record.previous,
        }
        let record = self.document.record_mut(node);
        (record.parent, record.previous, record.next) = (NONE, NONE, NONE);
    }

    fn insert_before(&mut self, sibling: Id, node: Id) {
        self.detach(node);
        let (parent, previous) = (self.document.record(sibling).parent, self.document.record(sibling).previous);
        let record = self.document.record_mut(node);
        (record.parent, record.previous, record.next) = (parent, previous, sibling);
        self.document.record_mut(sibling).previous = node;
        match previous {
            NONE => self.document.record_mut(parent).first = node,
            previous => self.document.record_mut(previous).next = node,
        }
    }

    fn text_node(&mut self, text: &str) -> Id {
        let span = self.document.keep(text);
        self.add(What::Text(span), None)
    }
}

impl TreeSink for Sink {
    type Handle = Id;
    type Output = Document;
    type ElemName<'a> = Name;

    fn finish(self) -> Document {
        self.inner.into_inner().document
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Id {
        ROOT
    }

    fn elem_name<'a>(&'a self, target: &'a Id) -> Name {
        let inner = self.inner.borrow();
        let known = inner.names.get(*target as usize).cloned().flatten();
        Name(known.unwrap_or_else(|| Rc::new(QualName::new(None, ns!(html), local_name!("")))))
    }

    fn create_element(&self, name: QualName, given: Vec<Given>, _: ElementFlags) -> Id {
        let mut inner = self.inner.borrow_mut();
        let attributes = inner.keep_attributes(given);
        let html = name.ns == ns!(html);
        let is_template = html && name.local == local_name!("template");
        let span = inner.document.keep(&name.local);
        let id = inner.add(What::Element { name: span, attributes, html }, Some(Rc::new(name)));
        if is_template {
            let contents = inner.add(What::Other, None);
            inner.document.append(id, contents);
        }
        id
    }

    fn create_comment(&self, _: StrTendril) -> Id {
        self.inner.borrow_mut().add(What::Other, None)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Id {
        self.inner.borrow_mut().add(What::Other, None)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        let mut inner = self.inner.borrow_mut();
        match child {
            NodeOrText::AppendNode(node) => {
                inner.detach(node);
                inner.document.append(*parent, node);
            }
            NodeOrText::AppendText(text) => {
                let span: Span = inner.document.keep(&text);
                inner.document.append_text(*parent, span);
            }
        }
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        let has_parent = self.inner.borrow().document.record(*element).parent != NONE;
        if has_parent { self.append_before_sibling(element, child) } else { self.append(previous, child) }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Id) -> Id {
        let first = self.inner.borrow().document.record(*target).first;
        if first == NONE { *target } else { first }
    }

    fn same_node(&self, one: &Id, other: &Id) -> bool {
        one == other
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, new: NodeOrText<Id>) {
        let mut inner = self.inner.borrow_mut();
        if inner.document.record(*sibling).parent == NONE {
            return;
        }
        let node = match new {
            NodeOrText::AppendNode(node) => node,
            NodeOrText::AppendText(text) => inner.text_node(&text),
        };
        inner.insert_before(*sibling, node);
    }

    fn add_attrs_if_missing(&self, target: &Id, given: Vec<Given>) {
        let mut inner = self.inner.borrow_mut();
        let What::Element { name, attributes, html } = inner.document.record(*target).what else { return };
        let known: Vec<Attribute> = inner.document.attributes[attributes.0 as usize..attributes.1 as usize].to_vec();
        let new: Vec<Given> = given
            .into_iter()
            .filter(|one| known.iter().all(|other| inner.document.text(other.name) != &*one.name.local))
            .collect();
        if new.is_empty() {
            return;
        }
        let first = u32::try_from(inner.document.attributes.len()).unwrap_or(u32::MAX);
        inner.document.attributes.extend(known);
        let (_, end) = inner.keep_attributes(new);
        inner.document.record_mut(*target).what = What::Element { name, attributes: (first, end), html };
    }

    fn remove_from_parent(&self, target: &Id) {
        self.inner.borrow_mut().detach(*target);
    }

    fn reparent_children(&self, node: &Id, new_parent: &Id) {
        let mut inner = self.inner.borrow_mut();
        while inner.document.record(*node).first != NONE {
            let child = inner.document.record(*node).first;
            inner.detach(child);
            inner.document.append(*new_parent, child);
        }
    }
}
