//! The worker of one budget: a bounded queue in the order of arrival, and as many look-ups at once as the budget allows.
//!
//! Budgets share nothing here, so a carrier that hangs holds up nobody else's.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use waybill_adapters::{SourceKind, sandbox};
use waybill_log::offset_tracker::Ticket;
use waybill_schemas::{CarrierSlug, OutcomeClass, WallMs, fetch::FetchRequest};

use crate::{
    admission::{Admission, Outlook, Short, admit, without_carrier},
    budget::{Begin, Closed},
    choose::Chosen,
    look_up::{Ended, LookUp, Tools, builtin, look_up},
    memory::FetcherMemory,
    partition::Standing,
    results::{self, Asked, Now},
    terms::Carriers,
    turnstile::Turnstile,
    writer::Answered,
};

/// How often the queue is looked through for what can no longer be finished, and figures are shown.
const SWEEP: Duration = Duration::from_millis(250);
/// Pause after which a number with an unreadable memory may be tried again, in ms.
const MEMORY_RETRY_MS: i64 = 3_600_000;
/// Budget figures are shown over this many milliseconds.
const USED_WINDOW_MS: i64 = 10_000;

/// One request to answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) request: FetchRequest,
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) tools: Tools,
    pub(crate) carriers: Carriers,
    pub(crate) turnstile: Arc<Turnstile>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) budget: String,
    pub(crate) answers: mpsc::Sender<Answered>,
    queue: VecDeque<Job>,
    running: JoinSet<Finished>,
    /// How long a look-up takes of late, in ms; 0 before the first.
    typical_ms: i64,
    chosen: Vec<(CarrierSlug, WallMs, Result<Chosen, Short>)>,
    spent_recently: VecDeque<(WallMs, u32)>,
}

/// Whether a look-up finds out if the carrier is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Yes,
    No,
}

/// A look-up that has ended.
struct Finished {
    took_ms: i64,
    spent: u32,
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
        (budget, answers): (String, mpsc::Sender<Answered>),
    ) -> Self {
        Self {
            tools,
            carriers,
            turnstile,
            standing,
            budget,
            answers,
            queue: VecDeque::new(),
            running: JoinSet::new(),
            typical_ms: 0,
            chosen: Vec::new(),
            spent_recently: VecDeque::new(),
        }
    }

    /// Works until nobody can send jobs any more or the partition closes; look-ups under way are ended in both cases.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closing = self.standing.closing.clone();
        loop {
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
            }
        }
    }

    /// Begins as many look-ups as may run, in order.
    async fn advance(&mut self) {
        while self.standing.alive() {
            let Some(job) = self.queue.pop_front() else { return };
            match self.fate(&job, 0) {
                Fate::Answer(short) => self.answer(job, short).await,
                Fate::Start(prepared) if self.running.len() < self.concurrency() => {
                    let (chosen, memory) = *prepared;
                    let networked = chosen.source().kind != SourceKind::Builtin;
                    match if networked { self.turnstile.begin() } else { Begin::Freely } {
                        Begin::Freely => self.start(job, chosen, memory, Probe::No),
                        Begin::AsProbe => self.start(job, chosen, memory, Probe::Yes),
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
        let mut ahead = 0;
        for job in std::mem::take(&mut self.queue) {
            match self.fate(&job, ahead) {
                Fate::Answer(short) => self.answer(job, short).await,
                Fate::Start(_) | Fate::Wait => {
                    ahead += self.requests(&job);
                    kept.push_back(job);
                }
            }
        }
        // Nothing was added meanwhile: only this task fills the queue.
        self.queue = kept;
    }

    fn requests(&mut self, job: &Job) -> u32 {
        self.choose(&job.request).map_or(1, |chosen| chosen.requests().max(1))
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
        let result = results::short(job.request, job.ticket.offset, short, now);
        let _ = self.answers.send(Answered { ticket: job.ticket, result, payload: None }).await;
    }

    fn start(&mut self, job: Job, chosen: Chosen, memory: FetcherMemory, probe: Probe) {
        let tools = self.tools.clone();
        let turnstile = Arc::clone(&self.turnstile);
        let answers = self.answers.clone();
        let sample_one_in = self.carriers.config.sample_one_in;
        self.running.spawn(async move {
            let begun = Instant::now();
            let ended = one(&tools, &turnstile, &chosen, &job.request, &memory).await;
            let spent = match &ended {
                Ended::Result(found) => found.spent,
                Ended::Abandoned => 0,
            };
            if let Ended::Result(found) = ended {
                match found.signal {
                    Some(signal) => turnstile.signal(signal).await,
                    None if probe == Probe::Yes => turnstile.abandon_probe(),
                    None => {}
                }
                let asked = asked(&chosen);
                let found = closed_meanwhile(*found, &turnstile);
                let (result, payload) =
                    results::of_look_up(job.request, job.ticket.offset, found, &memory, (&asked, sample_one_in));
                let _ = answers.send(Answered { ticket: job.ticket, result, payload }).await;
            } else if probe == Probe::Yes {
                turnstile.abandon_probe();
            }
            Finished { took_ms: i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX), spent }
        });
    }

    fn finished(&mut self, done: Result<Finished, tokio::task::JoinError>) {
        match done {
            Ok(finished) => {
                // Slow ones count at once, quick ones little by little.
                self.typical_ms = finished.took_ms.max((self.typical_ms * 7 + finished.took_ms) / 8);
                if finished.spent > 0 {
                    self.spent_recently.push_back((self.tools.clocks.wall(), finished.spent));
                }
            }
            Err(error) => {
                tracing::error!(%error, budget = %self.budget, "fetcher.look_up_panicked");
                self.turnstile.abandon_probe();
            }
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
        return look_up(tools, turnstile, chosen, request, memory).await;
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
