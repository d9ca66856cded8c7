//! Whose a number may be, and on what evidence.

use serde::{Deserialize, Serialize};

use crate::carrier::CarrierSlug;

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
