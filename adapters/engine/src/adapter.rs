//! A compiled adapter: everything that one folder of `carriers/` says, checked.

use std::{collections::BTreeMap, sync::Arc};

use waybill_schemas::{BudgetName, CarrierSlug, number::Hyphens, politeness::Budget};

use crate::{
    charset::Charset,
    detect::NumberPattern,
    error::{AdapterError, Fault, Faults},
    journey::PageOrder,
    mapping::{Mapping, Table},
    plainly,
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

    /// Whether any of its requests says which number is asked for.
    pub fn asks_for_the_number(&self) -> bool {
        self.steps.iter().flat_map(Step::values).any(|value| matches!(value, Value::Number | Value::Numbers))
    }

    fn compile(spec: &SourceSpec, hosts: &[String], needs: &[String]) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let batch = spec.batch.as_ref();
        if batch.is_some_and(|batch| batch.max == 0) {
            faults.add(Fault::new("batch", "a batch of at most 0 numbers asks for nothing; write max: 2 or more"));
        }
        if spec.steps.is_empty() && !spec.retired && spec.kind != SourceKind::Builtin {
            let problem = format!("source `{}` has no steps; add some or say retired: true", spec.name);
            faults.add(Fault::new(&spec.name, problem));
        }
        let steps = faults.keep_all(spec.steps.iter().map(|step| Step::compile(step, hosts, batch)));
        // What a step takes is known only where all could be read.
        let Some(steps) = steps else { return Err(faults) };
        let mut taken: Vec<&str> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if steps[..index].iter().any(|other| other.name == step.name) {
                let problem = format!("source `{}` has two steps named {}", spec.name, step.name);
                faults.add(Fault::new(step.name.as_str(), problem));
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
                    let fault = Fault::new(value.written(), format!("step `{}` uses {what}", step.name));
                    faults.add(fault);
                }
            }
            if batch.is_some() && step.asks_for_one() {
                let what = "uses `{number}` although its source asks for several; write `{numbers}`, or a list of one";
                faults.add(Fault::new(step.name.as_str(), format!("step `{}` {what}", step.name)));
            }
            taken.extend(step.takes());
        }
        if batch.is_some_and(|batch| batch.repeat) && !steps.iter().any(Step::can_repeat) {
            let what = "batch says repeat, and no query or form has a value that is `{numbers}` and nothing else";
            faults.add(Fault::new("repeat", what));
        }
        if !faults.is_empty() {
            return Err(faults);
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
        let place = error.location().map(|location| (location.line(), location.column()));
        let place = place.filter(|(line, _)| *line > 0);
        let (problem, line) = plainly::said(&error.without_snippet().to_string(), place, text);
        AdapterError {
            file: file.to_owned(),
            line,
            problem: format!("{problem}; adapters/README.md lists what may stand here"),
        }
    })
}

impl Adapter {
    /// Everything that is wrong with both files is told; of a file that cannot be read as YAML of the format only that.
    pub(crate) fn compile(slug: CarrierSlug, files: &Files<'_>, phrases: &Phrases) -> Result<Self, Vec<AdapterError>> {
        let path = format!("{}/adapter.yaml", files.folder);
        let mapping_path = format!("{}/mapping.yaml", files.folder);
        let parts = parse::<AdapterSpec>(&path, files.adapter).map_err(|error| vec![error]).and_then(|spec| {
            let parts = Parts::compile(&spec).map_err(|faults| faults.within(&path, files.adapter))?;
            Ok((spec, parts))
        });
        // Without the adapter its languages are not known; the words are checked all the same.
        let languages = parts.as_ref().map_or(&[] as &[String], |(spec, _)| spec.languages.as_slice());
        let mapping = parse::<MappingSpec>(&mapping_path, files.mapping).map_err(|error| vec![error]);
        let mapping = mapping.and_then(|spec| {
            mapping_of(&spec, files.mapping, languages, phrases)
                .map_err(|faults| faults.within(&mapping_path, files.mapping))
        });
        let ((spec, parts), mapping) = match (parts, mapping) {
            (Ok(parts), Ok(mapping)) => (parts, mapping),
            (parts, mapping) => {
                let wrong = parts.err().into_iter().chain(mapping.err());
                return Err(wrong.flatten().collect());
            }
        };
        let mut version = xxhash_rust::xxh3::Xxh3::new();
        version.update(files.adapter.as_bytes());
        version.update(mapping.version.as_bytes());
        Ok(Self {
            budget_name: spec.budget_name.unwrap_or_else(|| slug.own_budget()),
            slug,
            name: spec.name,
            basis: spec.basis,
            homepage: spec.homepage,
            country: spec.country,
            zone: spec.zone.filter(|zone| zone != "unknown"),
            sources: parts.sources,
            hyphens: spec.hyphens,
            numbers: parts.numbers,
            hosts: spec.hosts,
            needs: spec.needs,
            version: format!("{:016x}", version.digest()),
            mapping,
            readers: parts.readers,
            charset: parts.charset,
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

/// What of `adapter.yaml` is compiled.
struct Parts {
    readers: Vec<Reader>,
    sources: Vec<Source>,
    numbers: Vec<NumberPattern>,
    charset: Charset,
}

impl Parts {
    fn compile(spec: &AdapterSpec) -> Result<Self, Faults> {
        let mut faults = check(spec);
        let shared = Shared { zone: spec.zone.as_deref(), languages: &spec.languages };
        let made = (
            faults.keep_all(spec.readers.iter().map(|reader| Reader::compile(reader, &shared))),
            faults.keep_all(spec.sources.iter().map(|source| Source::compile(source, &spec.hosts, &spec.needs))),
            faults.keep_all(spec.numbers.iter().map(NumberPattern::compile)),
            faults.keep(Charset::compile(&spec.charset)),
        );
        match made {
            (Some(readers), Some(sources), Some(numbers), Some(charset)) if faults.is_empty() => {
                Ok(Self { readers, sources, numbers, charset })
            }
            _ => Err(faults),
        }
    }
}

/// The mapping with the phrase tables of its languages, or of the adapter's; its version is the digest of them all.
fn mapping_of(spec: &MappingSpec, text: &str, languages: &[String], phrases: &Phrases) -> Result<Mapping, Faults> {
    let mut faults = Faults::default();
    let mut digest = xxhash_rust::xxh3::Xxh3::new();
    digest.update(text.as_bytes());
    let mut tables = Vec::new();
    for language in spec.phrases.as_deref().unwrap_or(languages) {
        match phrases.get(language) {
            Some((table, version)) => {
                digest.update(&version.to_le_bytes());
                tables.push(Arc::clone(table));
            }
            None if spec.phrases.is_some() => {
                let problem =
                    format!("there is no phrase table for `{language}`; remove it or add phrases/{language}.yaml");
                faults.add(Fault::new(language, problem));
            }
            None => {}
        }
    }
    let mapping = faults.keep(Mapping::compile(spec, tables, format!("{:016x}", digest.digest())));
    mapping.filter(|_| faults.is_empty()).ok_or(faults)
}

/// What must hold between the fields of `adapter.yaml`.
fn check(spec: &AdapterSpec) -> Faults {
    let mut faults = Faults::default();
    let mut wrong = |needle: &str, problem: String| faults.add(Fault::new(needle, problem));
    if spec.format != 1 {
        wrong("format", format!("format {} is not known to this program; write format: 1", spec.format));
    }
    if spec.languages.is_empty() {
        wrong("languages", "languages is empty; name at least one, such as [en]".to_owned());
    }
    let is_code = |language: &&String| {
        let code = language.split('-').next().unwrap_or_default();
        (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    for language in spec.languages.iter().filter(|language| !is_code(language)) {
        wrong(language, format!("`{language}` is no language; write its code in ISO 639, such as en"));
    }
    if let Err(error) = spec.budget.check() {
        wrong("budget", format!("{error}; change it under budget"));
    }
    if let Some(country) = &spec.country
        && !(country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        wrong(country, format!("`{country}` is no country; write ISO 3166-1 alpha-2, such as KR"));
    }
    // A carrier without a source can be recognised and cannot be asked.
    if spec.readers.is_empty() && spec.basis != Basis::Builtin && !spec.sources.is_empty() {
        wrong("readers", "an adapter needs at least one reader".to_owned());
    }
    let repeated = |names: Vec<&str>| -> Vec<String> {
        let repeated = names.iter().enumerate().filter(|(index, name)| names[..*index].contains(name));
        repeated.map(|(_, name)| (*name).to_owned()).collect()
    };
    let readers = repeated(spec.readers.iter().map(|reader| reader.name.as_str()).collect());
    let sources = repeated(spec.sources.iter().map(|source| source.name.as_str()).collect());
    for name in readers.iter().chain(&sources) {
        wrong(name, format!("two readers or two sources are named `{name}`; names are unique"));
    }
    for host in spec.hosts.iter().filter(|host| host.is_empty() || host.contains(['/', ':', '*', ' '])) {
        wrong(host, format!("`{host}` is no host name; write it without scheme, port and path"));
    }
    faults
}
