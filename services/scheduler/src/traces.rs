//! Traces that wait: a command's context stays with its number until the first request is sent, so that the look belongs to
//! the trace of whoever asked for it. In memory only: a restart cuts the trace, and nothing else.

use std::collections::HashMap;

use waybill_runtime::trace::TraceParent;
use waybill_schemas::ShipmentKey;

/// Most contexts that wait; further ones are not kept, and their looks begin traces of their own.
const MOST: usize = 100_000;

/// Contexts by number.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    waiting: HashMap<ShipmentKey, TraceParent>,
}

impl Traces {
    /// Keeps a command's context; the newest counts.
    pub(crate) fn keep(&mut self, key: ShipmentKey, context: Option<TraceParent>) {
        let Some(context) = context else { return };
        if self.waiting.len() < MOST || self.waiting.contains_key(&key) {
            self.waiting.insert(key, context);
        }
    }

    /// The context for a number's next request.
    pub(crate) fn take(&mut self, key: &ShipmentKey) -> Option<TraceParent> {
        if self.waiting.is_empty() { None } else { self.waiting.remove(key) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_context_is_given_once_and_the_newest_counts() {
        let key = ShipmentKey::new("sandbox".parse().unwrap(), "SANDBOX-LOST-0001".parse().unwrap());
        let context = |last: char| -> Option<TraceParent> {
            Some(format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b{last}-01").parse().unwrap())
        };
        let mut traces = Traces::default();
        traces.keep(key.clone(), context('7'));
        traces.keep(key.clone(), context('8'));
        traces.keep(key.clone(), None);
        assert_eq!(traces.take(&key), context('8'));
        assert_eq!(traces.take(&key), None);
    }
}
