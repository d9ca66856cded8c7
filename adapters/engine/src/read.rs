//! Reading the answers of a look-up: decoding, finding the reader, merging what belongs together, judging the outcome.

use std::cell::OnceCell;

use waybill_schemas::{OutcomeClass, SubStatus, limits::MAX_ANSWER_BYTES};

use crate::{
    adapter::Adapter,
    answer::{Answer, Answers, ReadOutcome, Reading},
    charset,
    condition::Condition,
    explain::{ExplainedAnswer, ExplainedMarker, ExplainedReader, Tried},
    field::Place,
    guard,
    html::Document,
    node::Node,
    reader::{self, Decision, Entry, Reader},
    spec::{Shape, StepName},
    work,
};

/// Signs of a page that a bot protection shows instead of an answer. Asked only when no reader knows the answer.
const CHALLENGES: [&str; 9] = [
    "<title>access denied",
    "<title>just a moment",
    "<title>attention required",
    "_incapsula_resource",
    "cf-chl-",
    "px-captcha",
    "captcha-delivery.com",
    "verify you are a human",
    "awswafcookiedomainlist",
];

/// An answer on its way through the readers.
struct Opened<'a> {
    answer: &'a Answer<'a>,
    reading: Reading<'a>,
    text: Result<String, String>,
    html: OnceCell<Option<Document>>,
}

impl Adapter {
    /// Reads the answers of one look-up. Pure: no clock, no network; never panics, whatever the bytes.
    ///
    /// The first reader whose recogniser accepts an answer reads it, the latest answer being tried first. No reader, or
    /// no rows without an explicit message, is `unreadable`: never "no result".
    pub fn read(&self, answers: &Answers<'_>) -> ReadOutcome {
        self.read_with(answers, Reading::default())
    }

    /// The same, with what a reading may depend on beside the answers.
    pub fn read_with(&self, answers: &Answers<'_>, reading: Reading<'_>) -> ReadOutcome {
        work::bounded(|| {
            let outcome = self.read_all(answers, reading);
            if work::over() { ReadOutcome::unreadable(&outcome.reader, work::TOO_MUCH).sealed() } else { outcome }
        })
    }

    fn read_all(&self, answers: &Answers<'_>, reading: Reading<'_>) -> ReadOutcome {
        let opened: Vec<Opened<'_>> = answers.list.iter().map(|answer| self.open(answer, reading)).collect();
        for reader in &self.readers {
            for (index, candidate) in opened.iter().enumerate().rev() {
                if let Some(outcome) = self.try_reader(reader, candidate, &opened, index, answers.number) {
                    return outcome.sealed();
                }
            }
        }
        unknown(&opened).sealed()
    }

    /// Which readers were tried on which answers, what the one that accepted finds, and what made the outcome.
    pub(crate) fn tried(&self, answers: &Answers<'_>, reading: Reading<'_>, outcome: &ReadOutcome) -> Tried {
        let place_of = |line: Option<u64>| line.map(|line| format!("{}/adapter.yaml:{line}", self.slug));
        let opened: Vec<Opened<'_>> = answers.list.iter().map(|answer| self.open(answer, reading)).collect();
        let shown = opened.iter().map(|opened| ExplainedAnswer {
            step: opened.answer.step.to_owned(),
            status: opened.answer.status,
            bytes: opened.answer.body.len(),
            content_type: opened.answer.content_type.map(str::to_owned),
            charset: match &opened.text {
                Ok(_) => self.charset.name_for(opened.answer.body, opened.stated()).to_owned(),
                Err(why) => why.clone(),
            },
        });
        let mut tried = Tried { answers: shown.collect(), readers: Vec::new(), tables: Vec::new(), decided: None };
        for reader in &self.readers {
            for candidate in opened.iter().rev() {
                let refused = candidate.refused_by(&reader.entry);
                let accepted = candidate.with(&reader.entry, |place| {
                    tried.tables = reader.explain(place, answers.number);
                    let decision = reader.decided(place, answers.number, outcome.class);
                    let decision = decision.filter(|_| outcome.events.is_empty());
                    tried.decided = decision.map(|Decision { key, line, because }| ExplainedMarker {
                        marker: key,
                        place: place_of(line),
                        because,
                    });
                    reader.entry.accept.holding(place)
                });
                let is_last = accepted.is_some();
                let (name, step) = (reader.name.clone(), candidate.answer.step.to_owned());
                let place = place_of(reader.entry.line);
                tried.readers.push(ExplainedReader { reader: name, step, refused, accepted, place });
                if is_last {
                    return tried;
                }
            }
        }
        tried
    }

    fn open<'a>(&self, answer: &'a Answer<'a>, reading: Reading<'a>) -> Opened<'a> {
        let stated = stated(answer);
        let text = if answer.body.len() > MAX_ANSWER_BYTES {
            Err(format!("the answer is larger than {MAX_ANSWER_BYTES} bytes"))
        } else {
            let decoded = self.charset.decode(answer.body, stated);
            decoded.map_err(|wrong| format!("the answer is not valid {}", wrong.0))
        };
        Opened { answer, reading, text, html: OnceCell::new() }
    }

    fn try_reader(
        &self,
        reader: &Reader,
        candidate: &Opened<'_>,
        all: &[Opened<'_>],
        index: usize,
        number: Option<&str>,
    ) -> Option<ReadOutcome> {
        candidate.with(&reader.entry, |place| {
            let mut outcome = reader.read(place, number);
            if outcome.class != OutcomeClass::Tracked {
                return outcome;
            }
            if !reader.may_lack_end
                && let Some(why) = cut_off(place.body, &reader.entry)
            {
                return ReadOutcome::unreadable(&reader.name, why);
            }
            for part in &reader.also {
                let mut others = all.iter().enumerate().filter(|(other, _)| *other != index);
                let merged = others
                    .by_ref()
                    .rev()
                    .find_map(|(_, opened)| opened.with(&part.entry, |place| part.merge(place, number, &mut outcome)));
                if let Some(Err(why)) = merged {
                    return ReadOutcome::unreadable(&reader.name, why);
                }
            }
            if outcome.events.is_empty() {
                reader.without_rows(place, number, &mut outcome);
            } else if self.only_announced(&outcome) {
                outcome.class = OutcomeClass::RegisteredNoScan;
            }
            outcome
        })
    }

    /// Whether every event only announces the parcel: the carrier has not seen it.
    fn only_announced(&self, outcome: &ReadOutcome) -> bool {
        outcome.events.iter().all(|event| self.mapping.map(event).sub_status == Some(SubStatus::InfoReceived))
    }
}

/// The charset that came beside an answer.
fn stated<'a>(answer: &Answer<'a>) -> Option<&'a str> {
    answer.charset.or_else(|| answer.content_type.and_then(charset::of_content_type))
}

impl Opened<'_> {
    fn stated(&self) -> Option<&str> {
        stated(self.answer)
    }

    /// Why an entry does not take this answer, in words; `None` when it does.
    fn refused_by(&self, entry: &Entry) -> Option<String> {
        if self.with(entry, |_| ()).is_some() {
            return None;
        }
        let body = match &self.text {
            Ok(body) => body.as_str(),
            Err(why) => return Some(why.clone()),
        };
        if !entry.steps.is_empty() && !StepName::parse(self.answer.step).is_some_and(|step| entry.steps.contains(&step))
        {
            let wanted: Vec<&str> = entry.steps.iter().map(|step| step.as_str()).collect();
            return Some(format!("it reads only {}", wanted.join(", ")));
        }
        // The condition itself, asked of the whole document where that can be opened at all.
        let failing = self.with_if(entry, &Condition::default(), |place| entry.accept.failing(place));
        Some(failing.flatten().unwrap_or_else(|| match guard::refusal(entry.shape, body) {
            Some(why) => why,
            None if !entry.unwrap.is_empty() => "what it unwraps is not there".to_owned(),
            None => "the answer is not of its shape".to_owned(),
        }))
    }

    /// Opens the document an entry describes and, if its recogniser accepts it, hands it on.
    fn with<R>(&self, entry: &Entry, then: impl FnOnce(&Place<'_, '_>) -> R) -> Option<R> {
        self.with_if(entry, &entry.accept, then)
    }

    fn with_if<R>(&self, entry: &Entry, accept: &Condition, then: impl FnOnce(&Place<'_, '_>) -> R) -> Option<R> {
        let body = self.text.as_deref().ok()?;
        let step = StepName::parse(self.answer.step);
        if !entry.steps.is_empty() && !step.is_some_and(|step| entry.steps.contains(&step)) {
            return None;
        }
        if !accept.possible(body) {
            return None;
        }
        let mut inner = std::borrow::Cow::Borrowed(body);
        for stage in &entry.unwrap {
            inner = std::borrow::Cow::Owned(stage.apply(&inner)?.into_owned());
        }
        if !guard::plausible(entry.shape, &inner) {
            return None;
        }
        let run = |document: Node<'_>| {
            let ignored = reader::ignored(&document, &entry.ignore);
            let place = Place::whole(document, &ignored, body, self.answer.status);
            let place = Place { reading: self.reading, headers: self.answer.headers, ..place };
            accept.holds(&place).then(|| then(&place))
        };
        match entry.shape {
            Shape::Html if entry.unwrap.is_empty() => {
                run(Node::Html(self.html.get_or_init(|| Document::parse(body)).as_ref()?.root()))
            }
            Shape::Html => {
                let html = Document::parse(&inner)?;
                run(Node::Html(html.root()))
            }
            Shape::Json => {
                let value = guard::json(&inner)?;
                run(Node::Json(&value, None))
            }
            Shape::Xml => {
                let document = guard::xml_document(&inner)?;
                run(Node::Xml(document.root_element()))
            }
        }
    }
}

/// Why an answer is not whole: a page that began as one and has no end, or a part of one that ends within its rows.
fn cut_off(body: &str, entry: &Entry) -> Option<String> {
    let bytes = body.as_bytes();
    let is = |needle: &'static [u8]| move |window: &[u8]| window.eq_ignore_ascii_case(needle);
    // Each is looked for from the side where it stands.
    let begins = bytes[..bytes.len().min(8192)].windows(5).any(is(b"<html"));
    // What was taken out of another document ends where that says; the document itself need not be HTML.
    let part = entry.shape == Shape::Html && entry.unwrap.is_empty();
    if !(begins || part) || bytes.windows(6).rev().any(is(b"</html")) {
        return None;
    }
    if begins {
        return Some("the page is cut off: its end is missing".to_owned());
    }
    let open = guard::unclosed(bytes)?;
    Some(format!("the answer is cut off: its <{open}> is not closed"))
}

fn unknown(opened: &[Opened<'_>]) -> ReadOutcome {
    let Some(last) = opened.last() else { return ReadOutcome::unreadable("", "there is no answer to read") };
    let Ok(text) = &last.text else {
        return ReadOutcome::unreadable("", last.text.as_ref().err().cloned().unwrap_or_default());
    };
    let head: String = text.chars().take(20_000).flat_map(char::to_lowercase).collect();
    if CHALLENGES.iter().any(|sign| head.contains(sign)) {
        let mut outcome = ReadOutcome::new(OutcomeClass::Blocked, "");
        outcome.detail = Some("the carrier answered with a page for people that keeps programs out".to_owned());
        return outcome;
    }
    for shape in [Shape::Html, Shape::Xml] {
        if let Some(why) = guard::refusal(shape, text) {
            return ReadOutcome::unreadable("", why);
        }
    }
    ReadOutcome::unreadable("", "no reader of this carrier knows the answer")
}
