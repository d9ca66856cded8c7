//! How a carrier is asked: sources and steps as they are written.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceSpec {
    /// Its name.
    pub(crate) name: String,
    /// api: on when its secrets are present; page: off until the operator turns it on.
    pub(crate) kind: SourceKind,
    /// Never asked; its stored answers are still read.
    #[serde(default)]
    pub(crate) retired: bool,
    /// Names of the operator's secrets, used as {secret.NAME}.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    /// Parameters it needs beyond the number, used as {param.NAME}.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// Several numbers in one request, where the carrier takes them.
    #[serde(default)]
    pub(crate) batch: Option<BatchSpec>,
    /// What is sent, in order.
    #[serde(default)]
    pub(crate) steps: Vec<StepSpec>,
    /// The page that describes it.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) documentation: Option<String>,
}

/// How several numbers go into one request, as `{numbers}`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchSpec {
    /// Most numbers in one request.
    pub(crate) max: u16,
    /// What stands between two numbers.
    #[serde(default = "comma")]
    pub(crate) join: String,
    /// How each number is written.
    #[serde(default = "itself")]
    pub(crate) each: String,
    /// A value of a query or form that is `{numbers}` and nothing else is sent once for each number, instead of joined.
    #[serde(default)]
    pub(crate) repeat: bool,
}

fn comma() -> String {
    ",".to_owned()
}

fn itself() -> String {
    "{number}".to_owned()
}

/// The name of a step; it is also the role of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct StepSpec {
    /// Its name, the role of its answer.
    pub(crate) name: StepName,
    /// The URL of a GET; scheme and host are written out.
    #[serde(default)]
    pub(crate) get: Option<String>,
    /// The URL of a POST.
    #[serde(default)]
    pub(crate) post: Option<String>,
    /// Headers, with values filled in.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Query parameters, with values filled in.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// A form as the body.
    #[serde(default)]
    pub(crate) form: Option<BTreeMap<String, String>>,
    /// JSON as the body; every string is filled in.
    #[serde(default)]
    pub(crate) json: Option<serde_json::Value>,
    /// A GraphQL request; its query is sent as it stands, its variables are filled.
    #[serde(default)]
    pub(crate) graphql: Option<GraphqlSpec>,
    /// Any text as the body.
    #[serde(default)]
    pub(crate) text: Option<TextBodySpec>,
    /// User and password.
    #[serde(default)]
    pub(crate) basic_auth: Option<BasicAuthSpec>,
    /// Values for later steps.
    #[serde(default)]
    pub(crate) take: BTreeMap<String, TakeSpec>,
    /// Values taken here may serve other look-ups for so many seconds (OAuth tokens).
    #[serde(default)]
    pub(crate) keep_s: Option<u32>,
    /// The value taken here that says for how many seconds; `keep_s` is the most.
    #[serde(default)]
    pub(crate) keep_from: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct GraphqlSpec {
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    pub(crate) operation: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct TextBodySpec {
    pub(crate) content_type: String,
    pub(crate) body: String,
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct BasicAuthSpec {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// How a value is taken from an answer for later steps.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeSpec {
    /// Of an element's text.
    #[serde(default)]
    pub(crate) css: Option<String>,
    /// Of an attribute of that element.
    #[serde(default)]
    pub(crate) attr: Option<String>,
    /// Of a JSONPath.
    #[serde(default)]
    pub(crate) json: Option<String>,
    /// Of a path of local names.
    #[serde(default)]
    pub(crate) xml: Option<String>,
    /// Of a header.
    #[serde(default)]
    pub(crate) header: Option<String>,
    /// Of a cookie that is set.
    #[serde(default)]
    pub(crate) cookie: Option<String>,
    /// The first capture of a regular expression.
    #[serde(default, rename = "match")]
    pub(crate) pattern: Option<String>,
    /// Empty instead of unreadable where it is missing.
    #[serde(default)]
    pub(crate) optional: bool,
}
