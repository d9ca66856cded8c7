//! How answers are recognised and opened, as it is written: readers, what they unwrap, which shipment, and markers.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    Shape, StepName,
    fields::{ConditionSpec, FieldSpec},
    tables::{FactsSpec, TableSpec, TimesSpec},
    words::StatusSpec,
};

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    #[cfg_attr(test, schemars(with = "ConditionSpec"))]
    pub(crate) accept: Spanned<ConditionSpec>,
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
    /// An HTML page without its closing tag, or a part of one that leaves its table open, is whole nevertheless.
    #[serde(default)]
    pub(crate) may_lack_end: bool,
    /// The pages that its paths and words come from.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) documentation: Vec<String>,
    /// What of it no page says.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) assumed: Option<String>,
}

/// A second answer that is merged into the history of the first.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PartSpec {
    pub(crate) shape: Shape,
    #[serde(default)]
    pub(crate) steps: Vec<StepName>,
    #[serde(default)]
    pub(crate) unwrap: Vec<StageSpec>,
    #[cfg_attr(test, schemars(with = "ConditionSpec"))]
    pub(crate) accept: Spanned<ConditionSpec>,
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

/// How the document of a reader or of a part is reached and recognised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntrySpec<'a> {
    pub(crate) shape: Shape,
    pub(crate) steps: &'a [StepName],
    pub(crate) unwrap: &'a [StageSpec],
    pub(crate) accept: &'a Spanned<ConditionSpec>,
    pub(crate) ignore: &'a [String],
    pub(crate) scope: Option<&'a ScopeSpec>,
}

impl ReaderSpec {
    pub(crate) fn entry(&self) -> EntrySpec<'_> {
        let Self { shape, steps, unwrap, accept, ignore, scope, .. } = self;
        EntrySpec { shape: *shape, steps, unwrap, accept, ignore, scope: scope.as_ref() }
    }
}

impl PartSpec {
    pub(crate) fn entry(&self) -> EntrySpec<'_> {
        let Self { shape, steps, unwrap, accept, ignore, scope, .. } = self;
        EntrySpec { shape: *shape, steps, unwrap, accept, ignore, scope: scope.as_ref() }
    }
}

/// One stage of getting at a document that is wrapped in another.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum TakeWhat {
    /// A JavaScript string in quotes.
    String,
    /// A JSON value.
    Json,
    /// The JavaScript strings behind all matches, joined.
    Strings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unescape {
    Js,
    Html,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pick {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
    /// The only one there is, be it of another number: the carrier searches, or answers with another form of the number.
    Only,
    /// None: only the one that bears the number, or the only one if it bears none.
    None,
}

/// What it means that an answer does not speak of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Absent {
    /// The answer cannot be used.
    #[default]
    Unreadable,
    /// The carrier leaves out what it does not know.
    NotFound,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkerSpec {
    /// How the answer is known.
    #[cfg_attr(test, schemars(with = "ConditionSpec"))]
    pub(crate) when: Spanned<ConditionSpec>,
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
    #[cfg_attr(test, schemars(with = "Option<crate::schema_tests::SubStatusName>"))]
    pub(crate) sub_status: Option<StatusSpec>,
}
