//! The written forms of the vocabularies, as in the records.

use waybill_schemas::{
    command::CommandKind,
    event::{EventKind, MatchedBy, TimePrecision, ZoneSource},
    fetch::RequestKind,
    politeness::BlockReason,
    shipment::{Cause, StopReason, Tracking},
};

/// A value written as one word.
pub(super) trait Worded {
    /// The word, the same as in JSON.
    fn word(&self) -> &'static str;
}

macro_rules! words {
    ($($name:ident { $($variant:ident => $word:literal),* $(,)? })*) => {
        $(impl Worded for $name {
            fn word(&self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        })*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn words_are_those_of_the_records() {
                $($(assert_eq!(serde_json::to_value($name::$variant).ok(), Some($word.into()));)*)*
            }
        }
    };
}

words! {
    EventKind { Scan => "scan", Rendering => "rendering", Correction => "correction" }
    TimePrecision { Date => "date", HalfDay => "half_day", Minute => "minute", Second => "second" }
    ZoneSource { Carrier => "carrier", Place => "place", Adapter => "adapter", Unknown => "unknown" }
    MatchedBy {
        Code => "code", Exact => "exact", Prefix => "prefix", Contains => "contains", Regex => "regex",
        Phrase => "phrase", None => "none",
    }
    Tracking { Active => "active", Stopped => "stopped" }
    StopReason {
        Delivered => "delivered", Returned => "returned", Ended => "ended", Expired => "expired",
        Ordered => "ordered", Until => "until", Settled => "settled",
    }
    Cause { Poll => "poll", Clock => "clock", Replay => "replay" }
    RequestKind {
        Poll => "poll", Clock => "clock", Stop => "stop", Resume => "resume", Replay => "replay", Forget => "forget",
        Probe => "probe",
    }
    CommandKind {
        Register => "register", Lookup => "lookup", Stop => "stop", Resume => "resume", Refresh => "refresh",
        Forget => "forget", Replay => "replay", Probe => "probe", Probed => "probed",
    }
    BlockReason {
        RetryAfter => "retry_after", Throttled => "throttled", Unavailable => "unavailable",
        Unreadable => "unreadable", Blocked => "blocked", RefusesAutomation => "refuses_automation", Quota => "quota",
    }
}
