//! The steps of one look-up, each through the turnstile.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use reqwest::{cookie::Jar, header};
use url::Url;
use waybill_adapters::{
    self as engine, Answer, Answers, Asked, Context, Method, RequestError, SourceKind, Step, StepName,
};
use waybill_politeness::breaker::Signal;
use waybill_schemas::{OutcomeClass, WallMs, fetch::FetchRequest, politeness::RobotsVerdict};

use super::{
    Ended, Tools, Wanted,
    tokens::{Taken, TokenKey},
};
use crate::{
    admission::closed_because,
    budget::Closed,
    choose::Chosen,
    classify,
    config::Route,
    exchange::{Bounds, Failure, Incoming, MAX_REDIRECTS, Outgoing, Sent, too_many_redirects},
    memory::FetcherMemory,
    payload::Kept,
    turnstile::{Stop, Turnstile},
};

/// Pause after which a number may be tried again when nothing better is known, in ms.
const LATER_MS: i64 = 60_000;

/// A look-up under way.
pub(super) struct Run<'a> {
    pub(super) tools: &'a Tools,
    pub(super) chosen: &'a Chosen,
    turnstile: &'a Arc<Turnstile>,
    /// The first number's request; parameters are the same for all.
    request: &'a FetchRequest,
    memory: &'a FetcherMemory,
    /// All the numbers that the requests ask for, this one's first.
    numbers: Vec<&'a str>,
    /// When the first of them expires: nothing is sent after.
    deadline: WallMs,
    jar: Jar,
    taken: Taken,
    pub(super) answers: Vec<Kept>,
    /// Headers of the answers, in the same order.
    pub(super) headers: Vec<Vec<(String, String)>>,
    pub(super) spent: u32,
    /// Kept tokens that were used.
    used: Vec<(TokenKey, Taken)>,
}

/// Either the look-up goes on, or it has come to this.
pub(super) type Progress = Result<(), Box<Verdict>>;

#[derive(Clone)]
pub(super) enum Verdict {
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

impl<'a> Run<'a> {
    /// A look-up of these numbers, after `spent` requests of an earlier try.
    pub(super) fn of(
        tools: &'a Tools,
        turnstile: &'a Arc<Turnstile>,
        chosen: &'a Chosen,
        all: &[Wanted<'a>],
        spent: u32,
    ) -> Option<Self> {
        let first = all.first()?;
        Some(Self {
            tools,
            chosen,
            turnstile,
            request: first.request,
            memory: first.memory,
            numbers: all.iter().map(|wanted| wanted.request.number.as_str()).collect(),
            deadline: all.iter().map(|wanted| wanted.request.expires_at).min()?,
            jar: Jar::default(),
            taken: Taken::new(),
            answers: Vec::new(),
            headers: Vec::new(),
            spent,
            used: Vec::new(),
        })
    }

    /// Whether the answer is to be told apart by numbers.
    pub(super) fn asked(&self) -> Asked {
        if self.numbers.len() > 1 { Asked::Several } else { Asked::One }
    }

    /// By a status, or by a marker of the adapter in an answer that looks fine. A page that keeps programs out is neither.
    pub(super) fn kept_token_was_refused(&self, came_to: &Progress, ended: &[Ended]) -> bool {
        match came_to {
            Err(end) => matches!(**end, Verdict::TokenRefused),
            Ok(()) if self.used.is_empty() => false,
            Ok(()) => ended.iter().all(|ended| match ended {
                Ended::Result(found) => {
                    found.outcome.class == OutcomeClass::Blocked && !found.outcome.reader.is_empty()
                }
                Ended::Abandoned => false,
            }),
        }
    }

    pub(super) fn throw_kept_tokens_away(&self) {
        for (key, taken) in &self.used {
            self.tools.tokens.throw_away(key, taken);
        }
    }

    pub(super) async fn steps(&mut self) -> Progress {
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
            let mut turn = None;
            if step.keep_s.is_some() {
                let mut kept = self.kept(&key);
                if kept.is_none() {
                    turn = Some(self.tools.tokens.turn(&key).await);
                    kept = self.kept(&key);
                }
                if let Some(taken) = kept {
                    self.taken.extend(taken.clone());
                    self.used.push((key, taken));
                    continue;
                }
            }
            // What is the same for several is not the same for each.
            let alone = self.numbers.len() == 1;
            let conditional = alone && index == last && self.answers.iter().all(|answer| !answer.speaks);
            self.step(step, conditional).await?;
            if index < last {
                self.take(step, key)?;
            }
            drop(turn);
        }
        Ok(())
    }

    /// A token of an earlier look-up that is still good.
    fn kept(&self, key: &TokenKey) -> Option<Taken> {
        self.tools.tokens.get(key, self.tools.clocks.wall())
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
        let answer = self.send(step, outgoing, source.kind).await?;
        if asked_if_changed && answer.status == 304 {
            return Err(Box::new(Verdict::NotModified));
        }
        let decided = classify::by_status(&answer, self.tools.clocks.wall());
        let refused = decided.as_ref().is_some_and(|decided| decided.class == OutcomeClass::Blocked);
        self.keep(step, answer);
        if refused && !self.used.is_empty() {
            return Err(Box::new(Verdict::TokenRefused));
        }
        match decided {
            Some(decided) => Err(verdict(decided.class, decided.detail, Some(decided.signal))),
            None => Ok(()),
        }
    }

    /// Sends a step's request and follows its redirects; of a page, robots.txt is asked at each.
    async fn send(&mut self, step: &Step, mut outgoing: Outgoing, kind: SourceKind) -> Result<Incoming, Box<Verdict>> {
        let bounds = self.bounds(&outgoing.url);
        for _ in 0..=MAX_REDIRECTS {
            if kind == SourceKind::Page {
                let reachable = self.tools.exchange.may_reach(&outgoing.url, &bounds);
                reachable.map_err(|failure| self.failed(step, failure))?;
                self.ask_robots(&outgoing.url, &bounds).await?;
            }
            let exchange = &self.tools.exchange;
            let sent = exchange.send_once(self.turnstile, outgoing, &self.jar, &bounds, &mut self.spent).await;
            match sent.map_err(|failure| self.failed(step, failure))? {
                Sent::Answered(answer) => return Ok(answer),
                Sent::Redirected(next) => outgoing = next,
            }
        }
        Err(self.failed(step, too_many_redirects()))
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
        let request = step.request_of_batch(&context, &self.numbers).map_err(|error| match error {
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
        let escaped = |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let filled = to
            .replace("{carrier}", route.carrier.as_str())
            .replace("{source}", &self.chosen.source().name)
            .replace("{step}", step)
            .replace("{number}", &escaped(self.request.number.as_str()))
            .replace("{numbers}", &self.numbers.iter().map(|number| escaped(number)).collect::<Vec<_>>().join(","));
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
        Bounds { hosts, deadline: self.deadline }
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
                if let Some(seconds) = step.keep_for_s(&taken) {
                    let until = self.tools.clocks.wall().plus_ms(i64::from(seconds) * 1_000);
                    self.tools.tokens.keep(key, &taken, until);
                }
                self.taken.extend(taken);
                Ok(())
            }
            Err(absent) => {
                // A page of a bot protection, or a plain "not found", may stand where the value was expected.
                let all = Answers { number: Some(self.request.number.as_str()), list: &answers };
                let reading = engine::Reading { asked: self.asked(), ..engine::Reading::default() };
                let read = (self.tools.read)(&self.chosen.adapter, &all, reading);
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
}

pub(super) fn answer_of<'a>(kept: &'a Kept, headers: &'a [(String, String)]) -> Answer<'a> {
    let content_type = Some(kept.content_type.as_str()).filter(|text| !text.is_empty());
    Answer { step: kept.step, status: kept.status, content_type, charset: None, headers, body: &kept.body }
}

fn needs(names: Vec<String>) -> Box<Verdict> {
    let detail = format!("the carrier needs {}", names.join(", "));
    Box::new(Verdict::Class { class: OutcomeClass::NeedsData, detail, signal: None, not_before: None, needs: names })
}
