//! Topics behind one seam: what services ask of a log ([`seam`]), what is owned ([`ownership`]), who may write state
//! ([`claims`]), what is done ([`offset_tracker`]), how records are written ([`records`]), dead letters read back
//! ([`letters`]), and the embedded backend ([`embedded`]).

pub mod claims;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod letters;
pub mod offset_tracker;
pub mod ownership;
pub mod records;
pub mod seam;

pub use claims::ClaimError;
pub use embedded::{EmbeddedLog, EmbeddedOptions};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaLog, KafkaOptions};
pub use offset_tracker::OffsetTracker;
pub use ownership::Ownership;
pub use records::{DeadLetters, json_record};
pub use seam::{
    Appended, Batch, Bounds, Commit, ErrorClass, GroupEvent, GroupMember, Headers, JoinGroup, Log, LogError, NewRecord,
    NewTopic, OutOfRange, ReadFrom, Record, SharedLog, TopicDescription, TopicPartition,
};
