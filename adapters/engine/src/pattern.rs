//! Regular expressions of adapters: checked when they are read, built when they are first asked. There are thousands, a
//! process asks few of them, and building all of them is most of what its start would cost.

use std::{
    fmt,
    ops::Deref,
    sync::{LazyLock, OnceLock},
};

use regex::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

/// Most memory of a built expression, in bytes: matching stays linear and cheap.
const MOST_BYTES: usize = 1 << 20;
/// Up to so many steps ([`steps`]) an expression is certain to stay below [`MOST_BYTES`]; a larger one is built at once to
/// see.
const FEW_STEPS: usize = 8_000;

/// A regular expression for texts: white space and case as written unless `insensitive`; look-around is not understood.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: String,
    insensitive: bool,
    built: OnceLock<Regex>,
}

impl Pattern {
    /// The error says what is wrong, for a person who wrote the expression.
    pub(crate) fn new(text: &str, insensitive: bool) -> Result<Self, String> {
        let pattern = Self { text: text.to_owned(), insensitive, built: OnceLock::new() };
        let last = |error: String| error.lines().last().unwrap_or_default().trim().to_owned();
        let read = ParserBuilder::new().case_insensitive(insensitive).build().parse(text);
        if steps(&read.map_err(|error| last(error.to_string()))?) > FEW_STEPS {
            drop(pattern.built.set(pattern.build().map_err(|error| last(error.to_string()))?));
        }
        Ok(pattern)
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn build(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.text).case_insensitive(self.insensitive).size_limit(MOST_BYTES).build()
    }
}

impl Deref for Pattern {
    type Target = Regex;
    fn deref(&self) -> &Regex {
        self.built.get_or_init(|| {
            // It was read without error and is small: see the test.
            self.build().unwrap_or_else(|_| NEVER.clone())
        })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Matches nothing.
#[allow(clippy::expect_used, reason = "a fixed expression that a test builds")]
static NEVER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[^\s\S]").expect("it is one"));

/// About how many states the expression becomes.
fn steps(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        // A range of characters becomes up to four of bytes.
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() * 4,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(again) => {
            let times = again.max.unwrap_or_else(|| again.min.saturating_add(1)).max(1);
            steps(&again.sub).saturating_add(1).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Capture(group) => steps(&group.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(parts.len(), |sum, part| sum.saturating_add(steps(part)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_expression_is_said_at_once() {
        for text in ["(", "a{2", r"(?=a)b", r"(\w{200}){100}", "(a{500}){500}"] {
            assert!(Pattern::new(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn it_matches_as_written_or_in_any_case() {
        assert!(Pattern::new("^Zu(ge)?stell", false).unwrap().is_match("Zustellung"));
        assert!(!Pattern::new("^zu", false).unwrap().is_match("Zustellung"));
        assert!(Pattern::new("^zu", true).unwrap().is_match("ZUSTELLUNG"));
        assert!(!NEVER.is_match("\n x"));
    }

    proptest! {
        /// Nothing that is left for later can fail then.
        #[test]
        fn whatever_is_read_without_error_can_be_built(
            atom in prop_oneof![Just(r"\w"), Just(r"\p{L}"), Just("."), Just(r"[^\d]"), Just("(?i:ß)"), Just("(a|bc|d)")],
            joined in 1_usize..40, times in 0_u32..300, insensitive: bool,
        ) {
            for text in [atom.repeat(joined), format!("({atom}){{{times}}}"), format!("({}){{0,{times}}}", atom.repeat(joined))] {
                if let Ok(pattern) = Pattern::new(&text, insensitive) {
                    prop_assert!(pattern.build().is_ok(), "{}", text);
                }
            }
        }
    }
}
