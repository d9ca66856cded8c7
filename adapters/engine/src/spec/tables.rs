//! Where events and facts stand in an answer and how their times are printed, as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fields::{ConditionSpec, FieldSpec};

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct TableSpec {
    /// Each row.
    #[serde(default)]
    pub(crate) rows: Option<String>,
    /// Blocks between separators instead of rows.
    #[serde(default)]
    pub(crate) split: Option<SplitSpec>,
    /// Groups around the rows.
    #[serde(default)]
    pub(crate) each: Option<String>,
    /// Rows that are headings for those below them.
    #[serde(default)]
    pub(crate) heading: Option<String>,
    /// Rows that are left out.
    #[serde(default)]
    pub(crate) skip: Option<ConditionSpec>,
    /// Read only if this holds of the document.
    #[serde(default)]
    pub(crate) when: Option<ConditionSpec>,
    /// Instead of the reader's.
    #[serde(default)]
    pub(crate) times: Option<TimesSpec>,
    /// When it happened.
    #[serde(default)]
    pub(crate) time: Option<FieldSpec>,
    /// A zone printed apart.
    #[serde(default)]
    pub(crate) offset: Option<FieldSpec>,
    /// A year printed elsewhere.
    #[serde(default)]
    pub(crate) year: Option<FieldSpec>,
    /// What happened, in the carrier's words.
    #[serde(default)]
    pub(crate) text: Option<FieldSpec>,
    /// The carrier's code.
    #[serde(default)]
    pub(crate) code: Option<FieldSpec>,
    /// The place as printed.
    #[serde(default)]
    pub(crate) location: Option<FieldSpec>,
    /// The country.
    #[serde(default)]
    pub(crate) country: Option<FieldSpec>,
    /// Which leg: 0 is this carrier's.
    #[serde(default)]
    pub(crate) leg: u8,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitSpec {
    #[serde(rename = "in")]
    pub(crate) container: String,
    pub(crate) at: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct TimesSpec {
    /// As strptime's, the first that fits; `iso` for ISO 8601.
    #[serde(default)]
    pub(crate) formats: Vec<String>,
    /// Instead of the adapter's; `unknown`.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// What a printed abbreviation stands for.
    #[serde(default)]
    pub(crate) zones: BTreeMap<String, String>,
    /// The zone by the event's place.
    #[serde(default)]
    pub(crate) places: Vec<PlaceSpec>,
    /// Whether 00:00 is a filler.
    #[serde(default)]
    pub(crate) midnight: Midnight,
    /// What is done where no year is printed.
    #[serde(default)]
    pub(crate) year: YearSpec,
    /// How printed years count.
    #[serde(default)]
    pub(crate) calendar: CalendarSpec,
    /// Of month names; English always.
    #[serde(default)]
    pub(crate) languages: Vec<String>,
}

/// What is done where no year is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum YearSpec {
    /// The time is kept as printed and not understood.
    #[default]
    Printed,
    /// It is the latest year in which the day is not after the day of the look; marked as inferred.
    Inferred,
}

/// How printed years count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum CalendarSpec {
    /// From the birth of Christ.
    #[default]
    Gregorian,
    /// Years from 2400 on, and of two digits from 60 on, are of the Buddhist era: 2569 is 2026. Others are Gregorian.
    Buddhist,
}

/// What midnight sharp means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Midnight {
    /// Midnight.
    #[default]
    Time,
    /// A filler: only the date is known.
    Date,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceSpec {
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    pub(crate) zone: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct FactsSpec {
    /// The headline.
    #[serde(default)]
    pub(crate) status: Option<FieldSpec>,
    /// The headline's code.
    #[serde(default)]
    pub(crate) status_code: Option<FieldSpec>,
    /// Estimated delivery.
    #[serde(default)]
    pub(crate) eta: Option<EtaSpec>,
    /// Country of origin.
    #[serde(default)]
    pub(crate) origin: Option<FieldSpec>,
    /// Country of destination.
    #[serde(default)]
    pub(crate) destination: Option<FieldSpec>,
    /// The product.
    #[serde(default)]
    pub(crate) service: Option<FieldSpec>,
    /// The weight as printed.
    #[serde(default)]
    pub(crate) weight: Option<FieldSpec>,
    /// Partners and their numbers.
    #[serde(default)]
    pub(crate) legs: Vec<LegSpec>,
    /// What tells of people, by name; read only where the operator lists the name.
    #[serde(default)]
    pub(crate) private: BTreeMap<String, FieldSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct EtaSpec {
    pub(crate) from: FieldSpec,
    #[serde(default)]
    pub(crate) to: Option<FieldSpec>,
    pub(crate) formats: Vec<String>,
    /// What is done where no year is printed; inferred: the one nearest to the look.
    #[serde(default)]
    pub(crate) year: YearSpec,
    /// How printed years count.
    #[serde(default)]
    pub(crate) calendar: CalendarSpec,
    #[serde(default)]
    pub(crate) languages: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct LegSpec {
    pub(crate) carrier: FieldSpec,
    pub(crate) number: FieldSpec,
}
