//! The shape of `adapter.yaml` as it is written. `adapters/README.md` describes each field; [`crate::adapter`] holds the
//! compiled form.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, value},
};
use waybill_schemas::{BudgetName, SubStatus, number::Hyphens, politeness::Budget};

/// `adapter.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdapterSpec {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) basis: Basis,
    #[serde(default)]
    pub(crate) homepage: Option<String>,
    #[serde(default)]
    pub(crate) country: Option<String>,
    pub(crate) languages: Vec<String>,
    #[serde(default)]
    pub(crate) zone: Option<String>,
    pub(crate) budget: Budget,
    #[serde(default)]
    pub(crate) budget_name: Option<BudgetName>,
    #[serde(default)]
    pub(crate) hyphens: Hyphens,
    #[serde(default)]
    pub(crate) numbers: Vec<NumberSpec>,
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    #[serde(default)]
    pub(crate) charset: CharsetSpec,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    #[serde(default)]
    pub(crate) sources: Vec<SourceSpec>,
    #[serde(default)]
    pub(crate) readers: Vec<ReaderSpec>,
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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberSpec {
    pub(crate) pattern: String,
    #[serde(default)]
    pub(crate) service: Option<String>,
    #[serde(default)]
    pub(crate) check: Option<String>,
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

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// An official interface: on when its secrets are present.
    Api,
    /// A public page: off until the operator turns it on.
    Page,
    /// Inside this program.
    Builtin,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceSpec {
    pub(crate) name: String,
    pub(crate) kind: SourceKind,
    #[serde(default)]
    pub(crate) retired: bool,
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    #[serde(default)]
    pub(crate) steps: Vec<StepSpec>,
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) documentation: Option<String>,
}

/// The name of a step; it is also the role of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// The one page or answer there is.
    Page,
    /// Brings a token.
    Token,
    /// Brings a session cookie.
    Cookie,
    /// The shipment's summary.
    Summary,
    /// The shipment's events.
    Detail,
}

impl StepName {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Page, Self::Token, Self::Cookie, Self::Summary, Self::Detail];

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Token => "token",
            Self::Cookie => "cookie",
            Self::Summary => "summary",
            Self::Detail => "detail",
        }
    }

    /// The step of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepSpec {
    pub(crate) name: StepName,
    #[serde(default)]
    pub(crate) get: Option<String>,
    #[serde(default)]
    pub(crate) post: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) form: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) json: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) text: Option<TextBodySpec>,
    #[serde(default)]
    pub(crate) basic_auth: Option<BasicAuthSpec>,
    #[serde(default)]
    pub(crate) take: BTreeMap<String, TakeSpec>,
    /// Values taken here may serve other look-ups for so many seconds (OAuth tokens).
    #[serde(default)]
    pub(crate) keep_s: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextBodySpec {
    pub(crate) content_type: String,
    pub(crate) body: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BasicAuthSpec {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// How a value is taken from an answer for later steps.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeSpec {
    #[serde(default)]
    pub(crate) css: Option<String>,
    #[serde(default)]
    pub(crate) attr: Option<String>,
    #[serde(default)]
    pub(crate) json: Option<String>,
    #[serde(default)]
    pub(crate) xml: Option<String>,
    #[serde(default)]
    pub(crate) header: Option<String>,
    #[serde(default)]
    pub(crate) cookie: Option<String>,
    #[serde(default, rename = "match")]
    pub(crate) pattern: Option<String>,
    #[serde(default)]
    pub(crate) optional: bool,
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
    pub(crate) name: String,
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
    pub(crate) order: crate::journey::PageOrder,
    #[serde(default)]
    pub(crate) times: TimesSpec,
    #[serde(default)]
    pub(crate) tables: Vec<TableSpec>,
    #[serde(default)]
    pub(crate) distinct: bool,
    #[serde(default)]
    pub(crate) facts: FactsSpec,
    #[serde(default)]
    pub(crate) not_found: Vec<MarkerSpec>,
    #[serde(default)]
    pub(crate) no_scan: Vec<MarkerSpec>,
    #[serde(default)]
    pub(crate) blocked: Vec<MarkerSpec>,
    #[serde(default)]
    pub(crate) unreadable: Vec<MarkerSpec>,
    #[serde(default)]
    pub(crate) needs_data: Vec<MarkerSpec>,
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
    pub(crate) each: String,
    #[serde(default)]
    pub(crate) number: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) pick: Pick,
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
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableSpec {
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
    #[serde(default)]
    pub(crate) skip: Option<ConditionSpec>,
    /// Read only if this holds of the document.
    #[serde(default)]
    pub(crate) when: Option<ConditionSpec>,
    #[serde(default)]
    pub(crate) times: Option<TimesSpec>,
    #[serde(default)]
    pub(crate) time: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) offset: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) year: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) text: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) code: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) location: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) country: Option<FieldSpec>,
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
    #[serde(default)]
    pub(crate) formats: Vec<String>,
    #[serde(default)]
    pub(crate) zone: Option<String>,
    #[serde(default)]
    pub(crate) zones: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) places: Vec<PlaceSpec>,
    #[serde(default)]
    pub(crate) midnight: Midnight,
    #[serde(default)]
    pub(crate) languages: Vec<String>,
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
    #[serde(default)]
    pub(crate) status: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) status_code: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) eta: Option<EtaSpec>,
    #[serde(default)]
    pub(crate) origin: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) destination: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) service: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) weight: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) legs: Vec<LegSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EtaSpec {
    pub(crate) from: FieldSpec,
    #[serde(default)]
    pub(crate) to: Option<FieldSpec>,
    pub(crate) formats: Vec<String>,
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
    pub(crate) when: ConditionSpec,
    #[serde(default)]
    pub(crate) text: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) code: Option<FieldSpec>,
    /// With `needs_data`: which parameters.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// With `not_found`: what sort.
    #[serde(default, rename = "as")]
    pub(crate) sub_status: Option<SubStatus>,
}

/// A condition; everything in it must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionSpec {
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    #[serde(default)]
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) status: Vec<u16>,
    #[serde(default)]
    pub(crate) has: Option<OneOrMany>,
    #[serde(default)]
    pub(crate) lacks: Option<OneOrMany>,
    #[serde(default)]
    pub(crate) root: Option<String>,
    #[serde(default)]
    pub(crate) text: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) matches: Option<String>,
    #[serde(default)]
    pub(crate) equals: Option<Scalar>,
    #[serde(default)]
    pub(crate) blank: Option<FieldSpec>,
    #[serde(default)]
    pub(crate) any: Vec<ConditionSpec>,
    #[serde(default)]
    pub(crate) all: Vec<ConditionSpec>,
    #[serde(default)]
    pub(crate) not: Option<Box<ConditionSpec>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn items(&self) -> &[String] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

/// A scalar taken as its text.
#[derive(Debug, Clone)]
pub(crate) struct Scalar(pub(crate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or true/false")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A field: a path, a list of fields joined by one space, or the long form.
#[derive(Debug, Clone)]
pub(crate) enum FieldSpec {
    Path(String),
    List(Vec<FieldSpec>),
    Long(Box<LongField>),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongField {
    #[serde(default)]
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) of: Of,
    #[serde(default)]
    pub(crate) cell: Option<usize>,
    #[serde(default)]
    pub(crate) line: Option<usize>,
    #[serde(default)]
    pub(crate) attr: Option<String>,
    #[serde(default)]
    pub(crate) own: bool,
    #[serde(default)]
    pub(crate) nth: Option<usize>,
    #[serde(default)]
    pub(crate) last: bool,
    #[serde(default)]
    pub(crate) all: Option<String>,
    #[serde(default)]
    pub(crate) join: Option<Vec<FieldSpec>>,
    #[serde(default)]
    pub(crate) with: Option<String>,
    #[serde(default)]
    pub(crate) first_of: Option<Vec<FieldSpec>>,
    #[serde(default, rename = "const")]
    pub(crate) constant: Option<Scalar>,
    #[serde(default)]
    pub(crate) when: Option<ConditionSpec>,
    #[serde(default, rename = "match")]
    pub(crate) pattern: Option<String>,
    #[serde(default)]
    pub(crate) blank: Vec<String>,
    #[serde(default)]
    pub(crate) map: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) fill: Option<Fill>,
}

/// What a field's path starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    /// The row.
    #[default]
    Row,
    /// The group around the row (`each`).
    Group,
    /// The last heading above the row.
    Heading,
    /// The whole document, or the shipment that `scope` chose.
    Document,
    /// The element behind the row.
    Next,
    /// The element before the row.
    Previous,
}

/// How blank cells are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fill {
    /// From the last row above that had something.
    Down,
}

impl<'de> Deserialize<'de> for FieldSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FieldSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, a list of fields, or a field with path, cell, line, join, first_of or const")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FieldSpec, E> {
                Ok(FieldSpec::Path(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<FieldSpec, A::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(seq)).map(FieldSpec::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSpec, A::Error> {
                let long = LongField::deserialize(value::MapAccessDeserializer::new(map))?;
                Ok(FieldSpec::Long(Box::new(long)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `mapping.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingSpec {
    pub(crate) format: u32,
    /// Which later events undo a delivery (NRM-4).
    #[serde(default = "returned")]
    pub(crate) unlatch: Vec<SubStatus>,
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
    /// Codes too general to be asked first.
    #[serde(default)]
    pub(crate) otherwise: BTreeMap<String, Meaning>,
    #[serde(default)]
    pub(crate) headline: HeadlineSpec,
    /// Languages of phrase tables, instead of the adapter's.
    #[serde(default)]
    pub(crate) phrases: Option<Vec<String>>,
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) notes: Option<String>,
}

fn returned() -> Vec<SubStatus> {
    vec![SubStatus::ExceptionReturned, SubStatus::ExceptionReturning]
}

/// `phrases/<language>.yaml`: what any carrier may say in that language.
#[derive(Debug, Clone, Default, Deserialize)]
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

#[derive(Debug, Clone, Default, Deserialize)]
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
