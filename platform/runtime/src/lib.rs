//! What every service stands on: clocks, health, configuration, telemetry, retry, the admin listener.

pub mod clocks;
pub mod health;

pub use clocks::{Clocks, JourneyScale};
pub use health::{Component, Health};
