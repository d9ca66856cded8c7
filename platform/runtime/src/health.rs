//! Liveness and readiness of a process, told by its working loops.
//!
//! A loop that stops beating makes the process not live; a component that is not ready, or a shutdown under way, makes it
//! not ready. Nobody asks a loop; loops tell.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

/// A loop that has not beaten for this long is taken for stuck.
pub const BEAT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct State {
    ready: bool,
    beat: Instant,
    note: String,
}

/// All components of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, State>>>,
}

/// One component's voice. Dropping it withdraws the component.
#[derive(Debug)]
pub struct Component {
    name: String,
    health: Health,
}

/// What `/health/ready` and `/health/live` show of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// Whether it does its work.
    pub ready: bool,
    /// Whether its loop still turns.
    pub live: bool,
    /// Why not, in words.
    pub note: String,
}

impl Health {
    /// Adds a component, not ready yet.
    pub fn component(&self, name: &str) -> Component {
        let state = State { ready: false, beat: Instant::now(), note: "starting".to_owned() };
        self.with(|all| all.insert(name.to_owned(), state));
        Component { name: name.to_owned(), health: self.clone() }
    }

    /// All components, by name.
    pub fn report(&self) -> Vec<ComponentReport> {
        self.with(|all| {
            let one = |(name, state): (&String, &State)| ComponentReport {
                name: name.clone(),
                ready: state.ready,
                live: state.beat.elapsed() < BEAT_TIMEOUT,
                note: state.note.clone(),
            };
            all.iter().map(one).collect()
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<String, State>) -> T) -> T {
        change(&mut self.components.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Component {
    /// The loop has turned.
    pub fn beat(&self) {
        self.update(|state| state.beat = Instant::now());
    }

    /// It does its work.
    pub fn ready(&self) {
        self.update(|state| {
            state.ready = true;
            state.beat = Instant::now();
            state.note.clear();
        });
    }

    /// It does not do its work, for the reason given; the loop still turns.
    pub fn not_ready(&self, why: &str) {
        self.update(|state| {
            state.ready = false;
            state.beat = Instant::now();
            why.clone_into(&mut state.note);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        self.health.with(|all| {
            if let Some(state) = all.get_mut(&self.name) {
                change(state);
            }
        });
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.health.with(|all| all.remove(&self.name));
    }
}
