//! The end of a look-up: what the adapter's readers make of the answers, for each number that was asked for.

use std::sync::Arc;

use bytes::Bytes;
use waybill_adapters::{self as engine, Adapter, Answer, Answers, ReadOutcome};
use waybill_politeness::breaker::Signal;
use waybill_schemas::{OutcomeClass, UtcMs, fetch::FetchRequest};

use super::{
    Ended, LookUp, PANICKED, Reading, Wanted, bare,
    run::{Progress, Run, Verdict, answer_of},
};
use crate::{
    beside::{Beside, MOST_FIELDS, compared},
    classify,
    memory::Validators,
};

impl Run<'_> {
    /// What each of the numbers came to. What the requests cost and taught about the carrier is told once.
    pub(super) async fn finish(&self, came_to: &Progress, all: &[Wanted<'_>]) -> Vec<Ended> {
        let mut ended = Vec::with_capacity(all.len());
        let mut unknown = None;
        for wanted in all {
            ended.push(self.ended(came_to, wanted, &mut unknown).await);
        }
        let answered = |ended: &Ended| matches!(ended, Ended::Result(found) if found.signal == Some(Signal::Answered));
        let any = ended.iter().any(answered);
        for (index, one) in ended.iter_mut().enumerate() {
            let Ended::Result(found) = one else { continue };
            if index > 0 {
                (found.spent, found.signal) = (0, None);
            } else if any {
                found.signal = Some(Signal::Answered);
            }
        }
        ended
    }

    async fn ended(&self, came_to: &Progress, wanted: &Wanted<'_>, unknown: &mut Option<Vec<String>>) -> Ended {
        let (fetched_at, seen_at) = (self.tools.clocks.wall(), self.tools.clocks.journey());
        let (mut not_modified, mut known_signal, mut later) = (false, None, None);
        let (mut adapter, mut beside) = (Reading::None, Beside::default());
        let outcome = match came_to.as_ref().map_err(|end| (**end).clone()) {
            Ok(()) => {
                let outcome;
                (outcome, adapter, beside) = self.read(wanted.request, unknown).await;
                outcome
            }
            Err(Verdict::Abandoned) => return Ended::Abandoned,
            Err(Verdict::NotModified) => {
                not_modified = true;
                adapter = Reading::Sound;
                bare(OutcomeClass::Tracked, None, Vec::new())
            }
            Err(Verdict::TokenRefused) => {
                known_signal = Some(Signal::Blocked);
                bare(OutcomeClass::Blocked, Some("a new token was refused as well".to_owned()), Vec::new())
            }
            Err(Verdict::Panicked) => {
                adapter = Reading::Panicked;
                bare(OutcomeClass::Unreadable, Some(PANICKED.to_owned()), Vec::new())
            }
            Err(Verdict::Class { class, detail, signal, not_before, needs }) => {
                known_signal = signal;
                later = not_before;
                bare(class, Some(detail), needs)
            }
        };
        let spoke = self.answers.last().is_some();
        let signal = known_signal.or_else(|| classify::signal_of(outcome.class).filter(|_| spoke || not_modified));
        let alone = self.asked() == engine::Asked::One;
        let validators = match outcome.class {
            OutcomeClass::Tracked if not_modified => wanted.memory.validators.clone(),
            OutcomeClass::Tracked if alone && self.answers.iter().filter(|answer| answer.speaks).count() == 1 => {
                let value = |name: &str| {
                    let last = self.headers.last()?;
                    last.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
                };
                Validators { etag: value("etag"), last_modified: value("last-modified") }
            }
            _ => Validators::default(),
        };
        Ended::Result(Box::new(LookUp {
            outcome,
            not_modified,
            validators,
            answers: self.answers.clone(),
            headers: self.headers.clone(),
            spent: self.spent,
            not_before: later,
            fetched_at,
            seen_at,
            signal,
            adapter,
            beside,
        }))
    }

    /// Reads the answers for a number; beside that, what a candidate would have read, and which fields are new (`unknown`:
    /// of these answers, once known).
    async fn read(&self, request: &FetchRequest, unknown: &mut Option<Vec<String>>) -> (ReadOutcome, Reading, Beside) {
        let Ok(_permit) = self.tools.readers.clone().acquire_owned().await else {
            let closed = "the readers have been closed".to_owned();
            return (bare(OutcomeClass::Unreadable, Some(closed), Vec::new()), Reading::None, Beside::default());
        };
        let stable = &self.chosen.adapter;
        // A reader that panics is a fault of ours; the attempt still ends, and the bytes are kept.
        let Some(outcome) = self.read_with(stable, request).await else {
            let outcome = bare(OutcomeClass::Unreadable, Some(PANICKED.to_owned()), Vec::new());
            return (outcome, Reading::Panicked, Beside::default());
        };
        let mut beside = Beside::default();
        if outcome.class.is_reading() {
            if unknown.is_none() {
                *unknown = Some(self.unknown_fields().await);
            }
            beside.unknown_fields = unknown.clone().unwrap_or_default();
        }
        if let Some(candidate) = self.chosen.shadow(&request.key().record_key()) {
            let tried = self.read_with(candidate, request).await;
            beside.trial = Some(compared((stable, &outcome), (candidate, tried.as_ref())));
        }
        (outcome, Reading::Sound, beside)
    }

    async fn read_with(&self, adapter: &Arc<Adapter>, request: &FetchRequest) -> Option<ReadOutcome> {
        let (adapter, number, read) = (Arc::clone(adapter), request.number.clone(), self.tools.read);
        let (private, asked) = (Arc::clone(&self.chosen.private), self.asked());
        // NRM-5: a year that is not printed follows from the moment of the look, where the adapter says so.
        let seen_at = Some(UtcMs::new(self.tools.clocks.journey().ms()));
        let (answers, headers) = (self.answers.clone(), self.headers.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let list: Vec<Answer<'_>> =
                answers.iter().zip(&headers).map(|(kept, headers)| answer_of(kept, headers)).collect();
            let reading = engine::Reading { seen_at, private: &private, asked };
            read(&adapter, &Answers { number: Some(number.as_str()), list: &list }, reading)
        });
        reading.await.ok()
    }

    async fn unknown_fields(&self) -> Vec<String> {
        let (examples, adapter) = (self.tools.examples.clone(), Arc::clone(&self.chosen.adapter));
        let bodies: Vec<Bytes> =
            self.answers.iter().filter(|answer| answer.speaks).map(|answer| answer.body.clone()).collect();
        let looking = tokio::task::spawn_blocking(move || {
            let Some(known) = examples.fields(&adapter) else { return Vec::new() };
            let mut found: Vec<String> = bodies.iter().flat_map(|body| known.unknown(body, MOST_FIELDS)).collect();
            found.truncate(MOST_FIELDS);
            found
        });
        looking.await.unwrap_or_default()
    }
}
