//! Which of an adapter's sources is asked, and with which secrets. Secrets are read here and never logged (SEC-1).

use std::{collections::BTreeMap, fmt, sync::Arc};

use waybill_adapters::{Adapter, Catalog, Generation, Source, SourceKind};
use waybill_schemas::{CarrierSlug, OutcomeClass, drift::TrialMode, files::read_secret, politeness::CarrierPolicy};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    admission::Short,
    config::{CarrierConfig, FetcherConfig, Route, SecretSource},
};

/// What a simulator is given instead of a secret.
const ROUTED_SECRET: &str = "routed";

/// A source, ready to be asked.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) adapter: Arc<Adapter>,
    source: usize,
    pub(crate) route: Option<Route>,
    pub(crate) secrets: Arc<BTreeMap<String, String>>,
    /// The adapter is a candidate, on its share of the numbers.
    pub(crate) candidate: bool,
    /// Names of the adapter's private fields that the operator wants; none unless listed.
    pub(crate) private: Arc<[String]>,
    trial: Option<Arc<Trial>>,
}

/// A candidate version and its share of the numbers.
struct Trial {
    share: f64,
    how: How,
}

enum How {
    /// It reads what the version in force got.
    Shadow(Arc<Adapter>),
    /// It asks and reads alone.
    Live(Chosen),
}

/// Numbers are divided by a hash of their own, so that each stays on its side and sides do not follow partitions.
const TRIAL_SEED: u64 = 0x0c1a_551f;

impl Trial {
    fn takes(&self, record_key: &str) -> bool {
        let part = (xxh3_64_with_seed(record_key.as_bytes(), TRIAL_SEED) >> 11) as f64 / (1_u64 << 53) as f64;
        part < self.share
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen")
            .field("carrier", &self.adapter.slug)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Chosen {
    pub(crate) fn source(&self) -> &Source {
        &self.adapter.sources[self.source]
    }

    /// What is asked for a certain number: on its share, a live candidate.
    pub(crate) fn for_number(self, record_key: &str) -> Self {
        match self.trial.as_deref() {
            Some(Trial { how: How::Live(chosen), .. }) if self.trial.as_ref().is_some_and(|t| t.takes(record_key)) => {
                chosen.clone()
            }
            _ => self,
        }
    }

    /// The candidate that reads this number's answers as well, if any.
    pub(crate) fn shadow(&self, record_key: &str) -> Option<&Arc<Adapter>> {
        let trial = self.trial.as_deref().filter(|trial| trial.takes(record_key))?;
        match &trial.how {
            How::Shadow(candidate) => Some(candidate),
            How::Live(_) => None,
        }
    }

    /// Most numbers that one look-up may ask for. A route that does not say where several numbers stand is asked one by one.
    pub(crate) fn most_numbers(&self) -> usize {
        match &self.route {
            Some(route) if !route.to.contains("{numbers}") => 1,
            _ => usize::from(self.source().batch.max(1)),
        }
    }

    /// Whether another number may go into the same requests: asked by the same version, at the same source.
    pub(crate) fn shares_requests_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.adapter, &other.adapter) && self.source == other.source && self.candidate == other.candidate
    }

    /// Requests that a look-up needs if nothing is redirected.
    pub(crate) fn requests(&self) -> u32 {
        u32::try_from(self.source().steps.len()).unwrap_or(u32::MAX)
    }
}

/// Chooses a carrier's source, with a candidate version for its share of the numbers where one is tried. `stopped` names the
/// candidate whose trial has ended because it was worse.
pub(crate) fn choose_with_candidate(
    generation: &Generation,
    config: &FetcherConfig,
    carrier: &CarrierSlug,
    (policy, stopped): (&CarrierPolicy, Option<&str>),
) -> Result<Chosen, Short> {
    let adapter = adapter_of(&generation.catalog, carrier)?;
    let Some(candidate) = generation.candidates.get(carrier).filter(|other| other.version != adapter.version) else {
        return choose(adapter, config, policy);
    };
    let own = config.carrier(carrier).canary;
    let wish = policy.canary.clone().unwrap_or_default();
    if wish.promote.as_deref() == Some(candidate.version.as_str()) {
        return choose(Arc::clone(candidate), config, policy);
    }
    let mut chosen = choose(adapter, config, policy)?;
    let share = wish.share.or(own.as_ref().map(|own| own.share)).unwrap_or(0.0);
    let mode = wish.mode.or(own.map(|own| own.mode)).unwrap_or_default();
    if share > 0.0 && stopped != Some(candidate.version.as_str()) {
        let how = match mode {
            TrialMode::Shadow => Some(How::Shadow(Arc::clone(candidate))),
            // A candidate that cannot be asked is not tried; the version in force is asked as ever.
            TrialMode::Live => choose(Arc::clone(candidate), config, policy)
                .ok()
                .map(|chosen| How::Live(Chosen { candidate: true, ..chosen })),
        };
        chosen.trial = how.map(|how| Arc::new(Trial { share, how }));
    }
    Ok(chosen)
}

fn adapter_of(catalog: &Catalog, carrier: &CarrierSlug) -> Result<Arc<Adapter>, Short> {
    let none = "this program has no adapter for the carrier; --adapters adds some";
    catalog.get(carrier).ok_or_else(|| Short::new(OutcomeClass::AdapterDisabled, none))
}

/// Chooses an adapter's source: the one configured, else the first that is on. The answer's error is the outcome to give.
fn choose(adapter: Arc<Adapter>, config: &FetcherConfig, policy: &CarrierPolicy) -> Result<Chosen, Short> {
    let disabled = |why: String| Err(Short::new(OutcomeClass::AdapterDisabled, &why));
    let carrier = &adapter.slug.clone();
    let own = config.carrier(carrier);
    let enabled = policy.enabled.or(own.enabled);
    if enabled == Some(false) {
        return disabled("the carrier is switched off".to_owned());
    }
    let route = config.route(carrier).cloned();
    let on = |source: &Source| {
        let secrets = |name: &str| route.is_some() || secret(carrier, name, &own).is_some();
        if route.is_some() || enabled == Some(true) {
            !source.retired && source.secrets.iter().all(|name| secrets(name))
        } else {
            source.on_by_default(secrets)
        }
    };
    let index = match &own.source {
        Some(name) => match adapter.sources.iter().position(|source| source.name == *name) {
            Some(index) => index,
            None => return disabled(format!("carriers.{carrier}.source names `{name}`, which the adapter has not")),
        },
        None => match adapter.sources.iter().position(on) {
            Some(index) => index,
            None => return disabled(why_none(carrier, &adapter, &own, enabled == Some(true))),
        },
    };
    let source = &adapter.sources[index];
    if source.kind != SourceKind::Builtin && (source.steps.is_empty() || (source.retired && route.is_none())) {
        return disabled(format!("the source `{}` is retired: only its stored answers are read", source.name));
    }
    let by_default =
        enabled == Some(true) || route.is_some() || source.on_by_default(|name| secret(carrier, name, &own).is_some());
    if !by_default {
        return disabled(format!("the source `{}` is off; set carriers.{carrier}.enabled: true", source.name));
    }
    // A carrier whose page is read has a right to know whom it may ask to stop; an interface knows its key.
    if source.kind == SourceKind::Page && route.is_none() && !config.is_reachable() {
        return disabled(
            "pages are asked only with fetcher.contact set: an address where the carrier finds you".to_owned(),
        );
    }
    let mut secrets = BTreeMap::new();
    for name in &source.secrets {
        let found = secret(carrier, name, &own).or_else(|| route.is_some().then(|| ROUTED_SECRET.to_owned()));
        match found {
            Some(value) => drop(secrets.insert(name.clone(), value)),
            None => return disabled(format!("the secret {} is missing", variable(carrier, name))),
        }
    }
    let private = own.private.into();
    Ok(Chosen { source: index, route, secrets: Arc::new(secrets), adapter, candidate: false, private, trial: None })
}

/// What one look at a carrier is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Requests that it needs if nothing is redirected, at least 1.
    pub requests: u32,
    /// Numbers that it may ask for, at least 1.
    pub numbers: u32,
    /// Parameters that the source it asks needs beyond the number.
    pub needs: Vec<String>,
}

/// What one look at a carrier's numbers is; the error says in a sentence why the carrier is not asked. The one rule of what
/// is switched on, for everybody.
///
/// # Errors
/// The sentence.
pub fn look_at(
    catalog: &Catalog,
    config: &FetcherConfig,
    carrier: &CarrierSlug,
    policy: &CarrierPolicy,
) -> Result<Look, String> {
    match adapter_of(catalog, carrier).and_then(|adapter| choose(adapter, config, policy)) {
        Ok(chosen) => Ok(Look {
            requests: chosen.requests().max(1),
            numbers: u32::try_from(chosen.most_numbers().max(1)).unwrap_or(u32::MAX),
            needs: chosen.source().needs.clone(),
        }),
        Err(short) => Err(short.detail.unwrap_or_else(|| "the carrier is switched off".to_owned())),
    }
}

fn why_none(carrier: &CarrierSlug, adapter: &Adapter, own: &CarrierConfig, enabled: bool) -> String {
    let lacking = adapter
        .sources
        .iter()
        .filter(|source| !source.retired)
        .find_map(|source| source.secrets.iter().find(|name| secret(carrier, name, own).is_none()));
    match lacking {
        Some(name) => format!("the secret {} is missing", variable(carrier, name)),
        None if enabled => "the adapter has no source that can be asked".to_owned(),
        None => format!("pages are off until carriers.{carrier}.enabled is true"),
    }
}

/// The variable that holds a secret unless the configuration names another place.
pub(crate) fn variable(carrier: &CarrierSlug, name: &str) -> String {
    let upper = |text: &str| text.to_ascii_uppercase().replace(['-', '.'], "_");
    format!("WAYBILL_SECRET_{}_{}", upper(carrier.as_str()), upper(name))
}

/// Where a carrier's secret is read: the name of its variable, or the path of the file that the configuration names.
pub fn secret_place(carrier: &CarrierSlug, name: &str, own: &CarrierConfig) -> String {
    match own.secrets.get(name) {
        Some(SecretSource { file: Some(path), .. }) => path.display().to_string(),
        Some(SecretSource { env: Some(variable), .. }) => variable.clone(),
        _ => variable(carrier, name),
    }
}

/// Whether a carrier's secret is present.
pub fn has_secret(carrier: &CarrierSlug, name: &str, own: &CarrierConfig) -> bool {
    secret(carrier, name, own).is_some()
}

/// The secrets of a carrier's sources that are present: what must not be shown (SEC-1).
pub fn secrets_of(adapter: &Adapter, own: &CarrierConfig) -> Vec<String> {
    let names = adapter.sources.iter().flat_map(|source| &source.secrets);
    names.filter_map(|name| secret(&adapter.slug, name, own)).collect()
}

fn secret(carrier: &CarrierSlug, name: &str, own: &CarrierConfig) -> Option<String> {
    let value = match own.secrets.get(name) {
        Some(SecretSource { file: Some(path), .. }) => {
            let text = read_secret(path).ok()?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        Some(SecretSource { env: Some(variable), .. }) => std::env::var(variable).ok()?,
        _ => std::env::var(variable(carrier, name)).ok()?,
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;

    use super::*;

    #[test]
    fn secrets_have_a_default_variable() {
        let carrier: CarrierSlug = "dhl-germany".parse().unwrap();
        assert_eq!(variable(&carrier, "api-key"), "WAYBILL_SECRET_DHL_GERMANY_API_KEY");
    }

    #[test]
    fn a_look_needs_what_the_source_that_is_asked_needs() {
        let adapter = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\nneeds: [country]\n\
                       budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\nsources:\n  \
                       - {name: api, kind: api, steps: [{name: page, get: 'https://acme.example/{number}'}]}\n  \
                       - {name: page, kind: page, needs: [postal_code],\n     \
                       steps: [{name: page, get: 'https://acme.example/p/{number}'}]}\nreaders:\n  \
                       - {name: any, shape: json, accept: {has: a}, tables: [{rows: a, text: b}]}\n";
        let carrier: CarrierSlug = "acme".parse().unwrap();
        let catalog = Catalog::of_texts(&carrier, adapter, "format: 1\n").unwrap();
        let needs = |source: &str| {
            let own =
                CarrierConfig { enabled: Some(true), source: Some(source.to_owned()), ..CarrierConfig::default() };
            let carriers = BTreeMap::from([(carrier.clone(), own)]);
            let config = FetcherConfig { carriers, contact: "ops@example.org".to_owned(), ..FetcherConfig::default() };
            look_at(&catalog, &config, &carrier, &CarrierPolicy::default()).unwrap().needs
        };
        assert_eq!(needs("api"), ["country"]);
        assert_eq!(needs("page"), ["postal_code", "country"]);
    }

    #[test]
    fn a_secret_in_a_file_ends_before_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "s3cret\r\n").unwrap();
        let mut own = CarrierConfig::default();
        own.secrets.insert("key".to_owned(), SecretSource { env: None, file: Some(path) });
        let carrier: CarrierSlug = "acme".parse().unwrap();
        assert_eq!(secret(&carrier, "key", &own).as_deref(), Some("s3cret"));
        assert!(secret_place(&carrier, "key", &own).ends_with("/key"));
        own.secrets.insert("key".to_owned(), SecretSource { env: None, file: Some("/dev/zero".into()) });
        assert_eq!(secret(&carrier, "key", &own), None, "a file without an end is no secret");
    }
}
