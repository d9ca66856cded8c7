//! `mapping.yaml` and phrase tables as they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use waybill_schemas::SubStatus;

/// `mapping.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingSpec {
    /// The format of this file: 1.
    pub(crate) format: u32,
    /// Which later events undo a delivery (NRM-4).
    #[serde(default = "returned")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema_tests::SubStatusName>"))]
    pub(crate) unlatch: Vec<SubStatus>,
    /// By the carrier's code; `X*` is a beginning. Asked first.
    #[serde(default)]
    pub(crate) codes: BTreeMap<String, Meaning>,
    /// By the whole text.
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, Meaning>,
    /// By the text's beginning, in this order.
    #[serde(default)]
    pub(crate) prefix: Vec<(String, Meaning)>,
    /// By a part of the text, in this order.
    #[serde(default)]
    pub(crate) contains: Vec<(String, Meaning)>,
    /// By a regular expression, in this order.
    #[serde(default)]
    pub(crate) regex: Vec<(String, Meaning)>,
    /// Codes too general to be asked first; `X*` is a beginning.
    #[serde(default)]
    pub(crate) otherwise: BTreeMap<String, Meaning>,
    /// Rules for the headline.
    #[serde(default)]
    pub(crate) headline: HeadlineSpec,
    /// Languages of phrase tables, instead of the adapter's.
    #[serde(default)]
    pub(crate) phrases: Option<Vec<String>>,
    /// For people.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) notes: Option<String>,
}

fn returned() -> Vec<SubStatus> {
    vec![SubStatus::ExceptionReturned, SubStatus::ExceptionReturning]
}

/// `phrases/<language>.yaml`: what any carrier may say in that language.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PhrasesSpec {
    pub(crate) format: u32,
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, Meaning>,
    #[serde(default)]
    pub(crate) prefix: Vec<(String, Meaning)>,
    #[serde(default)]
    pub(crate) contains: Vec<(String, Meaning)>,
    #[serde(default)]
    pub(crate) regex: Vec<(String, Meaning)>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadlineSpec {
    #[serde(default)]
    pub(crate) codes: BTreeMap<String, Meaning>,
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, Meaning>,
    #[serde(default)]
    pub(crate) prefix: Vec<(String, Meaning)>,
    #[serde(default)]
    pub(crate) contains: Vec<(String, Meaning)>,
    #[serde(default)]
    pub(crate) regex: Vec<(String, Meaning)>,
    /// How far the headline is believed.
    #[serde(default)]
    pub(crate) trust: crate::journey::Trust,
    /// Whether the rules for events serve as well; yes unless told.
    #[serde(default = "yes")]
    pub(crate) inherit: bool,
}

fn yes() -> bool {
    true
}

/// As an empty section says: the rules for events serve for the headline as well.
impl Default for HeadlineSpec {
    fn default() -> Self {
        Self {
            codes: BTreeMap::new(),
            exact: BTreeMap::new(),
            prefix: Vec::new(),
            contains: Vec::new(),
            regex: Vec::new(),
            trust: crate::journey::Trust::default(),
            inherit: true,
        }
    }
}

/// What a rule says: a sub-status, or `none` for what is known and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Meaning(pub(crate) Option<SubStatus>);

impl<'de> Deserialize<'de> for Meaning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|sub| Self(Some(sub))).map_err(|_| {
            de::Error::custom(format!("`{text}` is no sub-status; write one such as InTransit_PickedUp, or none"))
        })
    }
}
