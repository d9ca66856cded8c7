//! How much a pattern admits: the count of texts of each length, and what all of them begin with.
//!
//! A form that admits little says much where it fits. The counts take a pattern's parts as independent and its
//! alternatives as different from each other; where they are not, a form passes for a little wider than it is.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest canonical number.
const LONGEST: usize = 64;

/// Counts by length, from 0 to [`LONGEST`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Size(Vec<f64>);

/// Whether canonical numbers are made of it.
fn is_of_numbers(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase() || b"._-".contains(&byte)
}

/// Characters of canonical numbers that a class admits.
fn admitted(class: &Class) -> f64 {
    let numbers = (u8::MIN..=u8::MAX).filter(|byte| is_of_numbers(*byte));
    let holds = |byte: &u8| match class {
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(*byte)))
        }
        Class::Bytes(class) => class.ranges().iter().any(|range| (range.start()..=range.end()).contains(byte)),
    };
    numbers.filter(holds).count() as f64
}

fn one_at(length: usize) -> Vec<f64> {
    let mut counts = vec![0.0; LONGEST + 1];
    if length <= LONGEST {
        counts[length] = 1.0;
    }
    counts
}

fn joined(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; LONGEST + 1];
    for (i, x) in a.iter().enumerate().filter(|(_, x)| **x > 0.0) {
        for (j, y) in b.iter().enumerate().take(LONGEST + 1 - i).filter(|(_, y)| **y > 0.0) {
            counts[i + j] += x * y;
        }
    }
    counts
}

fn counts(hir: &Hir) -> Vec<f64> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => one_at(0),
        HirKind::Literal(literal) if literal.0.iter().all(|byte| is_of_numbers(*byte)) => one_at(literal.0.len()),
        HirKind::Literal(_) => vec![0.0; LONGEST + 1],
        HirKind::Class(class) => one_at(1).iter().map(|one| one * admitted(class)).collect(),
        HirKind::Capture(capture) => counts(&capture.sub),
        HirKind::Concat(parts) => parts.iter().fold(one_at(0), |all, part| joined(&all, &counts(part))),
        HirKind::Alternation(parts) => parts
            .iter()
            .map(counts)
            .fold(vec![0.0; LONGEST + 1], |all, part| all.iter().zip(part).map(|(a, b)| a + b).collect()),
        HirKind::Repetition(repetition) => {
            let part = counts(&repetition.sub);
            let most = repetition.max.unwrap_or(LONGEST as u32).min(LONGEST as u32);
            let mut power = one_at(0);
            let mut all = vec![0.0; LONGEST + 1];
            for times in 0..=most {
                if times >= repetition.min {
                    all.iter_mut().zip(&power).for_each(|(all, power)| *all += power);
                }
                power = joined(&power, &part);
            }
            all
        }
    }
}

impl Size {
    /// Of a pattern that the `regex` crate has accepted.
    pub(crate) fn of(hir: &Hir) -> Self {
        Self(counts(hir))
    }

    /// Whether no canonical number is of the pattern.
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.iter().all(|count| *count <= 0.0)
    }

    /// The powers of ten of the count of texts of a length.
    pub(crate) fn log10(&self, length: usize) -> f64 {
        self.0.get(length).copied().unwrap_or(0.0).max(1.0).log10()
    }
}

/// What every text begins with.
pub(crate) fn beginning(hir: &Hir) -> String {
    fn walk(hir: &Hir, found: &mut String) -> bool {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => true,
            HirKind::Literal(literal) => {
                found.push_str(&String::from_utf8_lossy(&literal.0));
                true
            }
            HirKind::Capture(capture) => walk(&capture.sub, found),
            HirKind::Concat(parts) => parts.iter().all(|part| walk(part, found)),
            _ => false,
        }
    }
    let mut found = String::new();
    walk(hir, &mut found);
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn texts_are_counted_by_length() {
        let size = |pattern: &str| Size::of(&regex_syntax::parse(pattern).unwrap());
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(size("[0-9]{12}").log10(12), 12.0));
        assert!(near(size("1Z[0-9A-Z]{16}").log10(18), 16.0 * 36_f64.log10()));
        assert!(near(size("(?<a>9[1-5])(?:[0-9]{20}|[0-9]{24})").log10(26), 5_f64.log10() + 24.0));
        assert!(near(size("(?:420[0-9]{5})?94[0-9]{20}").log10(30), 25.0));
        assert!(near(size("^(?:JJ?D[0-9]{16})$").log10(19), 16.0));
        for (pattern, nothing) in [("ac[0-9]{9}", true), ("AC [0-9]", true), ("[a-z]{2}", true), ("(?i)ac[0-9]", false)]
        {
            assert_eq!(size(pattern).is_nothing(), nothing, "{pattern}");
        }
        assert_eq!(beginning(&regex_syntax::parse("^(?:1Z(?<serial>[0-9]{3}))$").unwrap()), "1Z");
        assert_eq!(beginning(&regex_syntax::parse("[AB]1").unwrap()), "");
    }
}
