//! One look-up: the steps of a source, from the first request to what the adapter's readers made of the answers.
//!
//! A source that takes batches is asked for several numbers in the same requests; what each comes to stays its own (FET-1).

mod reading;
mod run;
mod tokens;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use waybill_adapters::{self as engine, Adapter, Answers, ReadOutcome};
use waybill_politeness::breaker::Signal;
use waybill_runtime::Clocks;
use waybill_schemas::{JourneyMs, OutcomeClass, WallMs, fetch::FetchRequest};

use crate::{
    beside::{Beside, Examples},
    choose::Chosen,
    exchange::Exchange,
    look_up::{run::Run, tokens::Tokens},
    memory::{FetcherMemory, Validators},
    payload::Kept,
    robots_cache::RobotsCache,
    turnstile::Turnstile,
};

/// Answers that are read at once: reading is pure computing, and a large page takes a while.
const READERS: usize = 2;
/// What the result of a look-up says whose reading panicked.
pub(crate) const PANICKED: &str = "the adapter failed on this answer";

/// What a look-up came to.
#[derive(Debug, Clone)]
pub(crate) struct LookUp {
    pub(crate) outcome: ReadOutcome,
    /// 304 to a conditional request: the same as at the last reading.
    pub(crate) not_modified: bool,
    /// What a later request may ask with, whether anything has changed.
    pub(crate) validators: Validators,
    pub(crate) answers: Vec<Kept>,
    /// Of each answer.
    pub(crate) headers: Vec<Vec<(String, String)>>,
    pub(crate) spent: u32,
    pub(crate) not_before: Option<WallMs>,
    pub(crate) fetched_at: WallMs,
    pub(crate) seen_at: JourneyMs,
    /// What it taught about the carrier.
    pub(crate) signal: Option<Signal>,
    /// What it taught about the adapter.
    pub(crate) adapter: Reading,
    /// What was found beside the reading.
    pub(crate) beside: Beside,
}

/// How the adapter's reading went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It came to an end, whatever it found.
    Sound,
    /// There was nothing to read.
    None,
    /// It panicked: poison.
    Panicked,
}

/// How a look-up ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// With a result to give.
    Result(Box<LookUp>),
    /// Without: this process may no longer send, and whoever owns the partition next answers the attempt.
    Abandoned,
}

impl Ended {
    pub(crate) fn found(&self) -> Option<&LookUp> {
        match self {
            Self::Result(found) => Some(found),
            Self::Abandoned => None,
        }
    }
}

/// Reads answers for an adapter.
pub(crate) type Read = fn(&Adapter, &Answers<'_>, engine::Reading<'_>) -> ReadOutcome;

/// What look-ups share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) exchange: Exchange,
    pub(crate) clocks: Clocks,
    pub(crate) robots: Arc<RobotsCache>,
    tokens: Tokens,
    readers: Arc<Semaphore>,
    examples: Examples,
    /// An adapter's own reading but in tests.
    pub(crate) read: Read,
}

impl Tools {
    pub(crate) fn new(exchange: Exchange, clocks: Clocks, examples: Examples) -> Self {
        Self {
            exchange,
            clocks,
            robots: Arc::new(RobotsCache::default()),
            tokens: Tokens::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            examples,
            read: |adapter, answers, reading| adapter.read_with(answers, reading),
        }
    }
}

/// A number to look up, and what is remembered of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) request: &'a FetchRequest,
    pub(crate) memory: &'a FetcherMemory,
}

/// Looks numbers up: one, or several of the same parameters where the source takes them in one request. Never longer than
/// the steps' timeouts and the wait for the budget until the first of them expires. Each ends by itself, in the order given;
/// what was spent and learnt about the carrier stands with the first.
pub(crate) async fn look_up(
    tools: &Tools,
    turnstile: &Arc<Turnstile>,
    chosen: &Chosen,
    all: &[Wanted<'_>],
) -> Vec<Ended> {
    let Some(mut run) = Run::of(tools, turnstile, chosen, all, 0) else { return Vec::new() };
    let came_to = run.steps().await;
    let mut ended = run.finish(&came_to, all).await;
    // A token kept from an earlier look-up may be refused by a status or in the words of a 200. Once more with a new one; a
    // second refusal is an answer.
    if run.kept_token_was_refused(&came_to, &ended) {
        run.throw_kept_tokens_away();
        if let Some(mut again) = Run::of(tools, turnstile, chosen, all, run.spent) {
            let came_to = again.steps().await;
            ended = again.finish(&came_to, all).await;
        }
    }
    ended
}

/// An outcome without a reading.
pub(crate) fn bare(class: OutcomeClass, detail: Option<String>, needs: Vec<String>) -> ReadOutcome {
    ReadOutcome {
        class,
        detail,
        needs,
        events: Vec::new(),
        facts: Default::default(),
        reader: String::new(),
        digest: 0,
    }
}

/// An outcome of the built-in carrier: nothing was sent, nothing is taught.
pub(crate) fn builtin(outcome: ReadOutcome, clocks: &Clocks, body: Bytes) -> LookUp {
    let answers =
        vec![Kept { step: "page", status: 200, content_type: "application/json".to_owned(), body, speaks: true }];
    LookUp {
        outcome,
        not_modified: false,
        validators: Validators::default(),
        answers,
        headers: vec![Vec::new()],
        spent: 0,
        not_before: None,
        fetched_at: clocks.wall(),
        seen_at: clocks.journey(),
        signal: None,
        adapter: Reading::Sound,
        beside: Beside::default(),
    }
}
