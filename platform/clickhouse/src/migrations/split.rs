//! Splits a migration's text at the semicolons that end statements, not at those in strings, names or comments.

use crate::gate::tokens::tokens;

/// Why a text cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote or comment is open, or a character stands where its meaning is doubtful.
    #[error("near line {line}: {reason}")]
    Text {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The last statement has no semicolon: the file may be cut off.
    #[error("the last statement is not closed by ';'")]
    Unclosed,
}

/// The statements of a text, without their semicolons; empty ones are left out.
pub fn split_statements(sql: &str) -> Result<Vec<&str>, SplitError> {
    use crate::gate::tokens::LexError;
    let all = tokens(sql.as_bytes()).map_err(|error| {
        let at = match error {
            LexError::Unterminated(at) | LexError::EscapedName(at) | LexError::NestedComment(at) => at,
            LexError::Refused { at, .. } => at,
        };
        let before = sql.as_bytes().get(..at).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        SplitError::Text { line, reason: error.to_string() }
    })?;
    let mut statements = Vec::new();
    let mut begin: Option<usize> = None;
    for token in all {
        if token.is_mark(b';') {
            if let Some(statement) = begin.take().and_then(|begin| sql.get(begin..token.start)) {
                statements.push(statement.trim_end());
            }
        } else if begin.is_none() {
            begin = Some(token.start);
        }
    }
    if begin.is_some() { Err(SplitError::Unclosed) } else { Ok(statements) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    #[test]
    fn semicolons_in_strings_names_and_comments_end_nothing() {
        let sql = "-- first; not this\nCREATE TABLE a (`x;y` String COMMENT 'it''s; \\' ; é');\n/* ; */ ;;\nSELECT ';' -- ;\n;\n";
        let statements = split_statements(sql).unwrap();
        assert_eq!(statements.len(), 2);
        assert!(statements[0].starts_with("CREATE TABLE a") && statements[0].ends_with("é')"));
        assert!(statements[1].starts_with("SELECT ';'"));
    }

    #[test]
    fn a_cut_off_text_is_refused_with_its_line() {
        assert_eq!(split_statements("SELECT 1;\nSELECT 2"), Err(SplitError::Unclosed));
        assert!(matches!(split_statements("SELECT 1;\nSELECT 'open;"), Err(SplitError::Text { line: 2, .. })));
        assert_eq!(split_statements(" -- nothing\n"), Ok(Vec::new()));
    }
}
