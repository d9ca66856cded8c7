//! Carriers on loopback: deterministic, misbehaving on request, with a ledger of everything answered.
//!
//! Requests arrive at `/{carrier}/{source}/{step}/{number}`, as `fetcher.routes` sends them. *Generated* carriers answer
//! from a plan that follows from a seed; *replay* answers recorded bytes. What is asked, when, and what was answered is
//! written to the [`Ledger`] before the answer leaves.
//!
//! `GET /_sim/{health,parcels,ledger,truth,arrivals,politeness}` shows the simulator's side; `POST /_sim/misbehave` adds a
//! [`Rule`]. The generated carriers' adapters are data in `loadtest/carriers`, embedded as [`CARRIERS`].

mod clock;
mod desk;
mod dice;
mod journey;
mod ledger;
mod misbehave;
mod plan;
mod replay;
mod server;
mod shapes;
mod simulator;
mod trouble;
mod truth;
mod window;

#[cfg(test)]
mod round_trip_tests;

use include_dir::{Dir, include_dir};

pub use clock::{JourneyMap, wall_now_ms};
pub use journey::{DAY, End, Happening, Journey, MAX_DAYS, Scan};
pub use ledger::{AnswerKind, Answered, Ledger, LedgerError, MOST_ANSWERS, MOST_ARRIVALS, NumberTruth, Shown};
pub use misbehave::{MOST_RULES, Misbehaviour, RetryAfter, Rule, TooManyRules};
pub use plan::{BEGINNINGS_DAYS, Beginnings, Parcel, Plan, PlanConfig};
pub use replay::{Case, RecordedBody, Replay, ReplayError};
pub use simulator::{Config, Simulator, SimulatorError};
pub use truth::Truth;
pub use window::{FullestWindow, fullest_window};

/// The adapters of the generated carriers: a folder per slug, in the adapter engine's format.
pub static CARRIERS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../carriers");

/// Slugs of the generated carriers.
pub fn carriers() -> Vec<&'static str> {
    shapes::ALL.iter().map(|shape| shape.profile().slug).collect()
}
