//! A compiled adapter: everything that one folder of `carriers/` says, checked.

use std::{collections::BTreeMap, sync::Arc};

use waybill_schemas::{BudgetName, CarrierSlug, number::Hyphens, politeness::Budget};

use crate::{
    charset::Charset,
    detect::NumberPattern,
    error::{AdapterError, Fault},
    journey::PageOrder,
    mapping::{Mapping, Table},
    reader::{Reader, Shared},
    spec::{AdapterSpec, Basis, MappingSpec, Shape, SourceKind, SourceSpec},
    step::Step,
    template::Value,
};

/// A carrier's adapter.
#[derive(Debug)]
pub struct Adapter {
    /// The carrier.
    pub slug: CarrierSlug,
    /// Its name for people.
    pub name: String,
    /// On what footing it is asked.
    pub basis: Basis,
    /// Its tracking page for people, if any.
    pub homepage: Option<String>,
    /// Its home country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Languages of its answers; the first is the one asked for.
    pub languages: Vec<String>,
    /// The zone of its local times; absent: local to each place.
    pub zone: Option<String>,
    /// How it is asked, in the order of preference.
    pub sources: Vec<Source>,
    /// Its politeness budget.
    pub budget: Budget,
    /// The budget's name.
    pub budget_name: BudgetName,
    /// Whether hyphens belong to its numbers.
    pub hyphens: Hyphens,
    /// What its numbers look like; for detection only.
    pub numbers: Vec<NumberPattern>,
    /// The only hosts that it may reach.
    pub hosts: Vec<String>,
    /// Parameters that every source needs.
    pub needs: Vec<String>,
    /// Digest of its files.
    pub version: String,
    /// From its words to the vocabulary.
    pub mapping: Mapping,
    pub(crate) readers: Vec<Reader>,
    pub(crate) charset: Charset,
}

/// One way of asking a carrier.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// It is never asked; its stored answers can still be read.
    pub retired: bool,
    /// Names of the secrets it needs.
    pub secrets: Vec<String>,
    /// Parameters it needs beyond the number.
    pub needs: Vec<String>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Most numbers that one look-up may ask for; 1 unless the carrier takes batches.
    pub batch: u16,
}

impl Source {
    /// Whether it is on unless the operator says otherwise: an official interface whose secrets are all present.
    pub fn on_by_default(&self, has_secret: impl Fn(&str) -> bool) -> bool {
        match self.kind {
            SourceKind::Api => !self.retired && self.secrets.iter().all(|name| has_secret(name)),
            SourceKind::Page => false,
            SourceKind::Builtin => true,
        }
    }

    fn compile(spec: &SourceSpec, hosts: &[String], needs: &[String]) -> Result<Self, Fault> {
        let batch = spec.batch.as_ref();
        let steps = spec.steps.iter().map(|step| Step::compile(step, hosts, batch));
        let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
        if batch.is_some_and(|batch| batch.max == 0) {
            return Err(Fault::new("batch", "a batch of at most 0 numbers asks for nothing; write max: 2 or more"));
        }
        if steps.is_empty() && !spec.retired && spec.kind != SourceKind::Builtin {
            return Err(Fault::new(
                &spec.name,
                format!("source `{}` has no steps; add some or say retired: true", spec.name),
            ));
        }
        let mut taken: Vec<&str> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if steps[..index].iter().any(|other| other.name == step.name) {
                return Err(Fault::new(
                    step.name.as_str(),
                    format!("source `{}` has two steps named {}", spec.name, step.name),
                ));
            }
            for value in step.values() {
                let (known, what) = match &value {
                    Value::Secret(name) => {
                        (spec.secrets.contains(name), format!("the secret `{name}`; add it to secrets"))
                    }
                    Value::Param(name) => {
                        let known = spec.needs.contains(name) || needs.contains(name);
                        (known, format!("the parameter `{name}`; add it to needs or give it a default"))
                    }
                    Value::Take(name) => {
                        (taken.contains(&name.as_str()), format!("`{name}`, which no earlier step takes"))
                    }
                    Value::Numbers => (batch.is_some(), "`{numbers}`; say batch: {max: …} on its source".to_owned()),
                    Value::Number if step.keep_s.is_some() => {
                        (false, "the number, although it keeps what it takes for others".to_owned())
                    }
                    Value::Number | Value::Lang => (true, String::new()),
                };
                if !known {
                    return Err(Fault::new(step.name.as_str(), format!("step `{}` uses {what}", step.name)));
                }
            }
            if batch.is_some() && step.asks_for_one() {
                let what = "uses `{number}` although its source asks for several; write `{numbers}`, or a list of one";
                return Err(Fault::new(step.name.as_str(), format!("step `{}` {what}", step.name)));
            }
            taken.extend(step.takes());
        }
        Ok(Self {
            name: spec.name.clone(),
            kind: spec.kind,
            retired: spec.retired,
            secrets: spec.secrets.clone(),
            needs: spec.needs.iter().chain(needs).cloned().collect(),
            steps,
            batch: batch.map_or(1, |batch| batch.max),
        })
    }
}

/// A carrier's two files.
pub(crate) struct Files<'a> {
    /// How errors name the folder.
    pub(crate) folder: &'a str,
    pub(crate) adapter: &'a str,
    pub(crate) mapping: &'a str,
}

/// Phrase tables by language, with the digest of each.
pub(crate) type Phrases = BTreeMap<String, (Arc<Table>, u64)>;

pub(crate) fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, AdapterError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default().trim().to_owned();
        AdapterError {
            file: file.to_owned(),
            line,
            problem: format!("{message}; adapters/README.md lists what may stand here"),
        }
    })
}

impl Adapter {
    pub(crate) fn compile(slug: CarrierSlug, files: &Files<'_>, phrases: &Phrases) -> Result<Self, AdapterError> {
        let path = format!("{}/adapter.yaml", files.folder);
        let spec: AdapterSpec = parse(&path, files.adapter)?;
        let placed = |fault: Fault| fault.within(&path, files.adapter);
        check(&spec).map_err(placed)?;
        let shared = Shared { zone: spec.zone.as_deref(), languages: &spec.languages };
        let readers: Vec<Reader> = spec
            .readers
            .iter()
            .map(|reader| Reader::compile(reader, &shared))
            .collect::<Result<_, _>>()
            .map_err(placed)?;
        let sources = spec.sources.iter().map(|source| Source::compile(source, &spec.hosts, &spec.needs));
        let numbers = spec.numbers.iter().map(NumberPattern::compile);
        let mapping_path = format!("{}/mapping.yaml", files.folder);
        let mapping_spec: MappingSpec = parse(&mapping_path, files.mapping)?;
        let in_mapping = |fault: Fault| fault.within(&mapping_path, files.mapping);
        let mut digest = xxhash_rust::xxh3::Xxh3::new();
        digest.update(files.mapping.as_bytes());
        let mut tables = Vec::new();
        for language in mapping_spec.phrases.as_ref().unwrap_or(&spec.languages) {
            match phrases.get(language) {
                Some((table, version)) => {
                    digest.update(&version.to_le_bytes());
                    tables.push(Arc::clone(table));
                }
                None if mapping_spec.phrases.is_some() => {
                    let problem =
                        format!("there is no phrase table for `{language}`; remove it or add phrases/{language}.yaml");
                    return Err(in_mapping(Fault::new(language, problem)));
                }
                None => {}
            }
        }
        let mapping =
            Mapping::compile(&mapping_spec, tables, format!("{:016x}", digest.digest())).map_err(in_mapping)?;
        let mut version = xxhash_rust::xxh3::Xxh3::new();
        version.update(files.adapter.as_bytes());
        version.update(mapping.version.as_bytes());
        Ok(Self {
            budget_name: spec.budget_name.clone().unwrap_or_else(|| slug.own_budget()),
            slug,
            name: spec.name.clone(),
            basis: spec.basis,
            homepage: spec.homepage.clone(),
            country: spec.country.clone(),
            zone: spec.zone.clone().filter(|zone| zone != "unknown"),
            sources: sources.collect::<Result<_, _>>().map_err(placed)?,
            hyphens: spec.hyphens,
            numbers: numbers.collect::<Result<_, _>>().map_err(placed)?,
            hosts: spec.hosts.clone(),
            needs: spec.needs.clone(),
            version: format!("{:016x}", version.digest()),
            mapping,
            readers,
            charset: Charset::compile(&spec.charset).map_err(placed)?,
            languages: spec.languages,
            budget: spec.budget,
        })
    }

    /// In which order a reader's answers list their events; what [`crate::journey::order`] asks for.
    pub fn page_order(&self, reader: &str) -> PageOrder {
        self.readers.iter().find(|candidate| candidate.name == reader).map(|reader| reader.order).unwrap_or_default()
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// Whether any reader reads answers of this shape, as they are or unwrapped.
    pub fn reads(&self, shape: Shape) -> bool {
        self.readers.iter().any(|reader| reader.entry.shape == shape)
    }

    /// Names of the readers, in the order they are tried.
    pub fn reader_names(&self) -> impl Iterator<Item = &str> {
        self.readers.iter().map(|reader| reader.name.as_str())
    }
}

/// What must hold between the fields of `adapter.yaml`.
fn check(spec: &AdapterSpec) -> Result<(), Fault> {
    if spec.format != 1 {
        return Err(Fault::new(
            "format",
            format!("format {} is not known to this program; write format: 1", spec.format),
        ));
    }
    if spec.languages.is_empty() {
        return Err(Fault::new("languages", "languages is empty; name at least one, such as [en]"));
    }
    spec.budget.check().map_err(|error| Fault::new("budget", format!("{error}; change it under budget")))?;
    if let Some(country) = &spec.country
        && !(country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        return Err(Fault::new(country, format!("`{country}` is no country; write ISO 3166-1 alpha-2, such as KR")));
    }
    // A carrier without a source can be recognised and cannot be asked.
    if spec.readers.is_empty() && spec.basis != Basis::Builtin && !spec.sources.is_empty() {
        return Err(Fault::new("readers", "an adapter needs at least one reader"));
    }
    let twice = |names: Vec<&str>| -> Option<String> {
        let repeated = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
        repeated.map(|(_, name)| (*name).to_owned())
    };
    let readers = twice(spec.readers.iter().map(|reader| reader.name.as_str()).collect());
    if let Some(name) = readers.or_else(|| twice(spec.sources.iter().map(|source| source.name.as_str()).collect())) {
        return Err(Fault::new(&name, format!("two readers or two sources are named `{name}`; names are unique")));
    }
    if let Some(host) = spec.hosts.iter().find(|host| host.is_empty() || host.contains(['/', ':', '*', ' '])) {
        return Err(Fault::new(host, format!("`{host}` is no host name; write it without scheme, port and path")));
    }
    Ok(())
}
