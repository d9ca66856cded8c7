//! Fields and conditions as they are written.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, value},
};

/// A condition; everything in it must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionSpec {
    /// The answer contains all of these, asked before it is parsed.
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    /// The answer matches this regular expression, asked before it is parsed.
    #[serde(default)]
    pub(crate) body: Option<String>,
    /// The HTTP status is one of these.
    #[serde(default)]
    pub(crate) status: Vec<u16>,
    /// The answer has headers of these names that match these regular expressions.
    #[serde(default)]
    pub(crate) header: BTreeMap<String, String>,
    /// Something is found, be it JSON's null.
    #[serde(default)]
    pub(crate) has: Option<OneOrMany>,
    /// Nothing is found, or JSON's null.
    #[serde(default)]
    pub(crate) lacks: Option<OneOrMany>,
    /// The root element's name (XML).
    #[serde(default)]
    pub(crate) root: Option<String>,
    /// A field, with `matches` or `equals`.
    #[serde(default)]
    pub(crate) text: Option<FieldSpec>,
    /// A regular expression for `text`.
    #[serde(default)]
    pub(crate) matches: Option<String>,
    /// What `text` is.
    #[serde(default)]
    pub(crate) equals: Option<Scalar>,
    /// A field that is blank.
    #[serde(default)]
    pub(crate) blank: Option<FieldSpec>,
    /// One of these holds.
    #[serde(default)]
    pub(crate) any: Vec<ConditionSpec>,
    /// All of these hold.
    #[serde(default)]
    pub(crate) all: Vec<ConditionSpec>,
    /// This does not hold.
    #[serde(default)]
    pub(crate) not: Option<Box<ConditionSpec>>,
}

impl ConditionSpec {
    /// Whether it asks for nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { contains, body, status, header, has, lacks, root, text, matches, equals, blank, any, all, not } =
            self;
        let lists = contains.is_empty() && status.is_empty() && header.is_empty() && any.is_empty() && all.is_empty();
        let texts = body.is_none() && root.is_none() && text.is_none() && matches.is_none() && equals.is_none();
        lists && texts && has.is_none() && lacks.is_none() && blank.is_none() && not.is_none()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct LongField {
    /// From the row; without it the row itself.
    #[serde(default)]
    pub(crate) path: Option<String>,
    /// What the path starts from.
    #[serde(default)]
    pub(crate) of: Of,
    /// The n-th td or th of a row, from 1.
    #[serde(default)]
    pub(crate) cell: Option<usize>,
    /// The n-th line as <br> cuts them, from 1.
    #[serde(default)]
    pub(crate) line: Option<usize>,
    /// An attribute.
    #[serde(default)]
    pub(crate) attr: Option<String>,
    /// The name under which it stands in an object (JSON).
    #[serde(default)]
    pub(crate) key: bool,
    /// Only text in the element itself.
    #[serde(default)]
    pub(crate) own: bool,
    /// The n-th match, from 1.
    #[serde(default)]
    pub(crate) nth: Option<usize>,
    /// The last match.
    #[serde(default)]
    pub(crate) last: bool,
    /// All matches, joined by this.
    #[serde(default)]
    pub(crate) all: Option<String>,
    /// Fields joined.
    #[serde(default)]
    pub(crate) join: Option<Vec<FieldSpec>>,
    /// What they are joined by.
    #[serde(default)]
    pub(crate) with: Option<String>,
    /// The first that is not blank.
    #[serde(default)]
    pub(crate) first_of: Option<Vec<FieldSpec>>,
    /// A fixed text.
    #[serde(default, rename = "const")]
    pub(crate) constant: Option<Scalar>,
    /// Only if this holds.
    #[serde(default)]
    pub(crate) when: Option<ConditionSpec>,
    /// The first capture of a regular expression, or all of the match.
    #[serde(default, rename = "match")]
    pub(crate) pattern: Option<String>,
    /// Texts that mean nothing.
    #[serde(default)]
    pub(crate) blank: Vec<String>,
    /// Replaced whole; for codes, never for words.
    #[serde(default)]
    pub(crate) map: BTreeMap<String, String>,
    /// A blank is filled from the rows above.
    #[serde(default)]
    pub(crate) fill: Option<Fill>,
}

/// What a field's path starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The whole document, also where `scope` chose a shipment.
    Answer,
    /// The element behind the row.
    Next,
    /// The element before the row.
    Previous,
}

/// How blank cells are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<FieldSpec, E> {
                Err(E::custom(
                    "yes, no, true and false are truth values in YAML; put a path of that name in quotes: 'no'",
                ))
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
