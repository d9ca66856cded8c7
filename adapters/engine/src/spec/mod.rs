//! The shape of `adapter.yaml` as it is written. `adapters/README.md` describes each field; [`crate::adapter`] holds the
//! compiled form.

use std::collections::BTreeMap;

use serde::Deserialize;
use waybill_schemas::{BudgetName, number::Hyphens, politeness::Budget};

mod asking;
mod fields;
mod numbers;
mod readers;
mod tables;
mod words;

pub(crate) use asking::{BatchSpec, GraphqlSpec, SourceSpec, StepSpec, TakeSpec};
pub use asking::{SourceKind, StepName};
pub(crate) use fields::{ConditionSpec, FieldSpec, Fill, LongField, Of};
pub(crate) use numbers::{CheckRule, CheckSpec, DigitIs, LongCheck, NumberSpec, Side};
pub(crate) use readers::{
    Absent, EntrySpec, MarkerSpec, PartSpec, Pick, ReaderSpec, ScopeSpec, StageSpec, TakeWhat, Unescape,
};
pub(crate) use tables::{
    CalendarSpec, EtaSpec, FactsSpec, LegSpec, Midnight, SplitSpec, TableSpec, TimesSpec, YearSpec,
};
pub(crate) use words::{MappingSpec, Meaning, PhrasesSpec, StatusSpec};

#[cfg(test)]
pub(crate) use fields::Scalar;

/// `adapter.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AdapterSpec {
    /// The format of this file: 1.
    pub(crate) format: u32,
    /// The carrier's name for people.
    pub(crate) name: String,
    /// On what footing it is asked.
    pub(crate) basis: Basis,
    /// Its tracking page for people.
    #[serde(default)]
    pub(crate) homepage: Option<String>,
    /// Its home country, ISO 3166-1 alpha-2.
    #[serde(default)]
    pub(crate) country: Option<String>,
    /// Languages of its answers; the first is the one asked for, and their phrase tables serve.
    pub(crate) languages: Vec<String>,
    /// The clock its times are on, an IANA name; left out when they are local to each place.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// How politely it is asked.
    #[serde(deserialize_with = "waybill_schemas::politeness::strict::budget")]
    #[cfg_attr(test, schemars(with = "crate::schema_tests::Budget"))]
    pub(crate) budget: Budget,
    /// The budget that it shares with other carriers.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) budget_name: Option<BudgetName>,
    /// Whether hyphens belong to its numbers.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "crate::schema_tests::Hyphens"))]
    pub(crate) hyphens: Hyphens,
    /// What its numbers look like, for detection.
    #[serde(default)]
    pub(crate) numbers: Vec<NumberSpec>,
    /// The only hosts that it may reach, without scheme and port.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Where what its answers declare is wrong or missing.
    #[serde(default)]
    pub(crate) charset: CharsetSpec,
    /// Parameters that every source needs beyond the number.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// How it is asked, in the order of preference.
    #[serde(default)]
    pub(crate) sources: Vec<SourceSpec>,
    /// How its answers are read: the first whose `accept` holds.
    #[serde(default)]
    pub(crate) readers: Vec<ReaderSpec>,
    /// For people.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) notes: Option<String>,
    /// YAML anchors may be kept here.
    #[serde(default, rename = "shared")]
    #[allow(dead_code, reason = "holds anchors, which are resolved where they are used")]
    pub(crate) shared: Option<serde_json::Value>,
}

/// On what footing the carrier is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// An official interface under its terms.
    Api,
    /// The public tracking page.
    Page,
    /// An arrangement with the carrier.
    Contact,
    /// Part of this program; no network.
    Builtin,
}

impl Basis {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Page => "page",
            Self::Contact => "contact",
            Self::Builtin => "builtin",
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CharsetSpec {
    /// Read every answer so, whatever it declares.
    #[serde(default)]
    pub(crate) force: Option<String>,
    /// Declared → actual, where the declaration is known to be wrong.
    #[serde(default)]
    pub(crate) declared: BTreeMap<String, String>,
    /// Tried when nothing is declared and the bytes are not UTF-8.
    #[serde(default)]
    pub(crate) fallback: Option<String>,
    /// What becomes of bytes that are no text in the charset.
    #[serde(default)]
    pub(crate) invalid: InvalidBytes,
}

/// What becomes of bytes that are no text in the charset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum InvalidBytes {
    /// The answer is unreadable.
    #[default]
    Refuse,
    /// They become U+FFFD: for pages that hold pieces in another charset, such as comments.
    Replace,
}

/// The shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Read with CSS selectors.
    Html,
    /// Read with JSONPath.
    Json,
    /// Read with paths of local names.
    Xml,
}
