//! The worker of one budget: a bounded queue in the order of arrival, and as many look-ups at once as the budget allows.
//!
//! Budgets share nothing here, so a carrier that hangs holds up nobody else's. Whatever an adapter does, its attempt ends
//! in a result (FET-1): a panic is caught and counted as poison, and a look-up that this process was not allowed to finish
//! goes back to the front of the queue while the partition is ours.

mod batch;
mod task;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::Instrument as _;
use waybill_adapters::SourceKind;
use waybill_log::offset_tracker::Ticket;
use waybill_runtime::{
    PoisonWatch, Pulse,
    poison::{Gate, quarantined_until},
    trace::Trail,
};
use waybill_schemas::{CarrierSlug, OutcomeClass, WallMs, fetch::FetchRequest};

use crate::{
    admission::{Admission, Outlook, Short, admit, without_carrier},
    budget::{Begin, Closed},
    choose::Chosen,
    look_up::Tools,
    memory::FetcherMemory,
    partition::Standing,
    results::{self, Now},
    terms::Carriers,
    turnstile::Turnstile,
    worker::{
        batch::{Ahead, OneByOne},
        task::{CameTo, Prepared, Task},
    },
    writer::{Answered, Answers},
};

pub(crate) use task::{asked, closed_meanwhile, one};

/// How often the queue is looked through for what can no longer be finished, and figures are shown.
const SWEEP: Duration = Duration::from_millis(250);
/// Pause after which a number with an unreadable memory may be tried again, in ms.
const MEMORY_RETRY_MS: i64 = 3_600_000;
/// How long a probe is waited for before its carrier's numbers are handed out again, in ms.
const PROBE_MS: i64 = 10_000;
/// Budget figures are shown over this many milliseconds.
const USED_WINDOW_MS: i64 = 10_000;

/// One request to answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) request: FetchRequest,
    pub(crate) trail: Trail,
    /// Requests that were spent on it together with others, and told nothing of it.
    pub(crate) spent: u32,
    /// Whether it is asked without others, because they told nothing of it.
    pub(crate) alone: bool,
}

impl Job {
    pub(crate) fn new(ticket: Ticket, request: FetchRequest, trail: Trail) -> Self {
        Self { ticket, request, trail, spent: 0, alone: false }
    }
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) tools: Tools,
    pub(crate) carriers: Carriers,
    pub(crate) turnstile: Arc<Turnstile>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) budget: String,
    pub(crate) answers: Answers,
    poison: PoisonWatch,
    pulse: Pulse,
    queue: VecDeque<Job>,
    running: JoinSet<Finished>,
    /// How long a look-up takes of late, in ms; 0 before the first.
    typical_ms: i64,
    chosen: Vec<(CarrierSlug, WallMs, Result<Chosen, Short>)>,
    one_by_one: OneByOne,
    spent_recently: VecDeque<(WallMs, u32)>,
}

/// Whether a look-up finds out if the carrier is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Yes,
    No,
}

/// What a look-up finds out.
#[derive(Debug, Clone, Copy)]
struct Probes {
    /// Whether the carrier is back.
    carrier: Probe,
    /// Whether its adapter can be trusted again.
    adapter: Probe,
}

/// A look-up that has ended.
struct Finished {
    /// Absent: it came to nothing.
    took_ms: Option<i64>,
    spent: u32,
    /// Not finished, because this process might not send, or because the answer to several numbers told nothing of them: to
    /// be done again, in this order.
    back: Vec<Job>,
    /// The carrier whose numbers are not to be asked for together for a while.
    one_by_one: Option<CarrierSlug>,
}

/// What a budget's worker works with besides the budget.
pub(crate) struct Attached {
    /// Whose budget it is.
    pub(crate) budget: String,
    /// Where results go.
    pub(crate) answers: Answers,
    /// Where poison is counted.
    pub(crate) poison: PoisonWatch,
    /// The worker's heartbeat.
    pub(crate) pulse: Pulse,
}

/// What a job comes to before the network.
enum Fate {
    Answer(Short),
    Start(Box<(Chosen, FetcherMemory)>),
    Wait,
}

impl Worker {
    pub(crate) fn new(
        tools: Tools,
        carriers: Carriers,
        turnstile: Arc<Turnstile>,
        standing: Arc<Standing>,
        attached: Attached,
    ) -> Self {
        let Attached { budget, answers, poison, pulse } = attached;
        Self {
            tools,
            carriers,
            turnstile,
            standing,
            budget,
            answers,
            poison,
            pulse,
            queue: VecDeque::new(),
            running: JoinSet::new(),
            typical_ms: 0,
            chosen: Vec::new(),
            one_by_one: OneByOne::default(),
            spent_recently: VecDeque::new(),
        }
    }

    /// Works until nobody can send jobs any more or the partition closes; look-ups under way are ended in both cases.
    pub(crate) async fn run(mut self, inbox: mpsc::Receiver<Job>) {
        self.work(inbox).await;
        // A probe that ends with its worker has found nothing out.
        self.poison.abandon_probe(&self.budget);
    }

    async fn work(&mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closing = self.standing.closing.clone();
        loop {
            self.pulse.beat();
            self.advance().await;
            let turnstile = Arc::clone(&self.turnstile);
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                Some(done) = self.running.join_next() => self.finished(done),
                job = inbox.recv() => match job {
                    Some(job) => self.queue.push_back(job),
                    None => break,
                },
                () = turnstile.changed(SWEEP), if !self.queue.is_empty() => {}
                _ = sweep.tick() => {
                    self.sweep().await;
                    self.show();
                }
            }
        }
        // What waits is left to whoever owns the partition next; what is under way may end within the drain.
        let given_up = self.standing.given_up.clone();
        loop {
            tokio::select! {
                biased;
                () = given_up.cancelled() => return,
                done = self.running.join_next() => match done {
                    Some(done) => self.finished(done),
                    None => return,
                },
                _ = sweep.tick() => self.pulse.beat(),
            }
        }
    }

    /// Begins as many look-ups as may run, in order.
    async fn advance(&mut self) {
        while self.standing.alive() {
            let Some(job) = self.queue.pop_front() else { return };
            match self.fate(&job, 0) {
                Fate::Answer(short) => self.answer(job, short).await,
                // Without the lease, or with a clock that is off, everything waits for better times or its expiry.
                Fate::Start(_) if !self.turnstile.may_send() => return self.queue.push_front(job),
                Fate::Start(prepared) if self.running.len() < self.concurrency() => {
                    let (chosen, memory) = *prepared;
                    let networked = chosen.source().kind != SourceKind::Builtin;
                    match if networked { self.turnstile.begin() } else { Begin::Freely } {
                        Begin::Freely => {
                            let jobs = self.with_companions((job, memory), &chosen);
                            self.start(jobs, chosen, Probe::No);
                        }
                        Begin::AsProbe => self.start(vec![(job, memory)], chosen, Probe::Yes),
                        // Its turn comes when the carrier is open again; `fate` has found that there is time for that.
                        Begin::AfterProbe | Begin::Closed(_) => return self.queue.push_front(job),
                    }
                }
                Fate::Start(_) | Fate::Wait => return self.queue.push_front(job),
            }
        }
    }

    fn concurrency(&self) -> usize {
        let own = self.turnstile.terms().map_or(1, |terms| terms.budget.concurrency);
        own.min(self.carriers.config.max_concurrency).max(1) as usize
    }

    /// Answers what can no longer be finished in time, wherever it stands in the queue.
    async fn sweep(&mut self) {
        let mut kept = VecDeque::with_capacity(self.queue.len());
        let mut ahead = Ahead::default();
        for job in std::mem::take(&mut self.queue) {
            match self.fate(&job, ahead.requests()) {
                Fate::Answer(short) => self.answer(job, short).await,
                Fate::Start(_) | Fate::Wait => {
                    let (requests, most) = self.requests(&job);
                    let most = if job.alone { 1 } else { most };
                    ahead.add(&job.request, requests, most);
                    kept.push_back(job);
                }
            }
        }
        // Nothing was added meanwhile: only this task fills the queue.
        self.queue = kept;
    }

    /// Requests of a look-up, and how many numbers it may ask for.
    fn requests(&mut self, job: &Job) -> (u32, usize) {
        let most = self.most_numbers(&job.request.carrier);
        self.choose(&job.request).map_or((1, 1), |chosen| (chosen.requests().max(1), chosen.most_numbers().min(most)))
    }

    fn choose(&mut self, request: &FetchRequest) -> Result<Chosen, Short> {
        let now = self.tools.clocks.wall();
        self.chosen.retain(|(_, since, _)| now.since_ms(*since) < 1_000);
        if let Some((.., known)) = self.chosen.iter().find(|(slug, ..)| *slug == request.carrier) {
            return known.clone().map(|chosen| chosen.for_number(&request.key().record_key()));
        }
        let chosen = self.carriers.choose(&request.carrier);
        self.chosen.push((request.carrier.clone(), now, chosen.clone()));
        chosen.map(|chosen| chosen.for_number(&request.key().record_key()))
    }

    fn fate(&mut self, job: &Job, ahead: u32) -> Fate {
        let now = self.tools.clocks.wall();
        if let Some(short) = without_carrier(job.request.kind, job.request.expires_at, now) {
            return Fate::Answer(short);
        }
        let chosen = match self.choose(&job.request) {
            Ok(chosen) => chosen,
            Err(short) => return Fate::Answer(short),
        };
        if let Gate::Closed(until) = self.poison.gate(&self.budget) {
            let short = Short::new(OutcomeClass::AdapterDisabled, &quarantined_until(until));
            return Fate::Answer(Short { not_before: Some(until.max(now.plus_ms(PROBE_MS))), ..short });
        }
        let memory = match FetcherMemory::decode(&job.request.memories.fetcher) {
            Ok(memory) => memory,
            Err(error) => return Fate::Answer(Short::deferred(now.plus_ms(MEMORY_RETRY_MS), &error.to_string())),
        };
        if chosen.source().kind == SourceKind::Builtin {
            return Fate::Start(Box::new((chosen, memory)));
        }
        let outlook = self.outlook(&chosen, ahead, now);
        match admit(job.request.expires_at, outlook) {
            Admission::Answer(short) => Fate::Answer(short),
            Admission::Wait if matches!(outlook.closed, Some(Closed::Until(..))) => Fate::Wait,
            Admission::Wait => Fate::Start(Box::new((chosen, memory))),
        }
    }

    fn outlook(&self, chosen: &Chosen, ahead: u32, now: WallMs) -> Outlook {
        let closed = self.turnstile.closed();
        let opens = match closed {
            Some(Closed::Until(until, _)) => until.max(now),
            _ => now,
        };
        let own = chosen.requests().max(1);
        let forecast = |count| self.turnstile.forecast(count).unwrap_or(now.plus_ms(60_000)).max(opens);
        // Alone, it may take as long as it takes: only its own timeouts bound it.
        let alone = ahead == 0 && self.running.is_empty();
        let rounds = i64::from(ahead / own) / i64::try_from(self.concurrency()).unwrap_or(1) + 1;
        let finished = if alone { opens } else { opens.plus_ms(rounds.saturating_mul(self.typical_ms)) };
        Outlook {
            closed,
            first_leaves: forecast(ahead + 1),
            last_leaves: forecast(ahead.saturating_add(own)),
            finished,
        }
    }

    async fn answer(&self, job: Job, short: Short) {
        let now = Now { wall: self.tools.clocks.wall(), journey: self.tools.clocks.journey() };
        let mut result = results::short(job.request, job.ticket.offset, short, now);
        result.spent = job.spent;
        let answered = Answered { ticket: job.ticket, result, payload: None, trail: job.trail };
        self.answers.short(answered).await;
    }

    fn start(&mut self, jobs: Vec<Prepared>, chosen: Chosen, carrier: Probe) {
        let adapter = if self.poison.gate(&self.budget) == Gate::Probe { Probe::Yes } else { Probe::No };
        if adapter == Probe::Yes {
            self.poison.begin_probe(&self.budget);
        }
        let task = Task {
            tools: self.tools.clone(),
            turnstile: Arc::clone(&self.turnstile),
            poison: self.poison.clone(),
            budget: self.budget.clone(),
            probes: Probes { carrier, adapter },
            sample_one_in: self.carriers.config.sample_one_in,
        };
        let answers = self.answers.clone();
        self.running.spawn(async move {
            let begun = Instant::now();
            // The requests stand in the trace of the first; those of the others link there.
            let span = jobs.first().map_or_else(tracing::Span::none, |(first, _)| {
                jobs.iter().skip(1).for_each(|(job, _)| job.trail.join(&first.trail));
                first.trail.span().clone()
            });
            let came_to = task.run(jobs, &chosen).instrument(span).await;
            let took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            match came_to {
                CameTo::Results(results, back) => {
                    let spent = results.iter().map(|answered| answered.result.spent).sum();
                    for answered in results {
                        answers.looked_up(answered).await;
                    }
                    Finished { took_ms: Some(took_ms), spent, back, one_by_one: None }
                }
                CameTo::Nothing(back) => Finished { took_ms: None, spent: 0, back, one_by_one: None },
                CameTo::OneByOne(back) => {
                    let carrier = back.first().map(|job| job.request.carrier.clone());
                    Finished { took_ms: None, spent: 0, back, one_by_one: carrier }
                }
            }
        });
    }

    fn finished(&mut self, done: Result<Finished, tokio::task::JoinError>) {
        match done {
            Ok(finished) => {
                if let Some(carrier) = finished.one_by_one {
                    tracing::warn!(%carrier, numbers = finished.back.len(), "fetcher.batch_told_nothing");
                    self.one_by_one.note(carrier, self.tools.clocks.wall());
                }
                if let Some(took_ms) = finished.took_ms {
                    // Slow ones count at once, quick ones little by little.
                    self.typical_ms = took_ms.max((self.typical_ms * 7 + took_ms) / 8);
                }
                if finished.spent > 0 {
                    self.spent_recently.push_back((self.tools.clocks.wall(), finished.spent));
                }
                for job in finished.back.into_iter().rev() {
                    self.queue.push_front(job);
                }
            }
            // Adapters' panics are caught before; this one is the program's own, and the job it held has no answer.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    fn show(&mut self) {
        let now = self.tools.clocks.wall();
        while self.spent_recently.front().is_some_and(|(at, _)| now.since_ms(*at) > USED_WINDOW_MS) {
            self.spent_recently.pop_front();
        }
        if let Some(terms) = self.turnstile.terms() {
            let spent: u32 = self.spent_recently.iter().map(|(_, spent)| spent).sum();
            let allowed = terms.budget.rate_per_second * (USED_WINDOW_MS as f64 / 1_000.0);
            let ratio = f64::from(spent) / allowed.max(f64::MIN_POSITIVE);
            metrics::gauge!("waybill_budget_used_ratio", "carrier" => self.budget.clone()).set(ratio);
        }
    }
}

#[cfg(test)]
mod tests;
