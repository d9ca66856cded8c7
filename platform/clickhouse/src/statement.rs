//! Finds where a statement ends and its data begins, and which format it names.
//!
//! The engine takes the format apart from the statement and an insert's data apart from both, while over HTTP all
//! three arrive as one stream of bytes. Pure: bytes in, shape out.

use crate::gate::tokens::{LexError, Lexer, Token, tokens};

/// What a beginning of a stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// An insert whose data follows in the stream, from byte `data` on.
    Insert {
        /// The statement without its format, as the engine wants it.
        sql: String,
        /// The whole statement without data, as the classifier wants it.
        full: String,
        /// The input format.
        format: String,
        /// Where the data begins.
        data: usize,
    },
    /// Any other statement: it ends where the stream ends.
    Whole,
    /// More bytes are needed to tell.
    Undecided,
}

/// A statement that is no streamed insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    /// The statement without its `FORMAT` clause and closing semicolon.
    pub(crate) sql: String,
    /// The output format the statement names.
    pub(crate) format: Option<String>,
    /// Whether the statement begins with SELECT or WITH: those can be streamed.
    pub(crate) selects: bool,
}

/// Looks at the first bytes of a stream. `complete` says that no more will come.
pub(crate) fn read_head(bytes: &[u8], complete: bool) -> Result<Head, LexError> {
    match scan_insert(bytes, complete) {
        // A quote that the next bytes will close.
        Err(LexError::Unterminated(_)) if !complete => Ok(Head::Undecided),
        other => other,
    }
}

fn scan_insert(bytes: &[u8], complete: bool) -> Result<Head, LexError> {
    let mut lexer = Lexer::new(bytes);
    // A word that touches the end of the buffer may go on in the next one.
    let unfinished = |token: &Option<Token>| !complete && token.is_none_or(|token| token.end == bytes.len());
    let first = lexer.next_token()?;
    if unfinished(&first) {
        return Ok(Head::Undecided);
    }
    if !first.is_some_and(|token| token.is_word(bytes, "INSERT")) {
        return Ok(Head::Whole);
    }
    // The name may be a word that is also a keyword: after INTO [TABLE] the first token is the name, whatever it says.
    let mut depth = 0_usize;
    let mut named = false;
    let mut before_format: Option<usize> = None;
    loop {
        let token = lexer.next_token()?;
        if unfinished(&token) {
            return Ok(Head::Undecided);
        }
        let Some(token) = token else { return Ok(Head::Whole) };
        if let Some(cut) = before_format {
            let format = String::from_utf8_lossy(token.raw(bytes)).into_owned();
            return Ok(insert(bytes, cut, format, token.end, complete));
        }
        if !named {
            named = !(token.is_word(bytes, "INTO") || token.is_word(bytes, "TABLE"));
            if token.is_word(bytes, "FUNCTION") {
                return Ok(Head::Whole);
            }
        } else if token.is_mark(b'(') {
            depth += 1;
        } else if token.is_mark(b')') {
            depth = depth.saturating_sub(1);
        } else if depth == 0 {
            if token.is_word(bytes, "FORMAT") {
                before_format = Some(token.start);
            } else if token.is_word(bytes, "VALUES") {
                return Ok(insert(bytes, token.start, "Values".to_owned(), token.end, complete));
            } else if ["SELECT", "WITH"].iter().any(|word| token.is_word(bytes, word)) {
                return Ok(Head::Whole);
            }
        }
    }
}

/// The data begins after blanks and at most one line break: anything further belongs to a binary format.
fn insert(bytes: &[u8], cut: usize, format: String, end: usize, complete: bool) -> Head {
    let mut data = end;
    while matches!(bytes.get(data), Some(b' ' | b'\t' | 0x0c)) {
        data += 1;
    }
    if bytes.get(data) == Some(&b'\r') && bytes.get(data + 1) == Some(&b'\n') {
        data += 1;
    }
    if bytes.get(data) == Some(&b'\n') {
        data += 1;
    } else if data == bytes.len() && !complete {
        return Head::Undecided;
    }
    let text = |until: usize| String::from_utf8_lossy(&bytes[..until]).trim().to_owned();
    Head::Insert { sql: text(cut), full: text(end), format, data }
}

/// Takes a whole statement apart: the closing `FORMAT` clause, and whether it reads.
pub(crate) fn whole(sql: &str) -> Result<Whole, LexError> {
    let text = sql.as_bytes();
    let all = tokens(text)?;
    let meaningful = all.iter().rposition(|token| !token.is_mark(b';')).map_or(0, |last| last + 1);
    let trailing_from = all.get(meaningful).map_or(sql.len(), |token| token.start);
    let all = &all[..meaningful];
    let selects = all.first().is_some_and(|first| first.is_word(text, "SELECT") || first.is_word(text, "WITH"));
    let mut depth = 0_usize;
    let mut clause = None;
    for (index, token) in all.iter().enumerate() {
        if token.is_mark(b'(') {
            depth += 1;
        } else if token.is_mark(b')') {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is_word(text, "FORMAT") {
            let ends = |at: usize| all.get(at).is_none_or(|next| next.is_word(text, "SETTINGS"));
            if let Some(format) = all.get(index + 1).filter(|_| ends(index + 2)) {
                clause = Some((token.start, *format));
            }
        }
    }
    Ok(match clause {
        Some((from, format)) => Whole {
            sql: format!("{} {}", &sql[..from].trim_end(), sql[format.end..trailing_from].trim()).trim().to_owned(),
            format: Some(String::from_utf8_lossy(format.raw(text)).into_owned()),
            selects,
        },
        None => Whole { sql: sql[..trailing_from].trim().to_owned(), format: None, selects },
    })
}

/// Whether a name may be a format's: the engine gets it as an argument of its own.
pub(crate) fn is_format_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    fn head(text: &str) -> Head {
        read_head(text.as_bytes(), true).unwrap()
    }

    #[test]
    fn an_inserts_data_begins_after_one_line_break() {
        let Head::Insert { sql, full, format, data } =
            head("INSERT INTO `w`.`t` (`a`, format) FORMAT RowBinary\n\n\u{1}")
        else {
            panic!("no insert")
        };
        assert_eq!((sql.as_str(), format.as_str()), ("INSERT INTO `w`.`t` (`a`, format)", "RowBinary"));
        assert!(full.ends_with("FORMAT RowBinary"));
        assert_eq!(data, full.len() + 1, "the second line break is data");
    }

    #[test]
    fn values_are_a_format() {
        let Head::Insert { sql, format, data, .. } = head("insert into t (a) values (1), (2)") else {
            panic!("no insert")
        };
        assert_eq!((sql.as_str(), format.as_str(), data), ("insert into t (a)", "Values", 25));
    }

    #[test]
    fn the_head_is_the_same_however_the_stream_is_cut() {
        let text = b"INSERT INTO waybill.t ('a' , b) SETTINGS x = 'FORMAT' FORMAT Native\n\x00\xff'";
        let complete = read_head(text, true).unwrap();
        for cut in 0..text.len() {
            let head = read_head(&text[..cut], false).unwrap();
            assert!(head == Head::Undecided || head == complete, "cut at {cut}: {head:?}");
        }
    }

    #[test]
    fn inserts_from_selects_and_reads_are_whole() {
        for sql in [
            "insert into t select format from x",
            "insert into t (a) with y as (select 1) select 1",
            "select 1",
            "",
            "insert into function file('x') format CSV",
        ] {
            assert_eq!(head(sql), Head::Whole, "{sql}");
        }
    }

    #[test]
    fn the_closing_format_is_taken_off() {
        let of = |sql: &str| whole(sql).unwrap();
        assert_eq!(of("select 1 format JSON;").format.as_deref(), Some("JSON"));
        assert_eq!(of("select 1 format JSON;").sql, "select 1");
        assert_eq!(of("select 1 FORMAT Native settings a = 1").sql, "select 1 settings a = 1");
        assert_eq!(of("select format from t").format, None);
        assert_eq!(of("select format('{}', 1) as format from (select 1 format)").format, None);
        assert!(of("with 1 as a select a").selects && !of("show tables").selects);
    }
}
