//! The catalog in force, exchanged while the program runs.
//!
//! Whoever has taken an adapter keeps it until it is done: a look-up under way ends with the version it began with. What
//! cannot be read, or may not be in force, is refused carrier by carrier, and the version that was there stays.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use waybill_schemas::{CarrierSlug, WallMs};

use super::{Catalog, add_phrases, embedded_phrases, first, read};
use crate::{
    adapter::{Adapter, Files},
    error::AdapterError,
};

/// Versions before the one in force that are remembered of each carrier: results they read are still on their way.
const FORMER: usize = 4;

/// A version that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where and why, in a sentence.
    pub error: AdapterError,
    /// When it was refused first.
    pub at: WallMs,
}

/// What is in force at one moment.
#[derive(Debug, Clone, Default)]
pub struct Generation {
    /// Counts reloads that changed anything.
    pub number: u64,
    /// The carriers in force.
    pub catalog: Arc<Catalog>,
    /// Candidate versions, to be tried on a share of the traffic.
    pub candidates: BTreeMap<CarrierSlug, Arc<Adapter>>,
    /// What was refused, by the name of the carrier's folder.
    pub refused: BTreeMap<String, Refused>,
    former: BTreeMap<CarrierSlug, Vec<Arc<Adapter>>>,
}

/// A carrier whose version changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// The carrier.
    pub carrier: CarrierSlug,
    /// Its former version; absent: it is new.
    pub from: Option<String>,
    /// Its present version; absent: it is gone.
    pub to: Option<String>,
    /// It is a candidate.
    pub candidate: bool,
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Carriers whose version changed.
    pub exchanged: Vec<Exchanged>,
    /// What was refused and had not been before.
    pub refused: Vec<AdapterError>,
}

/// The catalog in force. Cheap to clone; clones see the same.
#[derive(Debug, Clone, Default)]
pub struct LiveCatalog(Arc<RwLock<Arc<Generation>>>);

impl From<Arc<Catalog>> for LiveCatalog {
    fn from(catalog: Arc<Catalog>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Generation { catalog, ..Generation::default() }))))
    }
}

impl From<Catalog> for LiveCatalog {
    fn from(catalog: Catalog) -> Self {
        Arc::new(catalog).into()
    }
}

impl LiveCatalog {
    /// What is in force now; it stays as it is however long it is held.
    pub fn now(&self) -> Arc<Generation> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The carriers in force now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.now().catalog)
    }

    /// The carrier's adapter in force.
    pub fn get(&self, slug: &CarrierSlug) -> Option<Arc<Adapter>> {
        self.now().catalog.get(slug)
    }

    /// A certain version of a carrier's adapter: in force, candidate, or one of the last that were.
    pub fn version(&self, slug: &CarrierSlug, version: &str) -> Option<Arc<Adapter>> {
        let now = self.now();
        let former = now.former.get(slug).into_iter().flatten().cloned();
        let known = now.catalog.get(slug).into_iter().chain(now.candidates.get(slug).cloned()).chain(former);
        known.into_iter().find(|adapter| adapter.version == version)
    }

    /// Reads the folders again: `base` (the carriers of the program) with those of `overlays` over them, and one candidate
    /// for each carrier that has a folder of `candidates`. `accept` says in a sentence why an adapter may not be in force.
    /// Whatever is wrong with a carrier leaves its present version in force. Reads files: not for an async task.
    pub fn reload(
        &self,
        base: &Catalog,
        (overlays, candidates): (&[PathBuf], &BTreeMap<CarrierSlug, PathBuf>),
        accept: impl Fn(&Adapter) -> Result<(), String>,
        now: WallMs,
    ) -> Reloaded {
        let before = self.now();
        let mut next = Generation { former: before.former.clone(), ..Generation::default() };
        let mut catalog = base.clone();
        for folder in overlays {
            for (name, compiled) in carriers_of(folder) {
                let refused = match compiled {
                    Ok(adapter) => match accept(&adapter) {
                        Ok(()) => {
                            catalog.put(adapter);
                            continue;
                        }
                        Err(why) => AdapterError::new(&folder.join(&name).display().to_string(), why),
                    },
                    Err(error) => error,
                };
                // The present version stays; of a folder that is new, nothing does.
                let present =
                    name.parse().ok().and_then(|slug: CarrierSlug| before.catalog.adapters.get(&slug).cloned());
                present.into_iter().for_each(|adapter| catalog.put(adapter));
                next.refuse(&before, name, refused, now);
            }
        }
        for (slug, folder) in candidates {
            let found = carrier_in(slug, folder).and_then(|adapter| {
                accept(&adapter).map_err(|why| AdapterError::new(&folder.display().to_string(), why))?;
                Ok(adapter)
            });
            match found {
                Ok(adapter) => drop(next.candidates.insert(slug.clone(), adapter)),
                Err(error) => {
                    let present = before.candidates.get(slug).cloned();
                    next.candidates.extend(present.map(|adapter| (slug.clone(), adapter)));
                    next.refuse(&before, format!("{slug} (candidate)"), error, now);
                }
            }
        }
        let exchanged = exchanges(&before, &catalog, &next.candidates);
        let known = |refused: &Refused| before.refused.values().any(|other| other.error == refused.error);
        let refused = next.refused.values().filter(|refused| !known(refused)).map(|refused| refused.error.clone());
        let reloaded = Reloaded { refused: refused.collect(), exchanged };
        next.remember(&before, &reloaded.exchanged);
        next.number = before.number + u64::from(!reloaded.exchanged.is_empty());
        // Adapters that did not change stay the very same, so that nobody takes them for new.
        for adapter in before.catalog.adapters.values() {
            if catalog.adapters.get(&adapter.slug).is_some_and(|other| other.version == adapter.version) {
                catalog.put(Arc::clone(adapter));
            }
        }
        next.catalog = Arc::new(catalog);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        reloaded
    }
}

impl Generation {
    fn refuse(&mut self, before: &Self, name: String, error: AdapterError, now: WallMs) {
        let since = before.refused.get(&name).filter(|known| known.error == error).map_or(now, |known| known.at);
        self.refused.insert(name, Refused { error, at: since });
    }

    fn remember(&mut self, before: &Self, exchanged: &[Exchanged]) {
        for gone in exchanged.iter().filter(|change| change.from.is_some()) {
            let from = if gone.candidate {
                before.candidates.get(&gone.carrier).cloned()
            } else {
                before.catalog.adapters.get(&gone.carrier).cloned()
            };
            let former = self.former.entry(gone.carrier.clone()).or_default();
            former.extend(from);
            let surplus = former.len().saturating_sub(FORMER);
            former.drain(..surplus);
        }
    }
}

impl Catalog {
    fn put(&mut self, adapter: Arc<Adapter>) {
        self.adapters.insert(adapter.slug.clone(), adapter);
        self.detector = std::sync::OnceLock::new();
    }
}

fn exchanges(
    before: &Generation,
    catalog: &Catalog,
    candidates: &BTreeMap<CarrierSlug, Arc<Adapter>>,
) -> Vec<Exchanged> {
    let between = |old: &BTreeMap<CarrierSlug, Arc<Adapter>>, new: &BTreeMap<CarrierSlug, Arc<Adapter>>, candidate| {
        let slugs: std::collections::BTreeSet<&CarrierSlug> = old.keys().chain(new.keys()).collect();
        let version = |of: &BTreeMap<CarrierSlug, Arc<Adapter>>, slug: &CarrierSlug| {
            of.get(slug).map(|adapter| adapter.version.clone())
        };
        let change = |slug: &CarrierSlug| {
            let (from, to) = (version(old, slug), version(new, slug));
            (from != to).then(|| Exchanged { carrier: slug.clone(), from, to, candidate })
        };
        slugs.into_iter().filter_map(change).collect::<Vec<_>>()
    };
    let mut all = between(&before.catalog.adapters, &catalog.adapters, false);
    all.extend(between(&before.candidates, candidates, true));
    all
}

type Compiled = Result<Arc<Adapter>, AdapterError>;

/// Every carrier of a folder, by the name of its own folder. A folder that cannot be listed is one refusal.
fn carriers_of(folder: &Path) -> Vec<(String, Compiled)> {
    let shown = folder.display().to_string();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let problem = format!("cannot be read ({error}); name a folder of carriers");
            return vec![(shown.clone(), Err(AdapterError::new(&shown, problem)))];
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let visible = paths.iter().filter(|path| !name(path).starts_with('.'));
    visible.map(|path| (name(path), compile(folder, path))).collect()
}

/// The candidate of a carrier: its folder within `folder`.
fn carrier_in(slug: &CarrierSlug, folder: &Path) -> Compiled {
    compile(folder, &folder.join(slug.as_str()))
}

fn compile(folder: &Path, carrier: &Path) -> Compiled {
    let place = carrier.display().to_string();
    let mut phrases = embedded_phrases()?;
    let beside = folder.parent().map(|parent| parent.join("phrases")).filter(|path| path.is_dir());
    for entry in beside.iter().filter_map(|beside| fs::read_dir(beside).ok()).flatten().flatten() {
        add_phrases(&mut phrases, &entry.path(), &read(&entry.path())?).map_err(first)?;
    }
    let name = carrier.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let slug: CarrierSlug = name
        .parse()
        .map_err(|error| AdapterError::new(&place, format!("{error}; the folder's name is the carrier's slug")))?;
    let (adapter, mapping) = (read(&carrier.join("adapter.yaml"))?, read(&carrier.join("mapping.yaml"))?);
    let files = Files { folder: &place, adapter: &adapter, mapping: &mapping };
    Adapter::compile(slug, &files, &phrases).map(Arc::new).map_err(first)
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
