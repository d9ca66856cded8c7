//! One look-up: the steps of a source, from the first request to what the adapter's readers made of the answers.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use reqwest::{cookie::Jar, header};
use tokio::sync::Semaphore;
use url::Url;
use waybill_adapters::{
    Adapter, Answer, Answers, Context, Method, ReadOutcome, RequestError, SourceKind, Step, StepName,
};
use waybill_politeness::breaker::Signal;
use waybill_runtime::Clocks;
use waybill_schemas::{JourneyMs, OutcomeClass, WallMs, fetch::FetchRequest, politeness::RobotsVerdict};

use crate::{
    admission::closed_because,
    beside::{Beside, Examples, MOST_FIELDS, compared},
    budget::Closed,
    choose::Chosen,
    classify,
    config::Route,
    exchange::{Bounds, Exchange, Failure, Incoming, Outgoing},
    memory::{FetcherMemory, Validators},
    payload::Kept,
    robots_cache::RobotsCache,
    turnstile::{Stop, Turnstile},
};

/// Answers that are read at once: reading is pure computing, and a large page takes a while.
const READERS: usize = 2;
/// Pause after which a number may be tried again when nothing better is known, in ms.
const LATER_MS: i64 = 60_000;
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

/// What look-ups share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) exchange: Exchange,
    pub(crate) clocks: Clocks,
    pub(crate) robots: Arc<RobotsCache>,
    tokens: Arc<Mutex<HashMap<TokenKey, KeptToken>>>,
    readers: Arc<Semaphore>,
    examples: Examples,
    /// Reads answers; an adapter's own reading but in tests.
    pub(crate) read: fn(&Adapter, &Answers<'_>) -> ReadOutcome,
}

type TokenKey = (String, String, StepName);

#[derive(Clone)]
struct KeptToken {
    taken: BTreeMap<String, String>,
    until: WallMs,
}

impl Tools {
    pub(crate) fn new(exchange: Exchange, clocks: Clocks, examples: Examples) -> Self {
        Self {
            exchange,
            clocks,
            robots: Arc::new(RobotsCache::default()),
            tokens: Arc::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            examples,
            read: |adapter, answers| adapter.read(answers),
        }
    }

    fn kept_token(&self, key: &TokenKey) -> Option<BTreeMap<String, String>> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(key).filter(|kept| self.clocks.wall() < kept.until).map(|kept| kept.taken.clone())
    }

    fn keep_token(&self, key: TokenKey, taken: &BTreeMap<String, String>, seconds: u32) {
        let until = self.clocks.wall().plus_ms(i64::from(seconds) * 1_000);
        let kept = KeptToken { taken: taken.clone(), until };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kept);
    }

    fn forget_tokens(&self, carrier: &str, source: &str) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|(of, from, _), _| of != carrier || from != source);
    }
}

/// A look-up under way.
struct Run<'a> {
    tools: &'a Tools,
    turnstile: &'a Arc<Turnstile>,
    chosen: &'a Chosen,
    request: &'a FetchRequest,
    memory: &'a FetcherMemory,
    jar: Jar,
    taken: BTreeMap<String, String>,
    answers: Vec<Kept>,
    /// Headers of the answers, in the same order.
    headers: Vec<Vec<(String, String)>>,
    spent: u32,
    used_kept_token: bool,
}

/// Either the look-up goes on, or it has come to this.
type Progress = Result<(), Box<Verdict>>;

enum Verdict {
    Abandoned,
    Class {
        class: OutcomeClass,
        detail: String,
        signal: Option<Signal>,
        not_before: Option<WallMs>,
        needs: Vec<String>,
    },
    NotModified,
    /// A kept token is no longer good.
    TokenRefused,
    /// The adapter panicked on an answer.
    Panicked,
}

fn verdict(class: OutcomeClass, detail: impl Into<String>, signal: Option<Signal>) -> Box<Verdict> {
    Box::new(Verdict::Class { class, detail: detail.into(), signal, not_before: None, needs: Vec::new() })
}

/// Looks a number up. Never longer than its steps' timeouts and the wait for the budget until `expires_at`.
pub(crate) async fn look_up(
    tools: &Tools,
    turnstile: &Arc<Turnstile>,
    chosen: &Chosen,
    request: &FetchRequest,
    memory: &FetcherMemory,
) -> Ended {
    let new = |spent| Run {
        tools,
        turnstile,
        chosen,
        request,
        memory,
        jar: Jar::default(),
        taken: BTreeMap::new(),
        answers: Vec::new(),
        headers: Vec::new(),
        spent,
        used_kept_token: false,
    };
    let mut run = new(0);
    let mut came_to = run.steps().await;
    if let Err(end) = &came_to
        && matches!(**end, Verdict::TokenRefused)
    {
        // Once more with a new token; a second refusal is an answer.
        tools.forget_tokens(chosen.adapter.slug.as_str(), &chosen.source().name);
        run = new(run.spent);
        came_to = run.steps().await;
    }
    run.finish(came_to).await
}

impl Run<'_> {
    async fn steps(&mut self) -> Progress {
        let source = self.chosen.source();
        let lacking: Vec<String> = source
            .needs
            .iter()
            .filter(|name| self.request.params.get(*name).is_none_or(|value| value.trim().is_empty()))
            .cloned()
            .collect();
        if !lacking.is_empty() {
            return Err(needs(lacking));
        }
        let last = source.steps.len().saturating_sub(1);
        for (index, step) in source.steps.iter().enumerate() {
            let key = (self.chosen.adapter.slug.as_str().to_owned(), source.name.clone(), step.name);
            if step.keep_s.is_some()
                && let Some(taken) = self.tools.kept_token(&key)
            {
                self.taken.extend(taken);
                self.used_kept_token = true;
                continue;
            }
            let conditional = index == last && self.answers.iter().all(|answer| !answer.speaks);
            self.step(step, conditional).await?;
            if index < last {
                self.take(step, key)?;
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step, conditional: bool) -> Progress {
        let mut outgoing = self.outgoing(step)?;
        let source = self.chosen.source();
        let validators = self.memory.validators_for(&self.chosen.adapter.version, &source.name);
        // Without the normalizer's memory, "the same as before" would mean nothing to it.
        let useful = conditional && !self.request.memories.normalizer.is_empty();
        let mut asked_if_changed = false;
        if let Some(validators) = validators.filter(|_| useful && outgoing.method == reqwest::Method::GET) {
            let conditions = [
                (header::IF_NONE_MATCH, validators.etag.clone()),
                (header::IF_MODIFIED_SINCE, validators.last_modified.clone()),
            ];
            for (name, value) in conditions.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                outgoing.headers.push((name.as_str().to_owned(), value));
                asked_if_changed = true;
            }
        }
        let bounds = self.bounds(&outgoing.url);
        if source.kind == SourceKind::Page {
            self.ask_robots(&outgoing.url, &bounds).await?;
        }
        let sent = self.tools.exchange.send(self.turnstile, outgoing, &self.jar, &bounds, &mut self.spent).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(failure) => return Err(self.failed(step, failure)),
        };
        if asked_if_changed && answer.status == 304 {
            return Err(Box::new(Verdict::NotModified));
        }
        let decided = classify::by_status(&answer, self.tools.clocks.wall());
        let refused = decided.as_ref().is_some_and(|decided| decided.class == OutcomeClass::Blocked);
        self.keep(step, answer);
        if refused && self.used_kept_token {
            return Err(Box::new(Verdict::TokenRefused));
        }
        match decided {
            Some(decided) => Err(verdict(decided.class, decided.detail, Some(decided.signal))),
            None => Ok(()),
        }
    }

    /// The request of a step, sent to a simulator where the carrier is routed.
    fn outgoing(&self, step: &Step) -> Result<Outgoing, Box<Verdict>> {
        let context = Context {
            number: self.request.number.as_str(),
            params: &self.request.params,
            secrets: &self.chosen.secrets,
            taken: &self.taken,
            lang: self.chosen.adapter.languages.first().map_or("en", String::as_str),
        };
        let request = step.request(&context).map_err(|error| match error {
            RequestError::NeedsData(names) => needs(names),
            RequestError::Secrets(_) => verdict(OutcomeClass::AdapterDisabled, error.to_string(), None),
            RequestError::NotTaken(_) => verdict(OutcomeClass::Unreadable, error.to_string(), Some(Signal::Unreadable)),
            RequestError::Header(_) => verdict(OutcomeClass::NeedsData, error.to_string(), None),
        })?;
        let own = Url::parse(&request.url);
        let url = match &self.chosen.route {
            Some(route) => own.and_then(|own| self.routed(route, &route.to, step.name.as_str(), own.query())),
            None => own,
        };
        let url = url.map_err(|_| verdict(OutcomeClass::Unreadable, "the step's URL is none once filled in", None))?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        Ok(Outgoing { method, url, headers: request.headers, body: request.body })
    }

    fn routed(&self, route: &Route, to: &str, step: &str, query: Option<&str>) -> Result<Url, url::ParseError> {
        let number: String = url::form_urlencoded::byte_serialize(self.request.number.as_str().as_bytes()).collect();
        let filled = to
            .replace("{carrier}", route.carrier.as_str())
            .replace("{source}", &self.chosen.source().name)
            .replace("{step}", step)
            .replace("{number}", &number);
        let mut url = Url::parse(&filled)?;
        if let Some(query) = query {
            let joined = url.query().map_or_else(|| query.to_owned(), |own| format!("{own}&{query}"));
            url.set_query(Some(&joined));
        }
        Ok(url)
    }

    /// A routed carrier may reach the simulator and nothing else; others what their adapter declares.
    fn bounds(&self, url: &Url) -> Bounds {
        let hosts = match &self.chosen.route {
            Some(_) => url.host_str().map(str::to_owned).into_iter().collect(),
            None => self.chosen.adapter.hosts.clone(),
        };
        Bounds { hosts, deadline: self.request.expires_at }
    }

    /// Pages are asked for only as robots.txt allows. A routed carrier has one only if its route says where.
    async fn ask_robots(&mut self, url: &Url, bounds: &Bounds) -> Progress {
        let place = match &self.chosen.route {
            Some(route) => match route.robots.as_ref().map(|to| self.routed(route, to, "robots", None)) {
                Some(Ok(place)) => place,
                Some(Err(_)) => return Err(verdict(OutcomeClass::CarrierDown, "the route's robots is no URL", None)),
                None => return Ok(()),
            },
            None => {
                let mut place = url.clone();
                place.set_path("/robots.txt");
                place.set_query(None);
                place.set_fragment(None);
                place
            }
        };
        let robots = self.tools.robots.clone();
        let host = url.host_str().unwrap_or_default().to_owned();
        let found = robots.get(self.tools, self.turnstile, place, bounds, &mut self.spent).await;
        let at = self.tools.clocks.wall();
        let known = match found {
            Ok(known) => known,
            Err(Failure::Stopped(stop)) => return Err(self.stopped(stop)),
            // RFC 9309, 2.3.1.4: a file that cannot be had forbids everything.
            Err(Failure::Unavailable(detail) | Failure::Unreadable(detail, _)) => {
                let because = format!("robots.txt: {detail}");
                let told = RobotsVerdict { allowed: false, because: because.clone(), at, until: None };
                self.turnstile.note_robots(&host, told).await;
                return Err(verdict(OutcomeClass::CarrierDown, because, Some(Signal::Unavailable)));
            }
        };
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let allowed = known.robots.allows(path);
        let told = RobotsVerdict { allowed, because: known.because.clone(), at: known.since, until: Some(known.until) };
        self.turnstile.note_robots(&host, told).await;
        if allowed {
            return Ok(());
        }
        Err(verdict(OutcomeClass::RefusesAutomation, "robots.txt disallows this page to programs", None))
    }

    fn keep(&mut self, step: &Step, answer: Incoming) {
        self.answers.push(Kept {
            step: step.name.as_str(),
            status: answer.status,
            content_type: answer.content_type().unwrap_or_default().to_owned(),
            speaks: !matches!(step.name, StepName::Token | StepName::Cookie),
            body: answer.body,
        });
        self.headers.push(answer.headers);
    }

    fn take(&mut self, step: &Step, key: TokenKey) -> Progress {
        let guarded = catch_unwind(AssertUnwindSafe(|| self.take_values(step, key)));
        guarded.unwrap_or_else(|_| Err(Box::new(Verdict::Panicked)))
    }

    fn take_values(&mut self, step: &Step, key: TokenKey) -> Progress {
        let answers = self.borrowed();
        let Some(answer) = answers.last() else { return Ok(()) };
        match step.take(answer) {
            Ok(taken) => {
                if let Some(seconds) = step.keep_s {
                    self.tools.keep_token(key, &taken, seconds);
                }
                self.taken.extend(taken);
                Ok(())
            }
            Err(absent) => {
                // A page of a bot protection, or a plain "not found", may stand where the value was expected.
                let all = Answers { number: Some(self.request.number.as_str()), list: &answers };
                let read = (self.tools.read)(&self.chosen.adapter, &all);
                if read.class != OutcomeClass::Unreadable {
                    let signal = classify::signal_of(read.class);
                    let needs = read.needs.clone();
                    let class = if read.class.is_reading() { OutcomeClass::Unreadable } else { read.class };
                    let detail = read.detail.unwrap_or_else(|| format!("the step {} ended the look-up", step.name));
                    return Err(Box::new(Verdict::Class { class, detail, signal, not_before: None, needs }));
                }
                let detail = format!("the step {} brought no {}", step.name, absent.join(", "));
                Err(verdict(OutcomeClass::Unreadable, detail, Some(Signal::Unreadable)))
            }
        }
    }

    fn borrowed(&self) -> Vec<Answer<'_>> {
        self.answers.iter().zip(&self.headers).map(|(kept, headers)| answer_of(kept, headers)).collect()
    }

    fn failed(&mut self, step: &Step, failure: Failure) -> Box<Verdict> {
        match failure {
            Failure::Stopped(stop) => self.stopped(stop),
            Failure::Unavailable(detail) => verdict(OutcomeClass::CarrierDown, detail, Some(Signal::Unavailable)),
            Failure::Unreadable(detail, body) => {
                if !body.is_empty() {
                    self.keep(step, Incoming { status: 0, headers: Vec::new(), body });
                }
                verdict(OutcomeClass::Unreadable, detail, Some(Signal::Unreadable))
            }
        }
    }

    fn stopped(&self, stop: Stop) -> Box<Verdict> {
        let later = self.tools.clocks.wall().plus_ms(LATER_MS);
        let deferred = |detail: &str, not_before| {
            let (class, detail) = (OutcomeClass::Deferred, detail.to_owned());
            Box::new(Verdict::Class { class, detail, signal: None, not_before: Some(not_before), needs: Vec::new() })
        };
        match stop {
            Stop::Lost => Box::new(Verdict::Abandoned),
            Stop::Closed(Closed::Until(until, reason)) => deferred(closed_because(reason), until),
            Stop::Closed(Closed::Refused) => verdict(
                OutcomeClass::RefusesAutomation,
                "the carrier refuses automation; a person may lift the mark",
                None,
            ),
            Stop::TooLate(not_before) => deferred("the budget left no room before its expiry", not_before),
            Stop::NoTerms => deferred("the budget's figures cannot be applied", later),
        }
    }

    async fn finish(self, came_to: Progress) -> Ended {
        let (fetched_at, seen_at) = (self.tools.clocks.wall(), self.tools.clocks.journey());
        let (mut not_modified, mut known_signal, mut later) = (false, None, None);
        let (mut adapter, mut beside) = (Reading::None, Beside::default());
        let outcome = match came_to.map_err(|end| *end) {
            Ok(()) => {
                let outcome;
                (outcome, adapter, beside) = self.read().await;
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
        let validators = match outcome.class {
            OutcomeClass::Tracked if not_modified => self.memory.validators.clone(),
            OutcomeClass::Tracked if self.answers.iter().filter(|answer| answer.speaks).count() == 1 => {
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
            answers: self.answers,
            spent: self.spent,
            not_before: later,
            fetched_at,
            seen_at,
            signal,
            adapter,
            beside,
        }))
    }

    /// Reads the answers; beside that, what a candidate would have read, and which fields are new.
    async fn read(&self) -> (ReadOutcome, Reading, Beside) {
        let Ok(_permit) = self.tools.readers.clone().acquire_owned().await else {
            let closed = "the readers have been closed".to_owned();
            return (bare(OutcomeClass::Unreadable, Some(closed), Vec::new()), Reading::None, Beside::default());
        };
        let stable = &self.chosen.adapter;
        // A reader that panics is a fault of ours; the attempt still ends, and the bytes are kept.
        let Some(outcome) = self.read_with(stable).await else {
            let outcome = bare(OutcomeClass::Unreadable, Some(PANICKED.to_owned()), Vec::new());
            return (outcome, Reading::Panicked, Beside::default());
        };
        let mut beside = Beside::default();
        if outcome.class.is_reading() {
            beside.unknown_fields = self.unknown_fields().await;
        }
        if let Some(candidate) = self.chosen.shadow(&self.request.key().record_key()) {
            let tried = self.read_with(candidate).await;
            beside.trial = Some(compared((stable, &outcome), (candidate, tried.as_ref())));
        }
        (outcome, Reading::Sound, beside)
    }

    async fn read_with(&self, adapter: &Arc<Adapter>) -> Option<ReadOutcome> {
        let (adapter, number, read) = (Arc::clone(adapter), self.request.number.clone(), self.tools.read);
        let (answers, headers) = (self.answers.clone(), self.headers.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let list: Vec<Answer<'_>> =
                answers.iter().zip(&headers).map(|(kept, headers)| answer_of(kept, headers)).collect();
            read(&adapter, &Answers { number: Some(number.as_str()), list: &list })
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

fn answer_of<'a>(kept: &'a Kept, headers: &'a [(String, String)]) -> Answer<'a> {
    let content_type = Some(kept.content_type.as_str()).filter(|text| !text.is_empty());
    Answer { step: kept.step, status: kept.status, content_type, charset: None, headers, body: &kept.body }
}

fn needs(names: Vec<String>) -> Box<Verdict> {
    let detail = format!("the carrier needs {}", names.join(", "));
    Box::new(Verdict::Class { class: OutcomeClass::NeedsData, detail, signal: None, not_before: None, needs: names })
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
        spent: 0,
        not_before: None,
        fetched_at: clocks.wall(),
        seen_at: clocks.journey(),
        signal: None,
        adapter: Reading::Sound,
        beside: Beside::default(),
    }
}
