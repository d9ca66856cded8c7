//! Politeness as pure values: limiter, quota, breaker, interval.

pub mod breaker;
pub mod limiter;
pub mod quota;
