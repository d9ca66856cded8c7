//! What every service stands on: clocks, health, configuration, telemetry, traces, retry, how listeners serve and whom,
//! the admin listener, the clock's trust, what is poison.

pub mod admin;
pub mod clock_gate;
pub mod clocks;
pub mod config;
pub mod health;
pub mod local;
pub mod poison;
pub mod retry;
pub mod serve;
pub mod telemetry;
pub mod trace;

pub use clock_gate::ClockGate;
pub use clocks::{Clocks, JourneyScale};
pub use health::{Component, Health, Pulse, Writes};
pub use poison::PoisonWatch;
