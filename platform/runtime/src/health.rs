//! Liveness, readiness and the end of the start of a process, told by its working loops.
//!
//! A loop that stops beating makes the process not live; a component that is not ready, or a shutdown under way, makes it
//! not ready. A process has *started* once every component has come up, be it to say that it cannot do its work: whoever
//! restarts what does not start must not restart what started again would be no better. That stays so until it ends.
//!
//! Nobody asks a loop; loops tell. A component with several loops gives each a [`Pulse`]: it is live while all
//! of them beat. A loop beats while it waits for something outside (a broker, ClickHouse) as well: waiting is no reason to
//! kill it.

mod writes;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use self::writes::Writing;
pub use self::writes::{Unacknowledged, WRITE_TIMEOUT, Writes};

/// How long a member of a group that was given no work waits before that counts as its share of it: longer than a group
/// takes to share out what a dead member held.
pub const FIRST_SHARE: Duration = Duration::from_secs(30);

/// A loop that has not beaten for this long is taken for stuck.
pub const BEAT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct State {
    /// Tells two components of one name apart: only its own voice withdraws a component. 0 while it is only expected.
    id: u64,
    ready: bool,
    /// It has been ready once, or has said that it cannot be.
    up: bool,
    /// It has not spoken yet: nobody beats for it.
    awaited: bool,
    beat: Instant,
    note: String,
    pulses: BTreeMap<u64, Pulsing>,
    writes: BTreeMap<u64, Writing>,
    /// Voices given so far.
    voices: u64,
}

#[derive(Debug, Clone)]
struct Pulsing {
    of: String,
    beat: Instant,
}

impl State {
    fn new() -> Self {
        Self {
            id: 0,
            ready: false,
            up: false,
            awaited: false,
            beat: Instant::now(),
            note: "starting".to_owned(),
            pulses: BTreeMap::new(),
            writes: BTreeMap::new(),
            voices: 0,
        }
    }

    fn next_voice(&mut self) -> u64 {
        self.voices += 1;
        self.voices
    }

    /// The loop that has not beaten for too long, if there is one: the component's own has no name.
    fn stuck(&self) -> Option<&str> {
        if !self.awaited && self.beat.elapsed() >= BEAT_TIMEOUT {
            return Some("");
        }
        self.pulses.values().find(|pulse| pulse.beat.elapsed() >= BEAT_TIMEOUT).map(|pulse| pulse.of.as_str())
    }
}

/// All components of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, State>>>,
    started: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
}

/// One component's voice. Dropping it withdraws the component, unless another of its name has come since.
#[derive(Debug)]
pub struct Component {
    id: u64,
    name: String,
    health: Health,
}

/// The voice of one loop of a component. Dropping it withdraws the loop.
#[derive(Debug)]
pub struct Pulse {
    id: u64,
    /// The component's.
    of: u64,
    name: String,
    health: Health,
}

/// What `/health/started`, `/health/ready` and `/health/live` show of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// Whether it has come up: it has been ready once, or has said that it cannot be.
    pub up: bool,
    /// Whether it does its work.
    pub ready: bool,
    /// Whether its loop still turns.
    pub live: bool,
    /// Why not, in words.
    pub note: String,
}

impl Health {
    /// Adds a component, not ready yet. It takes the place of an earlier one of its name, which is heard no more.
    pub fn component(&self, name: &str) -> Component {
        let id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        self.with(|all| all.insert(name.to_owned(), State { id, ..State::new() }));
        Component { id, name: name.to_owned(), health: self.clone() }
    }

    /// A component of this name is on its way: until it is there, the process is neither ready nor started.
    pub fn expect(&self, name: &str) {
        self.with(|all| {
            all.entry(name.to_owned()).or_insert(State { awaited: true, ..State::new() });
        });
    }

    /// Whether every component has come up, once.
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// All components, by name.
    pub fn report(&self) -> Vec<ComponentReport> {
        self.with(|all| {
            let one = |(name, state): (&String, &State)| {
                let stuck = state.stuck();
                let overdue = state.overdue().filter(|_| state.ready);
                let ready = state.ready && overdue.is_none();
                let note = match (stuck, overdue) {
                    (Some(of), _) => format!("its loop {of} has not turned for {} s", BEAT_TIMEOUT.as_secs()),
                    (None, Some(why)) => why,
                    (None, None) => state.note.clone(),
                };
                ComponentReport { name: name.clone(), up: state.up, ready, live: stuck.is_none(), note }
            };
            all.iter().map(one).collect()
        })
    }

    /// The start is over the moment everything has come up, whether somebody asks just then or not.
    fn note_start(&self, all: &BTreeMap<String, State>) {
        if !self.has_started() && !all.is_empty() && all.values().all(|state| state.up) {
            self.started.store(true, Ordering::Relaxed);
        }
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

    /// One more loop of this component.
    pub fn pulse(&self, of: &str) -> Pulse {
        let mut id = 0;
        self.update(|state| {
            id = state.next_voice();
            state.pulses.insert(id, Pulsing { of: of.to_owned(), beat: Instant::now() });
        });
        Pulse { id, of: self.id, name: self.name.clone(), health: self.health.clone() }
    }

    /// Where its loops tell what they write.
    pub fn writes(&self) -> Writes {
        Writes { of: self.id, name: self.name.clone(), health: self.health.clone() }
    }

    /// It does its work.
    pub fn ready(&self) {
        self.update(|state| {
            (state.up, state.ready) = (true, true);
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

    /// It would do its work and has been given none yet: it is ready, and has not come up before it has been given some, or
    /// has waited for [`FIRST_SHARE`].
    pub fn ready_for_work(&self) {
        self.update(|state| {
            state.ready = true;
            state.beat = Instant::now();
            state.note.clear();
        });
    }

    /// It has come up and does not do its work, for the reason given, which a restart would not mend: something outside is
    /// away, or what it found is refused.
    pub fn hindered(&self, why: &str) {
        self.update(|state| {
            (state.up, state.ready) = (true, false);
            state.beat = Instant::now();
            why.clone_into(&mut state.note);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        self.health.with(|all| {
            if let Some(state) = all.get_mut(&self.name).filter(|state| state.id == self.id) {
                change(state);
            }
            self.health.note_start(all);
        });
    }
}

impl Pulse {
    /// How often a loop that waits for something should beat.
    pub const EVERY: Duration = Duration::from_secs(10);

    /// The loop has turned, or still waits as it should.
    pub fn beat(&self) {
        self.with(|pulses| {
            if let Some(pulse) = pulses.get_mut(&self.id) {
                pulse.beat = Instant::now();
            }
        });
    }

    /// Waits for something outside, however long that takes, beating meanwhile; coming here is a turn of the loop.
    pub async fn while_waiting<T>(&self, what: impl Future<Output = T>) -> T {
        self.beat();
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return done,
                () = tokio::time::sleep(Self::EVERY) => self.beat(),
            }
        }
    }

    fn with(&self, change: impl FnOnce(&mut BTreeMap<u64, Pulsing>)) {
        self.health.with(|all| {
            if let Some(state) = all.get_mut(&self.name).filter(|state| state.id == self.of) {
                change(&mut state.pulses);
            }
        });
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.with(|pulses| drop(pulses.remove(&self.id)));
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.health.with(|all| {
            if all.get(&self.name).is_some_and(|state| state.id == self.id) {
                all.remove(&self.name);
            }
            self.health.note_start(all);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn live(health: &Health) -> Vec<(String, bool, String)> {
        health.report().into_iter().map(|one| (one.name, one.live, one.note)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_never_waits_for_long_is_alive() {
        let health = Health::default();
        let component = health.component("fetcher");
        let writer = component.pulse("writer 3");
        for _ in 0..100 {
            component.beat();
            writer.while_waiting(tokio::time::sleep(Duration::from_secs(3))).await;
        }
        assert!(live(&health)[0].1, "{:?}", live(&health));
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_lives_while_every_loop_of_it_beats_and_the_stuck_one_is_named() {
        let health = Health::default();
        let component = health.component("fetcher");
        let (writer, worker) = (component.pulse("writer 3"), component.pulse("worker acme"));
        for _ in 0..12 {
            tokio::time::advance(BEAT_TIMEOUT / 3).await;
            component.ready();
            writer.beat();
            worker.beat();
            assert!(live(&health)[0].1);
        }
        tokio::time::advance(BEAT_TIMEOUT / 2).await;
        component.beat();
        worker.beat();
        tokio::time::advance(BEAT_TIMEOUT / 2).await;
        component.beat();
        let report = live(&health);
        assert!(!report[0].1 && report[0].2.contains("writer 3"), "{report:?}");
        drop(writer);
        assert!(live(&health)[0].1, "a loop that has ended is no longer waited for");
    }

    #[tokio::test]
    async fn a_component_that_goes_takes_only_itself_away() {
        let health = Health::default();
        let earlier = health.component("scheduler-3");
        let pulse = earlier.pulse("writer");
        // The partition is lost and comes back before the earlier owner's last task has ended.
        let later = health.component("scheduler-3");
        later.ready();
        earlier.not_ready("lost");
        drop(pulse);
        drop(earlier);
        let report = health.report();
        assert!(report.len() == 1 && report[0].ready, "{report:?}");
        drop(later);
        assert_eq!(health.report(), []);
    }

    #[tokio::test]
    async fn a_process_has_started_once_every_component_has_come_up_or_said_that_it_cannot() {
        let health = Health::default();
        assert!(!health.has_started(), "nobody has spoken");
        let start = health.component("start");
        health.expect("scheduler");
        start.ready();
        drop(start);
        assert!(!health.has_started(), "the scheduler is on its way");
        let scheduler = health.component("scheduler");
        scheduler.ready_for_work();
        assert!(health.report()[0].ready && !health.has_started(), "the group has not shared out yet");
        let partition = health.component("scheduler-0");
        scheduler.ready();
        partition.not_ready("restoring");
        assert!(!health.has_started(), "it still restores");
        partition.hindered("the changelog cannot be read");
        assert!(health.has_started(), "a refused partition is no reason to start the process again");
        let report = health.report();
        assert!(report.iter().any(|one| one.up && !one.ready && one.note.contains("cannot be read")), "{report:?}");
        let late = health.component("scheduler-1");
        late.not_ready("restoring");
        assert!(health.has_started(), "what has started once has started");
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_that_is_awaited_is_neither_ready_nor_stuck() {
        let health = Health::default();
        health.expect("fetcher");
        tokio::time::advance(2 * BEAT_TIMEOUT).await;
        assert!(health.report().iter().all(|one| one.live && !one.ready && !one.up), "{:?}", health.report());
        let fetcher = health.component("fetcher");
        health.expect("fetcher");
        fetcher.ready();
        assert!(health.report()[0].ready && health.has_started());
        tokio::time::advance(2 * BEAT_TIMEOUT).await;
        assert!(!health.report()[0].live, "from its first word on it must beat");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_something_outside_is_no_standstill() {
        let health = Health::default();
        let component = health.component("normalizer");
        let pulse = component.pulse("worker 1");
        let beating = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(5)).await;
                component.beat();
                assert!(health.report()[0].live);
            }
        };
        pulse.while_waiting(beating).await;
    }
}
