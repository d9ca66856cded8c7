//! One form of a carrier's numbers, compiled: what it admits, and what a number of it says.

use std::collections::BTreeMap;

use waybill_schemas::CarrierSlug;

use super::{
    CheckDigit,
    check::Check,
    size::{Size, beginning},
};
use crate::{
    error::Fault,
    field::regex,
    pattern::Pattern,
    spec::{CheckRule, CheckSpec, DigitIs, LongCheck, NumberSpec, Side},
};

/// What a carrier's numbers may look like.
#[derive(Debug, Clone)]
pub struct NumberPattern {
    /// Matches a whole canonical number.
    pub(crate) pattern: Pattern,
    /// The service that uses it.
    pub service: Option<String>,
    services: BTreeMap<String, String>,
    check: Option<Check>,
    weight: f64,
    pub(super) shared_with: Option<CarrierSlug>,
    size: Size,
    pub(super) beginning: String,
}

/// What a number says where a form fits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) service: Option<String>,
    pub(super) verdict: CheckDigit,
    /// The digit that would be right, where it is wrong.
    pub(super) expected: Option<char>,
    /// How likely a number of this form is to be just this one, in powers of ten, and how common the form is.
    pub(super) score: f64,
    /// By how many powers of ten the form admits less than all numbers of the same shape of letters and digits.
    pub(super) distinct: f64,
    /// Its letters and digits.
    pub(super) length: usize,
    /// There are no letters among them.
    pub(super) digits_only: bool,
}

/// A wrong check digit is a slip of the pen: one number in a hundred.
const SLIP: f64 = 2.0;

/// Powers of ten of the count of numbers with letters and digits in the same places.
fn shape(number: &str) -> f64 {
    let of = |c: char| match c {
        '0'..='9' => 1.0,
        'A'..='Z' => 26_f64.log10(),
        _ => 0.0,
    };
    number.chars().map(of).sum()
}

impl NumberPattern {
    pub(crate) fn compile(spec: &NumberSpec) -> Result<Self, Fault> {
        let whole = format!("^(?:{})$", spec.pattern.trim_start_matches('^').trim_end_matches('$'));
        // Told of the pattern as it is written.
        let pattern = regex(&whole).map_err(|fault| regex(&spec.pattern).err().unwrap_or(fault))?;
        let hir = regex_syntax::parse(&whole).map_err(|error| Fault::new(&spec.pattern, error.to_string()))?;
        let check = match &spec.check {
            Some(check) => Check::compile(check)?,
            None => None,
        };
        let names: Vec<&str> = pattern.capture_names().flatten().collect();
        if let Some(odd) = names.iter().find(|name| !["serial", "check", "service"].contains(*name)) {
            let how = format!("the group `{odd}` has no meaning; groups are serial, check and service");
            return Err(Fault::new(&spec.pattern, how));
        }
        if names.contains(&"check") && check.is_none() {
            return Err(Fault::new(&spec.pattern, "the group `check` needs a rule; add check: and its name"));
        }
        if !spec.services.is_empty() && !names.contains(&"service") {
            return Err(Fault::new(&spec.pattern, "services needs a group named `service` in the pattern"));
        }
        let size = Size::of(&hir);
        if size.is_nothing() {
            let why = "is of no tracking number: these are matched in upper case, without spaces";
            return Err(Fault::new(&spec.pattern, format!("`{}` {why}", spec.pattern)));
        }
        let weight = spec.weight.unwrap_or(1.0);
        if !(weight > 0.0 && weight <= 1_000.0) {
            return Err(Fault::new("weight", "weight is above 0 and at most 1000; 1 is usual"));
        }
        Ok(Self {
            pattern,
            service: spec.service.clone(),
            services: spec.services.clone(),
            check,
            weight,
            shared_with: spec.shared_with.clone(),
            size,
            beginning: beginning(&hir),
        })
    }

    /// The form of international postal numbers of one country.
    pub(super) fn s10(country: &str, services: &BTreeMap<String, String>) -> Result<Self, Fault> {
        let (before, weights) = (String::new(), Vec::new());
        let (from, modulo, digit) = (Side::default(), None, DigitIs::default());
        Self::compile(&NumberSpec {
            pattern: format!("(?<service>[A-Z]{{2}})(?<serial>[0-9]{{8}})(?<check>[0-9]){country}"),
            service: Some("international post".to_owned()),
            services: services.clone(),
            check: Some(CheckSpec(LongCheck { rule: CheckRule::S10, before, weights, from, modulo, digit })),
            weight: None,
            shared_with: None,
            source: None,
        })
    }

    /// Whether a canonical number has this form, whatever its check digit.
    pub fn fits(&self, number: &str) -> bool {
        self.pattern.is_match(number)
    }

    /// What a number says that this form fits; none where it does not.
    pub(super) fn read(&self, number: &str) -> Option<Reading> {
        let captures = self.pattern.captures(number)?;
        let group = |name: &str| captures.name(name).map(|found| found.as_str());
        let (mut verdict, mut expected, mut score) = (CheckDigit::None, None, 0.0);
        if let Some(check) = &self.check {
            let (serial, digit) = match (group("serial"), group("check")) {
                (Some(serial), Some(digit)) => (serial, digit),
                _ if check.is_s10() => (number.get(2..10)?, number.get(10..11)?),
                _ => number.split_at_checked(number.len() - 1)?,
            };
            expected = check.digit(serial);
            if expected.is_some_and(|expected| digit.chars().eq([expected])) {
                (verdict, expected, score) = (CheckDigit::Valid, None, check.bits());
            } else {
                (verdict, score) = (CheckDigit::Invalid, -SLIP);
            }
        }
        let size = self.size.log10(number.len());
        Some(Reading {
            service: self.service_of(group("service")),
            verdict,
            expected,
            score: score - size + self.weight.log10(),
            distinct: shape(number) - size,
            length: number.bytes().filter(u8::is_ascii_alphanumeric).count(),
            digits_only: !number.bytes().any(|byte| byte.is_ascii_uppercase()),
        })
    }

    fn service_of(&self, code: Option<&str>) -> Option<String> {
        let named = code.and_then(|code| {
            let beginning = |(key, _): &(&String, &String)| {
                key.strip_suffix('*').is_some_and(|beginning| code.starts_with(beginning))
            };
            self.services.get(code).or_else(|| self.services.iter().find(beginning).map(|(_, name)| name))
        });
        named.or(self.service.as_ref()).cloned()
    }
}
