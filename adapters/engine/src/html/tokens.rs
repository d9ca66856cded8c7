//! Cuts a page into tags, comments and texts. Gives up (`None`) at what is too unusual to be worth rules of its own.

use super::{
    Attribute, Document, Known, Span,
    names::Tag,
    refs::{self, Within},
};

/// More attributes than this on one element are no real page's.
const MOST_ATTRIBUTES: usize = 128;

/// A piece of the page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token<'t> {
    /// Text between two other pieces: its place, and whether it may hold references, which are not yet resolved.
    Text {
        span: Span,
        references: bool,
    },
    Start(Start),
    End {
        tag: Tag,
        name: Span,
    },
    Comment,
    Doctype(&'t str),
}

/// A start tag; its names and values are in the document's heap already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) tag: Tag,
    pub(super) name: Span,
    pub(super) attributes: (u32, u32),
}

/// The rest of a page, with which the document's heap begins.
pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

/// A piece of the page, which is the beginning of the document's heap.
fn span(start: usize, end: usize) -> Option<Span> {
    Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0c')
}

impl<'t> Tokens<'t> {
    /// Of a text without carriage returns and NULs.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes().get(self.at + ahead).copied()
    }

    /// The next piece; `None` gives up. Not asked at the end.
    pub(super) fn next(&mut self, document: &mut Document) -> Option<Token<'t>> {
        let start = self.at;
        let mut from = start;
        let mut references = false;
        loop {
            let rest = &self.bytes()[from..];
            let mut found = if references { memchr::memchr(b'<', rest) } else { memchr::memchr2(b'<', b'&', rest) };
            if let Some(at) = found.filter(|at| rest[*at] == b'&') {
                references = true;
                found = memchr::memchr(b'<', &rest[at..]).map(|behind| at + behind);
            }
            let Some(found) = found else {
                self.at = self.text.len();
                return Some(Token::Text { span: span(start, self.at)?, references });
            };
            let open = from + found;
            let begins = match self.bytes().get(open + 1) {
                Some(byte) if byte.is_ascii_alphabetic() => true,
                Some(b'/' | b'!') => true,
                // A processing instruction, or an end in the middle.
                Some(b'?') | None => return None,
                Some(_) => false,
            };
            if !begins {
                from = open + 1;
                continue;
            }
            if open > start {
                self.at = open;
                return Some(Token::Text { span: span(start, open)?, references });
            }
            self.at = open + 1;
            break;
        }
        match self.byte(0)? {
            b'!' => self.markup(),
            b'/' => {
                self.at += 1;
                if !self.byte(0)?.is_ascii_alphabetic() {
                    return None;
                }
                let (tag, name) = self.tag(document)?;
                if self.byte(0) == Some(b'>') {
                    self.at += 1;
                } else {
                    self.end_of_end_tag(document)?;
                }
                Some(Token::End { tag, name })
            }
            _ => {
                let (tag, span) = self.tag(document)?;
                let first = document.attributes.len();
                self.attributes(document)?;
                let attributes = (u32::try_from(first).ok()?, u32::try_from(document.attributes.len()).ok()?);
                Some(Token::Start(Start { tag, name: span, attributes }))
            }
        }
    }

    fn tag(&mut self, document: &mut Document) -> Option<(Tag, Span)> {
        let start = self.at;
        let rest = &self.bytes()[start..];
        let length = rest.iter().position(|byte| is_space(*byte) || matches!(byte, b'/' | b'>')).unwrap_or(rest.len());
        self.at += length;
        let name = self.in_lower_case(start, document)?;
        Some((Tag::of(&document.heap.as_bytes()[name.range()]), name))
    }

    /// A name that began at `start`: as it stands in the page where that has no capitals.
    fn in_lower_case(&self, start: usize, document: &mut Document) -> Option<Span> {
        let written = &self.text[start..self.at];
        if !written.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return span(start, self.at);
        }
        let name = document.keep(written);
        document.heap[name.range()].make_ascii_lowercase();
        Some(name)
    }

    /// Attributes of an end tag mean nothing; their quotes matter for where it ends.
    fn end_of_end_tag(&mut self, document: &mut Document) -> Option<()> {
        let mark = document.attributes.len();
        self.attributes(document)?;
        document.attributes.truncate(mark);
        Some(())
    }

    /// Behind `<!`.
    fn markup(&mut self) -> Option<Token<'t>> {
        let rest = &self.text[self.at + 1..];
        if let Some(inner) = rest.strip_prefix("--") {
            if inner.starts_with('>') || inner.starts_with("->") {
                return None;
            }
            let mut from = 0;
            loop {
                let dash = from + memchr::memmem::find(&inner.as_bytes()[from..], b"--")?;
                let length = match &inner.as_bytes()[dash + 2..] {
                    [b'>', ..] => 3,
                    [b'!', b'>', ..] => 4,
                    _ => {
                        from = dash + 1;
                        continue;
                    }
                };
                self.at += 3 + dash + length;
                return Some(Token::Comment);
            }
        }
        let end = memchr::memchr(b'>', rest.as_bytes())?;
        self.at += 1 + end + 1;
        let inner = &rest[..end];
        match inner.get(..7) {
            Some(word) if word.eq_ignore_ascii_case("doctype") => Some(Token::Doctype(&inner[7..])),
            _ => Some(Token::Comment),
        }
    }

    /// From behind a tag's name to behind its `>`.
    fn attributes(&mut self, document: &mut Document) -> Option<()> {
        let first = document.attributes.len();
        loop {
            match self.byte(0)? {
                b'>' => {
                    self.at += 1;
                    return Some(());
                }
                byte if is_space(byte) || byte == b'/' => self.at += 1,
                _ => self.attribute(document, first)?,
            }
        }
    }

    fn attribute(&mut self, document: &mut Document, first: usize) -> Option<()> {
        let start = self.at;
        // The first sign belongs to the name, whatever it is.
        self.at += 1;
        while !matches!(self.byte(0)?, b'=' | b'/' | b'>') && !is_space(self.byte(0)?) {
            self.at += 1;
        }
        let name = self.in_lower_case(start, document)?;
        let mut behind = self.at;
        while is_space(*self.bytes().get(behind)?) {
            behind += 1;
        }
        let mut value = Span { start: name.end, end: name.end };
        if self.bytes().get(behind) == Some(&b'=') {
            self.at = behind + 1;
            while is_space(self.byte(0)?) {
                self.at += 1;
            }
            let (begin, end) = match self.byte(0)? {
                b'>' => (self.at, self.at),
                quote @ (b'"' | b'\'') => {
                    // Values are short: a plain look is quicker than setting up a search.
                    let begin = self.at + 1;
                    let end = begin + self.bytes()[begin..].iter().position(|byte| *byte == quote)?;
                    self.at = end + 1;
                    (begin, end)
                }
                _ => {
                    let begin = self.at;
                    while !is_space(self.byte(0)?) && self.byte(0)? != b'>' {
                        self.at += 1;
                    }
                    (begin, self.at)
                }
            };
            let raw = &self.text[begin..end];
            if raw.bytes().any(|byte| byte == b'&') {
                value.start = document.heap_end();
                refs::resolve(raw, Within::Attribute, &mut document.heap);
                value.end = document.heap_end();
            } else {
                value = span(begin, end)?;
            }
        }
        let known = document.attributes.get(first..).unwrap_or_default();
        if known.len() >= MOST_ATTRIBUTES {
            return None;
        }
        // The first of a name counts.
        let text = document.text(name);
        if known.iter().all(|other| document.text(other.name) != text) {
            let known = Known::of(text);
            document.attributes.push(Attribute { name, value, known });
        }
        Some(())
    }

    /// The raw text up to an element's end tag, which is passed as well; `None` where there is none, or where a script
    /// plays with comments that hold scripts.
    pub(super) fn raw(&mut self, document: &mut Document, start: &Start) -> Option<(Span, &'t str)> {
        let name = document.text(start.name).to_owned();
        let begin = self.at;
        let rest = &self.text[begin..];
        let mut from = 0;
        loop {
            let open = from + memchr::memchr(b'<', &rest.as_bytes()[from..])?;
            if rest.as_bytes().get(open + 1) != Some(&b'/') {
                from = open + 1;
                continue;
            }
            let behind = &rest.as_bytes()[open + 2..];
            let same = behind.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
            if !same || !behind.get(name.len()).is_some_and(|byte| is_space(*byte) || matches!(byte, b'/' | b'>')) {
                from = open + 2;
                continue;
            }
            let inner = &rest[..open];
            if start.tag == Tag::Script
                && let Some(comment) = memchr::memmem::find(inner.as_bytes(), b"<!--")
                && inner.as_bytes()[comment..].windows(7).any(|window| window.eq_ignore_ascii_case(b"<script"))
            {
                return None;
            }
            self.at += open + 2 + name.len();
            self.end_of_end_tag(document)?;
            return Some((span(begin, begin + open)?, inner));
        }
    }
}
