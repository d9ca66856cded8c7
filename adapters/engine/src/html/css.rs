//! CSS selectors over our documents: the matching is the `selectors` crate's (Servo's), with a quick look beforehand at what
//! the rightmost part asks for.

use std::{borrow::Borrow, fmt};

use cssparser::{ParseError, ToCss};
use precomputed_hash::PrecomputedHash;
use selectors::{
    Element, OpaqueElement,
    attr::{AttrSelectorOperation, CaseSensitivity, NamespaceConstraint},
    bloom::BloomFilter,
    context::{MatchingContext, MatchingForInvalidation, MatchingMode, NeedsSelectorFlags, QuirksMode, SelectorCaches},
    matching::{ElementSelectorFlags, matches_selector},
    parser::{self, Component, ParseRelative, SelectorList, SelectorParseErrorKind},
};

use super::{At, Known, What};
use crate::work;

/// A compiled list of selectors.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    list: SelectorList<Ours>,
    /// Per selector, in the same order.
    quick: Vec<Quick>,
}

/// Something that every match has.
#[derive(Debug, Clone)]
enum Quick {
    Anything,
    Id(String),
    Class(String),
    Name(String),
}

impl Selector {
    /// Parses a list of selectors; the error says what is wrong in a few words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = cssparser::Parser::new(text);
        let list = SelectorList::parse(&Rules, &mut parser, ParseRelative::No).map_err(|error| said(&error))?;
        let quick = list.slice().iter().map(Quick::of).collect();
        Ok(Self { list, quick })
    }

    /// Whether an element is what is asked for.
    pub(crate) fn matches(&self, element: At<'_>) -> bool {
        work::step(1) && element.is_element() && self.matches_with(element, &mut SelectorCaches::default())
    }

    fn matches_with(&self, element: At<'_>, caches: &mut SelectorCaches) -> bool {
        let possible = |quick: &Quick| quick.allows(element);
        if !self.quick.iter().any(possible) {
            return false;
        }
        let mut context = MatchingContext::new(
            MatchingMode::Normal,
            None,
            caches,
            QuirksMode::NoQuirks,
            NeedsSelectorFlags::No,
            MatchingForInvalidation::No,
        );
        let mut pairs = self.list.slice().iter().zip(&self.quick);
        pairs.any(|(selector, quick)| {
            quick.allows(element) && matches_selector(selector, 0, None, &Node(element), &mut context)
        })
    }
}

fn said(error: &ParseError<SelectorParseErrorKind>) -> String {
    match &error.kind {
        cssparser::ParseErrorKind::Custom(kind) => {
            let debug = format!("{kind:?}");
            let words = debug.split(['(', '{']).next().unwrap_or_default().trim();
            words.chars().fold(String::new(), |mut out, c| {
                if c.is_uppercase() && !out.is_empty() {
                    out.push(' ');
                }
                out.extend(c.to_lowercase());
                out
            })
        }
        cssparser::ParseErrorKind::Basic(_) => "unexpected end or sign".to_owned(),
    }
}

impl Quick {
    fn of(selector: &parser::Selector<Ours>) -> Self {
        let mut found = Self::Anything;
        for component in selector.iter() {
            match component {
                Component::ID(id) => return Self::Id(id.0.to_string()),
                Component::Class(class) => found = Self::Class(class.0.to_string()),
                Component::LocalName(name) if matches!(found, Self::Anything) && name.name == name.lower_name => {
                    found = Self::Name(name.name.0.to_string());
                }
                _ => {}
            }
        }
        found
    }

    fn allows(&self, element: At<'_>) -> bool {
        match self {
            Self::Anything => true,
            Self::Id(id) => element.known(Known::Id) == Some(id),
            Self::Class(class) => has_class(element, class),
            Self::Name(name) => element.name() == name,
        }
    }
}

fn has_class(element: At<'_>, class: &str) -> bool {
    element.known(Known::Class).is_some_and(|all| all.split_ascii_whitespace().any(|one| one == class))
}

/// The matches below a node, in the document's order.
pub(crate) struct Select<'d, 's> {
    root: At<'d>,
    at: At<'d>,
    selector: &'s Selector,
    caches: SelectorCaches,
}

impl<'d, 's> Select<'d, 's> {
    pub(super) fn new(root: At<'d>, selector: &'s Selector) -> Self {
        Self { root, at: root, selector, caches: SelectorCaches::default() }
    }
}

impl<'d> Iterator for Select<'d, '_> {
    type Item = At<'d>;

    fn next(&mut self) -> Option<At<'d>> {
        loop {
            if !work::step(1) {
                return None;
            }
            self.at = self.at.following(self.root)?;
            if self.at.is_element() && self.selector.matches_with(self.at, &mut self.caches) {
                return Some(self.at);
            }
        }
    }
}

/// A name in a selector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Word(Box<str>);

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Word {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl ToCss for Word {
    fn to_css<W: fmt::Write>(&self, out: &mut W) -> fmt::Result {
        cssparser::serialize_identifier(&self.0, out)
    }
}

impl PrecomputedHash for Word {
    fn precomputed_hash(&self) -> u32 {
        // FNV-1a: only the crate's own filters use it.
        self.0.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ours;

impl parser::SelectorImpl for Ours {
    type ExtraMatchingData<'a> = ();
    type AttrValue = Word;
    type Identifier = Word;
    type LocalName = Word;
    type NamespaceUrl = Word;
    type NamespacePrefix = Word;
    type BorrowedNamespaceUrl = Word;
    type BorrowedLocalName = Word;
    type NonTSPseudoClass = Never;
    type PseudoElement = Never;
}

/// There are no states such as `:hover` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Never {}

impl parser::NonTSPseudoClass for Never {
    fn is_active_or_hover(&self) -> bool {
        match *self {}
    }

    fn is_user_action_state(&self) -> bool {
        match *self {}
    }
}

impl parser::PseudoElement for Never {}

impl ToCss for Never {
    fn to_css<W: fmt::Write>(&self, _: &mut W) -> fmt::Result {
        match *self {}
    }
}

struct Rules;

impl<'i> parser::Parser<'i> for Rules {
    type Impl = Ours;
    type Error = SelectorParseErrorKind;

    fn parse_is_and_where(&self) -> bool {
        true
    }

    fn parse_has(&self) -> bool {
        true
    }
}

/// An element as the matching asks about it. Its steps are counted and never refused: the matching must see one document from
/// beginning to end, and whoever goes through elements stops at the next.
#[derive(Debug, Clone)]
struct Node<'d>(At<'d>);

impl<'d> Node<'d> {
    fn sibling(&self, step: impl Fn(&At<'d>) -> Option<At<'d>>) -> Option<Self> {
        work::step(1);
        let mut at = step(&self.0)?;
        while !at.is_element() {
            work::step(1);
            at = step(&at)?;
        }
        Some(Self(at))
    }
}

impl Element for Node<'_> {
    type Impl = Ours;

    fn opaque(&self) -> OpaqueElement {
        OpaqueElement::new(self.0.record())
    }

    fn parent_element(&self) -> Option<Self> {
        work::step(1);
        self.0.parent().filter(At::is_element).map(Self)
    }

    fn parent_node_is_shadow_root(&self) -> bool {
        false
    }

    fn containing_shadow_host(&self) -> Option<Self> {
        None
    }

    fn is_pseudo_element(&self) -> bool {
        false
    }

    fn prev_sibling_element(&self) -> Option<Self> {
        self.sibling(At::previous)
    }

    fn next_sibling_element(&self) -> Option<Self> {
        self.sibling(At::next)
    }

    fn first_element_child(&self) -> Option<Self> {
        self.0.child_elements().next().map(Self)
    }

    fn is_html_element_in_html_document(&self) -> bool {
        matches!(self.0.record().what, What::Element { html: true, .. })
    }

    fn has_local_name(&self, name: &Word) -> bool {
        self.0.name() == &*name.0
    }

    fn has_namespace(&self, _: &Word) -> bool {
        true
    }

    fn is_same_type(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
            && self.is_html_element_in_html_document() == other.is_html_element_in_html_document()
    }

    fn attr_matches(
        &self,
        _: &NamespaceConstraint<&Word>,
        name: &Word,
        operation: &AttrSelectorOperation<&Word>,
    ) -> bool {
        self.0.attribute(&name.0).is_some_and(|value| {
            work::text(value.len(), 32);
            operation.eval_str(value)
        })
    }

    fn match_non_ts_pseudo_class(&self, class: &Never, _: &mut MatchingContext<'_, Ours>) -> bool {
        match *class {}
    }

    fn match_pseudo_element(&self, element: &Never, _: &mut MatchingContext<'_, Ours>) -> bool {
        match *element {}
    }

    fn apply_selector_flags(&self, _: ElementSelectorFlags) {}

    fn is_link(&self) -> bool {
        matches!(self.0.name(), "a" | "area" | "link") && self.0.attribute("href").is_some()
    }

    fn is_html_slot_element(&self) -> bool {
        false
    }

    fn has_id(&self, id: &Word, case: CaseSensitivity) -> bool {
        self.0.attribute("id").is_some_and(|found| case.eq(found.as_bytes(), id.0.as_bytes()))
    }

    fn has_class(&self, name: &Word, case: CaseSensitivity) -> bool {
        let classes = self.0.attribute("class").unwrap_or_default();
        work::text(classes.len(), 32);
        classes.split_ascii_whitespace().any(|one| case.eq(one.as_bytes(), name.0.as_bytes()))
    }

    fn has_custom_state(&self, _: &Word) -> bool {
        false
    }

    fn imported_part(&self, _: &Word) -> Option<Word> {
        None
    }

    fn is_part(&self, _: &Word) -> bool {
        false
    }

    fn is_empty(&self) -> bool {
        !self.0.children().any(|child| child.is_element() || child.text().is_some())
    }

    fn is_root(&self) -> bool {
        self.0.parent().is_some_and(|parent| !parent.is_element() && parent.parent().is_none())
    }

    fn add_element_unique_hashes(&self, _: &mut BloomFilter) -> bool {
        false
    }
}
