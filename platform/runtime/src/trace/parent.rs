//! The value of the header `traceparent` (W3C Trace Context, level 1, section 3.2).

use std::{fmt, str::FromStr};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Which trace something belongs to, and below which span: 25 bytes that wait with a number until it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// The value is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct NoTraceParent;

impl TraceParent {
    /// Reads a header's bytes; anything that is no valid value is as if the header were absent, as the standard asks.
    pub fn read(value: &[u8]) -> Option<Self> {
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

fn hex<const DIGITS: usize>(text: &str) -> Option<u128> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == DIGITS && lower { u128::from_str_radix(text, 16).ok() } else { None }
}

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let read = || {
            let mut parts = text.split('-');
            let version = hex::<2>(parts.next()?)?;
            let (trace, span) = (hex::<32>(parts.next()?)?, hex::<16>(parts.next()?)?);
            let flags = hex::<2>(parts.next()?)?;
            // A later version may say more behind the flags; version 0 may not, and 255 is none.
            let whole = version != 255 && (version > 0 || parts.next().is_none());
            (whole && trace != 0 && span != 0).then_some((trace, span, flags))
        };
        let (trace, span, flags) = read().ok_or(NoTraceParent)?;
        let (span, flags) =
            (u64::try_from(span).map_err(|_| NoTraceParent)?, u8::try_from(flags).map_err(|_| NoTraceParent)?);
        Ok(Self { trace, span, flags })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl From<TraceParent> for SpanContext {
    fn from(parent: TraceParent) -> Self {
        let (trace, span) = (TraceId::from(parent.trace), SpanId::from(parent.span));
        Self::new(trace, span, TraceFlags::new(parent.flags), true, TraceState::default())
    }
}

impl From<&SpanContext> for TraceParent {
    fn from(context: &SpanContext) -> Self {
        Self {
            trace: u128::from_be_bytes(context.trace_id().to_bytes()),
            span: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        assert_eq!(GOOD.parse::<TraceParent>().unwrap().to_string(), GOOD);
        let parent: TraceParent = GOOD.parse().unwrap();
        assert_eq!(TraceParent::from(&SpanContext::from(parent)), parent);
    }

    #[test]
    fn a_later_version_is_read_as_this_one() {
        let later = GOOD.replacen("00", "01", 1) + "-more";
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), GOOD);
    }

    #[test]
    fn what_the_standard_refuses_is_as_if_absent() {
        let wrong = [
            String::new(),
            GOOD.to_uppercase(),
            format!("{GOOD}-more"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("-01", "-1"),
            GOOD.replace("-01", ""),
            GOOD.replace('-', "_"),
            GOOD.replace("4bf92f", "+bf92f"),
        ];
        for text in wrong {
            assert_eq!(TraceParent::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(TraceParent::read(b"\xff\xfe"), None);
    }
}
