//! Whose a number may be, and on what evidence.

use serde::{Deserialize, Serialize};

use crate::{carrier::CarrierSlug, outcome::OutcomeClass, time::JourneyMs};

/// The pseudo-carrier of numbers whose carrier is not settled yet: its owner tries the candidates.
pub const DETECT: &str = "detect";

/// How sure a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A guess.
    Low,
    /// Likely, and others fit as well.
    Medium,
    /// Registered at once.
    High,
}

impl Confidence {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What a number's check digit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckDigit {
    /// It is right.
    Valid,
    /// It is wrong.
    Invalid,
    /// The form has none, or none that is published.
    None,
}

impl CheckDigit {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::None => "none",
        }
    }
}

/// A carrier that a number may belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The carrier.
    pub carrier: CarrierSlug,
    /// The service whose form fits, where one is known.
    pub service: Option<String>,
    /// How sure it is.
    pub confidence: Confidence,
    /// What the check digit says.
    pub check_digit: CheckDigit,
    /// Why, in a sentence; without the number.
    pub reason: String,
}

/// What a look at one candidate showed, as far as deciding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Events after the goods were ordered: the number is the candidate's.
    Events,
    /// Events, and all of them older than the order: a number used before.
    TooOld,
    /// No events.
    Nothing,
}

/// What came of trying one candidate. Nothing of the carrier's answer is kept beyond this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The candidate.
    pub carrier: CarrierSlug,
    /// In which round.
    pub round: u32,
    /// How the look ended.
    pub class: OutcomeClass,
    /// One sentence, where there is something to say; never contains the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `needs_data`: the parameters that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What it showed.
    pub evidence: Evidence,
    /// Events that the carrier has.
    #[serde(default)]
    pub events: u32,
    /// When the carrier answered.
    pub at: JourneyMs,
}

/// Where settling an undecided number stands; kept by the owner of the pseudo-carrier [`DETECT`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Whom the number may belong to, best first.
    pub candidates: Vec<Candidate>,
    /// Rounds of trying that were begun.
    #[serde(default)]
    pub round: u32,
    /// The last answer of each candidate that gave one.
    #[serde(default)]
    pub tried: Vec<Tried>,
    /// Whose it is: registered there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<CarrierSlug>,
}

/// What a command about an undecided number carries besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Settling {
    /// With `register` or `lookup` of [`DETECT`]: the candidates to try, best first.
    Try {
        /// Whom the number may belong to.
        candidates: Vec<Candidate>,
    },
    /// With `probe`: which round asks.
    Probe {
        /// The round.
        round: u32,
    },
    /// With `probed`: what came of it.
    Probed {
        /// The answer.
        tried: Tried,
    },
}
