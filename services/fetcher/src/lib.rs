//! The fetcher: runs carriers' adapters against carriers, politely, and answers every request once.
//!
//! - Cores, pure: `admission`, `budget` (with `waybill-politeness`), `classify`, `hosts`, `memory`, `payload`,
//!   `results`, `retry_after`, `robots`.
//! - Shells: `turnstile` (every request passes there), `exchange` (HTTP), `look_up` (one number), `worker` (one
//!   budget), `writer` (results of one partition), `partition` (claim and boot), `service` (the group), `once`
//!   (`waybill track`).
//!
//! Kept here: POL-1 and POL-2 in `turnstile` and `budget`, FET-1 in `partition` and `writer`, LOG-1 in `writer`
//! and `service`, SEC-1 in `hosts`, `exchange`, `choose` and `payload`.

mod admission;
mod beside;
mod budget;
mod choose;
mod classify;
mod config;
mod error;
mod exchange;
mod hosts;
mod look_up;
mod memory;
mod once;
mod partition;
pub mod payload;
mod results;
mod retry_after;
mod robots;
mod robots_cache;
mod service;
mod terms;
mod turnstile;
mod worker;
mod writer;

pub use choose::{Look, has_secret, look_at, secret_place, secrets_of};
pub use config::{CanaryConfig, CarrierConfig, ConfigError, FetcherConfig, Route, SecretSource};
pub use error::FetcherError;
pub use exchange::ClientError;
pub use once::{OnceDeps, SeenAnswer, look_up_once, look_up_once_seeing};
pub use service::{Deps, run};
pub use terms::{NoPolicies, Policies};
pub use turnstile::{RecordError, Recorder};
