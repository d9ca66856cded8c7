//! The scheduler on the in-memory log under simulated time, with a world around it that is as unkind as the log allows:
//! outcomes late and twice, every class, schedulers killed at any moment, two at once who both believe that they own
//! everything, a zombie that goes on writing under epochs that are over, acknowledgements lost, offsets with gaps.
//!
//! The world is the fetcher and the normalizer in one. It reads requests in the order of the log and judges claims as a
//! fetcher does, so it is an independent witness of SCH-1 and SCH-2. The seed is printed; `WAYBILL_SEED` repeats one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints its seed"
)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, NewRecord, NewTopic, ReadFrom, Record, SharedLog, TopicPartition,
    claims::{self, ClaimTracker, Standing},
    records::attempt_headers,
};
use waybill_runtime::{Clocks, Health, JourneyScale, poison::PoisonLimits};
use waybill_scheduler::{CarrierTerms, Carriers, Deps, SchedulerConfig, SchedulerError, Switch};
use waybill_schemas::{
    CarrierSlug, JourneyMs, Memories, Memory, OutcomeClass, ShipmentKey, Status, SubStatus, WallMs,
    command::{Command, CommandKind},
    fetch::{FetchRequest, RequestKind},
    layout::Layout,
    outcome::{Feedback, Outcome},
    politeness::Budget,
    schedule::ScheduleRecord,
    shipment::{StopReason, Tracking},
    topics::{self, TopicPrefix, names},
};

const PARTITIONS: u32 = 3;
const DAY: i64 = 86_400_000;
const START: WallMs = WallMs::new(1_790_000_000_000);
/// 120 days of journey in a little over four minutes.
const SCALE: f64 = 40_000.0;
const CARRIERS: [&str; 4] = ["alpha-post", "beta-express", "gamma-mail", "delta-parcel"];

struct Terms;

impl Carriers for Terms {
    fn policy(&self, carrier: &CarrierSlug) -> Option<CarrierTerms> {
        let index = CARRIERS.iter().position(|known| *known == carrier.as_str())?;
        let budget = Budget { rate_per_second: 6.0 + 4.0 * index as f64, min_interval_s: 900, ..Budget::default() };
        Some(CarrierTerms {
            budget,
            requests_per_attempt: 1 + (index as u32 % 2),
            numbers_per_attempt: 1,
            switch: Switch::On,
        })
    }
}

/// What the witness knows of a number.
#[derive(Default)]
struct Seen {
    /// The attempt that is being carried out.
    open: Option<i64>,
    last_attempt: i64,
    /// The memory that the last answer carried.
    memory: Vec<u8>,
    polls: u32,
    published_stop: bool,
}

#[derive(Default)]
struct Witness {
    numbers: HashMap<ShipmentKey, Seen>,
    violations: Vec<String>,
    late: u32,
    answered: u32,
    twice: u32,
}

struct World {
    log: SharedLog,
    embedded: EmbeddedLog,
    clocks: Clocks,
    layout: Layout,
    witness: Mutex<Witness>,
    delivered_at: HashMap<ShipmentKey, JourneyMs>,
    seed: u64,
}

fn at(name: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(TopicPrefix::default().of(name), partition)
}

async fn append(log: &SharedLog, record: NewRecord) {
    // An answer that is lost is asked for again: repeats are possible everywhere.
    while log.produce(vec![record.clone()]).await.remove(0).is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn read_all(log: &SharedLog, at: &TopicPartition) -> Vec<Record> {
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

impl World {
    /// Carries out the requests of one partition, as they stand in the log.
    async fn fetch(self: Arc<Self>, partition: u32) {
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

/// A scheduler that can be killed.
struct Running {
    task: JoinHandle<Result<(), SchedulerError>>,
    shutdown: CancellationToken,
}

fn start(world: &World, group: &str, member: &str) -> Running {
    let shutdown = CancellationToken::new();
    let deps = Deps {
        log: Arc::clone(&world.log),
        topics: TopicPrefix::default(),
        layout: world.layout.clone(),
        clocks: world.clocks,
        carriers: Arc::new(Terms),
        member: member.to_owned(),
        health: Health::default(),
        config: SchedulerConfig {
            group: group.to_owned(),
            poison: PoisonLimits { records: 1_000_000, ..PoisonLimits::default() },
            ..SchedulerConfig::default()
        },
    };
    let task = tokio::spawn(waybill_scheduler::run(deps, shutdown.clone()));
    Running { task, shutdown }
}

impl Running {
    /// As kill -9 does: in the middle of whatever it was doing.
    async fn kill(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err() || ended.unwrap().is_ok(), "a scheduler ended by itself");
    }
}

/// What a zombie does: writes again, behind the newest claim, what it once wrote under an epoch that is over.
async fn haunt(world: &World, rng: &mut StdRng) {
    let partition = rng.random_range(0..PARTITIONS);
    let name = if rng.random_bool(0.7) { names::SCHEDULE } else { names::FETCH_REQUESTS };
    let place = at(name, partition);
    let records = read_all(&world.log, &place).await;
    let mut claims = ClaimTracker::default();
    for record in &records {
        let _ = claims.observe(record).unwrap();
    }
    let over: Vec<&Record> = records
        .iter()
        .filter(|record| !claims::is_claim(record) && claims::epoch_of(record).unwrap() < claims.highest())
        .collect();
    for _ in 0..rng.random_range(1..6) {
        if over.is_empty() {
            return;
        }
        let old = over[rng.random_range(0..over.len())];
        let mut value = old.value.clone();
        if name == names::FETCH_REQUESTS {
            // A new attempt of its own.
            let mut request: FetchRequest = serde_json::from_slice(old.value.as_ref().unwrap()).unwrap();
            request.attempt = world.clocks.wall().ms();
            value = Some(Bytes::from(serde_json::to_vec(&request).unwrap()));
        }
        let record = NewRecord { at: place.clone(), key: old.key.clone(), value, headers: old.headers.clone() };
        append(&world.log, record).await;
    }
}

async fn order(world: &World, kind: CommandKind, key: &ShipmentKey, id: u32) {
    let command = Command {
        id: format!("order-{id}"),
        kind,
        carrier: key.carrier.clone(),
        number: key.number.clone(),
        params: Some(BTreeMap::from([("round".to_owned(), id.to_string())])),
        reference: None,
        tags: None,
        origin: None,
        destination: None,
        ordered_at: None,
        until: None,
        settling: None,
    };
    let record = NewRecord {
        at: at(names::COMMANDS, world.layout.partition_of(&key.carrier)),
        key: Some(Bytes::from(key.record_key())),
        value: Some(Bytes::from(serde_json::to_vec(&command).unwrap())),
        headers: Vec::new(),
    };
    append(&world.log, record).await;
}

async fn new_world(seed: u64, numbers: &[ShipmentKey], rng: &mut StdRng) -> Arc<World> {
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

/// What the changelog says, read as a new owner would.
async fn state(world: &World) -> BTreeMap<String, ScheduleRecord> {
    let mut all = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let place = at(names::SCHEDULE, partition);
        let epoch = claims::claim(world.log.as_ref(), &place, "the end").await.unwrap();
        let restored = claims::restore(world.log.as_ref(), &place, epoch, None, |found| {
            if let Some(value) = found.record.value.as_ref().filter(|_| found.key().contains(':')) {
                all.insert(found.key().to_owned(), serde_json::from_slice(value).unwrap());
            }
            Ok(())
        });
        let _ = restored.await.unwrap();
    }
    all
}

async fn play(seed: u64) {
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let numbers: Vec<ShipmentKey> = (0..60_usize)
        .map(|index| {
            let carrier = CARRIERS[index % CARRIERS.len()].parse().unwrap();
            ShipmentKey::new(carrier, format!("PARCEL{index:04}").parse().unwrap())
        })
        .collect();
    let world = new_world(seed, &numbers, &mut rng).await;
    let fetchers: Vec<JoinHandle<()>> =
        (0..PARTITIONS).map(|partition| tokio::spawn(Arc::clone(&world).fetch(partition))).collect();

    let mut orders = 0;
    let mut running = vec![start(&world, "schedulers", "member-first")];
    for round in 0..40_u32 {
        for key in numbers.iter().skip(round as usize * 2).take(2) {
            orders += 1;
            order(&world, CommandKind::Register, key, orders).await;
        }
        sleep(Duration::from_millis(rng.random_range(50..3_000))).await;
        match rng.random_range(0..13) {
            0..3 => {
                let victim = running.swap_remove(rng.random_range(0..running.len()));
                victim.kill().await;
            }
            3 => {
                let leaving = running.swap_remove(0);
                leaving.shutdown.cancel();
                leaving.task.await.unwrap().unwrap();
            }
            // A second group: both sides believe that everything is theirs, and claim it from each other.
            4 => {
                let rival = start(&world, &format!("rival-{round}"), "rival");
                sleep(Duration::from_millis(rng.random_range(200..4_000))).await;
                rival.kill().await;
            }
            5 if running.len() < 3 => running.push(start(&world, "schedulers", &format!("member-{round}"))),
            6..8 => haunt(&world, &mut rng).await,
            // What was appended and not acknowledged, to whoever produces next.
            8..10 => world.embedded.faults().lose_produce_answers(rng.random_range(1..4)),
            10 => {
                let names = [names::SCHEDULE, names::FETCH_REQUESTS, names::OUTCOMES, names::COMMANDS];
                let place = at(names[rng.random_range(0..names.len())], rng.random_range(0..PARTITIONS));
                world.embedded.faults().skip_offsets(&place, rng.random_range(1..20)).await.unwrap();
            }
            _ => {
                let key = &numbers[rng.random_range(0..numbers.len())];
                let kinds = [CommandKind::Stop, CommandKind::Resume, CommandKind::Refresh, CommandKind::Register];
                for kind in kinds.into_iter().take(rng.random_range(1..=4)) {
                    orders += 1;
                    order(&world, kind, key, orders).await;
                }
            }
        }
        if running.is_empty() {
            running.push(start(&world, "schedulers", &format!("member-{round}")));
        }
    }
    // What was stopped on the way is registered once more, with new parameters for those who waited for some.
    for key in &numbers {
        orders += 1;
        order(&world, CommandKind::Register, key, orders).await;
    }
    sleep(Duration::from_secs(300)).await;
    for last in running {
        last.shutdown.cancel();
        last.task.await.unwrap().unwrap();
    }
    fetchers.iter().for_each(JoinHandle::abort);
    judge(&world, &numbers, seed).await;
}

async fn judge(world: &World, numbers: &[ShipmentKey], seed: u64) {
    let state = state(world).await;
    let witness = world.witness.lock().unwrap();
    eprintln!(
        "seed {seed}: {} attempts answered, {} outcomes twice, {} late requests, {} polls",
        witness.answered,
        witness.twice,
        witness.late,
        witness.numbers.values().map(|seen| seen.polls).sum::<u32>()
    );
    assert!(witness.violations.is_empty(), "SCH-2, seed {seed}: {:#?}", witness.violations);
    for key in numbers {
        let record = state.get(&key.record_key()).unwrap_or_else(|| panic!("SCH-1, seed {seed}: {key:?} is lost"));
        let seen = witness.numbers.get(key).unwrap();
        assert_eq!(record.tracking, Tracking::Stopped, "SCH-1, seed {seed}: {key:?} never ended: {record:?}");
        assert!(
            matches!(record.stop_reason, Some(StopReason::Delivered | StopReason::Expired)),
            "SCH-1, seed {seed}: {key:?}: {:?}",
            record.stop_reason
        );
        if record.stop_reason == Some(StopReason::Delivered) {
            assert_eq!(record.status, Some(Status::Delivered));
        }
        assert!(seen.published_stop && record.pending.is_none(), "SCH-1, seed {seed}: {key:?} ended unpublished");
    }
}

#[tokio::test(start_paused = true)]
async fn sch_1_sch_2_hold_through_kills_rivals_and_zombies() {
    match std::env::var("WAYBILL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => play(seed).await,
        None => {
            for seed in 1..=6 {
                play(seed).await;
            }
        }
    }
}
