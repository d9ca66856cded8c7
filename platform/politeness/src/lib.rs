//! Politeness as pure values: limiter, quota, breaker, interval.
