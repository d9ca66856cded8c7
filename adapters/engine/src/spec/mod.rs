//! The shape of `adapter.yaml` as it is written. `adapters/README.md` describes each field; [`crate::adapter`] holds the
//! compiled form.

use std::collections::BTreeMap;

use serde::Deserialize;
use waybill_schemas::{BudgetName, SubStatus, number::Hyphens, politeness::Budget};

mod asking;
mod fields;
mod numbers;
mod words;

pub(crate) use asking::{BatchSpec, GraphqlSpec, SourceSpec, StepSpec, TakeSpec};
pub use asking::{SourceKind, StepName};
pub(crate) use fields::{ConditionSpec, FieldSpec, Fill, LongField, Of};
pub(crate) use numbers::{CheckRule, CheckSpec, DigitIs, LongCheck, NumberSpec, Side};
pub(crate) use words::{MappingSpec, Meaning, PhrasesSpec};

/// `adapter.yaml`.
#[derive(Debug, Clone, Deserialize)]
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
    pub(crate) budget: Budget,
    /// The budget that it shares with other carriers.
    #[serde(default)]
    pub(crate) budget_name: Option<BudgetName>,
    /// Whether hyphens belong to its numbers.
    #[serde(default)]
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
}

/// The shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Read with CSS selectors.
    Html,
    /// Read with JSONPath.
    Json,
    /// Read with paths of local names.
    Xml,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReaderSpec {
    /// Its name; it stands in every event read.
    pub(crate) name: String,
    /// What it reads.
    pub(crate) shape: Shape,
    /// It reads only answers of these steps.
    #[serde(default)]
    pub(crate) steps: Vec<StepName>,
    /// Stages to a document in a document.
    #[serde(default)]
    pub(crate) unwrap: Vec<StageSpec>,
    /// True of every answer of this kind; never of an error page.
    pub(crate) accept: ConditionSpec,
    /// Several shipments in one answer.
    #[serde(default)]
    pub(crate) scope: Option<ScopeSpec>,
    /// CSS of what is left out of texts.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    /// In which order events stand; left out: seen from the times.
    #[serde(default)]
    pub(crate) order: crate::journey::PageOrder,
    /// How times are printed.
    #[serde(default)]
    pub(crate) times: TimesSpec,
    /// Where the events are.
    #[serde(default)]
    pub(crate) tables: Vec<TableSpec>,
    /// An event of a later table with the same time and text is left out.
    #[serde(default)]
    pub(crate) distinct: bool,
    /// What stands outside the tables.
    #[serde(default)]
    pub(crate) facts: FactsSpec,
    /// The carrier does not know the number; asked when there are no rows.
    #[serde(default)]
    pub(crate) not_found: Vec<MarkerSpec>,
    /// Announced and not yet seen; asked when there are no rows.
    #[serde(default)]
    pub(crate) no_scan: Vec<MarkerSpec>,
    /// The carrier refuses automated requests.
    #[serde(default)]
    pub(crate) blocked: Vec<MarkerSpec>,
    /// The carrier answered with an error.
    #[serde(default)]
    pub(crate) unreadable: Vec<MarkerSpec>,
    /// The carrier wants more than the number.
    #[serde(default)]
    pub(crate) needs_data: Vec<MarkerSpec>,
    /// The carrier says that it is asked too often.
    #[serde(default)]
    pub(crate) throttled: Vec<MarkerSpec>,
    /// The carrier says that it cannot answer now.
    #[serde(default)]
    pub(crate) down: Vec<MarkerSpec>,
    /// Other answers merged into this history.
    #[serde(default)]
    pub(crate) also: Vec<PartSpec>,
    /// An HTML page without its closing tag is whole nevertheless.
    #[serde(default)]
    pub(crate) may_lack_end: bool,
}

/// A second answer that is merged into the history of the first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartSpec {
    pub(crate) shape: Shape,
    #[serde(default)]
    pub(crate) steps: Vec<StepName>,
    #[serde(default)]
    pub(crate) unwrap: Vec<StageSpec>,
    pub(crate) accept: ConditionSpec,
    #[serde(default)]
    pub(crate) scope: Option<ScopeSpec>,
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    #[serde(default)]
    pub(crate) times: Option<TimesSpec>,
    #[serde(default)]
    pub(crate) tables: Vec<TableSpec>,
    #[serde(default)]
    pub(crate) facts: FactsSpec,
}

/// One stage of getting at a document that is wrapped in another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageSpec {
    /// The text that a regular expression captures.
    #[serde(default, rename = "match")]
    pub(crate) pattern: Option<String>,
    /// What stands behind the first match of a regular expression; with `take`.
    #[serde(default)]
    pub(crate) after: Option<String>,
    #[serde(default)]
    pub(crate) take: Option<TakeWhat>,
    /// The string at a JSONPath.
    #[serde(default)]
    pub(crate) json: Option<String>,
    /// The text of an element, e.g. `script#__NEXT_DATA__`.
    #[serde(default)]
    pub(crate) css: Option<String>,
    /// From the first occurrence of a text …
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// … to the first occurrence of another behind it (included).
    #[serde(default)]
    pub(crate) to: Option<String>,
    #[serde(default)]
    pub(crate) unescape: Option<Unescape>,
}

/// What stands behind `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TakeWhat {
    /// A JavaScript string in quotes.
    String,
    /// A JSON value.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unescape {
    Js,
    Html,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeSpec {
    /// Each shipment.
    pub(crate) each: String,
    /// The number it bears.
    #[serde(default)]
    pub(crate) number: Option<FieldSpec>,
    /// Which is taken when none bears the number.
    #[serde(default)]
    pub(crate) pick: Pick,
    /// What it means that no shipment bears the number, where only that one is taken.
    #[serde(default)]
    pub(crate) absent: Absent,
}

/// Which of several shipments in one answer is taken when none bears the number asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pick {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
    /// None: only the one that bears the number.
    None,
}

/// What it means that an answer does not speak of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Absent {
    /// The answer cannot be used.
    #[default]
    Unreadable,
    /// The carrier leaves out what it does not know.
    NotFound,
}

#[derive(Debug, Clone, Deserialize)]
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
#[serde(deny_unknown_fields)]
pub(crate) struct SplitSpec {
    #[serde(rename = "in")]
    pub(crate) container: String,
    pub(crate) at: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
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
    /// Of month names; English always.
    #[serde(default)]
    pub(crate) languages: Vec<String>,
}

/// What is done where no year is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum YearSpec {
    /// The time is kept as printed and not understood.
    #[default]
    Printed,
    /// It is the latest year in which the day is not after the day of the look; marked as inferred.
    Inferred,
}

/// What midnight sharp means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Midnight {
    /// Midnight.
    #[default]
    Time,
    /// A filler: only the date is known.
    Date,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceSpec {
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    pub(crate) zone: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
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
#[serde(deny_unknown_fields)]
pub(crate) struct EtaSpec {
    pub(crate) from: FieldSpec,
    #[serde(default)]
    pub(crate) to: Option<FieldSpec>,
    pub(crate) formats: Vec<String>,
    /// What is done where no year is printed; inferred: the one nearest to the look.
    #[serde(default)]
    pub(crate) year: YearSpec,
    #[serde(default)]
    pub(crate) languages: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LegSpec {
    pub(crate) carrier: FieldSpec,
    pub(crate) number: FieldSpec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkerSpec {
    /// How the answer is known.
    pub(crate) when: ConditionSpec,
    /// Its words, which become the headline.
    #[serde(default)]
    pub(crate) text: Option<FieldSpec>,
    /// Its code.
    #[serde(default)]
    pub(crate) code: Option<FieldSpec>,
    /// With `needs_data`: which parameters.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// With `not_found`: what sort.
    #[serde(default, rename = "as")]
    pub(crate) sub_status: Option<SubStatus>,
}
