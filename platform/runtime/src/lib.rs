//! What every service stands on: clocks, health, configuration, telemetry, retry, the admin listener.

pub mod admin;
pub mod clocks;
pub mod config;
pub mod health;
pub mod retry;
pub mod telemetry;

pub use clocks::{Clocks, JourneyScale};
pub use health::{Component, Health};
