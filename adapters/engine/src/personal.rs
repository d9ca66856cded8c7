//! What in an example looks as if it told of real people: examples are invented, and published with the program.
//!
//! Only hints: each says where and what, never the whole of it. Domains, numbers and names that are reserved for examples
//! are let pass.

use std::sync::LazyLock;

use regex::Regex;

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The line, from 1.
    pub line: usize,
    /// What it looks like, with its beginning.
    pub what: String,
}

struct Rule {
    what: &'static str,
    pattern: LazyLock<Option<Regex>>,
}

macro_rules! rule {
    ($what:literal, $pattern:literal) => {
        Rule { what: $what, pattern: LazyLock::new(|| Regex::new($pattern).ok()) }
    };
}

static RULES: [Rule; 5] = [
    rule!("an e-mail address", r"(?i)\b[a-z0-9][a-z0-9._%+-]*@([a-z0-9-]+\.)+[a-z]{2,}\b"),
    rule!(
        "a telephone number",
        r"\+[1-9][0-9]{0,2}[ ./-]?(\(?[0-9]{1,4}\)?[ ./-]?){2,4}[0-9]{2,4}\b|(?i)\b(tel|phone|mobile|tlp|hp)[.:\x22 ]{1,4}\+?[0-9][0-9 ()./-]{6,}[0-9]"
    ),
    rule!(
        "a person's name",
        r"\b(Mr|Mrs|Ms|Miss|Dr|Herr|Frau|Monsieur|Madame|Mme|Sr|Sra|Señora?|Signora?|Bpk|Ibu)\.? \p{Lu}\p{L}+( \p{Lu}\p{L}+)?"
    ),
    rule!(
        "a person's name",
        r"(?i:signed(?: for)? by|received by|receiver|recipient|consignee|unterschrieben von|empfänger|reçu par|firmado por|recibido por|diterima oleh|penerima)[:=\x22\s]{1,4}(\p{Lu}[\p{L}.'-]+( \p{Lu}[\p{L}.'-]+){0,2})"
    ),
    rule!(
        "an address",
        r"(?i)\b[0-9]{1,4}[a-z]? (\p{L}+ ){1,3}(street|road|avenue|lane|drive|boulevard|blvd|rue|via|calle)\b|\b\p{L}{3,}(straße|strasse|weg|gasse|allee|straat|laan|gatan|vej) [0-9]{1,4}\b"
    ),
];

/// Parts that invented things have, in lower case.
const INVENTED: [&str; 26] = [
    "example",
    "invented",
    "nobody",
    "noone",
    "anyone",
    "someone",
    "muster",
    "sample",
    "test",
    "555-",
    "555 ",
    "000000",
    "123456",
    "doe",
    "invalid",
    "localhost",
    "fictional",
    "anon",
    "xxx",
    "***",
    "redact",
    "sirname",
    "a. ",
    "name name",
    "carrier",
    "placeholder",
];

/// Looks through a text, line by line; at most `most` hints.
pub fn hints(text: &str, most: usize) -> Vec<Hint> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // Lines of minified pages are long; what stands in them is looked at nevertheless.
        for rule in &RULES {
            let Some(pattern) = rule.pattern.as_ref() else { continue };
            for hit in pattern.find_iter(line) {
                let lower = hit.as_str().to_lowercase();
                if INVENTED.iter().any(|part| lower.contains(part)) || is_only_words(rule.what, hit.as_str()) {
                    continue;
                }
                let begin: String = hit.as_str().chars().take(24).collect();
                found.push(Hint { line: index + 1, what: format!("{} (`{begin}…`)", rule.what) });
                if found.len() >= most {
                    return found;
                }
            }
        }
    }
    found
}

/// Words that stand where a name could, and are none.
fn is_only_words(what: &str, hit: &str) -> bool {
    const WORDS: [&str; 14] = [
        "address",
        "agent",
        "neighbour",
        "neighbor",
        "reception",
        "customer",
        "recipient",
        "office",
        "front",
        "desk",
        "mailbox",
        "receiver",
        "sender",
        "the ",
    ];
    what == "a person's name" && {
        let last = hit.rsplit([':', '=', '"']).next().unwrap_or(hit).to_lowercase();
        WORDS.iter().any(|word| {
            last.split_whitespace().skip(usize::from(last == hit.to_lowercase())).any(|part| part == word.trim())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_people_is_told_with_its_line_and_what_is_invented_is_not() {
        let of = |text: &str| hints(text, 10).into_iter().map(|hint| (hint.line, hint.what)).collect::<Vec<_>>();
        let told = of(
            "<p>\nmail: jane.rowe@gmail.com\n+44 20 7946 0958\nDelivered to Mrs Rowe\nSigned by: J. ROWE\n12 Long Acre Street\nHauptstraße 7",
        );
        assert_eq!(told.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7], "{told:?}");
        assert!(told[0].1.starts_with("an e-mail address (`jane.rowe@"), "{told:?}");
        for harmless in [
            "mail@carrier.example",
            "+1 555-0100 555 0199",
            "Mr Nobody",
            "Signed by: A. Nobody",
            "2026-03-01 10:15 +01:00",
            "Received by agent",
            "RR123456785DE",
            "margin: 12px 10px",
            "Delivered, signed for by: Recipient",
        ] {
            assert!(of(harmless).is_empty(), "{harmless}");
        }
    }
}
