//! Instants, one type per clock, so that a deadline is never compared with a simulated date.
//!
//! All are milliseconds since the Unix epoch and are written as RFC 3339 in UTC with milliseconds.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant of the clock `C`, in milliseconds since the Unix epoch.
pub struct Millis<C> {
    ms: i64,
    clock: PhantomData<fn() -> C>,
}

/// Marker of the machine's own clock: append times, attempts, expiry, limiters, leases, quotas.
#[derive(Debug)]
pub enum Wall {}

/// Marker of the clock that parcels live by: registration, look-ups as seen, due times, intervals.
/// It equals the wall clock except in the demo, where it runs faster until it has caught up.
#[derive(Debug)]
pub enum Journey {}

/// Marker of instants that a carrier printed, once their zone is known.
#[derive(Debug)]
pub enum Utc {}

/// See [`Wall`].
pub type WallMs = Millis<Wall>;
/// See [`Journey`].
pub type JourneyMs = Millis<Journey>;
/// See [`Utc`].
pub type UtcMs = Millis<Utc>;

impl<C> Millis<C> {
    /// The earliest instant there is; stands for "never" where a lower bound is meant.
    pub const ZERO: Self = Self::new(0);

    /// The instant `ms` milliseconds after the Unix epoch.
    pub const fn new(ms: i64) -> Self {
        Self { ms, clock: PhantomData }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn ms(self) -> i64 {
        self.ms
    }

    /// This instant moved by `ms` (negative: earlier), saturating.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::new(self.ms.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; negative when this one is earlier.
    pub const fn since_ms(self, earlier: Self) -> i64 {
        self.ms.saturating_sub(earlier.ms)
    }
}

impl<C> Clone for Millis<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for Millis<C> {}
impl<C> PartialEq for Millis<C> {
    fn eq(&self, other: &Self) -> bool {
        self.ms == other.ms
    }
}
impl<C> Eq for Millis<C> {}
impl<C> PartialOrd for Millis<C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<C> Ord for Millis<C> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ms.cmp(&other.ms)
    }
}
impl<C> hash::Hash for Millis<C> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.ms.hash(state);
    }
}
impl<C> Default for Millis<C> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<C> fmt::Display for Millis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.ms) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{}ms", self.ms),
        }
    }
}

impl<C> fmt::Debug for Millis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no RFC 3339 instant.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 instant such as 2026-01-31T12:00:00Z")]
pub struct InstantError(String);

impl<C> FromStr for Millis<C> {
    type Err = InstantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant: Timestamp = text.parse().map_err(|_| InstantError(text.to_owned()))?;
        Ok(Self::new(instant.as_millisecond()))
    }
}

impl<C> Serialize for Millis<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, C> Deserialize<'de> for Millis<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<C>(PhantomData<fn() -> C>);
        impl<C> de::Visitor<'_> for Visitor<C> {
            type Value = Millis<C>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 instant")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339_and_read_back() {
        let at = WallMs::new(1_700_000_000_123);
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(json, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<WallMs>(&json).unwrap(), at);
        assert_eq!(serde_json::from_str::<WallMs>("\"2023-11-14T23:13:20.123+01:00\"").unwrap(), at);
        assert!(serde_json::from_str::<WallMs>("\"yesterday\"").is_err());
    }
}
