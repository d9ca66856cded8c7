//! Which carriers a number may belong to, with the evidence.
//!
//! Every form of every carrier (`numbers` in its `adapter.yaml`, and S10 for postal operators) that fits is a candidate.
//! **Order**: by how likely a number of that form is to be just this one: a form that admits less says more, a right check
//! digit narrows it down tenfold, a wrong one makes it a slip (one in a hundred), and `weight` says how common a form is
//! beside others that admit as much. Digits that nothing verifies, and forms whose check digit is wrong, stand behind those
//! whose check digit is right, and a form that is `shared_with` another carrier behind that one.
//! **Confidence**:
//! - `low`: the check digit is wrong; or digits only, without a check digit; or others are a hundred times as likely.
//! - `high`: the check digit is right, or the form's letters admit less than one in 300 of what looks alike; and no other
//!   carrier's form fits, or all that do are together less than a hundredth as likely.
//! - `medium`: the rest.
//!
//! Among the others counts a number of theirs with a slip: digits that are right for one carrier by chance are not its own
//! for certain when all but the last digit are those of another one's label.

mod check;
mod extract;
mod form;
pub(crate) mod operators;
mod size;

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use regex::{RegexSet, RegexSetBuilder};
pub use waybill_schemas::detection::{Candidate, CheckDigit, Confidence};
use waybill_schemas::{
    CarrierSlug, TrackingNumber,
    number::{Hyphens, NumberError},
};

pub use self::form::NumberPattern;
use self::form::Reading;
use crate::adapter::Adapter;

/// A form with letters is distinctive when it admits less than one in about 300 of what looks alike.
const DISTINCT: f64 = 2.5;
/// By how much a candidate stands at least behind another, in powers of ten.
const LEAST_STEP: f64 = 0.001;
/// Others that fit leave a candidate high when they are together less likely than this.
const DOUBT: f64 = 0.01;

/// A number and whose it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The number in canonical form, as the best candidate writes it.
    pub number: TrackingNumber,
    /// Best first.
    pub candidates: Vec<Candidate>,
}

/// What registration may do with a number whose carrier nobody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Among all carriers.
    pub detected: Detected,
    /// The carrier to take at once, if one of those that may be chosen is sure enough.
    pub carrier: Option<CarrierSlug>,
}

#[derive(Debug)]
struct Form {
    carrier: CarrierSlug,
    name: String,
    hyphens: Hyphens,
    pattern: NumberPattern,
}

/// Knows every form of every carrier. Make it once: looking is cheap, making is not.
pub struct Detector {
    forms: Vec<Form>,
    set: OnceLock<Option<RegexSet>>,
    /// Forms of carriers whose numbers keep their hyphens; asked one by one.
    hyphened: Vec<usize>,
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Detector({} forms)", self.forms.len())
    }
}

/// What a number's best candidate says of it.
#[derive(Debug, Clone, Copy)]
struct Judgement {
    confidence: Confidence,
    check_digit: CheckDigit,
    /// Its characters.
    length: usize,
    digits_only: bool,
}

/// A carrier whose form fits.
#[derive(Debug, Clone)]
struct Fit<'a> {
    form: &'a Form,
    reading: Reading,
}

impl Detector {
    /// All forms of these carriers; those of the world's postal operators are asked besides.
    pub(crate) fn new<'a>(adapters: impl Iterator<Item = &'a Arc<Adapter>>) -> Self {
        let mut forms = Vec::new();
        for adapter in adapters {
            forms.extend(adapter.numbers.iter().map(|pattern| Form {
                carrier: adapter.slug.clone(),
                name: adapter.name.clone(),
                hyphens: adapter.hyphens,
                pattern: pattern.clone(),
            }));
        }
        let keeps = |(index, form): (usize, &Form)| (form.hyphens == Hyphens::Keep).then_some(index);
        let hyphened = forms.iter().enumerate().filter_map(keeps).collect();
        Self { forms, set: OnceLock::new(), hyphened }
    }

    /// All forms at once; made when a number is first looked at, for most processes never do.
    fn set(&self) -> Option<&RegexSet> {
        let patterns = || self.forms.iter().map(|form| form.pattern.pattern.as_str());
        // Where the set would be too large every form is asked by itself: slower, the same answers.
        let make = || RegexSetBuilder::new(patterns()).size_limit(256 << 20).dfa_size_limit(16 << 20).build().ok();
        self.set.get_or_init(make).as_ref()
    }

    /// Whose a number may be. Spaces, hyphens and lower case do not matter.
    ///
    /// # Errors
    /// [`NumberError`] where it is no tracking number at all.
    pub fn detect(&self, typed: &str) -> Result<Detected, NumberError> {
        self.choose(typed, |_| true).map(|choice| choice.detected)
    }

    /// The same, and which of the carriers that may be chosen is sure enough to be taken at once. None is where a carrier
    /// that may not be chosen stands before it, unless they share the number.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn choose(&self, typed: &str, may_be: impl Fn(&CarrierSlug) -> bool) -> Result<Choice, NumberError> {
        let plain = TrackingNumber::canonical(typed, Hyphens::Remove)?;
        let kept = TrackingNumber::canonical(typed, Hyphens::Keep)?;
        let fits = best_of_each(self.fits(plain.as_str(), kept.as_str()));
        let on: Vec<Fit<'_>> = fits.iter().filter(|fit| may_be(&fit.form.carrier)).cloned().collect();
        let number = match fits.first() {
            Some(first) if first.form.hyphens == Hyphens::Keep => kept,
            _ => plain,
        };
        let all = rank(fits);
        let best = rank(on).into_iter().next().filter(|(_, candidate)| candidate.confidence == Confidence::High);
        let carrier = best.and_then(|(fit, _)| {
            let shared = fit.form.pattern.shared_with.as_ref();
            let mut before = all.iter().take_while(|(other, _)| other.form.carrier != fit.form.carrier);
            before.all(|(other, _)| shared == Some(&other.form.carrier)).then(|| fit.form.carrier.clone())
        });
        let candidates = all.into_iter().map(|(_, candidate)| candidate).collect();
        Ok(Choice { detected: Detected { number, candidates }, carrier })
    }

    /// The tracking numbers in a text, in its order, each with its candidates. Of a text longer than
    /// [`waybill_schemas::limits::MAX_DETECT_TEXT_BYTES`] only the beginning is looked through. None is `high` beside which
    /// groups of digits were left over: it may be a part of a number that nobody knows.
    pub fn extract(&self, text: &str) -> Vec<Detected> {
        extract::extract(self, text)
    }

    /// How sure the best candidate of a number is, without naming any. `joined` is in upper case, without spaces.
    fn judge(&self, joined: &str) -> Option<Judgement> {
        let plain = if joined.contains('-') { Cow::Owned(joined.replace('-', "")) } else { Cow::Borrowed(joined) };
        // What a canonical number may be long: see `TrackingNumber`.
        if !(3..=64).contains(&plain.len()) || joined.len() > 64 {
            return None;
        }
        let fits = best_of_each(self.fits(&plain, joined));
        let best = fits.first()?;
        let number = if best.form.hyphens == Hyphens::Keep { joined } else { &*plain };
        Some(Judgement {
            confidence: rivalry(best, &fits).confidence,
            check_digit: best.reading.verdict,
            length: number.len(),
            digits_only: number.bytes().all(|byte| byte.is_ascii_digit()),
        })
    }

    fn fits(&self, plain: &str, kept: &str) -> Vec<Fit<'_>> {
        let read = |index: usize, number: &str| {
            let form = &self.forms[index];
            form.pattern.read(number).map(|reading| Fit { form, reading })
        };
        let removes = |index: &usize| self.forms[*index].hyphens == Hyphens::Remove;
        let hyphened = self.hyphened.iter().filter_map(|index| read(*index, kept));
        let postal = operators::of_number(plain).filter_map(operators::Operator::form);
        let postal = postal.filter_map(|form| form.pattern.read(plain).map(|reading| Fit { form, reading }));
        let besides = hyphened.chain(postal);
        match self.set() {
            Some(set) => {
                let matched = set.matches(plain);
                matched.iter().filter(removes).filter_map(|index| read(index, plain)).chain(besides).collect()
            }
            None => {
                let all = (0..self.forms.len()).filter(removes);
                all.filter_map(|index| read(index, plain)).chain(besides).collect()
            }
        }
    }
}

/// Of each carrier the form that fits best; best first.
fn best_of_each(mut fits: Vec<Fit<'_>>) -> Vec<Fit<'_>> {
    let by_score = |a: &Fit<'_>, b: &Fit<'_>| {
        b.reading.score.total_cmp(&a.reading.score).then_with(|| a.form.carrier.cmp(&b.form.carrier))
    };
    fits.sort_by(by_score);
    let mut seen = HashSet::new();
    fits.retain(|fit| seen.insert(fit.form.carrier.clone()));
    // Digits that nothing verifies, and a wrong check digit, never go before one that is right.
    let right = fits.iter().filter(|fit| fit.reading.verdict == CheckDigit::Valid);
    let right = right.map(|fit| fit.reading.score).fold(f64::NEG_INFINITY, f64::max);
    for fit in &mut fits {
        let unverified = match fit.reading.verdict {
            CheckDigit::None => fit.reading.digits_only,
            CheckDigit::Invalid => true,
            CheckDigit::Valid => false,
        };
        if right.is_finite() && unverified {
            fit.reading.score = fit.reading.score.min(right - LEAST_STEP);
        }
    }
    // Behind the carrier that they share the number with.
    let scores: Vec<(CarrierSlug, f64)> = fits
        .iter()
        .filter(|fit| fit.reading.verdict != CheckDigit::Invalid)
        .map(|fit| (fit.form.carrier.clone(), fit.reading.score))
        .collect();
    for fit in &mut fits {
        let shared = fit.form.pattern.shared_with.as_ref();
        if let Some((_, score)) = scores.iter().find(|(carrier, _)| Some(carrier) == shared) {
            fit.reading.score = fit.reading.score.min(score - LEAST_STEP);
        }
    }
    fits.sort_by(by_score);
    fits
}

/// Candidates with their confidence, from fits in order.
fn rank(fits: Vec<Fit<'_>>) -> Vec<(Fit<'_>, Candidate)> {
    let candidates: Vec<Candidate> = fits.iter().map(|fit| candidate(fit, &fits)).collect();
    fits.into_iter().zip(candidates).collect()
}

/// Whether two carriers share the number, so that neither speaks against the other.
fn share(a: &Fit<'_>, b: &Fit<'_>) -> bool {
    a.form.pattern.shared_with.as_ref() == Some(&b.form.carrier)
        || b.form.pattern.shared_with.as_ref() == Some(&a.form.carrier)
}

/// How a candidate stands among all.
struct Rivalry<'a> {
    confidence: Confidence,
    /// Other carriers whose form fits.
    count: usize,
    /// How much likelier they are together.
    against: f64,
    /// The carrier that shares the number and goes first.
    behind: Option<&'a CarrierSlug>,
    /// The carrier whose number it may be with a slip, where that makes a candidate less sure that is well founded.
    slip: Option<&'a CarrierSlug>,
}

fn rivalry<'a>(fit: &'a Fit<'_>, all: &'a [Fit<'_>]) -> Rivalry<'a> {
    let reading = &fit.reading;
    let (mut count, mut against, mut slips, mut slip) = (0, 0.0, 0.0, None);
    for other in all.iter().filter(|other| other.form.carrier != fit.form.carrier && !share(fit, other)) {
        let likelier = 10_f64.powf(other.reading.score - reading.score);
        if other.reading.verdict == CheckDigit::Invalid {
            slips += likelier;
            slip = slip.or(Some(&other.form.carrier));
        } else {
            count += 1;
            against += likelier;
        }
    }
    let behind = fit.form.pattern.shared_with.as_ref().filter(|first| {
        all.iter().any(|other| other.form.carrier == **first && other.reading.verdict != CheckDigit::Invalid)
    });
    let digits_only = reading.verdict == CheckDigit::None && reading.digits_only;
    let evidence = reading.verdict == CheckDigit::Valid || reading.distinct >= DISTINCT;
    let founded = evidence && reading.verdict != CheckDigit::Invalid && !digits_only;
    let doubt = against + slips;
    let confidence = if reading.verdict == CheckDigit::Invalid || digits_only || doubt > 1.0 / DOUBT {
        Confidence::Low
    } else if founded && behind.is_none() && doubt < DOUBT {
        Confidence::High
    } else {
        Confidence::Medium
    };
    Rivalry { confidence, count, against, behind, slip: slip.filter(|_| founded && slips >= DOUBT) }
}

fn candidate(fit: &Fit<'_>, all: &[Fit<'_>]) -> Candidate {
    let rivalry = rivalry(fit, all);
    Candidate {
        carrier: fit.form.carrier.clone(),
        service: fit.reading.service.clone(),
        confidence: rivalry.confidence,
        check_digit: fit.reading.verdict,
        reason: reason(fit, &rivalry),
    }
}

/// Why, in a sentence.
fn reason(fit: &Fit<'_>, rivalry: &Rivalry<'_>) -> String {
    let (form, reading) = (fit.form, &fit.reading);
    let of = reading.service.as_deref().map(|service| format!(" ({service})")).unwrap_or_default();
    let kind = if reading.digits_only { "digits" } else { "characters" };
    let begins = match form.pattern.beginning.as_str() {
        "" => String::new(),
        beginning => format!(", beginning with {beginning}"),
    };
    let check = match reading.verdict {
        CheckDigit::Valid => "the check digit is right",
        CheckDigit::Invalid => "the check digit is wrong",
        CheckDigit::None => "no check digit to verify",
    };
    let expected = reading.expected.map(|digit| format!(" ({digit} would be right)")).unwrap_or_default();
    let far = |verb: &str| match rivalry.against {
        against if against < DOUBT => format!(" and {verb} far less likely"),
        against if against > 1.0 / DOUBT => format!(" and {verb} far likelier"),
        _ => String::new(),
    };
    let mut rest = match (rivalry.behind, rivalry.count) {
        (Some(first), _) => format!("the number is also one of {first}, which goes first"),
        (None, 0) => "no other carrier's form fits".to_owned(),
        (None, 1) => format!("one other carrier's form fits too{}", far("is")),
        (None, more) => format!("{more} other carriers' forms fit too{}", far("are")),
    };
    if let Some(slip) = rivalry.slip {
        rest.push_str(&format!("; it may be a number of {slip} with a slip"));
    }
    format!("{}{of}: {} {kind}{begins}; {check}{expected}; {rest}", form.name, reading.length)
}
