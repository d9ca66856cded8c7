//! The Kafka backend on a real broker: the laws of the seam, both group protocols, SCRAM, a broker that goes away, topics
//! that drift, and members that come and go. One broker serves all but the test that ill-treats it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

mod access;
mod child;
mod drift;
mod lag;
mod laws;
mod outage;
mod protocols;
mod reads;
mod storm;
mod tools;
