//! The normalizer: maps carriers' raw events to the canonical vocabulary, never altering the carrier's words, and alone
//! writes the public topics.
//!
//! [`normalize()`] is the pure core: (result, mapping) → (events, shipment, status change, memories). [`memory`] is what it
//! knows of a shipment between two looks, [`id`] how events are told apart. The shell ([`run`]) reads
//! `waybill.fetch-results` and writes in an order that no kill can turn into a loss.

mod config;
mod drift;
mod error;
pub mod id;
pub mod memory;
mod normalize;
mod printed;
mod probe;
mod reading;
mod records;
mod repeats;
mod run;
mod view;
mod worker;

pub use config::NormalizerConfig;
pub use error::NormalizerError;
pub use normalize::{Normalized, normalize, normalize_read_by};
pub use run::{Deps, run};
