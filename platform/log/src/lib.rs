//! Topics behind one seam: what services ask of a log ([`seam`]), what is owned ([`ownership`]), who may write state
//! ([`claims`]), what is done ([`offset_tracker`]), and the embedded backend ([`embedded`]).

pub mod embedded;
pub mod ownership;
pub mod seam;

pub use embedded::{EmbeddedLog, EmbeddedOptions};
pub use ownership::Ownership;
pub use seam::{
    Appended, Batch, Bounds, Commit, ErrorClass, GroupEvent, GroupMember, Headers, JoinGroup, Log, LogError, NewRecord,
    NewTopic, OutOfRange, ReadFrom, Record, SharedLog, TopicDescription, TopicPartition,
};
