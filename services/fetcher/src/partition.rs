//! One partition while it is owned: its claim, the records of its budgets, which attempts are answered already, and the
//! workers of its budgets.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use waybill_log::{
    ClaimError, ErrorClass, Log, LogError, NewRecord, Ownership, ReadFrom, SharedLog, TopicPartition,
    claims::{self, ClaimTracker, Observed, Watch, epoch_headers},
    json_record,
    records::read_json,
};
use waybill_runtime::{ClockGate, Pulse};
use waybill_schemas::{
    BudgetName,
    fetch::{FetchRequest, FetchResult},
    politeness::FetcherBudgetRecord,
    topics::{TopicPrefix, names},
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    budget::Terms,
    terms::{Carriers, Fresh},
    turnstile::{RecordError, Recorder, Surroundings},
};

/// Without an acknowledged commit for this long nothing is sent any more (DESIGN §5, hand-over).
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// Attempts that are remembered as answered or under way.
const REMEMBERED: usize = 50_000;
const WATCH_WAIT: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 8 * 1024 * 1024;

/// Attempts that have their answer, or will get it from a look-up under way: repeats of them are dropped (FET-1).
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    known: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Attempts {
    fn id(request: &FetchRequest) -> u128 {
        xxh3_128(format!("{}:{}", request.key().record_key(), request.attempt).as_bytes())
    }

    /// Notes an attempt; tells whether it is new.
    pub(crate) fn note(&mut self, request: &FetchRequest) -> bool {
        let id = Self::id(request);
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// What booting a partition found.
pub(crate) struct Booted {
    pub(crate) partition: u32,
    pub(crate) epoch: u64,
    pub(crate) records: BTreeMap<String, FetcherBudgetRecord>,
    pub(crate) attempts: Attempts,
    pub(crate) claims: ClaimTracker,
    pub(crate) position: u64,
    pub(crate) watch: Watch,
}

/// Where a partition's consumption begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) partition: u32,
    /// The group's last commit, if any.
    pub(crate) committed: Option<u64>,
    /// Requests that may be without a result at once: bounds how far back results are read.
    pub(crate) max_open: usize,
}

/// Claims `carriers/p`, restores the budgets' records, and re-reads the last stretch of `fetch-results/p`.
pub(crate) async fn boot(
    log: SharedLog,
    topics: TopicPrefix,
    member: String,
    start: Start,
) -> Result<Booted, ClaimError> {
    let partition = start.partition;
    let carriers = TopicPartition::new(topics.of(names::CARRIERS), partition);
    let requests = TopicPartition::new(topics.of(names::FETCH_REQUESTS), partition);
    let epoch = claims::claim(&*log, &carriers, &member).await?;
    let mut records = BTreeMap::new();
    let restored = claims::restore(&*log, &carriers, epoch, None, |state| {
        if let Some(budget) = state.key().strip_suffix("/fetcher") {
            match read_json::<Option<FetcherBudgetRecord>>(state.record).map_err(|error| error.to_string())? {
                Some(record) => drop(records.insert(budget.to_owned(), record)),
                None => drop(records.remove(budget)),
            }
        }
        Ok(())
    })
    .await?;
    let bounds = log.bounds(&requests).await?;
    let position = start.committed.unwrap_or(bounds.first).max(bounds.first);
    let highest = claims::last_claim_before(&*log, &requests, position).await?;
    let attempts =
        answered(&*log, &TopicPartition::new(topics.of(names::FETCH_RESULTS), partition), position, start.max_open)
            .await?;
    Ok(Booted {
        partition,
        epoch,
        records,
        attempts,
        claims: ClaimTracker::starting_from(highest),
        position,
        watch: restored.watch,
    })
}

/// The attempts among requests from `position` on that have a result. Results are read backwards until a stretch longer
/// than all that can be open at once holds none of them: everything before that is of requests before `position`.
async fn answered(log: &dyn Log, at: &TopicPartition, position: u64, max_open: usize) -> Result<Attempts, LogError> {
    let bounds = log.bounds(at).await?;
    let stretch = max_open as u64 + 1;
    let mut attempts = Attempts::default();
    let mut end = bounds.next;
    while end > bounds.first {
        let start = end.saturating_sub(stretch).max(bounds.first);
        let (mut offset, mut found) = (start, false);
        while offset < end {
            let from = ReadFrom {
                at: at.clone(),
                offset,
                max_records: usize::try_from(end - offset).unwrap_or(usize::MAX),
                max_bytes: READ_BYTES,
                wait: Duration::ZERO,
            };
            let batch = log.read(from).await?;
            for record in batch.records.iter().filter(|record| record.offset < end) {
                match read_json::<FetchResult>(record) {
                    Ok(result) if result.request_offset >= position => {
                        found = true;
                        attempts.note(&result.request);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, offset = record.offset, "fetcher.result_unreadable"),
                }
            }
            if batch.next_offset <= offset {
                break;
            }
            offset = batch.next_offset;
        }
        if !found {
            break;
        }
        end = start;
    }
    Ok(attempts)
}

/// Whether and what this process may do for a partition, readable from every task.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) partition: u32,
    ownership: Ownership,
    alive: AtomicBool,
    /// Nothing new is begun; what is under way may end.
    pub(crate) closing: CancellationToken,
    /// What is still under way is given up.
    pub(crate) given_up: CancellationToken,
}

impl Standing {
    pub(crate) fn new(partition: u32, ownership: Ownership) -> Self {
        Self {
            partition,
            ownership,
            alive: AtomicBool::new(true),
            closing: CancellationToken::new(),
            given_up: CancellationToken::new(),
        }
    }

    /// Ownership and lease, at this very moment.
    pub(crate) fn may_send(&self) -> bool {
        self.alive() && self.ownership.lease_age() <= LEASE
    }

    /// Whether the partition is still ours, as far as is known.
    pub(crate) fn alive(&self) -> bool {
        self.alive.load(Ordering::Acquire) && self.ownership.holds(self.partition)
    }

    /// Stops sending at once.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::Release);
        self.closing.cancel();
    }
}

/// A budget's recorder on `waybill.carriers`. A record counts only once everything before it has been read and no higher
/// claim was among it: a new owner knows every record before its claim, so what a zombie records behind it must not be
/// spent (POL-1).
pub(crate) struct TopicRecorder {
    pub(crate) log: SharedLog,
    pub(crate) at: TopicPartition,
    pub(crate) budget: BudgetName,
    pub(crate) epoch: u64,
    pub(crate) last: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// How far the partition has been watched.
    pub(crate) watched: tokio::sync::watch::Receiver<u64>,
}

#[async_trait]
impl Recorder for TopicRecorder {
    async fn record(&self, record: &FetcherBudgetRecord) -> Result<(), RecordError> {
        let key = format!("{}/fetcher", self.budget);
        let new = json_record(self.at.clone(), key.clone(), record, epoch_headers(self.epoch))
            .map_err(|error| RecordError(error.to_string()))?;
        if let Some(value) = &new.value {
            self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value.clone());
        }
        let mut answers = self.log.produce(vec![new]).await;
        let answer = answers.pop().unwrap_or(Err(LogError::Closed));
        let appended = answer.map_err(|error| RecordError(error.to_string()))?;
        let mut watched = self.watched.clone();
        let seen = watched.wait_for(|next_offset| *next_offset > appended.offset).await;
        seen.map(drop).map_err(|_| RecordError("the partition belongs to another owner".to_owned()))
    }
}

/// Watches a claimed partition of `waybill.carriers`: writes again what a zombie overwrote, ends the partition's standing
/// when somebody else has claimed it.
pub(crate) async fn watch(
    log: SharedLog,
    mut watch: Watch,
    standing: Arc<Standing>,
    last: Arc<Mutex<BTreeMap<String, Bytes>>>,
    (watched, pulse): (tokio::sync::watch::Sender<u64>, Pulse),
) {
    while standing.alive() {
        pulse.beat();
        match watch.next(&*log, WATCH_WAIT).await {
            Ok(observed) => {
                for seen in observed {
                    match seen {
                        Observed::Superseded { epoch, owner } => {
                            tracing::warn!(partition = standing.partition, epoch, ?owner, "fetcher.superseded");
                            standing.end();
                            return;
                        }
                        Observed::Overwritten { key, .. } => {
                            if let Some(record) = rewritten(&watch, &key, &last) {
                                let _ = log.produce(vec![record]).await;
                            }
                        }
                    }
                }
                watched.send_replace(watch.next_offset());
            }
            // Trying again would say the same for ever, while budgets wait for what they recorded to be seen. A new claim
            // finds out: it goes on, or refuses the partition aloud.
            Err(error) if is_final(&error) => {
                tracing::warn!(%error, partition = standing.partition, "fetcher.watch_ended");
                standing.end();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, partition = standing.partition, "fetcher.watch_failed");
                tokio::time::sleep(WATCH_WAIT).await;
            }
        }
    }
}

fn is_final(error: &ClaimError) -> bool {
    match error {
        ClaimError::Log(error) => error.class() == ErrorClass::Fatal,
        ClaimError::Unreadable { .. } | ClaimError::Superseded { .. } => true,
    }
}

/// The present record of a key that somebody else wrote. Keys of schedulers are theirs, and carry no epoch of this
/// partition.
fn rewritten(watch: &Watch, key: &Bytes, last: &Mutex<BTreeMap<String, Bytes>>) -> Option<NewRecord> {
    let text = std::str::from_utf8(key).ok().filter(|text| text.ends_with("/fetcher"))?;
    let headers = epoch_headers(watch.epoch());
    let value = last.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned()?;
    Some(NewRecord { at: watch.at().clone(), key: Some(key.clone()), value: Some(value), headers })
}

/// What a turnstile of an owned partition asks.
pub(crate) struct Owned {
    pub(crate) standing: Arc<Standing>,
    pub(crate) carriers: Carriers,
    pub(crate) budget: BudgetName,
    pub(crate) terms: Fresh<Option<Terms>>,
    /// Closed while this process's clock is off.
    pub(crate) clock: ClockGate,
}

impl Surroundings for Owned {
    fn terms(&self) -> Option<Terms> {
        self.terms.get(self.carriers.clocks.wall(), || {
            let terms = self.carriers.terms(&self.budget);
            terms.inspect_err(|error| tracing::error!(budget = %self.budget, %error, "fetcher.budget_unusable")).ok()
        })
    }

    fn may_send(&self) -> bool {
        self.standing.may_send() && self.clock.is_open()
    }
}
