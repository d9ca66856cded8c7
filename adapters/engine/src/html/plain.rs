//! The quick parser: the standard's rules for building a tree, as far as ordinary pages need them. Whatever would need the
//! rest (styling that crosses blocks, text between table rows, frames, templates, SVG, cut-off tags) gives up.

use std::borrow::Cow;

use super::{
    Document, Id, ROOT, Span, What,
    names::Tag,
    refs::{self, Within},
    tokens::{Start, Token, Tokens},
};

/// Deeper pages are left to the full parser, whose caller has counted.
const MOST_OPEN: usize = 200;

/// The standard's insertion modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Initial,
    BeforeHtml,
    BeforeHead,
    Head,
    AfterHead,
    Body,
    Table,
    Caption,
    Columns,
    TableBody,
    Row,
    Cell,
    AfterBody,
    AfterAfterBody,
}

/// Whether a table closes the paragraph before it: not in pages of before the standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirks {
    Yes,
    No,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    id: Id,
    tag: Tag,
    name: Span,
}

struct Builder<'t> {
    tokens: Tokens<'t>,
    document: Document,
    mode: Mode,
    stack: Vec<Open>,
    /// Formatting elements not yet closed; `None` is a marker.
    formatting: Vec<Option<(Id, Tag)>>,
    head: Option<Open>,
    form: Option<Id>,
    quirks: Quirks,
    skip_line_feed: bool,
}

/// The document of a page; `None` leaves it to the full parser.
pub(super) fn parse(text: &str) -> Option<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = match memchr::memchr2(b'\r', 0, text.as_bytes()) {
        None => Cow::Borrowed(text),
        Some(_) if text.contains('\0') => return None,
        Some(_) => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
    };
    // Places are 32-bit; what is read is far smaller.
    u32::try_from(text.len()).ok()?;
    let mut builder = Builder {
        tokens: Tokens::new(&text),
        document: Document::new(text.len()),
        mode: Mode::Initial,
        stack: Vec::with_capacity(32),
        formatting: Vec::new(),
        head: None,
        form: None,
        quirks: Quirks::Unknown,
        skip_line_feed: false,
    };
    builder.run()?;
    Some(builder.document)
}

/// Whether a token was used up, or another mode is to look at it.
enum Next {
    Done,
    Again,
}

use Next::{Again, Done};

impl<'t> Builder<'t> {
    fn run(&mut self) -> Option<()> {
        while !self.tokens.is_at_end() {
            let token = self.tokens.next(&mut self.document)?;
            if let Token::Text(raw) = token {
                self.text(raw)?;
                continue;
            }
            self.skip_line_feed = false;
            if let Token::Start(start) = &token
                && matches!(
                    start.tag,
                    Tag::Svg | Tag::Math | Tag::Template | Tag::Frameset | Tag::Plaintext | Tag::Image
                )
            {
                return None;
            }
            while let Again = self.step(&token)? {}
            if self.stack.len() > MOST_OPEN {
                return None;
            }
        }
        self.reach_body()
    }

    /// A page without a body has one nevertheless.
    fn reach_body(&mut self) -> Option<()> {
        while matches!(self.mode, Mode::Initial | Mode::BeforeHtml | Mode::BeforeHead | Mode::Head | Mode::AfterHead) {
            self.implied();
        }
        Some(())
    }

    /// What stands between a page's beginning and its body, where it was left out.
    fn implied(&mut self) {
        match self.mode {
            Mode::Initial => {
                self.quirks = Quirks::Yes;
                self.mode = Mode::BeforeHtml;
            }
            Mode::BeforeHtml => {
                self.phantom(Tag::Html, "html");
                self.mode = Mode::BeforeHead;
            }
            Mode::BeforeHead => {
                self.phantom(Tag::Head, "head");
                self.head = self.stack.last().copied();
                self.mode = Mode::Head;
            }
            Mode::Head => {
                self.stack.pop();
                self.mode = Mode::AfterHead;
            }
            _ => {
                self.phantom(Tag::Body, "body");
                self.mode = Mode::Body;
            }
        }
    }

    fn text(&mut self, raw: &str) -> Option<()> {
        let mut raw = raw;
        if std::mem::take(&mut self.skip_line_feed) {
            raw = raw.strip_prefix('\n').unwrap_or(raw);
        }
        let start = self.document.heap_end();
        refs::resolve(raw, Within::Text, &mut self.document.heap);
        let end = self.document.heap_end();
        let blank = self.document.heap[start as usize..].bytes().take_while(|b| is_space(*b)).count();
        let mut from = start;
        let filled = start + u32::try_from(blank).ok()?;
        if filled < end {
            // Text belongs into a body; white space before it may have another place.
            loop {
                match self.mode {
                    Mode::Initial | Mode::BeforeHtml | Mode::BeforeHead => {
                        from = filled;
                        self.implied();
                    }
                    Mode::Head | Mode::AfterHead => {
                        self.append(Span { start: from, end: filled })?;
                        from = filled;
                        self.implied();
                    }
                    Mode::Columns => {
                        self.append(Span { start: from, end: filled })?;
                        return None;
                    }
                    Mode::Table | Mode::TableBody | Mode::Row => return None,
                    Mode::AfterBody | Mode::AfterAfterBody => self.mode = Mode::Body,
                    Mode::Body | Mode::Cell | Mode::Caption => break,
                }
            }
        } else if matches!(self.mode, Mode::Initial | Mode::BeforeHtml | Mode::BeforeHead) {
            return Some(());
        }
        if matches!(self.mode, Mode::Body | Mode::Cell | Mode::Caption | Mode::AfterBody | Mode::AfterAfterBody) {
            self.reconstruct()?;
        }
        self.append(Span { start: from, end })
    }

    fn append(&mut self, span: Span) -> Option<()> {
        let parent = self.current()?.id;
        self.document.append_text(parent, span);
        Some(())
    }

    fn current(&self) -> Option<Open> {
        self.stack.last().copied()
    }

    fn comment(&mut self) -> Option<()> {
        let parent = match self.mode {
            Mode::Initial | Mode::BeforeHtml | Mode::AfterAfterBody => ROOT,
            Mode::AfterBody => self.stack.first()?.id,
            _ => self.current()?.id,
        };
        let node = self.document.add(What::Other);
        self.document.append(parent, node);
        Some(())
    }

    fn step(&mut self, token: &Token<'t>) -> Option<Next> {
        match token {
            Token::Comment => self.comment().map(|()| Done),
            Token::Doctype(said) => {
                if self.mode == Mode::Initial {
                    self.quirks = quirks(said);
                    self.mode = Mode::BeforeHtml;
                }
                Some(Done)
            }
            Token::Start(start) => self.start(start),
            Token::End { tag, name } => self.end(*tag, *name),
            Token::Text(_) => None,
        }
    }

    fn start(&mut self, start: &Start) -> Option<Next> {
        // A second `html` or `body` adds attributes to the first.
        if start.tag == Tag::Html && self.mode != Mode::Initial && self.mode != Mode::BeforeHtml {
            return None;
        }
        match self.mode {
            Mode::BeforeHtml if start.tag == Tag::Html => {
                self.insert(start)?;
                self.mode = Mode::BeforeHead;
                Some(Done)
            }
            Mode::BeforeHead if start.tag == Tag::Head => {
                self.insert(start)?;
                self.head = self.current();
                self.mode = Mode::Head;
                Some(Done)
            }
            Mode::Initial | Mode::BeforeHtml | Mode::BeforeHead => {
                self.implied();
                Some(Again)
            }
            Mode::Head => {
                if start.tag == Tag::Head {
                    return Some(Done);
                }
                if self.in_head(start)? {
                    return Some(Done);
                }
                self.implied();
                Some(Again)
            }
            Mode::AfterHead => self.after_head(start),
            Mode::Body => self.in_body(start).map(|()| Done),
            Mode::AfterBody | Mode::AfterAfterBody => {
                self.mode = Mode::Body;
                Some(Again)
            }
            Mode::Table => self.in_table(start),
            Mode::Caption => self.in_caption(start),
            Mode::Columns => match start.tag {
                Tag::Col => self.insert_empty(start).map(|()| Done),
                _ => self.close_columns(),
            },
            Mode::TableBody => self.in_table_body(start),
            Mode::Row => self.in_row(start),
            Mode::Cell => self.in_cell(start),
        }
    }

    /// Elements of the head, wherever they stand; false for others.
    fn in_head(&mut self, start: &Start) -> Option<bool> {
        match start.tag {
            Tag::Base | Tag::Basefont | Tag::Bgsound | Tag::Link | Tag::Meta => self.insert_empty(start)?,
            Tag::Title => self.raw(start, Raw::References)?,
            Tag::Noscript | Tag::Noframes | Tag::Style | Tag::Script => self.raw(start, Raw::Plain)?,
            _ => return Some(false),
        }
        Some(true)
    }

    fn after_head(&mut self, start: &Start) -> Option<Next> {
        match start.tag {
            Tag::Body => {
                self.insert(start)?;
                self.mode = Mode::Body;
                Some(Done)
            }
            Tag::Head => Some(Done),
            // This one stays where it is, in the body.
            Tag::Noscript => {
                self.implied();
                Some(Again)
            }
            _ => {
                let head = self.head?;
                self.stack.push(head);
                let known = self.in_head(start);
                self.stack.pop();
                if !known? {
                    self.implied();
                    return Some(Again);
                }
                Some(Done)
            }
        }
    }

    fn in_body(&mut self, start: &Start) -> Option<()> {
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

    fn list_item(&mut self, start: &Start) -> Option<()> {
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

    fn in_table(&mut self, start: &Start) -> Option<Next> {
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

    fn is_hidden(&self, start: &Start) -> bool {
        let range = start.attributes.0 as usize..start.attributes.1 as usize;
        let mut all = self.document.attributes[range].iter();
        all.any(|one| {
            self.document.text(one.name) == "type" && self.document.text(one.value).eq_ignore_ascii_case("hidden")
        })
    }

    fn in_caption(&mut self, start: &Start) -> Option<Next> {
        match start.tag {
            Tag::Caption
            | Tag::Col
            | Tag::Colgroup
            | Tag::Tbody
            | Tag::Td
            | Tag::Tfoot
            | Tag::Th
            | Tag::Thead
            | Tag::Tr => {
                if self.close_caption() {
                    return Some(Again);
                }
                Some(Done)
            }
            _ => self.in_body(start).map(|()| Done),
        }
    }

    fn close_caption(&mut self) -> bool {
        if !self.in_table_scope(|tag| tag == Tag::Caption) {
            return false;
        }
        self.implied_ends(None);
        self.pop_to(Tag::Caption);
        self.clear_formatting();
        self.mode = Mode::Table;
        true
    }

    fn close_columns(&mut self) -> Option<Next> {
        if self.current()?.tag != Tag::Colgroup {
            return None;
        }
        self.stack.pop();
        self.mode = Mode::Table;
        Some(Again)
    }

    fn in_table_body(&mut self, start: &Start) -> Option<Next> {
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

    fn in_row(&mut self, start: &Start) -> Option<Next> {
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

    fn close_row(&mut self) -> bool {
        if !self.in_table_scope(|tag| tag == Tag::Tr) {
            return false;
        }
        self.pop_until(|tag| matches!(tag, Tag::Tr | Tag::Html));
        self.stack.pop();
        self.mode = Mode::TableBody;
        true
    }

    fn in_cell(&mut self, start: &Start) -> Option<Next> {
        match start.tag {
            Tag::Caption
            | Tag::Col
            | Tag::Colgroup
            | Tag::Tbody
            | Tag::Td
            | Tag::Tfoot
            | Tag::Th
            | Tag::Thead
            | Tag::Tr => {
                if self.close_cell() {
                    return Some(Again);
                }
                Some(Done)
            }
            _ => self.in_body(start).map(|()| Done),
        }
    }

    fn close_cell(&mut self) -> bool {
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

    fn end(&mut self, tag: Tag, name: Span) -> Option<Next> {
        let page = matches!(tag, Tag::Body | Tag::Html | Tag::Br);
        match self.mode {
            Mode::Initial => {
                self.implied();
                Some(Again)
            }
            Mode::BeforeHtml | Mode::BeforeHead if page || tag == Tag::Head => {
                self.implied();
                Some(Again)
            }
            Mode::Head if page || tag == Tag::Head => {
                self.implied();
                Some(if page { Again } else { Done })
            }
            Mode::AfterHead if page => {
                self.implied();
                Some(Again)
            }
            Mode::BeforeHtml | Mode::BeforeHead | Mode::Head | Mode::AfterHead => Some(Done),
            Mode::Body => self.end_in_body(tag, name),
            Mode::AfterBody if tag == Tag::Html => {
                self.mode = Mode::AfterAfterBody;
                Some(Done)
            }
            Mode::AfterBody | Mode::AfterAfterBody => {
                self.mode = Mode::Body;
                Some(Again)
            }
            Mode::Columns => match tag {
                Tag::Colgroup => {
                    if self.current()?.tag == Tag::Colgroup {
                        self.stack.pop();
                        self.mode = Mode::Table;
                    }
                    Some(Done)
                }
                Tag::Col => Some(Done),
                _ => self.close_columns(),
            },
            Mode::Table | Mode::TableBody | Mode::Row | Mode::Cell | Mode::Caption => self.end_in_table(tag, name),
        }
    }

    fn end_in_table(&mut self, tag: Tag, name: Span) -> Option<Next> {
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

    fn end_in_body(&mut self, tag: Tag, name: Span) -> Option<Next> {
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
    fn end_formatting(&mut self, tag: Tag, name: Span) -> Option<()> {
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
    fn end_other(&mut self, name: Span) {
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

    /// The mode that the innermost open element stands for.
    fn reset(&mut self) -> Option<()> {
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

    fn raw(&mut self, start: &Start, how: Raw) -> Option<()> {
        let inner = self.tokens.raw(&mut self.document, start)?;
        let inner = if start.tag == Tag::Textarea { inner.strip_prefix('\n').unwrap_or(inner) } else { inner };
        self.insert(start)?;
        let from = self.document.heap_end();
        match how {
            Raw::Plain => self.document.heap.push_str(inner),
            Raw::References => refs::resolve(inner, Within::Text, &mut self.document.heap),
        }
        let span = Span { start: from, end: self.document.heap_end() };
        let open = self.stack.pop()?;
        self.document.append_text(open.id, span);
        Some(())
    }

    fn insert(&mut self, start: &Start) -> Option<()> {
        let id = self.document.add(What::Element { name: start.name, attributes: start.attributes, html: true });
        let parent = self.current().map_or(ROOT, |open| open.id);
        self.document.append(parent, id);
        self.stack.push(Open { id, tag: start.tag, name: start.name });
        Some(())
    }

    fn insert_empty(&mut self, start: &Start) -> Option<()> {
        self.insert(start)?;
        self.stack.pop();
        Some(())
    }

    fn insert_formatting(&mut self, start: &Start) -> Option<()> {
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
    fn phantom(&mut self, tag: Tag, name: &'static str) {
        let name = self.document.keep(name);
        let id = self.document.add(What::Element { name, attributes: (0, 0), html: true });
        let parent = self.current().map_or(ROOT, |open| open.id);
        self.document.append(parent, id);
        self.stack.push(Open { id, tag, name });
    }

    /// Styling that goes on behind the end of its parent would be made anew here: that is left to the full parser.
    fn reconstruct(&self) -> Option<()> {
        match self.formatting.last() {
            Some(Some((id, _))) if !self.stack.iter().rev().any(|open| open.id == *id) => None,
            _ => Some(()),
        }
    }

    fn clear_formatting(&mut self) {
        while let Some(Some(_)) = self.formatting.pop() {}
    }

    fn open_before(&self, wanted: impl Fn(&Open) -> bool, bound: impl Fn(&Open) -> bool) -> bool {
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

    fn in_scope(&self, wanted: impl Fn(&Open) -> bool) -> bool {
        self.open_before(wanted, |open| open.tag.bounds_scope())
    }

    fn in_button_scope(&self, tag: Tag) -> bool {
        self.open_before(|open| open.tag == tag, |open| open.tag.bounds_scope() || open.tag == Tag::Button)
    }

    fn in_table_scope(&self, wanted: impl Fn(Tag) -> bool) -> bool {
        self.open_before(|open| wanted(open.tag), |open| matches!(open.tag, Tag::Html | Tag::Table | Tag::Template))
    }

    fn implied_ends(&mut self, except: Option<Tag>) {
        while self.stack.last().is_some_and(|open| open.tag.is_implied_end() && Some(open.tag) != except) {
            self.stack.pop();
        }
    }

    /// Closes an element and all inside it.
    fn pop_to(&mut self, tag: Tag) {
        while let Some(open) = self.stack.pop()
            && open.tag != tag
        {}
    }

    /// Closes elements until the innermost is one of these.
    fn pop_until(&mut self, stop: impl Fn(Tag) -> bool) {
        while self.stack.last().is_some_and(|open| !stop(open.tag)) {
            self.stack.pop();
        }
    }

    fn close_p(&mut self) {
        if self.in_button_scope(Tag::P) {
            self.implied_ends(Some(Tag::P));
            self.pop_to(Tag::P);
        }
    }
}

/// What stands in an element that holds text only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Raw {
    Plain,
    References,
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0c')
}

/// What a document type says; what is not one of the usual ones is left open.
fn quirks(said: &str) -> Quirks {
    let said = said.trim_matches(|c: char| c.is_ascii_whitespace()).to_ascii_lowercase();
    if said == "html" {
        return Quirks::No;
    }
    // The usual ones of XHTML, whole.
    let xhtml = said.strip_prefix("html public \"-//w3c//dtd xhtml 1.").and_then(|rest| rest.split_once("\" \""));
    match xhtml {
        Some((level, system))
            if system.strip_suffix('"').is_some_and(|url| !url.contains(['"', '\'']))
                && !level.contains(['"', '\'']) =>
        {
            Quirks::No
        }
        _ => Quirks::Unknown,
    }
}
