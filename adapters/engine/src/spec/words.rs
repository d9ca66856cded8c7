//! `mapping.yaml` and phrase tables as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use waybill_schemas::SubStatus;

use crate::error::Fault;

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
    pub(crate) unlatch: Vec<StatusSpec>,
    /// By the carrier's code; `X*` is a beginning. Asked first.
    #[serde(default)]
    pub(crate) codes: BTreeMap<String, StatusSpec>,
    /// By the whole text.
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, StatusSpec>,
    /// By the text's beginning, in this order.
    #[serde(default)]
    pub(crate) prefix: Vec<(String, StatusSpec)>,
    /// By a part of the text, in this order.
    #[serde(default)]
    pub(crate) contains: Vec<(String, StatusSpec)>,
    /// By a regular expression, in this order.
    #[serde(default)]
    pub(crate) regex: Vec<(String, StatusSpec)>,
    /// Codes too general to be asked first; `X*` is a beginning.
    #[serde(default)]
    pub(crate) otherwise: BTreeMap<String, StatusSpec>,
    /// Rules for the headline.
    #[serde(default)]
    pub(crate) headline: HeadlineSpec,
    /// Languages of phrase tables, instead of the adapter's.
    #[serde(default)]
    pub(crate) phrases: Option<Vec<String>>,
    /// The pages that its codes and words come from.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) documentation: Vec<String>,
    /// What of it no page says.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) assumed: Option<String>,
    /// For people.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) notes: Option<String>,
}

fn returned() -> Vec<StatusSpec> {
    let written = |status: SubStatus| StatusSpec(status.as_str().to_owned());
    [SubStatus::ExceptionReturned, SubStatus::ExceptionReturning].map(written).into()
}

/// `phrases/<language>.yaml`: what any carrier may say in that language.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PhrasesSpec {
    pub(crate) format: u32,
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, StatusSpec>,
    #[serde(default)]
    pub(crate) prefix: Vec<(String, StatusSpec)>,
    #[serde(default)]
    pub(crate) contains: Vec<(String, StatusSpec)>,
    #[serde(default)]
    pub(crate) regex: Vec<(String, StatusSpec)>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadlineSpec {
    #[serde(default)]
    pub(crate) codes: BTreeMap<String, StatusSpec>,
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, StatusSpec>,
    #[serde(default)]
    pub(crate) prefix: Vec<(String, StatusSpec)>,
    #[serde(default)]
    pub(crate) contains: Vec<(String, StatusSpec)>,
    #[serde(default)]
    pub(crate) regex: Vec<(String, StatusSpec)>,
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

/// The name of a sub-status or `none`, as it is written. What it means is asked later, so that all that are wrong are told
/// at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct StatusSpec(String);

impl StatusSpec {
    /// What the rule for a code or text means by it.
    pub(crate) fn meaning(&self, rule: &str) -> Result<Meaning, Fault> {
        if self.0 == "none" {
            return Ok(Meaning(None));
        }
        let meaning = self.parsed("write one such as InTransit_PickedUp, or none").map(|status| Meaning(Some(status)));
        meaning.map_err(|fault| fault.beside(rule))
    }

    /// Where only a sub-status may stand.
    pub(crate) fn sub_status(&self) -> Result<SubStatus, Fault> {
        self.parsed("write one such as Exception_Returned")
    }

    fn parsed(&self, remedy: &str) -> Result<SubStatus, Fault> {
        let text = &self.0;
        text.parse().map_err(|_| Fault::new(text, format!("`{text}` is no sub-status; {remedy}")))
    }
}
