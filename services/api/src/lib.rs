//! The HTTP interface: registration, look-ups, carriers.
//!
//! Orders become commands on the log and are answered once the log has them; answers are read from ClickHouse. Between
//! the two, [`pending`] follows the commands that the store has not shown yet, so that nothing accepted is ever 404.

pub mod auth;
pub mod carriers;
mod commands;
pub mod config;
mod detection;
mod follow;
mod health;
mod lookups;
mod patch;
pub mod pending;
pub mod problem;
pub mod register;
pub mod server;
mod shipments;
pub mod views;

pub use carriers::{CarrierDirectory, CarrierInfo, DetectedNumber, Offer};
pub use config::ApiConfig;
pub use server::{ApiError, Deps, run};
