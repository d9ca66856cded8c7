//! The key `numbers`: what a carrier's numbers look like, for detection.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, value},
};
use waybill_schemas::CarrierSlug;

/// One form of number.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberSpec {
    /// Matches a whole canonical number. Groups with a meaning: `serial`, `check`, `service`.
    pub(crate) pattern: String,
    /// The service that uses it.
    #[serde(default)]
    pub(crate) service: Option<String>,
    /// What the group `service` says → the service's name; `X*` is a beginning.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, String>,
    /// Its check digit.
    #[serde(default)]
    pub(crate) check: Option<CheckSpec>,
    /// How common it is beside other forms that admit as much; 1 unless said otherwise.
    #[serde(default)]
    pub(crate) weight: Option<f64>,
    /// The number is another carrier's as well, which goes first where its own form fits.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) shared_with: Option<CarrierSlug>,
    /// Where the form is published.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the file")]
    pub(crate) source: Option<String>,
}

/// A rule for check digits: its name, or the long form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckSpec(pub(crate) LongCheck);

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct LongCheck {
    pub(crate) rule: CheckRule,
    /// Counted in front of the serial.
    #[serde(default)]
    pub(crate) before: String,
    /// With `weighted`: repeated as often as there are characters.
    #[serde(default)]
    pub(crate) weights: Vec<u32>,
    /// With `weighted`: where the weights begin.
    #[serde(default)]
    pub(crate) from: Side,
    /// With `weighted`: the sum is taken modulo this.
    #[serde(default)]
    pub(crate) modulo: Option<u32>,
    /// With `weighted`: what the digit is of that remainder.
    #[serde(default)]
    pub(crate) digit: DigitIs,
}

/// The rules; `adapters/README.md` says where each is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckRule {
    None,
    #[serde(alias = "mod10")]
    Gs1,
    S10,
    Mod7,
    Luhn,
    #[serde(rename = "mod_37_36")]
    Mod3736,
    Ups,
    Fedex,
    Identcode,
    Nif,
    Weighted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    #[default]
    Left,
    Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum DigitIs {
    /// What is missing to the next multiple.
    #[default]
    Complement,
    /// The remainder itself; of one above 9 its last digit.
    Remainder,
}

impl<'de> Deserialize<'de> for CheckSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CheckSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a rule or {rule: …}")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<CheckSpec, E> {
                let rule = CheckRule::deserialize(value::StrDeserializer::new(name))?;
                let (before, weights) = (String::new(), Vec::new());
                let (from, modulo, digit) = (Side::default(), None, DigitIs::default());
                Ok(CheckSpec(LongCheck { rule, before, weights, from, modulo, digit }))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<CheckSpec, M::Error> {
                LongCheck::deserialize(value::MapAccessDeserializer::new(map)).map(CheckSpec)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
