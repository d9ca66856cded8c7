//! What stands in a page's body outside the structure of tables.

use super::{Again, Builder, Done, Id, Mode, Next, Open, Quirks, Raw, Span, Start, Tag};

impl Builder<'_> {
    pub(super) fn in_body(&mut self, start: &Start) -> Option<()> {
        use Tag as T;
        let tag = start.tag;
        match tag {
            T::Noscript | T::Iframe | T::Noembed => self.raw(start, Raw::Plain),
            _ if self.in_head(start)? => Some(()),
            T::Body | T::Nobr | T::Rb | T::Rp | T::Rt | T::Rtc => None,
            T::P => {
                self.close_p();
                self.insert(start)
            }
            _ if tag.is_block() => {
                self.close_p();
                self.insert(start)
            }
            _ if tag.is_heading() => {
                self.close_p();
                if self.current()?.tag.is_heading() {
                    self.stack.pop();
                }
                self.insert(start)
            }
            T::Pre | T::Listing => {
                self.close_p();
                self.skip_line_feed = true;
                self.insert(start)
            }
            T::Form => {
                if self.form.is_some() {
                    return Some(());
                }
                self.close_p();
                self.insert(start)?;
                self.form = self.current().map(|open| open.id);
                Some(())
            }
            T::Li | T::Dd | T::Dt => self.list_item(start),
            T::Button => {
                if self.in_scope(|open| open.tag == T::Button) {
                    self.implied_ends(None);
                    self.pop_to(T::Button);
                }
                self.reconstruct()?;
                self.insert(start)
            }
            T::A => {
                let others = self.formatting.iter().rev().map_while(|entry| entry.as_ref());
                if others.into_iter().any(|(_, tag)| *tag == T::A) {
                    return None;
                }
                self.insert_formatting(start)
            }
            _ if tag.is_formatting() => self.insert_formatting(start),
            T::Applet | T::Marquee | T::Object => {
                self.reconstruct()?;
                self.insert(start)?;
                self.formatting.push(None);
                Some(())
            }
            T::Table => {
                match self.quirks {
                    Quirks::No => self.close_p(),
                    Quirks::Yes => {}
                    Quirks::Unknown if self.in_button_scope(T::P) => return None,
                    Quirks::Unknown => {}
                }
                self.insert(start)?;
                self.mode = Mode::Table;
                Some(())
            }
            T::Area | T::Br | T::Embed | T::Img | T::Keygen | T::Wbr => {
                self.reconstruct()?;
                self.insert_empty(start)
            }
            T::Input => {
                if self.in_scope(|open| open.tag == T::Select) {
                    self.pop_to(T::Select);
                }
                self.reconstruct()?;
                self.insert_empty(start)
            }
            T::Param | T::Source | T::Track => self.insert_empty(start),
            T::Hr => {
                self.close_p();
                if self.in_scope(|open| open.tag == T::Select) {
                    self.implied_ends(None);
                }
                self.insert_empty(start)
            }
            T::Textarea => self.raw(start, Raw::References),
            T::Xmp => {
                self.close_p();
                self.reconstruct()?;
                self.raw(start, Raw::Plain)
            }
            T::Select => {
                if self.in_scope(|open| open.tag == T::Select) {
                    self.pop_to(T::Select);
                    return Some(());
                }
                self.reconstruct()?;
                self.insert(start)
            }
            T::Option | T::Optgroup => {
                if self.in_scope(|open| open.tag == T::Select) {
                    self.implied_ends((tag == T::Option).then_some(T::Optgroup));
                } else if self.current()?.tag == T::Option {
                    self.stack.pop();
                }
                self.reconstruct()?;
                self.insert(start)
            }
            T::Caption
            | T::Col
            | T::Colgroup
            | T::Frame
            | T::Head
            | T::Tbody
            | T::Td
            | T::Tfoot
            | T::Th
            | T::Thead
            | T::Tr => Some(()),
            _ => {
                self.reconstruct()?;
                self.insert(start)
            }
        }
    }

    pub(super) fn list_item(&mut self, start: &Start) -> Option<()> {
        let closes = |tag| if start.tag == Tag::Li { tag == Tag::Li } else { matches!(tag, Tag::Dd | Tag::Dt) };
        let mut open = None;
        for element in self.stack.iter().rev() {
            if closes(element.tag) {
                open = Some(element.tag);
                break;
            }
            if element.tag.is_special() && !matches!(element.tag, Tag::Address | Tag::Div | Tag::P) {
                break;
            }
        }
        if let Some(tag) = open {
            self.implied_ends(Some(tag));
            self.pop_to(tag);
        }
        self.close_p();
        self.insert(start)
    }

    pub(super) fn end_in_body(&mut self, tag: Tag, name: Span) -> Option<Next> {
        use Tag as T;
        match tag {
            T::Body | T::Html => {
                if self.in_scope(|open| open.tag == T::Body) {
                    self.mode = Mode::AfterBody;
                    return Some(if tag == T::Html { Again } else { Done });
                }
            }
            _ if tag.is_block() || matches!(tag, T::Button | T::Listing | T::Pre | T::Select) => {
                if self.in_scope(|open| open.tag == tag) {
                    self.implied_ends(None);
                    self.pop_to(tag);
                }
            }
            T::Form => {
                let Some(form) = self.form.take() else { return Some(Done) };
                if self.in_scope(|open| open.id == form) {
                    self.implied_ends(None);
                    self.stack.retain(|open| open.id != form);
                }
            }
            T::P => {
                if !self.in_button_scope(T::P) {
                    self.phantom(T::P, "p");
                }
                self.close_p();
            }
            T::Li => {
                let bound = |open: &Open| open.tag.bounds_scope() || matches!(open.tag, T::Ol | T::Ul);
                if self.open_before(|open| open.tag == T::Li, bound) {
                    self.implied_ends(Some(T::Li));
                    self.pop_to(T::Li);
                }
            }
            T::Dd | T::Dt => {
                if self.in_scope(|open| open.tag == tag) {
                    self.implied_ends(Some(tag));
                    self.pop_to(tag);
                }
            }
            _ if tag.is_heading() => {
                if self.in_scope(|open| open.tag.is_heading()) {
                    self.implied_ends(None);
                    while let Some(open) = self.stack.pop()
                        && !open.tag.is_heading()
                    {}
                }
            }
            _ if tag.is_formatting() => self.end_formatting(tag, name)?,
            T::Applet | T::Marquee | T::Object => {
                if self.in_scope(|open| open.tag == tag) {
                    self.implied_ends(None);
                    self.pop_to(tag);
                    self.clear_formatting();
                }
            }
            T::Br | T::Template => return None,
            _ => self.end_other(name),
        }
        Some(Done)
    }

    /// The end of a formatting element, as long as it encloses whole blocks or none.
    pub(super) fn end_formatting(&mut self, tag: Tag, name: Span) -> Option<()> {
        let current = self.current()?;
        let listed = |id: Id, list: &[Option<(Id, Tag)>]| list.iter().flatten().any(|(other, _)| *other == id);
        if current.tag == tag && !listed(current.id, &self.formatting) {
            self.stack.pop();
            return Some(());
        }
        let start = self.formatting.iter().rposition(Option::is_none).map_or(0, |marker| marker + 1);
        let found = self.formatting[start..].iter().rposition(|entry| entry.is_some_and(|(_, open)| open == tag));
        let Some(place) = found.map(|at| start + at) else {
            self.end_other(name);
            return Some(());
        };
        let (id, _) = self.formatting[place]?;
        let Some(depth) = self.stack.iter().rposition(|open| open.id == id) else {
            self.formatting.remove(place);
            return Some(());
        };
        if !self.in_scope(|open| open.id == id) {
            return Some(());
        }
        if self.stack[depth + 1..].iter().any(|open| open.tag.is_special()) {
            return None;
        }
        self.stack.truncate(depth);
        self.formatting.remove(place);
        Some(())
    }

    /// The end of an element without rules of its own.
    pub(super) fn end_other(&mut self, name: Span) {
        let mut found = None;
        for (depth, open) in self.stack.iter().enumerate().rev() {
            if self.document.text(open.name) == self.document.text(name) {
                found = Some(depth);
                break;
            }
            if open.tag.is_special() {
                return;
            }
        }
        // Whatever implied ends would close stands above it and goes with it.
        if let Some(depth) = found {
            self.stack.truncate(depth);
        }
    }
}
