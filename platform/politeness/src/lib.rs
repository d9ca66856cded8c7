//! Politeness as pure values: limiter, quota, breaker, quarantine, interval.

pub mod breaker;
pub mod credit;
pub mod interval;
pub mod limiter;
pub mod quarantine;
pub mod quota;
