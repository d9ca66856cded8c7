//! The quick parser: the standard's rules for building a tree, as far as ordinary pages need them. Whatever would need the
//! rest (styling that crosses blocks, text between table rows, frames, templates, SVG, cut-off tags) gives up.

mod body;
mod stack;
mod table;

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
    page: &'t str,
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
        page: &text,
        tokens: Tokens::new(&text),
        document: Document::of_page(&text),
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
            if let Token::Text { span, references } = token {
                self.text(span, references)?;
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

    fn text(&mut self, mut span: Span, references: bool) -> Option<()> {
        if std::mem::take(&mut self.skip_line_feed) && self.document.text(span).starts_with('\n') {
            span.start += 1;
        }
        let Span { start, end } = if references { self.resolved(span) } else { span };
        let blank = &self.document.heap.as_bytes()[start as usize..end as usize];
        let blank = blank.iter().take_while(|byte| is_space(**byte)).count();
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

    /// A piece of the page with its references resolved.
    fn resolved(&mut self, span: Span) -> Span {
        let raw = self.page.get(span.range()).unwrap_or_default();
        let start = self.document.heap_end();
        refs::resolve(raw, Within::Text, &mut self.document.heap);
        Span { start, end: self.document.heap_end() }
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
            Token::Text { .. } => None,
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
            Mode::Caption => self.in_content(start, Self::close_caption),
            Mode::Columns => match start.tag {
                Tag::Col => self.insert_empty(start).map(|()| Done),
                _ => self.close_columns(),
            },
            Mode::TableBody => self.in_table_body(start),
            Mode::Row => self.in_row(start),
            Mode::Cell => self.in_content(start, Self::close_cell),
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

    fn raw(&mut self, start: &Start, how: Raw) -> Option<()> {
        let (mut span, inner) = self.tokens.raw(&mut self.document, start)?;
        if start.tag == Tag::Textarea && inner.starts_with('\n') {
            span.start += 1;
        }
        self.insert(start)?;
        if how == Raw::References {
            span = self.resolved(span);
        }
        let open = self.stack.pop()?;
        self.document.append_text(open.id, span);
        Some(())
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
