//! The engine that reads and runs declarative carrier adapters: pure, no network, no clock.
//!
//! A carrier is a folder of data (`adapters/README.md` is its reference). [`Catalog`] loads and checks them,
//! [`Step::request`] says what to send, [`Adapter::read`] takes events and facts out of what came back (verbatim: NRM-1;
//! times as exact as printed: NRM-5), [`Mapping::map`] gives them their canonical meaning, [`journey`] puts them in order
//! and says where the shipment stands, and [`assess`] does all of it for one look-up.

mod adapter;
mod answer;
mod assess;
mod catalog;
mod charset;
mod condition;
mod countries;
pub mod detect;
pub mod draft;
mod error;
pub mod examples;
pub mod explain;
mod field;
mod fields;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
mod html;
pub mod journey;
mod jsonpath;
mod mapping;
mod names;
mod node;
mod pattern;
mod plainly;

pub mod overview;
pub mod personal;
mod read;
mod reader;
pub mod recorded;
pub mod sandbox;
pub mod schema;
#[cfg(test)]
mod schema_tests;
mod spec;
mod step;
mod template;
mod text;
mod times;
mod unwrap;
mod work;
mod xmlpath;

pub use adapter::{Adapter, Source};
pub use answer::{Answer, Answers, Asked, ReadOutcome, Reading};
pub use assess::{ParsedEvent, ParsedMoment, ParsedView, assess, not_found};
pub use catalog::{
    Catalog, folders_in,
    live::{Exchanged, Generation, LiveCatalog, Refused, Reloaded},
};
pub use detect::{Candidate, CheckDigit, Choice, Confidence, Detected, Detector, NumberPattern};
pub use error::AdapterError;
pub use fields::KnownFields;
pub use mapping::{Mapped, Mapping};
pub use spec::{Basis, Shape, SourceKind, StepName};
pub use step::{HttpRequest, Method, RequestError, Step};
pub use template::Context;
pub use text::collapse;
