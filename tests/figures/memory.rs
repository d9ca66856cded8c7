//! What a tracked number costs the scheduler, the only service that keeps numbers in memory.
//!
//! A real scheduler restores its partition from a log in memory, while every byte it allocates is counted: entries, wheel,
//! index and both memories, with the spare room of growing tables and the allocator's rounding. The log's own records are
//! there before and not counted; nothing is due, so nothing is handed out. On a durable log the records are on disk.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, NewRecord, NewTopic, ReadFrom, SharedLog, TopicPartition,
    claims::{self, epoch_headers},
};
use waybill_normalizer::normalize;
use waybill_runtime::{Clocks, Health};
use waybill_scheduler::{CarrierTerms, Carriers, Deps, SchedulerConfig, Switch};
use waybill_schemas::{
    CarrierSlug, Memories,
    layout::Layout,
    politeness::Budget,
    schedule::{ScheduleRecord, Why},
    shipment::Tracking,
    topics::{self, TopicPrefix, names},
};

use crate::{
    allocated,
    carriers::Looks,
    report::{Name, Report},
};

/// What is measured here.
pub(crate) const FIGURES: [Name; 4] = [
    ("scheduler_heap_per_number_12_events", "bytes"),
    ("memories_per_number_12_events", "bytes"),
    ("schedule_record_12_events", "bytes"),
    ("scheduler_numbers_restored", "numbers/s"),
];
/// Between two doublings of the tables, so that neither their fullest nor their emptiest moment is shown.
const ROUNDS: [usize; 3] = [75_000, 100_000, 125_000];
/// Longest restore that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

struct Terms;

impl Carriers for Terms {
    fn policy(&self, _: &CarrierSlug) -> Option<CarrierTerms> {
        Some(CarrierTerms {
            budget: Budget::default(),
            requests_per_attempt: 1,
            numbers_per_attempt: 1,
            switch: Switch::On,
        })
    }
}

/// Measures what is wanted.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    if !report.wants_any(&FIGURES) {
        return Ok(());
    }
    let clocks = Clocks::real();
    let record = record(clocks)?;
    let memories = record.memories.fetcher.0.len() + record.memories.normalizer.0.len();
    report.put("memories_per_number_12_events", vec![memories as f64])?;
    report.put("schedule_record_12_events", vec![serde_json::to_vec(&record)?.len() as f64])?;
    let (mut bytes, mut speeds) = (Vec::new(), Vec::new());
    for numbers in ROUNDS {
        let log = filled(clocks, &record, numbers).await?;
        let (live, seconds) = restored(log, clocks).await?;
        ensure!(live > 0, "the scheduler took no memory");
        bytes.push(live as f64 / numbers as f64);
        speeds.push(numbers as f64 / seconds);
    }
    report.put("scheduler_heap_per_number_12_events", bytes)?;
    report.put("scheduler_numbers_restored", speeds)
}

/// The state of a parcel on its way, looked at once, due in six hours.
fn record(clocks: Clocks) -> Result<ScheduleRecord> {
    const INTERVAL_MS: i64 = 6 * 3_600_000;
    let looks = Looks::new()?;
    let done = normalize(&looks.result(1, Memories::default())?, Some(&looks.adapter));
    let now = clocks.journey();
    Ok(ScheduleRecord {
        registration: waybill_schemas::command::Registration::default(),
        reference: Some("order-0000001".to_owned()),
        params: BTreeMap::new(),
        registered_at: now,
        instance: 1,
        tracking: Tracking::Active,
        stop_reason: None,
        attempt: clocks.wall().ms(),
        due: now.plus_ms(INTERVAL_MS),
        not_before: None,
        why: Why { rule: "interval".to_owned(), text: "in six hours".to_owned(), interval_ms: Some(INTERVAL_MS) },
        status: done.outcome.status,
        sub_status: done.outcome.sub_status,
        last_change: now,
        last_reading: Some(now),
        interval_ms: INTERVAL_MS,
        confirmations: 0,
        failures: 0,
        pending: None,
        until: None,
        settlement: None,
        probe: None,
        commands_applied: 1,
        memories: done.outcome.memories,
        extra: serde_json::Map::new(),
    })
}

/// A log with one partition, whose schedule holds so many numbers in that state.
async fn filled(clocks: Clocks, record: &ScheduleRecord, numbers: usize) -> Result<SharedLog> {
    let options = EmbeddedOptions::new(Arc::new(move || clocks.wall()));
    let log: SharedLog = Arc::new(EmbeddedLog::in_memory(options));
    let prefix = TopicPrefix::default();
    let all: Vec<NewTopic> = topics::all()
        .iter()
        .map(|spec| NewTopic {
            name: prefix.of(&spec.name),
            partitions: 1,
            cleanup: spec.cleanup,
            retention: Duration::from_secs(86_400),
            min_compaction_lag: Duration::from_secs(3_600),
        })
        .collect();
    log.create_topics(&all).await?;
    let at = TopicPartition::new(prefix.of(names::SCHEDULE), 0);
    let epoch = claims::claim(log.as_ref(), &at, "before").await?;
    let number = |n: usize| NewRecord {
        at: at.clone(),
        key: Some(format!("aurora-post:AP{n:09}GB").into_bytes().into()),
        value: serde_json::to_vec(record).ok().map(Into::into),
        headers: epoch_headers(epoch),
    };
    let mut from = 0;
    while from < numbers {
        let to = (from + 5_000).min(numbers);
        for answer in log.produce((from..to).map(number).collect()).await {
            answer?;
        }
        from = to;
    }
    // A record that is read for the first time grows a little; that is the log's and not the scheduler's.
    let mut offset = log.bounds(&at).await?.first;
    loop {
        let read = ReadFrom { at: at.clone(), offset, max_records: 5_000, max_bytes: 1 << 26, wait: Duration::ZERO };
        let batch = log.read(read).await?;
        if batch.records.is_empty() {
            return Ok(log);
        }
        offset = batch.next_offset;
    }
}

/// Heap bytes that a scheduler holds once it has restored, and the seconds it took.
async fn restored(log: SharedLog, clocks: Clocks) -> Result<(i64, f64)> {
    let (health, shutdown) = (Health::default(), CancellationToken::new());
    let deps = Deps {
        log,
        topics: TopicPrefix::default(),
        layout: Layout { partitions: 1, budgets: BTreeMap::new() },
        clocks,
        carriers: Arc::new(Terms),
        member: "figures".to_owned(),
        health: health.clone(),
        config: SchedulerConfig::default(),
    };
    allocated::begin();
    let began = Instant::now();
    let scheduler = tokio::spawn(waybill_scheduler::run(deps, shutdown.clone()));
    while !health.report().iter().any(|part| part.name == "scheduler-0" && part.ready) {
        if scheduler.is_finished() {
            bail!("the scheduler ended while it restored");
        }
        ensure!(began.elapsed() < PATIENCE, "the scheduler does not restore in time");
        sleep(Duration::from_millis(2)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    // A few turns of its loop, in which what restoring needed is gone.
    sleep(Duration::from_millis(1_500)).await;
    let live = allocated::end();
    shutdown.cancel();
    scheduler.await.context("the scheduler broke down")??;
    Ok((live, seconds))
}
