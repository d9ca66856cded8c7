//! Adapters exchanged while the process runs: the overlay folders are looked at every two seconds, and at once on SIGHUP.
//!
//! A change is taken once it has stood still for one turn, so that a half-written file is rarely seen; one that is seen is
//! refused like any other mistake, and the version in force stays. Budgets decide where numbers live, so an adapter that
//! names another budget than the layout knows is refused too.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use waybill_adapters::{Adapter, Catalog, LiveCatalog, Reloaded};
use waybill_runtime::Clocks;
use waybill_schemas::{CarrierSlug, layout::Layout};

use crate::config::Config;

const TURN: Duration = Duration::from_secs(2);
/// Files of one folder that are looked at.
const MOST_FILES: usize = 10_000;

/// What reloading needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reloader {
    /// What is exchanged.
    pub live: LiveCatalog,
    /// The program's own carriers.
    pub base: Catalog,
    /// Folders that lie over them.
    pub overlays: Vec<PathBuf>,
    /// Folders of candidates, by carrier.
    pub candidates: BTreeMap<CarrierSlug, PathBuf>,
    /// Where numbers live.
    pub layout: Layout,
    /// The clocks.
    pub clocks: Clocks,
}

impl Reloader {
    /// For a configuration.
    pub(crate) fn new(live: LiveCatalog, base: Catalog, config: &Config, layout: &Layout, clocks: Clocks) -> Self {
        let canary = |(slug, carrier): (&CarrierSlug, &waybill_fetcher::CarrierConfig)| {
            Some((slug.clone(), carrier.canary.as_ref()?.adapters.clone()))
        };
        let candidates = config.fetcher.carriers.iter().filter_map(canary).collect();
        Self { live, base, overlays: config.adapters.clone(), candidates, layout: layout.clone(), clocks }
    }

    /// Reads everything again and says what came of it. Blocks.
    pub(crate) fn reload(&self) -> Reloaded {
        let places = (self.overlays.as_slice(), &self.candidates);
        let reloaded = self.live.reload(&self.base, places, |adapter| self.accept(adapter), self.clocks.wall());
        for change in &reloaded.exchanged {
            let (carrier, candidate) = (&change.carrier, change.candidate);
            tracing::info!(%carrier, candidate, from = ?change.from, to = ?change.to, "adapters.exchanged");
        }
        for refused in &reloaded.refused {
            tracing::error!(why = %refused, "adapters.refused");
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        metrics::counter!("waybill_adapter_reloads_total", "result" => "exchanged")
            .increment(count(reloaded.exchanged.len()));
        metrics::counter!("waybill_adapter_reloads_total", "result" => "refused")
            .increment(count(reloaded.refused.len()));
        metrics::gauge!("waybill_adapters_refused").set(self.live.now().refused.len() as f64);
        reloaded
    }

    /// Why an adapter may not be in force, if it may not.
    fn accept(&self, adapter: &Adapter) -> Result<(), String> {
        let recorded = self.layout.budget_of(&adapter.slug);
        if recorded == adapter.budget_name {
            return Ok(());
        }
        Err(format!(
            "the carrier spends the budget {recorded} in the recorded layout and {} here; its numbers live where that \
             budget does: give it its budget back",
            adapter.budget_name
        ))
    }

    /// Follows the folders until shutdown.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut turn = tokio::time::interval(TURN);
        let (mut taken, mut seen) = (self.look().await, None);
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = hang_up.recv() => true,
                _ = turn.tick() => false,
            };
            let now = self.look().await;
            let stands_still = seen == Some(now);
            seen = Some(now);
            if asked || (now != taken && stands_still) {
                let reloader = self.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || reloader.reload()).await {
                    tracing::error!(%error, "adapters.reload_failed");
                }
                taken = now;
            }
        }
    }

    /// A number that changes with the folders' content.
    async fn look(&self) -> u64 {
        let folders: Vec<PathBuf> = self.overlays.iter().chain(self.candidates.values()).cloned().collect();
        if folders.is_empty() {
            return 0;
        }
        let looking = tokio::task::spawn_blocking(move || {
            let mut hasher = DefaultHasher::new();
            for folder in &folders {
                let mut left = MOST_FILES;
                note(folder, 0, &mut left, &mut hasher);
                if let Some(parent) = folder.parent() {
                    note(&parent.join("phrases"), 1, &mut left, &mut hasher);
                }
            }
            hasher.finish()
        });
        looking.await.unwrap_or_default()
    }
}

/// Notes names, sizes and times of a folder's carriers: what reading them depends on, their examples included.
fn note(folder: &Path, depth: usize, left: &mut usize, hasher: &mut DefaultHasher) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let Ok(about) = fs::metadata(&path) else { continue };
        path.hash(hasher);
        if about.is_dir() {
            if depth < 3 {
                note(&path, depth + 1, left, hasher);
            }
        } else {
            about.len().hash(hasher);
            about.modified().ok().hash(hasher);
        }
    }
}
