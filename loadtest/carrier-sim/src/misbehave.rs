//! Misbehaviour on request: what a carrier does wrong, to whom, how often. Which request is hit follows from the seed and
//! from how many requests that number has made, never from the order among numbers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;

/// Most rules at once.
pub const MOST_RULES: usize = 1_000;
/// Most numbers whose requests are counted; beyond it counting begins anew.
const MOST_COUNTED: usize = 1_000_000;

/// How `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Not at all.
    #[default]
    Absent,
    /// As seconds.
    Seconds,
    /// As an HTTP date.
    Date,
}

/// What goes wrong. In JSON: `{"what":"throttled","retry_after":"seconds","seconds":5}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Misbehaviour {
    /// 429.
    Throttled {
        /// Whether it says when to come back.
        #[serde(default)]
        retry_after: RetryAfter,
        /// When.
        #[serde(default)]
        seconds: u32,
    },
    /// 503.
    Unavailable {
        /// Whether it says when to come back.
        #[serde(default)]
        retry_after: RetryAfter,
        /// When.
        #[serde(default)]
        seconds: u32,
    },
    /// 500.
    Broken,
    /// No answer for so long, then a closed connection.
    Hang {
        /// How long.
        #[serde(default = "ten_minutes")]
        seconds: u32,
    },
    /// The right answer, in drops.
    Slow {
        /// Until its last byte.
        seconds: u32,
    },
    /// The connection ends in the middle of the body.
    Cut,
    /// A page that asks for a person.
    Captcha {
        /// 200, 403 or what else.
        #[serde(default = "forbidden")]
        status: u16,
    },
    /// The right events in a layout that no adapter knows.
    ChangedLayout,
    /// A small gzip body that becomes a large one.
    GzipBomb {
        /// How large, at least 50.
        #[serde(default = "sixty_four")]
        megabytes: u32,
    },
    /// A large body.
    Huge {
        /// How large.
        #[serde(default = "fifty")]
        megabytes: u32,
    },
    /// Bytes that are no text in the declared charset.
    InvalidUtf8,
    /// To the same place once more; the second request is answered rightly.
    Redirect,
    /// To an address inside the reader's own network.
    RedirectAway,
    /// 200 and nothing.
    Empty,
}

fn ten_minutes() -> u32 {
    600
}
fn forbidden() -> u16 {
    403
}
fn sixty_four() -> u32 {
    64
}
fn fifty() -> u32 {
    50
}

impl Misbehaviour {
    /// The name it bears in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Broken => "broken",
            Self::Hang { .. } => "hang",
            Self::Slow { .. } => "slow",
            Self::Cut => "cut",
            Self::Captcha { .. } => "captcha",
            Self::ChangedLayout => "changed_layout",
            Self::GzipBomb { .. } => "gzip_bomb",
            Self::Huge { .. } => "huge",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Redirect => "redirect",
            Self::RedirectAway => "redirect_away",
            Self::Empty => "empty",
        }
    }
}

/// Who is treated so, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Only this carrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// Only this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Only this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How likely, from 0 to 1.
    #[serde(default = "always")]
    pub chance: f64,
    /// How many times at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub misbehaviour: Misbehaviour,
}

fn always() -> f64 {
    1.0
}

impl Rule {
    /// Always, for everybody.
    pub fn new(misbehaviour: Misbehaviour) -> Self {
        Self { carrier: None, number: None, step: None, chance: 1.0, count: None, misbehaviour }
    }

    /// Only this carrier.
    #[must_use]
    pub fn carrier(mut self, slug: &str) -> Self {
        self.carrier = Some(slug.to_owned());
        self
    }

    /// Only this number.
    #[must_use]
    pub fn number(mut self, number: &str) -> Self {
        self.number = Some(number.to_owned());
        self
    }

    /// Only this often, from 0 to 1.
    #[must_use]
    pub fn chance(mut self, probability: f64) -> Self {
        self.chance = probability;
        self
    }

    /// At most so many times.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    fn fits(&self, request: Request<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.count != Some(0)
            && is(&self.carrier, request.carrier)
            && is(&self.number, request.number)
            && is(&self.step, request.step)
    }
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) carrier: &'a str,
    pub(crate) number: &'a str,
    pub(crate) step: &'a str,
}

/// There are too many rules.
#[derive(Debug, thiserror::Error)]
#[error("there are {MOST_RULES} rules already; delete some with DELETE /_sim/misbehave")]
pub struct TooManyRules;

/// The rules in force, in order: the first that fires decides.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    seed: u64,
    rules: Vec<(u64, Rule)>,
    next_id: u64,
    asked: HashMap<u64, u64>,
}

impl Rules {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(crate) fn add(&mut self, rule: Rule) -> Result<u64, TooManyRules> {
        if self.rules.len() >= MOST_RULES {
            return Err(TooManyRules);
        }
        self.next_id += 1;
        self.rules.push((self.next_id, rule));
        Ok(self.next_id)
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = &(u64, Rule)> {
        self.rules.iter()
    }

    /// What is to go wrong with this request.
    pub(crate) fn decide(&mut self, request: Request<'_>) -> Option<Misbehaviour> {
        if self.rules.is_empty() {
            return None;
        }
        let who = Dice::of_texts(self.seed, &[request.carrier, request.number, request.step]).bits();
        if self.asked.len() >= MOST_COUNTED {
            self.asked.clear();
        }
        let nth = self.asked.entry(who).or_insert(0);
        *nth += 1;
        let fires = |id: u64, rule: &Rule| {
            rule.chance >= 1.0 || Dice::of(self.seed, "misbehave", &[id, who, *nth]).chance(rule.chance)
        };
        let (_, rule) = self.rules.iter_mut().find(|(id, rule)| rule.fits(request) && fires(*id, rule))?;
        if let Some(left) = &mut rule.count {
            *left -= 1;
        }
        Some(rule.misbehaviour)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn request<'a>(carrier: &'a str, number: &'a str) -> Request<'a> {
        Request { carrier, number, step: "page" }
    }

    #[test]
    fn the_first_rule_that_fits_fires_as_often_as_it_may() {
        let mut rules = Rules::new(1);
        rules.add(Rule::new(Misbehaviour::Cut).carrier("a").times(2)).unwrap();
        rules.add(Rule::new(Misbehaviour::Empty).number("N2")).unwrap();
        assert_eq!(rules.decide(request("a", "N1")), Some(Misbehaviour::Cut));
        assert_eq!(rules.decide(request("b", "N1")), None);
        assert_eq!(rules.decide(request("a", "N2")), Some(Misbehaviour::Cut));
        assert_eq!(rules.decide(request("a", "N2")), Some(Misbehaviour::Empty));
        rules.clear();
        assert_eq!(rules.decide(request("a", "N2")), None);
    }

    #[test]
    fn chance_depends_on_the_seed_and_not_on_who_asks_first() {
        let hits = |order: &[&str], seed: u64| {
            let mut rules = Rules::new(seed);
            rules.add(Rule::new(Misbehaviour::Broken).chance(0.3)).unwrap();
            let mut hit = Vec::new();
            for turn in 0..200 {
                for number in order {
                    hit.extend(rules.decide(request("a", number)).map(|_| (turn, (*number).to_owned())));
                }
            }
            hit.sort();
            hit
        };
        assert_eq!(hits(&["N1", "N2"], 7), hits(&["N2", "N1"], 7));
        assert_ne!(hits(&["N1", "N2"], 7), hits(&["N1", "N2"], 8));
        assert!((80..=160).contains(&hits(&["N1", "N2"], 7).len()));
    }

    #[test]
    fn rules_are_read_from_json() {
        let text = r#"{"carrier":"a","count":3,"what":"throttled","retry_after":"date","seconds":5}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        let expected = Misbehaviour::Throttled { retry_after: RetryAfter::Date, seconds: 5 };
        assert_eq!(rule, Rule::new(expected).carrier("a").times(3));
        assert!(serde_json::from_str::<Rule>(r#"{"what":"dance"}"#).is_err());
    }
}
