//! A lexer for ClickHouse's SQL that would rather refuse than misread.
//!
//! The gate must see every name the engine will see. Wherever the engine's lexer has a rule that is easy to get
//! subtly wrong (nested comments, here-documents, quotes outside ASCII, `#` comments, escapes inside quoted names),
//! this one refuses the text with a reason: a statement is only let through when both lexers must agree on it.
//! Tokens carry byte offsets, so the same lexer also splits migrations and finds `FORMAT` clauses.

use std::borrow::Cow;

/// What a token is, as far as the gate cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word: a keyword, a name or a function's name.
    Word,
    /// A name in backticks or double quotes.
    QuotedName,
    /// A string literal in single quotes.
    Text,
    /// A run of digits and dots.
    Number,
    /// A single punctuation character.
    Mark(u8),
}

/// One token and where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    /// The token as written, quotes included.
    pub(crate) fn raw<'t>(&self, sql: &'t [u8]) -> &'t [u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether this is the bare word `word` (given in upper case), in any case.
    pub(crate) fn is_word(&self, sql: &[u8], word: &str) -> bool {
        self.kind == Kind::Word && self.raw(sql).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether this is the punctuation character `mark`.
    pub(crate) fn is_mark(&self, mark: u8) -> bool {
        self.kind == Kind::Mark(mark)
    }

    /// The name a word or a quoted name stands for; `None` for anything else.
    pub(crate) fn name<'t>(&self, sql: &'t [u8]) -> Option<Cow<'t, str>> {
        let raw = self.raw(sql);
        match self.kind {
            Kind::Word => Some(String::from_utf8_lossy(raw)),
            Kind::QuotedName => {
                let quote = *raw.first()?;
                let inner = raw.get(1..raw.len().checked_sub(1)?)?;
                let text = String::from_utf8_lossy(inner);
                let doubled = [quote, quote];
                let doubled = std::str::from_utf8(&doubled).ok()?;
                let single = std::str::from_utf8(&doubled.as_bytes()[..1]).ok()?;
                Some(if text.contains(doubled) { Cow::Owned(text.replace(doubled, single)) } else { text })
            }
            _ => None,
        }
    }
}

/// Why a text could not be read beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LexError {
    /// A quote or comment that does not end within the text. More text may complete it.
    #[error("a quote or comment that begins at byte {0} does not end")]
    Unterminated(usize),
    /// Something whose meaning depends on lexer details.
    #[error("{what} at byte {at} is not accepted outside quotes")]
    Refused { what: &'static str, at: usize },
    /// An escape in a quoted name.
    #[error("a quoted name with a backslash at byte {0} is not accepted")]
    EscapedName(usize),
    /// A comment inside a comment.
    #[error("a comment within a comment at byte {0} is not accepted")]
    NestedComment(usize),
}

/// Reads tokens one at a time, so that a caller can stop before binary data begins.
pub(crate) struct Lexer<'t> {
    sql: &'t [u8],
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(sql: &'t [u8]) -> Self {
        Self { sql, at: 0 }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    /// The next token; `None` at the end of the text.
    pub(crate) fn next_token(&mut self) -> Result<Option<Token>, LexError> {
        self.skip_blank()?;
        let Some(byte) = self.peek(0) else { return Ok(None) };
        let start = self.at;
        let kind = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                self.skip_while(|b| b.is_ascii_alphanumeric() || b == b'_');
                self.check_prefixed_literal(start)?;
                Kind::Word
            }
            // Letters after digits become a word of their own (`1e5` is two tokens): a name is never swallowed.
            b'0'..=b'9' => {
                self.skip_while(|b| b.is_ascii_digit() || b == b'.');
                Kind::Number
            }
            b'\'' => {
                self.skip_quoted(b'\'')?;
                Kind::Text
            }
            b'`' | b'"' => {
                self.skip_quoted(byte)?;
                if self.sql[start..self.at].contains(&b'\\') {
                    return Err(LexError::EscapedName(start));
                }
                Kind::QuotedName
            }
            b'#' | b'$' | b'\\' => {
                let what = match byte {
                    b'#' => "'#'",
                    b'$' => "'$'",
                    _ => "a backslash",
                };
                return Err(LexError::Refused { what, at: start });
            }
            0x21..=0x7e => {
                self.at += 1;
                Kind::Mark(byte)
            }
            0x80.. => return Err(LexError::Refused { what: "a character outside ASCII", at: start }),
            _ => return Err(LexError::Refused { what: "a control character", at: start }),
        };
        Ok(Some(Token { kind, start, end: self.at }))
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.at += 1;
        }
    }

    fn skip_blank(&mut self) -> Result<(), LexError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) => self.skip_while(|b| b != b'\n'),
                (Some(b'/'), Some(b'*')) => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), LexError> {
        let start = self.at;
        self.at += 2;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'*'), Some(b'/')) => {
                    self.at += 2;
                    return Ok(());
                }
                // Lexers differ on whether comments nest, and a difference would hide text from the gate.
                (Some(b'/'), Some(b'*')) => return Err(LexError::NestedComment(self.at)),
                (Some(_), _) => self.at += 1,
                (None, _) => return Err(LexError::Unterminated(start)),
            }
        }
    }

    fn skip_quoted(&mut self, quote: u8) -> Result<(), LexError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                Some(b'\\') => self.at += 2,
                Some(byte) if byte == quote => {
                    self.at += 1;
                    if self.peek(0) != Some(quote) {
                        return Ok(());
                    }
                    self.at += 1;
                }
                Some(_) => self.at += 1,
                None => {
                    self.at = self.sql.len();
                    return Err(LexError::Unterminated(start));
                }
            }
        }
    }

    /// `x'…'` and `b'…'` know no escapes, so a backslash inside one would be read differently by the engine.
    fn check_prefixed_literal(&self, start: usize) -> Result<(), LexError> {
        let prefixed = matches!(&self.sql[start..self.at], b"x" | b"X" | b"b" | b"B") && self.peek(0) == Some(b'\'');
        if !prefixed {
            return Ok(());
        }
        for &byte in self.sql.get(self.at + 1..).unwrap_or_default() {
            match byte {
                b'\'' => return Ok(()),
                b if b.is_ascii_hexdigit() => {}
                _ => return Err(LexError::Refused { what: "a literal x'…' that is not hexadecimal", at: start }),
            }
        }
        Err(LexError::Unterminated(start))
    }
}

/// All tokens of a whole text.
pub(crate) fn tokens(sql: &[u8]) -> Result<Vec<Token>, LexError> {
    let mut lexer = Lexer::new(sql);
    let mut all = Vec::new();
    while let Some(token) = lexer.next_token()? {
        all.push(token);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    fn words(sql: &str) -> Vec<String> {
        let sql = sql.as_bytes();
        tokens(sql).unwrap().iter().map(|t| String::from_utf8_lossy(t.raw(sql)).into_owned()).collect()
    }

    #[test]
    fn comments_vanish_and_quotes_stay_whole() {
        assert_eq!(words("select /* file( */ 'a''b\\'c;' -- x\n, `q``r`"), ["select", "'a''b\\'c;'", ",", "`q``r`"]);
    }

    #[test]
    fn letters_after_digits_are_never_swallowed() {
        assert_eq!(words("1.file(2)"), ["1.", "file", "(", "2", ")"]);
    }

    #[test]
    fn quoted_names_lose_their_quotes() {
        let sql = b"`a``b` \"c\"";
        let all = tokens(sql).unwrap();
        assert_eq!(all[0].name(sql).unwrap(), "a`b");
        assert_eq!(all[1].name(sql).unwrap(), "c");
    }

    #[test]
    fn whatever_lexers_may_read_differently_is_refused() {
        for sql in [
            "/* /* */ ' */ file('x') --'",
            "select $a$ ' $a$",
            "select # '\n1",
            "select \u{201c}x\u{201d}",
            "select `f\\x69le`('x')",
            "select x'\\' , file('y') , '",
            "select 1 \\G",
            "select 'open",
            "select /* open",
            "select \0 1",
        ] {
            assert!(tokens(sql.as_bytes()).is_err(), "{sql:?} was accepted");
        }
    }
}
