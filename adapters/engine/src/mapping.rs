//! From a carrier's codes and words to the canonical vocabulary.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use unicode_normalization::UnicodeNormalization;
use waybill_schemas::{
    SubStatus,
    event::{MatchedBy, RawEvent, ShipmentFacts},
};

use crate::{
    error::{Fault, Faults},
    journey,
    pattern::Pattern,
    spec::{MappingSpec, Meaning, PhrasesSpec, StatusSpec},
    text::collapse,
};

/// What a mapping says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The sub-status; absent when nothing matched, or when the event is known to change nothing.
    pub sub_status: Option<SubStatus>,
    /// What decided.
    pub matched_by: MatchedBy,
}

/// A compiled `mapping.yaml`, with the phrase tables of its languages.
#[derive(Debug)]
pub struct Mapping {
    /// Digest of `mapping.yaml` and the phrase tables.
    pub version: String,
    events: Table,
    otherwise: Table,
    headline: Table,
    headline_inherits: bool,
    trust: journey::Trust,
    unlatch: Vec<SubStatus>,
    phrases: Vec<Arc<Table>>,
}

/// Rules by code and by text.
#[derive(Debug, Default)]
pub(crate) struct Table {
    codes: HashMap<String, Meaning>,
    code_prefixes: Vec<(String, Meaning)>,
    exact: HashMap<String, Meaning>,
    prefix: Vec<(String, Meaning)>,
    contains: Vec<(String, Meaning)>,
    regex: Vec<(Pattern, Meaning)>,
}

/// A text as it is compared: composed, lower case, white space collapsed, without a full stop at its end.
fn fold(text: &str) -> String {
    let lower: String = collapse(text).nfc().flat_map(char::to_lowercase).collect();
    lower.trim_end_matches(['.', '!', '。']).trim_end().to_owned()
}

/// Text fragments of rules keep their full stop: it may be meant.
fn fold_fragment(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

fn fold_code(code: &str) -> String {
    code.trim().to_uppercase()
}

type Named = BTreeMap<String, StatusSpec>;
type Pairs = [(String, StatusSpec)];

/// The rules of a kind that mean something known; the others are mistakes.
fn meanings<'a>(
    rules: impl IntoIterator<Item = (&'a String, &'a StatusSpec)>,
    faults: &mut Faults,
) -> Vec<(&'a String, Meaning)> {
    let known = |(text, status): (&'a String, &StatusSpec)| Some((text, faults.keep(status.meaning(text))?));
    rules.into_iter().filter_map(known).collect()
}

fn pairs(rules: &Pairs) -> impl Iterator<Item = (&String, &StatusSpec)> {
    rules.iter().map(|rule| (&rule.0, &rule.1))
}

/// Case, white space and a full stop do not tell two keys apart, so YAML cannot see that one stands twice.
fn not_twice(key: &str, before: Option<Meaning>, now: Meaning, faults: &mut Faults) {
    if before.is_some_and(|before| before != now) {
        faults.add(Fault::new(
            key,
            format!("`{key}` stands twice, written otherwise and with another meaning; keep one"),
        ));
    }
}

impl Table {
    fn compile(codes: &Named, exact: &Named, [prefix, contains, regex]: [&Pairs; 3], faults: &mut Faults) -> Self {
        let mut table = Self::default();
        for (code, meaning) in meanings(codes, faults) {
            match code.strip_suffix('*') {
                Some(head) => table.code_prefixes.push((fold_code(head), meaning)),
                None => {
                    let before = table.codes.insert(fold_code(code), meaning);
                    not_twice(code, before, meaning, faults);
                }
            }
        }
        // The longest prefix is the most telling.
        table.code_prefixes.sort_by_key(|(head, _)| std::cmp::Reverse(head.len()));
        for (text, meaning) in meanings(exact, faults) {
            let before = table.exact.insert(fold(text), meaning);
            not_twice(text, before, meaning, faults);
        }
        let mut fragments = |kind: &Pairs| -> Vec<(String, Meaning)> {
            let mut folded = Vec::new();
            for (text, meaning) in meanings(pairs(kind), faults) {
                match fold_fragment(text) {
                    empty if empty.trim().is_empty() => {
                        faults.add(Fault::new(text, "an empty text matches everything; remove it"));
                    }
                    text => folded.push((text, meaning)),
                }
            }
            folded
        };
        table.prefix = fragments(prefix);
        table.contains = fragments(contains);
        for (pattern, meaning) in meanings(pairs(regex), faults) {
            let compiled = Pattern::new(pattern, true)
                .map_err(|why| Fault::new(pattern, format!("`{pattern}` is no regular expression ({why})")));
            table.regex.extend(faults.keep(compiled).map(|pattern| (pattern, meaning)));
        }
        table
    }

    fn by_code(&self, code: &str) -> Option<Meaning> {
        let code = fold_code(code);
        let whole = self.codes.get(&code).copied();
        whole.or_else(|| self.code_prefixes.iter().find(|(head, _)| code.starts_with(head)).map(|(_, m)| *m))
    }

    /// The code or the beginning of it that decides.
    fn code_rule(&self, code: &str) -> Option<String> {
        let code = fold_code(code);
        if self.codes.contains_key(&code) {
            return Some(code);
        }
        let head = self.code_prefixes.iter().find(|(head, _)| code.starts_with(head));
        head.map(|(head, _)| format!("{head}*"))
    }

    fn by_text(&self, folded: &str) -> Option<Found<'_>> {
        let found = |rule, meaning: &Meaning| Some(Found { rule, meaning: *meaning, shared: false });
        if let Some((text, meaning)) = self.exact.get_key_value(folded) {
            return found(Rule::Exact(text), meaning);
        }
        if let Some((head, meaning)) = self.prefix.iter().find(|(head, _)| folded.starts_with(head)) {
            return found(Rule::Prefix(head), meaning);
        }
        if let Some((part, meaning)) = self.contains.iter().find(|(part, _)| folded.contains(part.as_str())) {
            return found(Rule::Contains(part), meaning);
        }
        let (regex, meaning) = self.regex.iter().find(|(regex, _)| regex.is_match(folded))?;
        found(Rule::Regex(regex), meaning)
    }

    /// The rule for a part of the text that `part` is only a part of.
    fn longer(&self, part: &str, folded: &str) -> Option<Found<'_>> {
        let holds = |text: &str| text.len() > part.len() && text.contains(part) && folded.contains(text);
        let (text, meaning) = self.contains.iter().find(|(text, _)| holds(text))?;
        Some(Found { rule: Rule::Contains(text), meaning: *meaning, shared: false })
    }
}

/// A rule for texts, as it is written.
#[derive(Clone, Copy)]
enum Rule<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Contains(&'a str),
    Regex(&'a Pattern),
}

impl<'a> Rule<'a> {
    /// What of a text it found, where it looks anywhere in it.
    fn part(self, folded: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(_) | Self::Prefix(_) => None,
            Self::Contains(text) => Some(text),
            Self::Regex(regex) => regex.find(folded).map(|part| part.as_str()),
        }
    }
}

/// The rule for texts that decides.
#[derive(Clone, Copy)]
struct Found<'a> {
    rule: Rule<'a>,
    meaning: Meaning,
    /// Of a phrase table, not the carrier's own.
    shared: bool,
}

impl Found<'_> {
    fn mapped(self) -> Mapped {
        let matched_by = match self.rule {
            _ if self.shared => MatchedBy::Phrase,
            Rule::Exact(_) => MatchedBy::Exact,
            Rule::Prefix(_) => MatchedBy::Prefix,
            Rule::Contains(_) => MatchedBy::Contains,
            Rule::Regex(_) => MatchedBy::Regex,
        };
        Mapped { sub_status: self.meaning.0, matched_by }
    }

    fn rule(self) -> String {
        let (kind, text) = match self.rule {
            Rule::Exact(text) => ("exact", text),
            Rule::Prefix(text) => ("prefix", text),
            Rule::Contains(text) => ("contains", text),
            Rule::Regex(regex) => ("regex", regex.as_str()),
        };
        let whose = if self.shared { "phrases, " } else { "" };
        format!("{whose}{kind}: {text}")
    }
}

/// The format of a file of words is one that this program reads.
fn is_known(format: u32, faults: &mut Faults) {
    if format != 1 {
        let problem = format!("format {format} is not known to this program; write format: 1");
        faults.add(Fault::new("format", problem));
    }
}

impl Mapping {
    pub(crate) fn compile(spec: &MappingSpec, phrases: Vec<Arc<Table>>, version: String) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        is_known(spec.format, &mut faults);
        let head = &spec.headline;
        let texts = [spec.prefix.as_slice(), &spec.contains, &spec.regex];
        let events = Table::compile(&spec.codes, &spec.exact, texts, &mut faults);
        let texts = [head.prefix.as_slice(), &head.contains, &head.regex];
        let headline = Table::compile(&head.codes, &head.exact, texts, &mut faults);
        let otherwise = Table::compile(&spec.otherwise, &Named::new(), [&[], &[], &[]], &mut faults);
        let unlatch = faults.keep_all(spec.unlatch.iter().map(StatusSpec::sub_status));
        match unlatch {
            Some(unlatch) if faults.is_empty() => Ok(Self {
                version,
                events,
                otherwise,
                headline,
                headline_inherits: head.inherit,
                trust: head.trust,
                unlatch,
                phrases,
            }),
            _ => Err(faults),
        }
    }

    pub(crate) fn phrase_table(spec: &PhrasesSpec) -> Result<Table, Faults> {
        let mut faults = Faults::default();
        is_known(spec.format, &mut faults);
        let texts = [spec.prefix.as_slice(), &spec.contains, &spec.regex];
        let table = Table::compile(&Named::new(), &spec.exact, texts, &mut faults);
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }

    /// What a table of the carrier makes of a text. A part of it that means delivered gives way to a longer phrase that it is
    /// part of: who says "could not be delivered" says "delivered" as well, and no mistake is worse than a false delivery.
    fn by_own<'a>(&'a self, own: &'a Table, folded: &str) -> Option<Found<'a>> {
        let found = own.by_text(folded)?;
        let delivered = found.meaning.0 == Some(SubStatus::DeliveredOther);
        let longer = delivered.then(|| found.rule.part(folded)).flatten().and_then(|part| {
            let longer = self.phrases.iter().find_map(|table| table.longer(part, folded))?;
            Some(Found { shared: true, ..longer })
        });
        longer.or(Some(found))
    }

    fn by_phrase(&self, folded: &str) -> Option<Found<'_>> {
        let found = self.phrases.iter().find_map(|table| table.by_text(folded))?;
        Some(Found { shared: true, ..found })
    }

    fn by_words(&self, text: &str) -> Option<Found<'_>> {
        let folded = fold(text);
        if folded.is_empty() {
            return None;
        }
        self.by_own(&self.events, &folded).or_else(|| self.by_phrase(&folded))
    }

    /// What an event means: by code, then by its text, then by the language's phrases, then by a general code.
    pub fn map(&self, event: &RawEvent) -> Mapped {
        let by_code = |table: &Table| {
            let meaning = event.code.as_deref().and_then(|code| table.by_code(code))?;
            Some(Mapped { sub_status: meaning.0, matched_by: MatchedBy::Code })
        };
        let by_words = || self.by_words(&event.text).map(Found::mapped);
        let mapped = by_code(&self.events).or_else(by_words).or_else(|| by_code(&self.otherwise));
        mapped.unwrap_or(Mapped { sub_status: None, matched_by: MatchedBy::None })
    }

    /// The rule that decides what an event means, as it is written; `None` when nothing matches.
    pub fn rule(&self, event: &RawEvent) -> Option<String> {
        let code_rule = |table: &Table| event.code.as_deref().and_then(|code| table.code_rule(code));
        let by_code = code_rule(&self.events).map(|rule| format!("codes: {rule}"));
        let by_words = || self.by_words(&event.text).map(Found::rule);
        let general = || code_rule(&self.otherwise).map(|rule| format!("otherwise: {rule}"));
        by_code.or_else(by_words).or_else(general)
    }

    /// What the headline means: by its code, then by its words; the rules for events serve as well unless told otherwise.
    /// A code that is a sub-status of the vocabulary (an adapter's marker said so) means itself.
    pub fn headline(&self, facts: &ShipmentFacts) -> Option<SubStatus> {
        let code = facts.status_code.as_deref();
        if let Some(sub_status) = code.and_then(|code| code.parse().ok()) {
            return Some(sub_status);
        }
        let folded = facts.status_text.as_deref().map(fold).filter(|text| !text.is_empty());
        let ask = |table: &Table| {
            let by_code = code.and_then(|code| table.by_code(code));
            by_code.or_else(|| folded.as_deref().and_then(|text| self.by_own(table, text)).map(|found| found.meaning))
        };
        if let Some(meaning) = ask(&self.headline) {
            return meaning.0;
        }
        if !self.headline_inherits {
            return None;
        }
        let by_phrase = || folded.as_deref().and_then(|text| self.by_phrase(text)).map(|found| found.meaning);
        let inherited = ask(&self.events).or_else(by_phrase);
        inherited.or_else(|| code.and_then(|code| self.otherwise.by_code(code)))?.0
    }

    /// What [`journey::settle`] needs to know of this mapping.
    pub fn rules(&self) -> journey::Rules<'_> {
        journey::Rules { unlatch: &self.unlatch, trust: self.trust }
    }

    /// How many rules there are for texts and codes; phrase tables are not counted.
    pub fn rule_count(&self) -> usize {
        let texts = |table: &Table| table.exact.len() + table.prefix.len() + table.contains.len() + table.regex.len();
        texts(&self.events) + texts(&self.headline) + self.code_count()
    }

    /// How many codes are mapped.
    pub fn code_count(&self) -> usize {
        let codes = |table: &Table| table.codes.len() + table.code_prefixes.len();
        codes(&self.events) + codes(&self.otherwise)
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
