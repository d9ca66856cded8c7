//! The open elements: what is put among them, which of them a look for one reaches, and how they are closed.

use super::{Builder, Open, ROOT, Start, Tag, What};

impl Builder<'_> {
    pub(super) fn insert(&mut self, start: &Start) -> Option<()> {
        let id = self.document.add(What::Element { name: start.name, attributes: start.attributes, html: true });
        let parent = self.current().map_or(ROOT, |open| open.id);
        self.document.append(parent, id);
        self.stack.push(Open { id, tag: start.tag, name: start.name });
        Some(())
    }

    pub(super) fn insert_empty(&mut self, start: &Start) -> Option<()> {
        self.insert(start)?;
        self.stack.pop();
        Some(())
    }

    pub(super) fn insert_formatting(&mut self, start: &Start) -> Option<()> {
        self.reconstruct()?;
        self.insert(start)?;
        let open = self.current()?;
        // Of equal ones only three count; telling equal ones apart is left to the full parser.
        let same = self.formatting.iter().rev().map_while(|entry| entry.as_ref());
        if same.filter(|(_, tag)| *tag == open.tag).count() >= 3 {
            return None;
        }
        self.formatting.push(Some((open.id, open.tag)));
        Some(())
    }

    /// An element that the page left out.
    pub(super) fn phantom(&mut self, tag: Tag, name: &'static str) {
        let name = self.document.keep(name);
        let id = self.document.add(What::Element { name, attributes: (0, 0), html: true });
        let parent = self.current().map_or(ROOT, |open| open.id);
        self.document.append(parent, id);
        self.stack.push(Open { id, tag, name });
    }

    /// Styling that goes on behind the end of its parent would be made anew here: that is left to the full parser.
    pub(super) fn reconstruct(&self) -> Option<()> {
        match self.formatting.last() {
            Some(Some((id, _))) if !self.stack.iter().rev().any(|open| open.id == *id) => None,
            _ => Some(()),
        }
    }

    pub(super) fn clear_formatting(&mut self) {
        while let Some(Some(_)) = self.formatting.pop() {}
    }

    pub(super) fn open_before(&self, wanted: impl Fn(&Open) -> bool, bound: impl Fn(&Open) -> bool) -> bool {
        for open in self.stack.iter().rev() {
            if wanted(open) {
                return true;
            }
            if bound(open) {
                return false;
            }
        }
        false
    }

    pub(super) fn in_scope(&self, wanted: impl Fn(&Open) -> bool) -> bool {
        self.open_before(wanted, |open| open.tag.bounds_scope())
    }

    pub(super) fn in_button_scope(&self, tag: Tag) -> bool {
        self.open_before(|open| open.tag == tag, |open| open.tag.bounds_scope() || open.tag == Tag::Button)
    }

    pub(super) fn in_table_scope(&self, wanted: impl Fn(Tag) -> bool) -> bool {
        self.open_before(|open| wanted(open.tag), |open| matches!(open.tag, Tag::Html | Tag::Table | Tag::Template))
    }

    pub(super) fn implied_ends(&mut self, except: Option<Tag>) {
        while self.stack.last().is_some_and(|open| open.tag.is_implied_end() && Some(open.tag) != except) {
            self.stack.pop();
        }
    }

    /// Closes an element and all inside it.
    pub(super) fn pop_to(&mut self, tag: Tag) {
        while let Some(open) = self.stack.pop()
            && open.tag != tag
        {}
    }

    /// Closes elements until the innermost is one of these.
    pub(super) fn pop_until(&mut self, stop: impl Fn(Tag) -> bool) {
        while self.stack.last().is_some_and(|open| !stop(open.tag)) {
            self.stack.pop();
        }
    }

    pub(super) fn close_p(&mut self) {
        if self.in_button_scope(Tag::P) {
            self.implied_ends(Some(Tag::P));
            self.pop_to(Tag::P);
        }
    }
}
