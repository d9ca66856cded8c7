//! What is wrong with a YAML file, in words for whoever wrote it instead of the parser's.

/// The words for a parser's message, and the line that they are about: where a key is missing, the line on which the keys
/// that it is missing from begin. `place` is the line and column that the parser names.
pub(crate) fn said(message: &str, place: Option<(u64, u64)>, source: &str) -> (String, Option<u64>) {
    let message = message.lines().next().unwrap_or_default().trim();
    let message = message.rfind(" at line ").map_or(message, |at| &message[..at]);
    let line = place.map(|(line, _)| line);
    if let Some(key) = within(message, "missing field `", "`") {
        let begins = place.map(|(line, column)| beginning(source, line, column));
        return (format!("the key `{key}` is missing here"), begins);
    }
    let column = place.map(|(_, column)| format!(" (column {column})")).unwrap_or_default();
    let words = match message {
        "expected sequence start" => {
            format!("a list is expected here{column}: [one, two], or lines that begin with a dash")
        }
        "expected mapping start" => format!("keys with values are expected here{column}: {{key: value}}"),
        "expected string scalar" => format!("one text is expected here{column}, neither a list nor keys"),
        "invalid floating point" => format!("a number is expected here{column}, such as 0.5"),
        "unexpected end of input" => "the file is empty".to_owned(),
        "invalid u8" | "invalid u16" | "invalid u32" | "invalid u64" | "invalid usize" | "invalid i32"
        | "invalid i64" => {
            format!("a whole number is expected here{column}")
        }
        _ if message.starts_with("invalid boolean") => format!("true or false is expected here{column}"),
        _ if message.starts_with("cannot deserialize null into string") => format!("a text is missing here{column}"),
        _ if message.ends_with("expected a tuple of size 2") => {
            format!("two texts are expected here{column}: [text, meaning]")
        }
        _ if message.ends_with("untagged enum OneOrMany") => {
            format!("a text or a list of texts is expected here{column}")
        }
        _ if message.starts_with("unexpected character") => {
            format!("{message}{column}; a text that begins with a sign stands in quotes")
        }
        _ => other(message, &column),
    };
    (words, line)
}

fn other(message: &str, column: &str) -> String {
    if let Some(rest) = message.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(", set ").next().unwrap_or(rest);
        return format!("the key `{key}` stands here twice; keep one");
    }
    let unknown = |begin: &str| {
        let (name, expected) = message.strip_prefix(begin)?.split_once("`, expected ")?;
        let expected = expected.strip_prefix("one of ").unwrap_or(expected).replace('`', "");
        Some((name.to_owned(), expected))
    };
    if let Some((key, known)) = unknown("unknown field `") {
        let near = nearest(&key, &known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        return format!("the key `{key}` is not known here; {near}known are {known}");
    }
    if let Some((value, known)) = unknown("unknown variant `") {
        return format!("`{value}` is not known here; known are {known}");
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{expected} is expected here{column}, not {found}");
    }
    format!("{message}{column}")
}

fn within<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    text.strip_prefix(begin)?.split(end).next()
}

/// The known word that is most like another, if one is like it at all.
fn nearest<'k>(word: &str, known: &'k str) -> Option<&'k str> {
    let near = known.split(", ").map(|other| (distance(word, other), other)).min()?;
    (near.0 <= 2 && near.0 * 2 < word.chars().count().max(3)).then_some(near.1)
}

/// How many letters have to be put in, left out or replaced to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.chars().enumerate() {
        let mut before = row;
        above[0] = row + 1;
        for (column, with) in other.iter().enumerate() {
            let replaced = before + usize::from(letter != *with);
            before = above[column + 1];
            above[column + 1] = replaced.min(before + 1).min(above[column] + 1);
        }
    }
    above[other.len()]
}

/// The line on which the block of keys begins that a place is in.
fn beginning(source: &str, line: u64, column: u64) -> u64 {
    let (Ok(line), Ok(depth)) = (usize::try_from(line), usize::try_from(column.saturating_sub(1))) else { return line };
    let mut begins = line;
    for (number, text) in source.lines().enumerate().take(line).collect::<Vec<_>>().into_iter().rev() {
        let bare = text.trim_start();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let own = text.len() - bare.len();
        if own < depth {
            // The dash of a list stands before its first key.
            let dashed = bare.strip_prefix("- ").is_some_and(|rest| text.len() - rest.trim_start().len() == depth);
            begins = if dashed { number + 1 } else { begins };
            break;
        }
        if own == depth {
            begins = number + 1;
        }
    }
    u64::try_from(begins).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsers_words_become_an_authors() {
        for (message, words) in [
            (
                "expected sequence start",
                "a list is expected here (column 3): [one, two], or lines that begin with a dash",
            ),
            (
                "expected string scalar at line 2, column 3",
                "one text is expected here (column 3), neither a list nor keys",
            ),
            ("invalid u32 at line 2, column 3", "a whole number is expected here (column 3)"),
            ("cannot deserialize null into string; use Option<String>", "a text is missing here (column 3)"),
            (
                "duplicate mapping key: name, set DuplicateKeyPolicy in Options if acceptable",
                "the key `name` stands here twice; keep one",
            ),
            (
                "unknown variant `csv`, expected one of html, json, xml",
                "`csv` is not known here; known are html, json, xml",
            ),
            ("invalid length 3, expected a tuple of size 2", "two texts are expected here (column 3): [text, meaning]"),
            ("unexpected end of input", "the file is empty"),
            (
                "data did not match any variant of untagged enum OneOrMany",
                "a text or a list of texts is expected here (column 3)",
            ),
            ("invalid type: integer `5`, expected a path", "a path is expected here (column 3), not integer `5`"),
            ("alias references unknown anchor at line 2, column 3", "alias references unknown anchor (column 3)"),
        ] {
            assert_eq!(said(message, Some((2, 3)), "a: b\nc: d\n"), (words.to_owned(), Some(2)), "{message}");
        }
        let unknown =
            |key: &str| said(&format!("unknown field `{key}`, expected one of path, cell, `line`"), None, "").0;
        assert_eq!(unknown("cel"), "the key `cel` is not known here; did you mean `cell`? known are path, cell, line");
        assert_eq!(
            unknown("lines"),
            "the key `lines` is not known here; did you mean `line`? known are path, cell, line"
        );
        assert_eq!(unknown("colour"), "the key `colour` is not known here; known are path, cell, line");
    }

    #[test]
    fn a_missing_key_is_placed_where_the_keys_around_it_begin() {
        let source = "# a\nname: x\nreaders:\n  - name: one\n    shape: html\n    tables:\n      - rows: tr\n\n  - {name: two}\nlast: 1\n";
        for (place, line) in [((10, 1), 2), ((6, 5), 4), ((5, 5), 4), ((7, 9), 7), ((9, 6), 9)] {
            assert_eq!(said("missing field `basis`", Some(place), source).1, Some(line), "{place:?}");
        }
        assert_eq!(said("missing field `basis` at line 1", None, "").0, "the key `basis` is missing here");
        assert_eq!(said("missing field `basis`", Some((9, 400)), "é: 1\n").1, Some(9));
    }
}
