//! Everything that was answered, written down before the answer leaves: the independent truth for what must be stored and
//! for whether a budget was ever exceeded.
//!
//! Contract: [`Ledger::record`] returns only when the entry has been handed to the operating system; the answer is sent
//! afterwards. So whatever anybody has read is in the ledger, also after kill -9 of this process. What is in the ledger
//! may not have been read by anybody (its reader died): since pages only grow, a later look shows it again.
//!
//! On disk: `ledger.ndjson`, a first line that names the plan, then a line per answer. A last line without its end is what
//! a killed writer left and is cut off; any other unreadable line is an error.
//! In memory: events per number of the plan, at most [`MOST_ARRIVALS`] newest arrivals per carrier and [`MOST_ANSWERS`]
//! newest answers.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Newest arrivals kept per carrier: more than a day at the fastest of these carriers' rates would be 2 million.
pub const MOST_ARRIVALS: usize = 2_000_000;
/// Newest answers kept.
pub const MOST_ANSWERS: usize = 100_000;
/// The file's name.
const FILE: &str = "ledger.ndjson";

/// An event as a careful reader must extract it from the answer (NRM-1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shown {
    /// The time as printed; date and time of separate fields joined by one space.
    pub time_raw: String,
    /// What happened, in the carrier's words.
    pub text: String,
    /// The place as printed.
    #[serde(default)]
    pub location: Option<String>,
    /// The carrier's code.
    #[serde(default)]
    pub code: Option<String>,
}

/// What kind of answer it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// The events so far.
    Events,
    /// The same as the reader has already (304).
    NotModified,
    /// The carrier knows the number and has no scan of it.
    Announced,
    /// The carrier does not know the number.
    NotFound,
    /// A token, a cookie: a step on the way.
    Step,
    /// The token was missing or wrong, or data beyond the number.
    Refused,
    /// A layout that no adapter knows, by the plan.
    ChangedLayout,
    /// Recorded bytes.
    Replay,
    /// No such carrier, step or case (404).
    Unknown,
    /// Misbehaviour on request: its name.
    Misbehaved(String),
}

impl AnswerKind {
    /// Whether only a number that exists is answered so.
    fn proves_known(&self) -> bool {
        matches!(self, Self::Events | Self::NotModified | Self::Announced | Self::ChangedLayout | Self::Replay)
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// When its request arrived: wall time in microseconds.
    pub at_us: i64,
    /// Journey time of the arrival, in milliseconds.
    pub journey_ms: i64,
    /// Whom it was addressed to.
    pub carrier: String,
    /// The adapter's source.
    pub source: String,
    /// The step.
    pub step: String,
    /// The number as it was asked.
    pub number: String,
    /// HTTP status.
    pub status: u16,
    /// What was answered.
    pub kind: AnswerKind,
}

/// What is known of one number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NumberTruth {
    /// Every event ever shown, in the order of appearance; equal ones are separate events.
    pub events: Vec<Shown>,
    /// Requests for it since it was first answered for.
    pub requests: u64,
}

/// The ledger cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system said no.
    #[error("the ledger {path} cannot be used: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line in the middle is not a ledger's.
    #[error("line {line} of the ledger {path} is not readable ({why}); move the file away to begin a new ledger")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It was written for another plan.
    #[error(
        "the ledger {path} belongs to another plan; use the same seed, number of parcels and clock, or another folder"
    )]
    OtherPlan {
        /// Which file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    answered: Answered,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    new: Vec<Shown>,
}

/// See the module's contract. Shared between the server and whoever checks.
#[derive(Debug)]
pub struct Ledger {
    path: Option<PathBuf>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<File>,
    /// Length of the file up to its last whole line.
    written: u64,
    numbers: BTreeMap<String, BTreeMap<String, NumberTruth>>,
    arrivals: BTreeMap<String, VecDeque<i64>>,
    answers: VecDeque<Answered>,
}

impl Ledger {
    /// A ledger that lives in memory only.
    pub fn in_memory() -> Self {
        Self { path: None, inner: Mutex::default() }
    }

    /// Opens or begins the ledger in a folder. `plan` names what is answered from; a ledger of another plan is refused.
    ///
    /// # Errors
    /// [`LedgerError`], one sentence with the place and the remedy.
    pub fn open(folder: &Path, plan: &str) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let failed = |source| LedgerError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        // Not in append mode: a line that could be written only in part is cut off again.
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut inner = Inner::default();
        inner.written = inner.replay(&file, &path, plan)?;
        file.set_len(inner.written).map_err(failed)?;
        file.seek(SeekFrom::Start(inner.written)).map_err(failed)?;
        if inner.written == 0 {
            let head = format!("{}\n", serde_json::json!({ "plan": plan }));
            file.write_all(head.as_bytes()).map_err(failed)?;
            inner.written = head.len() as u64;
        }
        inner.file = Some(file);
        Ok(Self { path: Some(path), inner: Mutex::new(inner) })
    }

    /// Writes an answer down before it is sent. `shown` is everything the answer shows, in the order of appearance; empty
    /// for answers without events.
    ///
    /// # Errors
    /// The entry could not be written; the answer must not be sent then.
    pub fn record(&self, answered: Answered, shown: &[Shown]) -> Result<(), LedgerError> {
        self.lock()
            .record(answered, shown)
            .map_err(|source| LedgerError::Io { path: self.path.clone().unwrap_or_default(), source })
    }

    /// Every event ever shown of a number, in the order of appearance: what must have been stored.
    pub fn events_of(&self, carrier: &str, number: &str) -> Vec<Shown> {
        let inner = self.lock();
        inner.numbers.get(carrier).and_then(|of| of.get(number)).map(|truth| truth.events.clone()).unwrap_or_default()
    }

    /// Every number that was asked for and is known: (carrier, number).
    pub fn all_numbers(&self) -> Vec<(String, String)> {
        let inner = self.lock();
        let of = |(carrier, numbers): (&String, &BTreeMap<String, NumberTruth>)| {
            numbers.keys().map(|number| (carrier.clone(), number.clone())).collect::<Vec<_>>()
        };
        inner.numbers.iter().flat_map(of).collect()
    }

    /// What is known of a number.
    pub fn truth_of(&self, carrier: &str, number: &str) -> Option<NumberTruth> {
        self.lock().numbers.get(carrier)?.get(number).cloned()
    }

    /// Carriers that anything arrived for.
    pub fn carriers(&self) -> Vec<String> {
        self.lock().arrivals.keys().cloned().collect()
    }

    /// When requests for these carriers (that share a budget) arrived: wall time in microseconds, rising. Misbehaved
    /// answers, tokens and redirects count: they were requests.
    pub fn arrivals(&self, carriers: &[&str]) -> Vec<i64> {
        let inner = self.lock();
        let mut all: Vec<i64> =
            carriers.iter().filter_map(|carrier| inner.arrivals.get(*carrier)).flatten().copied().collect();
        all.sort_unstable();
        all
    }

    /// The newest answers, oldest first.
    pub fn answers(&self) -> Vec<Answered> {
        self.lock().answers.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held cannot have left half an entry: memory changes after the file was written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn record(&mut self, answered: Answered, shown: &[Shown]) -> io::Result<()> {
        self.arrive(&answered);
        let known = self
            .numbers
            .get(&answered.carrier)
            .and_then(|of| of.get(&answered.number))
            .map_or(0, |truth| truth.events.len());
        let line = Line { answered, new: shown.get(known..).unwrap_or_default().to_vec() };
        if let Some(file) = &mut self.file {
            let mut text = serde_json::to_vec(&line).map_err(io::Error::other)?;
            text.push(b'\n');
            if let Err(error) = file.write_all(&text) {
                // Half a line would spoil every line behind it.
                file.set_len(self.written)?;
                file.seek(SeekFrom::Start(self.written))?;
                return Err(error);
            }
            self.written += text.len() as u64;
        }
        self.remember(line);
        Ok(())
    }

    fn remember(&mut self, line: Line) {
        let Line { answered, new } = line;
        let of_carrier = self.numbers.entry(answered.carrier.clone()).or_default();
        // Numbers that nobody knows are not remembered: memory is bounded by the plan and the recordings.
        let is_known = answered.kind.proves_known() || of_carrier.contains_key(&answered.number);
        if is_known {
            let truth = of_carrier.entry(answered.number.clone()).or_default();
            truth.requests += 1;
            truth.events.extend(new);
        }
        push_bounded(&mut self.answers, answered, MOST_ANSWERS);
    }

    /// An arrival counts also when nothing of it could be written down.
    fn arrive(&mut self, answered: &Answered) {
        let arrivals = self.arrivals.entry(answered.carrier.clone()).or_default();
        push_bounded(arrivals, answered.at_us, MOST_ARRIVALS);
    }

    /// Reads a file from its beginning; answers the length up to its last whole line.
    fn replay(&mut self, file: &File, path: &Path, plan: &str) -> Result<u64, LedgerError> {
        let failed = |source| LedgerError::Io { path: path.to_owned(), source };
        let mut reader = BufReader::new(file);
        let (mut text, mut whole, mut line) = (Vec::new(), 0_u64, 0);
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text).map_err(failed)?;
            if length == 0 || text.last() != Some(&b'\n') {
                return Ok(whole);
            }
            line += 1;
            let corrupt =
                |error: serde_json::Error| LedgerError::Corrupt { path: path.to_owned(), line, why: error.to_string() };
            if line == 1 {
                let head: serde_json::Value = serde_json::from_slice(&text).map_err(corrupt)?;
                if head.get("plan").and_then(serde_json::Value::as_str) != Some(plan) {
                    return Err(LedgerError::OtherPlan { path: path.to_owned() });
                }
            } else {
                let line: Line = serde_json::from_slice(&text).map_err(corrupt)?;
                self.arrive(&line.answered);
                self.remember(line);
            }
            whole += length as u64;
        }
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn answered(at_us: i64, number: &str, kind: AnswerKind) -> Answered {
        let text = |text: &str| text.to_owned();
        Answered {
            at_us,
            journey_ms: at_us / 1_000,
            carrier: text("aurora-post"),
            source: text("page"),
            step: text("page"),
            number: text(number),
            status: 200,
            kind,
        }
    }

    fn shown(texts: &[&str]) -> Vec<Shown> {
        let one = |text: &&str| Shown { time_raw: "1".into(), text: (*text).to_owned(), location: None, code: None };
        texts.iter().map(one).collect()
    }

    #[test]
    fn what_was_shown_is_remembered_once_and_survives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "plan 1").unwrap();
        ledger.record(answered(10, "A1", AnswerKind::Events), &shown(&["a", "a"])).unwrap();
        ledger.record(answered(20, "A1", AnswerKind::Events), &shown(&["a", "a", "b"])).unwrap();
        ledger.record(answered(30, "A1", AnswerKind::Misbehaved("cut".into())), &[]).unwrap();
        ledger.record(answered(40, "NOBODY", AnswerKind::NotFound), &[]).unwrap();
        drop(ledger);
        // A writer killed in the middle of a line.
        let path = folder.path().join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at_us\":50,\"journ").unwrap();

        let again = Ledger::open(folder.path(), "plan 1").unwrap();
        assert_eq!(again.events_of("aurora-post", "A1"), shown(&["a", "a", "b"]));
        assert_eq!(again.all_numbers(), [("aurora-post".to_owned(), "A1".to_owned())]);
        assert_eq!(again.arrivals(&["aurora-post"]), [10, 20, 30, 40]);
        again.record(answered(60, "A1", AnswerKind::Events), &shown(&["a", "a", "b", "c"])).unwrap();
        drop(again);
        let third = Ledger::open(folder.path(), "plan 1").unwrap();
        assert_eq!(third.events_of("aurora-post", "A1"), shown(&["a", "a", "b", "c"]));
    }

    #[test]
    fn another_plan_and_a_spoilt_line_are_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        Ledger::open(folder.path(), "plan 1").unwrap().record(answered(1, "A1", AnswerKind::Step), &[]).unwrap();
        let other = Ledger::open(folder.path(), "plan 2").unwrap_err();
        assert!(matches!(other, LedgerError::OtherPlan { .. }));
        let path = folder.path().join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"nonsense\n").unwrap();
        let spoilt = Ledger::open(folder.path(), "plan 1").unwrap_err().to_string();
        assert!(spoilt.starts_with("line 3 of the ledger "), "{spoilt}");
    }
}
