//! What crosses a border in Waybill: message types, canonical statuses, topic descriptions, ClickHouse migrations.
//!
//! One shape everywhere: topics, API, command line and ClickHouse columns bear the same names. Rules for evolution:
//! changes within a major version only add fields; readers ignore what they do not know, and records that are written
//! back (state topics) keep unknown fields in their `extra` maps, so a rollback loses nothing.

pub mod carrier;
pub mod command;
pub mod detection;
pub mod drift;
pub mod event;
pub mod fetch;
pub mod files;
pub mod forgotten;
pub mod headers;
pub mod layout;
pub mod limits;
pub mod memory;
pub mod migrations;
pub mod number;
pub mod outcome;
pub mod politeness;
pub mod schedule;
pub mod shipment;
pub mod status;
pub mod time;
pub mod topics;

pub use carrier::{BudgetName, CarrierSlug};
pub use memory::{Memories, Memory};
pub use number::{ShipmentKey, TrackingNumber};
pub use outcome::OutcomeClass;
pub use status::{Milestone, Status, SubStatus};
pub use time::{JourneyMs, UtcMs, WallMs};

/// The HTTP interface as an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("../openapi.json");
