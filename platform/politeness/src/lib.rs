//! Politeness as pure values: limiter, quota, breaker, quarantine, interval, drift alarm.

pub mod breaker;
pub mod credit;
pub mod drift;
pub mod interval;
pub mod limiter;
pub mod quarantine;
pub mod quota;
