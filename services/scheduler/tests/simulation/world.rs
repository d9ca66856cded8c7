//! The world around the schedulers: its log and clocks, people who order, and a fetcher and normalizer in one that witnesses
//! what it is asked and answers late, twice, or not to be read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::sleep;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, NewRecord, NewTopic, ReadFrom, Record, SharedLog, TopicPartition,
    claims::{ClaimTracker, Standing},
    records::attempt_headers,
};
use waybill_runtime::{Clocks, JourneyScale};
use waybill_schemas::{
    JourneyMs, Memories, Memory, OutcomeClass, ShipmentKey, SubStatus,
    command::{Command, CommandKind},
    fetch::{FetchRequest, RequestKind},
    layout::Layout,
    outcome::{Feedback, Outcome},
    shipment::Tracking,
    topics::{self, TopicPrefix, names},
};

use crate::{DAY, PARTITIONS, SCALE, START};

/// What the witness knows of a number.
#[derive(Default)]
pub(crate) struct Seen {
    /// The attempt that is being carried out.
    open: Option<i64>,
    last_attempt: i64,
    /// The memory that the last answer carried.
    memory: Vec<u8>,
    pub(crate) polls: u32,
    pub(crate) published_stop: bool,
}

#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) numbers: HashMap<ShipmentKey, Seen>,
    pub(crate) violations: Vec<String>,
    pub(crate) late: u32,
    pub(crate) answered: u32,
    pub(crate) twice: u32,
}

pub(crate) struct World {
    pub(crate) log: SharedLog,
    pub(crate) embedded: EmbeddedLog,
    pub(crate) clocks: Clocks,
    pub(crate) layout: Layout,
    pub(crate) witness: Mutex<Witness>,
    delivered_at: HashMap<ShipmentKey, JourneyMs>,
    seed: u64,
}

pub(crate) async fn new_world(seed: u64, numbers: &[ShipmentKey], rng: &mut StdRng) -> Arc<World> {
    let scale = JourneyScale { anchor: JourneyMs::new(START.ms() - 120 * DAY), start: START, scale: SCALE };
    let clocks = Clocks::starting_at(START, scale);
    let embedded = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(move || clocks.wall())));
    let log: SharedLog = Arc::new(embedded.clone());
    let internal = [names::COMMANDS, names::SCHEDULE, names::FETCH_REQUESTS, names::OUTCOMES, names::CARRIERS];
    let topics: Vec<NewTopic> = internal
        .into_iter()
        .map(|name| (name, PARTITIONS))
        .chain([(names::DEAD_LETTERS, 1)])
        .map(|(name, partitions)| NewTopic {
            name: TopicPrefix::default().of(name),
            partitions,
            cleanup: topics::find(name).unwrap().cleanup,
            retention: Duration::from_secs(3 * 86_400),
            min_compaction_lag: Duration::from_secs(3_600),
        })
        .collect();
    log.create_topics(&topics).await.unwrap();
    let layout = Layout { partitions: PARTITIONS, budgets: BTreeMap::new() };
    let delivery = |key: &ShipmentKey| (key.clone(), clocks.journey().plus_ms(rng.random_range(2..35) * DAY));
    let delivered_at = numbers.iter().map(delivery).collect();
    Arc::new(World { log, embedded, clocks, layout, witness: Mutex::default(), delivered_at, seed })
}

pub(crate) fn at(name: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(TopicPrefix::default().of(name), partition)
}

pub(crate) async fn append(log: &SharedLog, record: NewRecord) {
    // An answer that is lost is asked for again: repeats are possible everywhere.
    while log.produce(vec![record.clone()]).await.remove(0).is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn read_all(log: &SharedLog, at: &TopicPartition) -> Vec<Record> {
    let (mut offset, mut all) = (log.bounds(at).await.unwrap().first, Vec::new());
    loop {
        let read = ReadFrom { at: at.clone(), offset, max_records: 10_000, max_bytes: 1 << 30, wait: Duration::ZERO };
        let batch = log.read(read).await.unwrap();
        if batch.records.is_empty() {
            return all;
        }
        offset = batch.next_offset;
        all.extend(batch.records);
    }
}

pub(crate) async fn order(world: &World, kind: CommandKind, key: &ShipmentKey, id: u32) {
    let command = Command {
        params: Some(BTreeMap::from([("round".to_owned(), id.to_string())])),
        ..Command::new(format!("order-{id}"), kind, key.carrier.clone(), key.number.clone())
    };
    let record = NewRecord {
        at: at(names::COMMANDS, world.layout.partition_of(&key.carrier)),
        key: Some(Bytes::from(key.record_key())),
        value: Some(Bytes::from(serde_json::to_vec(&command).unwrap())),
        headers: Vec::new(),
    };
    append(&world.log, record).await;
}

impl World {
    /// Carries out the requests of one partition, as they stand in the log.
    pub(crate) async fn fetch(self: Arc<Self>, partition: u32) {
        let place = at(names::FETCH_REQUESTS, partition);
        let (mut offset, mut claims) = (0, ClaimTracker::default());
        loop {
            let wait = Duration::from_secs(3_600);
            let read = ReadFrom { at: place.clone(), offset, max_records: 100, max_bytes: 1 << 20, wait };
            let batch = self.log.read(read).await.unwrap();
            offset = batch.next_offset;
            for record in batch.records {
                let late = match claims.observe(&record).unwrap() {
                    Standing::Claim { .. } => continue,
                    Standing::Current { .. } => Late::No,
                    Standing::Late { .. } => Late::Yes,
                };
                let request: FetchRequest = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
                if late == Late::No {
                    self.begin(&request);
                }
                let world = Arc::clone(&self);
                let rng = StdRng::seed_from_u64(self.seed ^ (record.offset << 8) ^ u64::from(partition));
                tokio::spawn(world.carry_out(request, record.offset, late, rng));
            }
        }
    }

    /// SCH-2, as the carrier's door sees it.
    fn begin(&self, request: &FetchRequest) {
        let mut witness = self.witness.lock().unwrap();
        let mut wrong = Vec::new();
        let seen = witness.numbers.entry(request.key()).or_default();
        if let Some(open) = seen.open {
            wrong.push(format!("attempt {} of {:?} while {open} is open", request.attempt, request.key()));
        }
        if request.attempt <= seen.last_attempt {
            wrong.push(format!("attempt {} of {:?} after {}", request.attempt, request.key(), seen.last_attempt));
        }
        if request.memories.normalizer.0 != seen.memory {
            wrong.push(format!("attempt {} of {:?} is made from old state", request.attempt, request.key()));
        }
        seen.open = Some(request.attempt);
        seen.last_attempt = request.attempt;
        seen.polls += u32::from(request.kind == RequestKind::Poll);
        if request.kind == RequestKind::Stop && request.tracking == Tracking::Stopped {
            seen.published_stop = true;
        }
        witness.violations.extend(wrong);
    }

    async fn carry_out(self: Arc<Self>, request: FetchRequest, offset: u64, late: Late, mut rng: StdRng) {
        if late == Late::No {
            sleep(Duration::from_millis(rng.random_range(5..400))).await;
        }
        let outcome = self.answer(&request, offset, late, &mut rng);
        // Now and then nobody can read it; key and headers still name the attempt.
        let garbled = late == Late::No && rng.random_bool(0.02);
        let value = if garbled { b"{no json".to_vec() } else { serde_json::to_vec(&outcome).unwrap() };
        let record = NewRecord {
            at: at(names::OUTCOMES, self.layout.partition_of(&request.carrier)),
            key: Some(Bytes::from(request.key().record_key())),
            value: Some(Bytes::from(value)),
            headers: attempt_headers(outcome.attempt, Some(outcome.request_offset)),
        };
        {
            let mut witness = self.witness.lock().unwrap();
            match late {
                Late::Yes => witness.late += 1,
                Late::No => {
                    witness.answered += 1;
                    let seen = witness.numbers.entry(request.key()).or_default();
                    seen.open = None;
                    // Nothing that is remembered is lost with an outcome that cannot be read.
                    if !garbled {
                        seen.memory = outcome.memories.normalizer.0.clone();
                    }
                }
            }
        }
        append(&self.log, record.clone()).await;
        // Repeats are possible everywhere.
        if rng.random_bool(0.1) {
            self.witness.lock().unwrap().twice += 1;
            sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
            append(&self.log, record).await;
        }
    }

    fn answer(&self, request: &FetchRequest, offset: u64, late: Late, rng: &mut StdRng) -> Outcome {
        let (wall, journey) = (self.clocks.wall(), self.clocks.journey());
        let delivered = self.delivered_at.get(&request.key()).is_some_and(|when| *when <= journey);
        let mut class = match rng.random_range(0..100) {
            0..8 => OutcomeClass::CarrierDown,
            8..12 => OutcomeClass::Deferred,
            12..14 => OutcomeClass::Unreadable,
            14..15 => OutcomeClass::Throttled,
            15..16 => OutcomeClass::NeedsData,
            _ => OutcomeClass::Tracked,
        };
        if request.kind != RequestKind::Poll {
            class = if rng.random_bool(0.1) { OutcomeClass::Deferred } else { OutcomeClass::Internal };
        }
        if late == Late::Yes || (request.kind == RequestKind::Poll && wall > request.expires_at) {
            class = OutcomeClass::Expired;
        }
        let read = class.is_reading();
        let sub_status = match (read, delivered) {
            (true, true) => Some(SubStatus::DeliveredOther),
            (true, false) => Some(SubStatus::InTransitOther),
            _ => None,
        };
        let mut memories = request.memories.clone();
        if read {
            memories = Memories {
                fetcher: Memory(vec![7]),
                normalizer: Memory(request.attempt.to_be_bytes().to_vec()),
                ..Memories::default()
            };
        }
        let throttled = (class == OutcomeClass::Throttled).then(|| wall.plus_ms(700));
        Outcome {
            carrier: request.carrier.clone(),
            number: request.number.clone(),
            instance: request.instance,
            attempt: request.attempt,
            request_offset: offset,
            kind: request.kind,
            class,
            detail: None,
            needs: Vec::new(),
            status: sub_status.map(SubStatus::status),
            sub_status,
            changed: read && !delivered && rng.random_bool(0.4),
            probed: None,
            seen_at: journey,
            not_before: (class == OutcomeClass::Deferred).then(|| wall.plus_ms(200)),
            feedback: Feedback { spent: u32::from(read), budget_not_before: throttled, ..Feedback::default() },
            memories,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Yes,
    No,
}
