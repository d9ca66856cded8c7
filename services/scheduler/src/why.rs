//! Why a number is due when it is due: a rule, and a sentence made from what is kept of the number anyway, so that the
//! answer costs a byte a number and is the same after a restart.

use waybill_schemas::{OutcomeClass, schedule::Why, shipment::StopReason};

/// The rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    FirstLook,
    NewStatus,
    Sooner,
    Later,
    Confirm,
    Again(OutcomeClass),
    Retry(OutcomeClass),
    NeedsData,
    NewData,
    Refresh,
    Resumed,
    Reopened,
    Trying,
    Undecided,
    Stopped,
}

const PLAIN: [(Rule, &str); 13] = [
    (Rule::FirstLook, "first_look"),
    (Rule::NewStatus, "new_status"),
    (Rule::Sooner, "sooner"),
    (Rule::Later, "later"),
    (Rule::Confirm, "confirm"),
    (Rule::NeedsData, "needs_data"),
    (Rule::NewData, "new_data"),
    (Rule::Refresh, "refresh"),
    (Rule::Resumed, "resumed"),
    (Rule::Reopened, "reopened"),
    (Rule::Trying, "trying"),
    (Rule::Undecided, "undecided"),
    (Rule::Stopped, "stopped"),
];

impl Rule {
    /// The written form.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Again(class) => format!("again_{class}"),
            Self::Retry(class) => format!("retry_{class}"),
            plain => PLAIN.iter().find(|(rule, _)| *rule == plain).map_or_else(String::new, |(_, name)| (*name).into()),
        }
    }

    /// Reads the written form; a rule of a later version counts as a plain later look until the next outcome.
    pub(crate) fn from_name(name: &str) -> Self {
        let class = |text: &str| OutcomeClass::ALL.into_iter().find(|class| class.as_str() == text);
        if let Some(class) = name.strip_prefix("again_").and_then(class) {
            return Self::Again(class);
        }
        if let Some(class) = name.strip_prefix("retry_").and_then(class) {
            return Self::Retry(class);
        }
        PLAIN.iter().find(|(_, known)| *known == name).map_or(Self::Later, |(rule, _)| *rule)
    }
}

/// What the sentence is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) rule: Rule,
    /// Journey time that is waited.
    pub(crate) wait_ms: i64,
    pub(crate) failures: u16,
    pub(crate) stop: Option<StopReason>,
}

/// The answer to "why then".
pub(crate) fn why(facts: &Facts) -> Why {
    let wait = span(facts.wait_ms);
    let text = match facts.rule {
        Rule::FirstLook => "registered: the first look comes as soon as the carrier's budget allows".to_owned(),
        Rule::NewStatus => format!("the status is new: next look after {wait}"),
        Rule::Sooner => format!("the last look found something new: the next comes sooner, after {wait}"),
        Rule::Later => format!("the last look found nothing new: the next comes later, after {wait}"),
        Rule::Confirm => format!("the journey seems to be over: confirmed after {wait}, then looking stops"),
        Rule::Again(OutcomeClass::Deferred) => {
            "the carrier's budget had no room for the last look: again as soon as it has".to_owned()
        }
        Rule::Again(_) => "the last look came too late to be sent: again as soon as the budget allows".to_owned(),
        Rule::Retry(class) => {
            format!("{}, {} in a row: tried again after {wait}", failure(class), times(facts.failures))
        }
        Rule::NeedsData => {
            "the carrier needs more than the number: waits until it is registered again with it".to_owned()
        }
        Rule::NewData => "what the carrier needs has come: looked at as soon as the budget allows".to_owned(),
        Rule::Refresh => "somebody asked for a look: as soon as the budget allows".to_owned(),
        Rule::Resumed => "looking goes on: as soon as the budget allows".to_owned(),
        Rule::Reopened => "the last attempt was never answered: looked at again".to_owned(),
        Rule::Trying => "the carriers that it may belong to are being asked".to_owned(),
        Rule::Undecided => {
            format!("none of the carriers that it may belong to has events of it: asked again after {wait}")
        }
        Rule::Stopped => stopped(facts.stop).to_owned(),
    };
    let interval_ms = (facts.wait_ms > 0).then_some(facts.wait_ms);
    Why { rule: facts.rule.name(), text, interval_ms }
}

const fn failure(class: OutcomeClass) -> &'static str {
    match class {
        OutcomeClass::CarrierDown => "the carrier did not answer",
        OutcomeClass::Throttled => "the carrier asked for fewer requests",
        OutcomeClass::Blocked => "the carrier refused the request",
        OutcomeClass::RefusesAutomation => "the carrier refuses automation until a person lifts the mark",
        OutcomeClass::Unreadable => "the answer was not what the adapter knows",
        OutcomeClass::AdapterDisabled => "the carrier is switched off",
        _ => "the last look failed",
    }
}

const fn stopped(reason: Option<StopReason>) -> &'static str {
    match reason {
        Some(StopReason::Delivered) => "delivered and confirmed: not looked at any more",
        Some(StopReason::Returned) => "returned and confirmed: not looked at any more",
        Some(StopReason::Ended) => "lost, destroyed or cancelled, and confirmed: not looked at any more",
        Some(StopReason::Expired) => "no change for too long: not looked at any more",
        Some(StopReason::Settled) => "its carrier was found: it goes on there",
        Some(StopReason::Until) => "a temporary registration that has ended",
        Some(StopReason::Ordered) | None => "stopped by order",
    }
}

fn times(count: u16) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A length of time for people.
fn span(ms: i64) -> String {
    let minutes = ms.max(0) / 60_000;
    match minutes {
        0 => format!("{} s", ms.max(0) / 1_000),
        1..120 => format!("{minutes} min"),
        120..2_880 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes % 1_440 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_read_back_by_its_name() {
        let classes = OutcomeClass::ALL.into_iter();
        let of_classes = classes.flat_map(|class| [Rule::Again(class), Rule::Retry(class)]);
        for rule in PLAIN.into_iter().map(|(rule, _)| rule).chain(of_classes) {
            assert_eq!(Rule::from_name(&rule.name()), rule);
            let facts = Facts { rule, wait_ms: 90 * 60_000, failures: 2, stop: None };
            assert!(why(&facts).text.len() > 10);
        }
        assert_eq!(Rule::from_name("of a later version"), Rule::Later);
        assert_eq!(span(90 * 60_000), "90 min");
        assert_eq!(span(26 * 3_600_000 + 60_000), "26 h 1 min");
    }
}
