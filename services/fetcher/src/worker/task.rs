//! One look-up beside the worker's loop, of one number or of several in the same requests.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures::FutureExt;
use waybill_adapters::{SourceKind, sandbox};
use waybill_runtime::PoisonWatch;
use waybill_schemas::{
    OutcomeClass,
    fetch::{FetchRequest, FetchResult},
};

use super::{Job, Probe, Probes};
use crate::{
    admission::Short,
    budget::Closed,
    choose::Chosen,
    look_up::{Ended, LookUp, PANICKED, Reading, Tools, Wanted, builtin, look_up},
    memory::FetcherMemory,
    payload::Payload,
    results::{self, Asked, Now},
    turnstile::Turnstile,
    writer::Answered,
};

/// A job whose turn has come, with what is remembered of its number.
pub(super) type Prepared = (Job, FetcherMemory);

/// What a look-up of one or several numbers came to.
pub(super) enum CameTo {
    /// A result for each (FET-1) but those that the answer to several left out: they are asked alone.
    Results(Vec<Answered>, Vec<Job>),
    /// Nothing: this process might not send.
    Nothing(Vec<Job>),
    /// Nothing: the answer to several numbers told nothing of any of them, so each is asked alone.
    OneByOne(Vec<Job>),
}

pub(super) struct Task {
    pub(super) tools: Tools,
    pub(super) turnstile: Arc<Turnstile>,
    pub(super) poison: PoisonWatch,
    pub(super) budget: String,
    pub(super) probes: Probes,
    pub(super) sample_one_in: u32,
}

impl Task {
    pub(super) async fn run(&self, jobs: Vec<Prepared>, chosen: &Chosen) -> CameTo {
        let looked = AssertUnwindSafe(self.look(&jobs, chosen)).catch_unwind().await;
        let panicked = looked.is_err();
        let ended = looked.unwrap_or_default();
        let found: Vec<&LookUp> = ended.iter().filter_map(|ended| ended.found()).collect();
        let reading = if panicked || found.iter().any(|found| found.adapter == Reading::Panicked) {
            Reading::Panicked
        } else if found.iter().any(|found| found.adapter == Reading::Sound) {
            Reading::Sound
        } else {
            Reading::None
        };
        self.taught(reading, &jobs);
        if panicked {
            self.turnstile.abandon_probe();
            let now = Now { wall: self.tools.clocks.wall(), journey: self.tools.clocks.journey() };
            let short = || Short::new(OutcomeClass::Unreadable, PANICKED);
            let answer = |(job, _): Prepared| {
                let result = results::short(job.request.clone(), job.ticket.offset, short(), now);
                answered(job, result, None)
            };
            return CameTo::Results(jobs.into_iter().map(answer).collect(), Vec::new());
        }
        let several = jobs.len() > 1;
        if found.len() < jobs.len() {
            return CameTo::Nothing(jobs.into_iter().map(|(job, _)| job).collect());
        }
        let left_out =
            |found: &LookUp| reading != Reading::Panicked && several && found.outcome.class == OutcomeClass::Unreadable;
        let told_nothing = found.iter().all(|found| left_out(found));
        if told_nothing {
            let spent = found.first().map_or(0, |found| found.spent);
            let mut back: Vec<Job> = jobs.into_iter().map(|(job, _)| job).collect();
            if let Some(first) = back.first_mut() {
                first.spent = first.spent.saturating_add(spent);
            }
            return CameTo::OneByOne(back);
        }
        if let Some(signal) = found.first().and_then(|found| found.signal) {
            self.turnstile.signal(signal).await;
        } else if self.probes.carrier == Probe::Yes {
            self.turnstile.abandon_probe();
        }
        let asked = asked(chosen);
        let (mut results, mut alone) = (Vec::with_capacity(jobs.len()), Vec::new());
        for ((mut job, memory), ended) in jobs.into_iter().zip(ended) {
            let Ended::Result(mut found) = ended else { continue };
            found.spent = found.spent.saturating_add(job.spent);
            if left_out(&found) {
                job.spent = found.spent;
                job.alone = true;
                alone.push(job);
                continue;
            }
            let found = closed_meanwhile(*found, &self.turnstile);
            let by = (&asked, self.sample_one_in);
            let (result, payload) = results::of_look_up(job.request.clone(), job.ticket.offset, found, &memory, by);
            results.push(answered(job, result, payload));
        }
        CameTo::Results(results, alone)
    }

    async fn look(&self, jobs: &[Prepared], chosen: &Chosen) -> Vec<Ended> {
        let all: Vec<Wanted<'_>> = jobs.iter().map(|(job, memory)| Wanted { request: &job.request, memory }).collect();
        let ended = match all.as_slice() {
            [alone] => vec![one(&self.tools, &self.turnstile, chosen, alone.request, alone.memory).await],
            several => look_up(&self.tools, &self.turnstile, chosen, several).await,
        };
        if self.probes.carrier == Probe::Yes && ended.iter().any(|ended| ended.found().is_none()) {
            self.turnstile.abandon_probe();
        }
        ended
    }

    /// What the adapter's reading taught of the adapter.
    fn taught(&self, reading: Reading, jobs: &[Prepared]) {
        match reading {
            Reading::Sound => self.poison.good(&self.budget),
            Reading::Panicked => {
                if let Some((job, _)) = jobs.first() {
                    let offset = job.ticket.offset;
                    tracing::error!(carrier = %job.request.carrier, offset, "fetcher.adapter_panicked");
                }
                self.poison.poison(&self.budget);
            }
            Reading::None if self.probes.adapter == Probe::Yes => self.poison.abandon_probe(&self.budget),
            Reading::None => {}
        }
    }
}

fn answered(job: Job, result: FetchResult, payload: Option<Payload>) -> Answered {
    Answered { ticket: job.ticket, result, payload, trail: job.trail }
}

/// Who asks, for the result.
pub(crate) fn asked(chosen: &Chosen) -> Asked {
    Asked {
        adapter: chosen.adapter.slug.to_string(),
        adapter_version: chosen.adapter.version.clone(),
        source: chosen.source().name.clone(),
        candidate: chosen.candidate,
    }
}

/// Looks up with a networked source or the built-in one.
pub(crate) async fn one(
    tools: &Tools,
    turnstile: &Arc<Turnstile>,
    chosen: &Chosen,
    request: &FetchRequest,
    memory: &FetcherMemory,
) -> Ended {
    if chosen.source().kind != SourceKind::Builtin {
        let mut ended = look_up(tools, turnstile, chosen, &[Wanted { request, memory }]).await;
        return ended.pop().unwrap_or(Ended::Abandoned);
    }
    let outcome = sandbox::read(request.number.as_str(), request.registered_at, tools.clocks.journey());
    let body = serde_json::to_vec(&outcome.events).unwrap_or_default();
    Ended::Result(Box::new(builtin(outcome, &tools.clocks, Bytes::from(body))))
}

/// What is told of the budget with a result: a carrier that closed says until when, and one that was marked meanwhile
/// refuses.
pub(crate) fn closed_meanwhile(mut found: LookUp, turnstile: &Turnstile) -> LookUp {
    if found.outcome.class == OutcomeClass::Deferred {
        return found;
    }
    match turnstile.closed() {
        Some(Closed::Until(until, _)) => found.not_before = Some(until),
        Some(Closed::Refused) if found.outcome.class == OutcomeClass::Blocked => {
            found.outcome.class = OutcomeClass::RefusesAutomation;
        }
        Some(Closed::Refused) | None => {}
    }
    found
}
