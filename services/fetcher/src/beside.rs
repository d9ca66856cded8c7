//! What is looked at beside a reading, of the same bytes: fields that the adapter's examples do not have, and how a
//! candidate version would have read them. Nothing here changes what is published, costs a request, or can fail a look-up.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use waybill_adapters::{Adapter, KnownFields, ReadOutcome};
use waybill_schemas::{
    OutcomeClass,
    drift::{History, ReadFacts, TrialFacts},
    event::MatchedBy,
};

/// Field names that are told of one answer.
pub(crate) const MOST_FIELDS: usize = 8;
/// Versions whose examples are remembered; beyond it remembering begins anew.
const MOST_VERSIONS: usize = 512;

/// What was found beside a reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    pub(crate) unknown_fields: Vec<String>,
    pub(crate) trial: Option<TrialFacts>,
}

/// The fields of each version's examples, read when first asked for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Examples {
    overlays: Arc<Vec<PathBuf>>,
    known: Arc<Mutex<HashMap<String, Option<Arc<KnownFields>>>>>,
}

impl Examples {
    pub(crate) fn new(overlays: Vec<PathBuf>) -> Self {
        Self { overlays: Arc::new(overlays), known: Arc::default() }
    }

    /// The fields that an adapter's examples have. Reads files: not for an async task.
    pub(crate) fn fields(&self, adapter: &Adapter) -> Option<Arc<KnownFields>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&adapter.version) {
            return known.clone();
        }
        let fields = KnownFields::of(&adapter.slug, &self.overlays).map(Arc::new);
        let mut known = known();
        if known.len() >= MOST_VERSIONS {
            known.clear();
        }
        known.insert(adapter.version.clone(), fields.clone());
        fields
    }
}

/// How two versions read the same bytes. A candidate that broke down read nothing.
pub(crate) fn compared(
    (stable, control): (&Adapter, &ReadOutcome),
    (candidate, outcome): (&Adapter, Option<&ReadOutcome>),
) -> TrialFacts {
    let count = |outcome: Option<&ReadOutcome>| outcome.map_or(0, |outcome| outcome.events.len());
    let most = count(outcome).max(count(Some(control)));
    TrialFacts {
        version: candidate.version.clone(),
        candidate: side(candidate, outcome, most),
        control: side(stable, Some(control), most),
        same: outcome.is_some_and(|outcome| outcome.digest == control.digest),
    }
}

fn side(adapter: &Adapter, outcome: Option<&ReadOutcome>, most: usize) -> ReadFacts {
    let Some(outcome) = outcome.filter(|outcome| outcome.class != OutcomeClass::Unreadable) else {
        return ReadFacts { unreadable: true, ..ReadFacts::default() };
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let shown = outcome.events.len();
    ReadFacts {
        unreadable: false,
        events: count(shown),
        unmatched: count(
            outcome.events.iter().filter(|event| adapter.mapping.map(event).matched_by == MatchedBy::None).count(),
        ),
        untimed: count(outcome.events.iter().filter(|e| e.time.is_none() && !e.time_raw.is_empty()).count()),
        history: match shown {
            _ if most == 0 => History::Unjudged,
            0 => History::Gone,
            _ if shown.saturating_mul(2) < most => History::Fewer,
            _ => History::Kept,
        },
    }
}
