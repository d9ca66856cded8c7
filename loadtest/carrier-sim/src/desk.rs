//! The desk: which right answer belongs to a request. Pure: no clock, no sockets, no ledger.

use crate::{
    ledger::{AnswerKind, Shown},
    plan::Plan,
    replay::{RecordedBody, Replay},
    shapes::{self, Answer, Ask, View},
};

/// Who is asked about what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) carrier: &'a str,
    pub(crate) number: &'a str,
    pub(crate) journey_ms: i64,
    pub(crate) ask: &'a Ask,
    pub(crate) layout: Layout,
}

/// Which layout the page is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As the plan has it.
    Planned,
    /// One that no adapter knows.
    Changed,
}

/// What is to be answered.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// A generated answer, and the events it shows in the order of appearance.
    Generated(Answer, Vec<Shown>),
    /// Recorded bytes.
    Recorded(RecordedBody),
    /// The carrier exists; this step or case does not.
    NoSuchStep,
    /// No such carrier.
    NoSuchCarrier,
}

/// Whether there is anybody of that name whose arrivals are to be counted.
pub(crate) fn has_door(replay: &Replay, carrier: &str) -> bool {
    shapes::of(carrier).is_some() || replay.knows_carrier(carrier)
}

/// The right answer to a question.
pub(crate) fn answer(plan: &Plan, replay: &Replay, question: Question<'_>) -> Verdict {
    let Question { carrier, number, journey_ms, ask, layout } = question;
    let Some(shape) = shapes::of(carrier) else {
        return match replay.answer(carrier, number, &ask.step) {
            Some(body) => Verdict::Recorded(body.clone()),
            None if replay.knows_carrier(carrier) => Verdict::NoSuchStep,
            None => Verdict::NoSuchCarrier,
        };
    };
    let parcel = plan.find(carrier, number);
    let journey = parcel.map(|parcel| plan.journey(parcel));
    let visible = journey.as_ref().map(|journey| journey.visible(journey_ms)).unwrap_or_default();
    let nothing = std::collections::BTreeMap::new();
    let view = View {
        seed: plan.config().seed,
        number,
        params: parcel.map_or(&nothing, |parcel| &parcel.params),
        now_ms: journey_ms,
        known: !visible.is_empty(),
        rows: shapes::rows(shape, visible),
    };
    let by_plan = view.known && journey.as_ref().is_some_and(|journey| journey.is_unreadable(journey_ms));
    let answer = match layout {
        Layout::Planned if !by_plan => shape.answer(ask, &view),
        _ => shape.redesigned(ask, &view),
    };
    match answer {
        None => Verdict::NoSuchStep,
        Some(answer) => {
            let shows = answer.kind == AnswerKind::Events;
            let shown = visible.iter().filter(|_| shows).filter_map(|happening| shape.shown(happening)).collect();
            Verdict::Generated(answer, shown)
        }
    }
}
