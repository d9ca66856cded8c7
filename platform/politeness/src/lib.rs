//! Politeness as pure values: limiter, quota, breaker, interval.

pub mod breaker;
pub mod credit;
pub mod interval;
pub mod limiter;
pub mod quota;
