//! The store: how fast events on a topic become rows of the embedded ClickHouse, from the moment the store starts to the
//! moment every row can be counted. Its settings are the defaults.

use std::{ffi::OsString, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use waybill_clickhouse::{
    client::{self, ClientOptions},
    embedded::{EmbeddedClickHouse, EmbeddedConfig},
    library::locate_library,
    migrations::{self, Migration},
};
use waybill_log::{EmbeddedLog, EmbeddedOptions, NewRecord, NewTopic, SharedLog, TopicPartition};
use waybill_normalizer::normalize;
use waybill_runtime::{Clocks, Health};
use waybill_schemas::{
    Memories, ShipmentKey,
    layout::public_partition,
    topics::{self, Partitioning, TopicPrefix, names},
};
use waybill_store::{Deps, StoreConfig};

use crate::{
    carriers::{EVENTS, Looks},
    report::{Name, Report, timed},
};

/// What is measured here.
pub(crate) const FIGURES: [Name; 1] = [("store_rows_inserted_tracking_events", "rows/s")];
const PARTITIONS: u32 = 4;
/// Parcels a round.
const PARCELS: usize = 10_000;
const ROUNDS: usize = 3;
/// Longest wait for a round's rows.
const PATIENCE: Duration = Duration::from_secs(90);

/// Measures what is wanted.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    if !report.wants_any(&FIGURES) {
        return Ok(());
    }
    if let Err(error) = locate_library(None) {
        report.skip(&FIGURES, &error.to_string());
        return Ok(());
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let child = vec![OsString::from("clickhouse-child")];
    let mut config = EmbeddedConfig::new(crate::support::PROGRAM.into(), child, folder.path().join("clickhouse"));
    config.listen = "127.0.0.1:0".parse()?;
    let clickhouse = EmbeddedClickHouse::start(config).await?;
    let writer = clickhouse.writer();
    let client = client::build(&ClientOptions::new(clickhouse.url(), writer.user, writer.password))?;
    let all = waybill_schemas::migrations::all();
    let all: Vec<Migration<'_>> =
        all.iter().map(|one| Migration { number: one.number, name: one.name, sql: one.sql }).collect();
    migrations::apply(&client, &all).await?;

    let log = log().await?;
    let mut speeds = Vec::new();
    for round in 0..ROUNDS {
        fill(&log, round).await?;
        let wanted = ((round + 1) * PARCELS * EVENTS) as u64;
        let (seconds, done) = timed(stored(&log, &client, wanted)).await;
        let store = done?;
        speeds.push((PARCELS * EVENTS) as f64 / seconds);
        store.shutdown.cancel();
        store.task.await.context("the store broke down")??;
    }
    report.put(FIGURES[0].0, speeds)?;
    clickhouse.stop(Duration::from_secs(4)).await;
    Ok(())
}

async fn log() -> Result<SharedLog> {
    let log: SharedLog = Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(Clocks::system_now))));
    let all: Vec<NewTopic> = topics::all()
        .iter()
        .map(|spec| NewTopic {
            name: TopicPrefix::default().of(&spec.name),
            partitions: if spec.partitioning == Partitioning::Single { 1 } else { PARTITIONS },
            cleanup: spec.cleanup,
            retention: Duration::from_secs(86_400),
            min_compaction_lag: Duration::from_secs(3_600),
        })
        .collect();
    log.create_topics(&all).await?;
    Ok(log)
}

/// Publishes the events of so many new parcels, as the normalizer makes them.
async fn fill(log: &SharedLog, round: usize) -> Result<()> {
    let looks = Looks::new()?;
    let topic = TopicPrefix::default().of(names::TRACKING_EVENTS);
    for n in (round * PARCELS)..((round + 1) * PARCELS) {
        let result = looks.result(n, Memories::default())?;
        let key = ShipmentKey::new(result.request.carrier.clone(), result.request.number.clone()).record_key();
        let partition = public_partition(key.as_bytes(), PARTITIONS);
        let record = |value: Vec<u8>| NewRecord {
            at: TopicPartition::new(topic.as_str(), partition),
            key: Some(key.clone().into_bytes().into()),
            value: Some(value.into()),
            headers: Vec::new(),
        };
        let events = normalize(&result, Some(&looks.adapter)).events;
        let records = events.iter().map(|event| serde_json::to_vec(event).map(record)).collect::<Result<_, _>>()?;
        for answer in log.produce(records).await {
            answer?;
        }
    }
    Ok(())
}

struct Running {
    task: tokio::task::JoinHandle<Result<(), waybill_store::StoreError>>,
    shutdown: CancellationToken,
}

/// Runs the store until the table has so many rows.
async fn stored(log: &SharedLog, client: &clickhouse::Client, wanted: u64) -> Result<Running> {
    let shutdown = CancellationToken::new();
    let deps = Deps {
        log: Arc::clone(log),
        topics: TopicPrefix::default(),
        clickhouse: client.clone(),
        clocks: Clocks::real(),
        member: "figures".to_owned(),
        health: Health::default(),
        config: StoreConfig::default(),
    };
    let task = tokio::spawn(waybill_store::run(deps, shutdown.clone()));
    let began = Instant::now();
    loop {
        let rows: u64 = client.query("SELECT count() FROM waybill.tracking_events").fetch_one().await?;
        if rows == wanted {
            return Ok(Running { task, shutdown });
        }
        if task.is_finished() {
            bail!("the store ended by itself with {rows} of {wanted} rows stored");
        }
        ensure!(began.elapsed() < PATIENCE, "{rows} of {wanted} rows are stored in {PATIENCE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
