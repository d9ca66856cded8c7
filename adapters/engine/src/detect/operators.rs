//! Postal operators by the country code that ends an international postal number (UPU standard S10).
//!
//! Every member of the UPU can be recognised so. Operators that have no adapter of their own become carriers of basis
//! `contact` without a source: they can be detected and named, and cannot be asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde::Deserialize;
use waybill_schemas::{CarrierSlug, number::Hyphens};

use super::{Form, NumberPattern};
use crate::{
    adapter::{Adapter, Files, Phrases, parse},
    error::{AdapterError, Fault},
};

const FILE: &str = "adapters/postal-operators.yaml";
const TEXT: &str = include_str!("../../../postal-operators.yaml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    services: BTreeMap<String, String>,
    operators: BTreeMap<String, WrittenOperator>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOperator {
    name: String,
    slug: CarrierSlug,
}

/// The designated operator of a country.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) country: String,
    pub(crate) name: String,
    pub(crate) slug: CarrierSlug,
    services: Arc<BTreeMap<String, String>>,
    /// Made when a number of the country is seen: most never are.
    form: OnceLock<Option<Form>>,
}

impl Operator {
    fn make_form(&self) -> Result<Form, Fault> {
        let pattern = NumberPattern::s10(&self.country, &self.services)?;
        let (carrier, name) = (self.slug.clone(), self.name.clone());
        Ok(Form { carrier, name, hyphens: Hyphens::Remove, pattern })
    }

    /// The form of its international numbers.
    pub(super) fn form(&self) -> Option<&Form> {
        self.form.get_or_init(|| self.make_form().ok()).as_ref()
    }
}

fn read() -> Result<Vec<Operator>, AdapterError> {
    let written: Written = parse(FILE, TEXT)?;
    if written.format != 1 {
        return Err(AdapterError::new(FILE, "write format: 1"));
    }
    let services = Arc::new(written.services);
    let operator = |(country, operator): (&String, &WrittenOperator)| {
        if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(AdapterError::new(FILE, format!("`{country}` is no country; a country is two letters")));
        }
        let (name, slug) = (operator.name.clone(), operator.slug.clone());
        let (country, services) = (country.clone(), Arc::clone(&services));
        Ok(Operator { country, name, slug, services, form: OnceLock::new() })
    };
    written.operators.iter().map(operator).collect()
}

/// All of them, by country. None in a program whose tests failed: the file is part of it.
pub(crate) fn all() -> &'static [Operator] {
    static ALL: OnceLock<Vec<Operator>> = OnceLock::new();
    ALL.get_or_init(|| read().unwrap_or_default())
}

/// Operators of the country that ends an international postal number; none for numbers of another shape.
pub(super) fn of_number(number: &str) -> impl Iterator<Item = &'static Operator> {
    let country =
        number.get(11..).filter(|country| number.len() == 13 && country.bytes().all(|byte| byte.is_ascii_uppercase()));
    all().iter().filter(move |operator| country == Some(operator.country.as_str()))
}

/// The operator of this slug as a carrier without a source.
pub(crate) fn carrier(slug: &CarrierSlug) -> Option<Arc<Adapter>> {
    static CARRIERS: OnceLock<BTreeMap<CarrierSlug, Arc<Adapter>>> = OnceLock::new();
    let made = || all().iter().filter_map(|one| Some((one.slug.clone(), Arc::new(make(one).ok()?)))).collect();
    CARRIERS.get_or_init(made).get(slug).cloned()
}

fn make(operator: &Operator) -> Result<Adapter, Vec<AdapterError>> {
    let Operator { country, name, .. } = operator;
    let name = serde_json::to_string(name).unwrap_or_default();
    let adapter = format!(
        "format: 1\nname: {name}\nbasis: contact\ncountry: {country}\nlanguages: [en]\n\
         budget: {{rate_per_second: 0.1, burst: 1, concurrency: 1, min_interval_s: 14400, basis: never asked}}\n"
    );
    let files = Files { folder: FILE, adapter: &adapter, mapping: "format: 1\n" };
    Adapter::compile(operator.slug.clone(), &files, &Phrases::new())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_file_can_be_read_and_every_operator_is_a_carrier() {
        let operators = read().unwrap_or_else(|error| panic!("{error}"));
        assert!(operators.len() > 190, "{}", operators.len());
        for operator in &operators {
            let made = make(operator).unwrap_or_else(|errors| panic!("{errors:?}"));
            assert_eq!(made.basis, crate::Basis::Contact);
            assert!(made.sources.is_empty());
            let valid = format!("RB12345678{}{}", 5, operator.country);
            let form = operator.make_form().unwrap();
            assert_eq!(form.pattern.read(&valid).unwrap().verdict, crate::CheckDigit::Valid, "{}", operator.country);
            assert!(of_number(&valid).any(|of| of.slug == operator.slug));
        }
    }
}
