//! The structure of tables: captions, columns, rows and cells.

use super::{Again, Builder, Done, Mode, Next, Raw, Span, Start, Tag};

impl Builder<'_> {
    pub(super) fn in_table(&mut self, start: &Start) -> Option<Next> {
        match start.tag {
            Tag::Caption => {
                self.pop_until(|tag| matches!(tag, Tag::Table | Tag::Html));
                self.formatting.push(None);
                self.insert(start)?;
                self.mode = Mode::Caption;
                Some(Done)
            }
            Tag::Colgroup => {
                self.pop_until(|tag| matches!(tag, Tag::Table | Tag::Html));
                self.insert(start)?;
                self.mode = Mode::Columns;
                Some(Done)
            }
            Tag::Col => {
                self.pop_until(|tag| matches!(tag, Tag::Table | Tag::Html));
                self.phantom(Tag::Colgroup, "colgroup");
                self.mode = Mode::Columns;
                Some(Again)
            }
            Tag::Tbody | Tag::Tfoot | Tag::Thead => {
                self.pop_until(|tag| matches!(tag, Tag::Table | Tag::Html));
                self.insert(start)?;
                self.mode = Mode::TableBody;
                Some(Done)
            }
            Tag::Td | Tag::Th | Tag::Tr => {
                self.pop_until(|tag| matches!(tag, Tag::Table | Tag::Html));
                self.phantom(Tag::Tbody, "tbody");
                self.mode = Mode::TableBody;
                Some(Again)
            }
            Tag::Style | Tag::Script => self.raw(start, Raw::Plain).map(|()| Done),
            Tag::Input if self.is_hidden(start) => self.insert_empty(start).map(|()| Done),
            Tag::Form => {
                if self.form.is_none() {
                    self.insert(start)?;
                    self.form = self.stack.pop().map(|open| open.id);
                }
                Some(Done)
            }
            // The rest would be moved before the table.
            _ => None,
        }
    }

    pub(super) fn is_hidden(&self, start: &Start) -> bool {
        let range = start.attributes.0 as usize..start.attributes.1 as usize;
        let mut all = self.document.attributes[range].iter();
        all.any(|one| {
            self.document.text(one.name) == "type" && self.document.text(one.value).eq_ignore_ascii_case("hidden")
        })
    }

    /// In a caption or a cell, which a part of the table's structure closes.
    pub(super) fn in_content(&mut self, start: &Start, close: fn(&mut Self) -> bool) -> Option<Next> {
        match start.tag {
            Tag::Caption
            | Tag::Col
            | Tag::Colgroup
            | Tag::Tbody
            | Tag::Td
            | Tag::Tfoot
            | Tag::Th
            | Tag::Thead
            | Tag::Tr => Some(if close(self) { Again } else { Done }),
            _ => self.in_body(start).map(|()| Done),
        }
    }

    pub(super) fn close_caption(&mut self) -> bool {
        if !self.in_table_scope(|tag| tag == Tag::Caption) {
            return false;
        }
        self.implied_ends(None);
        self.pop_to(Tag::Caption);
        self.clear_formatting();
        self.mode = Mode::Table;
        true
    }

    pub(super) fn close_columns(&mut self) -> Option<Next> {
        if self.current()?.tag != Tag::Colgroup {
            return None;
        }
        self.stack.pop();
        self.mode = Mode::Table;
        Some(Again)
    }

    pub(super) fn in_table_body(&mut self, start: &Start) -> Option<Next> {
        let body = |tag| matches!(tag, Tag::Tbody | Tag::Tfoot | Tag::Thead | Tag::Html);
        match start.tag {
            Tag::Tr => {
                self.pop_until(body);
                self.insert(start)?;
                self.mode = Mode::Row;
                Some(Done)
            }
            Tag::Td | Tag::Th => {
                self.pop_until(body);
                self.phantom(Tag::Tr, "tr");
                self.mode = Mode::Row;
                Some(Again)
            }
            Tag::Caption | Tag::Col | Tag::Colgroup | Tag::Tbody | Tag::Tfoot | Tag::Thead => {
                self.pop_until(body);
                self.stack.pop();
                self.mode = Mode::Table;
                Some(Again)
            }
            _ => self.in_table(start),
        }
    }

    pub(super) fn in_row(&mut self, start: &Start) -> Option<Next> {
        match start.tag {
            Tag::Td | Tag::Th => {
                self.pop_until(|tag| matches!(tag, Tag::Tr | Tag::Html));
                self.insert(start)?;
                self.mode = Mode::Cell;
                self.formatting.push(None);
                Some(Done)
            }
            Tag::Caption | Tag::Col | Tag::Colgroup | Tag::Tbody | Tag::Tfoot | Tag::Thead | Tag::Tr => {
                if self.close_row() {
                    return Some(Again);
                }
                Some(Done)
            }
            _ => self.in_table(start),
        }
    }

    pub(super) fn close_row(&mut self) -> bool {
        if !self.in_table_scope(|tag| tag == Tag::Tr) {
            return false;
        }
        self.pop_until(|tag| matches!(tag, Tag::Tr | Tag::Html));
        self.stack.pop();
        self.mode = Mode::TableBody;
        true
    }

    pub(super) fn close_cell(&mut self) -> bool {
        let cell = |tag| matches!(tag, Tag::Td | Tag::Th);
        if !self.in_table_scope(cell) {
            return false;
        }
        self.implied_ends(None);
        while let Some(open) = self.stack.pop()
            && !cell(open.tag)
        {}
        self.clear_formatting();
        self.mode = Mode::Row;
        true
    }

    pub(super) fn end_in_table(&mut self, tag: Tag, name: Span) -> Option<Next> {
        use Tag as T;
        if matches!(tag, T::Body | T::Html | T::Col | T::Colgroup) {
            return Some(Done);
        }
        let part = matches!(tag, T::Tbody | T::Tfoot | T::Thead);
        let again = |closed: bool| Some(if closed { Again } else { Done });
        match self.mode {
            Mode::Cell => match tag {
                T::Td | T::Th => {
                    if self.in_table_scope(|open| open == tag) {
                        self.implied_ends(None);
                        self.pop_to(tag);
                        self.clear_formatting();
                        self.mode = Mode::Row;
                    }
                    Some(Done)
                }
                T::Caption => Some(Done),
                T::Table | T::Tr | T::Tbody | T::Tfoot | T::Thead => {
                    let open = self.in_table_scope(|open| open == tag);
                    again(open && self.close_cell())
                }
                _ => self.end_in_body(tag, name),
            },
            Mode::Caption => match tag {
                T::Caption => {
                    self.close_caption();
                    Some(Done)
                }
                T::Table => again(self.close_caption()),
                T::Td | T::Th | T::Tr | T::Tbody | T::Tfoot | T::Thead => Some(Done),
                _ => self.end_in_body(tag, name),
            },
            Mode::Row => match tag {
                T::Tr => {
                    self.close_row();
                    Some(Done)
                }
                T::Table => again(self.close_row()),
                _ if part => again(self.in_table_scope(|open| open == tag) && self.close_row()),
                T::Caption | T::Td | T::Th => Some(Done),
                _ => None,
            },
            Mode::TableBody => match tag {
                _ if part => {
                    if self.in_table_scope(|open| open == tag) {
                        self.pop_until(|tag| matches!(tag, T::Tbody | T::Tfoot | T::Thead | T::Html));
                        self.stack.pop();
                        self.mode = Mode::Table;
                    }
                    Some(Done)
                }
                T::Table => {
                    self.pop_until(|tag| matches!(tag, T::Tbody | T::Tfoot | T::Thead | T::Html));
                    self.stack.pop();
                    self.mode = Mode::Table;
                    Some(Again)
                }
                T::Caption | T::Td | T::Th | T::Tr => Some(Done),
                _ => None,
            },
            _ => match tag {
                T::Table => {
                    if self.in_table_scope(|open| open == T::Table) {
                        self.pop_to(T::Table);
                        self.reset()?;
                    }
                    Some(Done)
                }
                T::Caption | T::Td | T::Th | T::Tr => Some(Done),
                _ if part => Some(Done),
                _ => None,
            },
        }
    }

    /// The mode that the innermost open element stands for.
    pub(super) fn reset(&mut self) -> Option<()> {
        for open in self.stack.iter().rev() {
            self.mode = match open.tag {
                Tag::Td | Tag::Th => Mode::Cell,
                Tag::Tr => Mode::Row,
                Tag::Tbody | Tag::Thead | Tag::Tfoot => Mode::TableBody,
                Tag::Caption => Mode::Caption,
                Tag::Colgroup => Mode::Columns,
                Tag::Table => Mode::Table,
                Tag::Body => Mode::Body,
                Tag::Html | Tag::Head => return None,
                _ => continue,
            };
            return Some(());
        }
        None
    }
}
