//! `waybill track`: one look-up, within the same politeness budget as everything else.
//!
//! The budget's limiter stands in the data directory's log (`waybill.carriers`). Either this process takes the directory,
//! claims the budget's partition as any fetcher would, and looks the number up itself; or another process holds it, and
//! is asked through its API.

use std::{
    collections::BTreeMap,
    io::{Write, stdout},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use waybill_adapters::{Adapter, Catalog, ReadOutcome, assess};
use waybill_clickhouse::library::cache_directory;
use waybill_fetcher::{NoPolicies, OnceDeps, RecordError, Recorder, SeenAnswer, look_at, look_up_once_seeing};
use waybill_log::{SharedLog, TopicPartition, claims, json_record, records::read_json};
use waybill_runtime::{Clocks, telemetry};
use waybill_schemas::{
    CarrierSlug, Memories, OutcomeClass, TrackingNumber,
    command::Registration,
    fetch::{FetchRequest, FetchResult, RequestKind},
    politeness::{CarrierPolicy, FetcherBudgetRecord},
    shipment::Tracking,
    topics::names,
};

use crate::{
    adapter_check::counted,
    adapter_cmd::print_view,
    answer,
    cli::{Common, Track},
    config::Config,
    datadir::{DataDir, Holder, Parcels},
    directory::enabled,
    parts::{Opened, open_embedded},
};

/// How long one look-up may take, its waiting for the budget included.
const PATIENCE: Duration = Duration::from_secs(90);

/// Looks a number up; the exit code tells whether the carrier gave an answer that could be read.
///
/// # Errors
/// One sentence that names what is wrong with the number, the carrier or the data directory.
pub(crate) async fn run(order: Track) -> Result<ExitCode> {
    let mut config = Config::load(&order.common)?;
    config.log_lines("warn");
    telemetry::init_logs(&config.telemetry)?;
    if config.log.kafka.is_some() {
        bail!(
            "log.kafka is set: the cluster's fetchers spend its carriers' budgets, so ask its API (POST /v1/lookup), or \
             leave log.kafka out to look up alone"
        );
    }
    keep_budget_elsewhere(&mut config, &order.common);
    // A demo's process is not asked either: the number would join its simulated parcels. Said before the carrier is looked
    // for, because a demo's carriers are not known here.
    DataDir::check(&config.data_dir, Parcels::Real)?;
    let catalog = Catalog::load(&config.adapters)?;
    let adapter = adapter_of(&config, &catalog, &order)?;
    let number = TrackingNumber::canonical(&order.number, adapter.hyphens)?;
    match DataDir::try_take(&config.data_dir)? {
        Some(dir) => alone(&config, catalog, &adapter, number, &order, dir).await,
        None => {
            let holder = DataDir::holder(&config.data_dir)?.context(
                "another process holds the data directory and does not say where it answers; try again in a moment",
            )?;
            ask(&holder, &adapter, &number, &order).await
        }
    }
}

/// Where nobody named a data directory and none is there, the budget's record is kept in the cache folder: one look-up leaves
/// no folder behind wherever somebody happens to stand, and the next one still knows what it spent (POL-1).
pub(crate) fn keep_budget_elsewhere(config: &mut Config, common: &Common) {
    if config.has_default_data_dir(common) && !config.data_dir.exists() {
        config.data_dir = cache_directory().join("track");
    }
}

fn adapter_of(config: &Config, catalog: &Catalog, order: &Track) -> Result<Arc<Adapter>> {
    if let Some(named) = &order.carrier {
        let slug: CarrierSlug = named.to_lowercase().parse()?;
        let unknown = || format!("there is no carrier `{named}`; `waybill adapter list` shows them all");
        return catalog.get(&slug).with_context(unknown);
    }
    let may_be = |slug: &CarrierSlug| enabled(config, catalog, slug);
    let choice = catalog.detector().choose(&order.number, may_be)?;
    if let Some(chosen) = &choice.carrier {
        return catalog.get(chosen).context("the carrier has gone");
    }
    let candidates = &choice.detected.candidates;
    let on: Vec<&str> =
        candidates.iter().map(|one| &one.carrier).filter(|slug| may_be(slug)).map(CarrierSlug::as_str).collect();
    match (candidates.first(), on.as_slice()) {
        (None, _) => bail!("no carrier's number format fits; name the carrier with --carrier"),
        (Some(best), []) => {
            let policy = CarrierPolicy::default();
            let why = look_at(catalog, &config.fetcher, &best.carrier, &policy).err().unwrap_or_default();
            bail!("the number format of {} fits, but that carrier is off: {why}", best.carrier)
        }
        (Some(_), several) => {
            bail!("the number may be one of {}, and none is sure enough; name one with --carrier", several.join(", "))
        }
    }
}

/// Keeps the budget's record where every fetcher of this directory finds it.
struct InLog {
    log: SharedLog,
    at: TopicPartition,
    key: String,
    epoch: u64,
}

#[async_trait]
impl Recorder for InLog {
    async fn record(&self, record: &FetcherBudgetRecord) -> Result<(), RecordError> {
        let written = json_record(self.at.clone(), self.key.clone(), record, claims::epoch_headers(self.epoch))
            .map_err(|error| RecordError(error.to_string()))?;
        let answers = self.log.produce(vec![written]).await;
        answers.into_iter().try_for_each(|answer| answer.map(|_| ())).map_err(|error| RecordError(error.to_string()))
    }
}

async fn alone(
    config: &Config,
    catalog: Catalog,
    adapter: &Adapter,
    number: TrackingNumber,
    order: &Track,
    dir: DataDir,
) -> Result<ExitCode> {
    let params = order.params.iter().cloned().collect();
    let (result, _) = look(config, catalog, adapter, &number, params, dir).await?;
    let view = assess(adapter, &read_outcome(&result), Some(number.as_str()));
    let mut out = stdout();
    if order.json {
        let mut shown = serde_json::to_value(&view)?;
        shown["needs"] = json!(result.needs);
        shown["not_before"] = json!(result.not_before);
        writeln!(out, "{shown}")?;
    } else {
        print_view(&view, &mut out)?;
        print_not_before(&result, &mut out)?;
    }
    Ok(exit(result.class))
}

/// Prints when a look-up that was put off may be made.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn print_not_before(result: &FetchResult, out: &mut dyn Write) -> Result<()> {
    if let Some(at) = &result.not_before {
        let at = json!(at);
        writeln!(out, "not before {}", at.as_str().map_or_else(|| at.to_string(), str::to_owned))?;
    }
    Ok(())
}

/// One look-up of this process, out of the budget that stands in the directory's log.
///
/// # Errors
/// One sentence that says what is wrong with the directory or the budget.
pub(crate) async fn look(
    config: &Config,
    catalog: Catalog,
    adapter: &Adapter,
    number: &TrackingNumber,
    params: BTreeMap<String, String>,
    dir: DataDir,
) -> Result<(FetchResult, Vec<SeenAnswer>)> {
    let clocks = Clocks::scaled(dir.journey(Parcels::Real)?);
    let (embedded, opened) = open_embedded(config, &dir, clocks, &catalog).await?;
    let Opened { log, topics: prefix, layout, .. } = opened;
    let budget = layout.budget_of(&adapter.slug);
    let at = TopicPartition::new(prefix.of(names::CARRIERS), layout.partition_of_budget(&budget));
    let key = format!("{budget}/fetcher");
    let epoch = claims::claim(log.as_ref(), &at, "track").await?;
    let mut record: Option<FetcherBudgetRecord> = None;
    let restored = claims::restore(log.as_ref(), &at, epoch, None, |state| {
        if state.key() == key {
            // POL-1: one that cannot be read is never taken for nothing spent.
            record = read_json(state.record).map_err(|error| error.to_string())?;
        }
        Ok(())
    })
    .await?;
    tracing::debug!(records = restored.read, "track.budget_restored");
    let wall = clocks.wall();
    let request = FetchRequest {
        kind: RequestKind::Poll,
        carrier: adapter.slug.clone(),
        number: number.clone(),
        instance: 1,
        reference: None,
        registered_at: clocks.journey(),
        registration: Registration::default(),
        params,
        attempt: wall.ms(),
        expires_at: wall.plus_ms(i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX)),
        tracking: Tracking::Active,
        stop_reason: None,
        memories: Memories::default(),
    };
    let deps = OnceDeps {
        layout,
        clocks,
        catalog: Arc::new(catalog),
        policies: Arc::new(NoPolicies),
        config: config.fetcher.clone(),
    };
    let recorder = Arc::new(InLog { log, at, key, epoch });
    let (result, _, seen) = look_up_once_seeing(deps, request, record, recorder).await?;
    embedded.close().await;
    Ok((result, seen))
}

pub(crate) fn read_outcome(result: &FetchResult) -> ReadOutcome {
    ReadOutcome {
        class: result.class,
        detail: result.detail.clone(),
        needs: result.needs.clone(),
        events: result.events.clone(),
        facts: result.facts.clone(),
        reader: result.source.reader.clone(),
        digest: 0,
    }
}

fn exit(class: OutcomeClass) -> ExitCode {
    if class.is_reading() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks the process that holds the directory: what it knows, or what its next look brings.
async fn ask(holder: &Holder, adapter: &Adapter, number: &TrackingNumber, order: &Track) -> Result<ExitCode> {
    // The API is on loopback; the provider is only needed for the client to exist.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
    let params: BTreeMap<String, String> = order.params.iter().cloned().collect();
    let body = json!({ "numbers": [{ "number": number, "carrier": adapter.slug, "params": params }] });
    let answer = answer::with_key(http.post(format!("{}/v1/lookup", holder.api)).json(&body)).send().await;
    let answer = answer.with_context(|| format!("process {} does not answer at {}", holder.pid, holder.api))?;
    if answer.status() == reqwest::StatusCode::UNAUTHORIZED {
        bail!("process {} holds the data directory and wants a key; put it into {}", holder.pid, answer::KEY);
    }
    let answer = answer::json(answer).await?;
    let first = &answer["results"][0];
    if let Some(why) = first["error"]["message"].as_str() {
        bail!("{why}");
    }
    let began = Instant::now();
    let path = format!("{}/v1/shipments/{}/{number}", holder.api, adapter.slug);
    let looks = format!("{}/v1/lookups/{}", holder.api, answer["lookup"].as_str().unwrap_or_default());
    loop {
        let view = answer::json(answer::with_key(http.get(&path)).send().await?).await?;
        if view["shipment"].is_object() {
            return print_known(&view, order.json);
        }
        // A look that brings no reading makes no shipment, and the next may be hours away.
        let looked = answer::json(answer::with_key(http.get(&looks)).send().await?).await?;
        if let Some(class) = failed(&looked["results"][0]) {
            return print_failed(&looked["results"][0], class, order.json);
        }
        if began.elapsed() > PATIENCE {
            bail!(
                "no look has brought a reading within {} s; the number stays registered, ask again later",
                PATIENCE.as_secs()
            );
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// How the last look at a number ended that has no shipment; `None` while there was none, or it was put off.
fn failed(result: &Value) -> Option<OutcomeClass> {
    serde_json::from_value(result["state"].clone()).ok()
}

fn print_failed(result: &Value, class: OutcomeClass, as_json: bool) -> Result<ExitCode> {
    let mut out = stdout();
    if as_json {
        let shown = json!({
            "carrier": result["carrier"], "number": result["number"], "outcome": class, "status": null,
            "sub_status": null, "events": [], "milestones": {}, "estimated_delivery": null, "needs": result["needs"],
        });
        writeln!(out, "{shown}")?;
        return Ok(exit(class));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    writeln!(out, "{} {}", text(&result["carrier"]), text(&result["number"]))?;
    writeln!(out, "{class}  (the last look; the number stays registered and is asked again)")?;
    Ok(exit(class))
}

fn print_known(view: &Value, as_json: bool) -> Result<ExitCode> {
    let mut out = stdout();
    let shipment = &view["shipment"];
    let class: OutcomeClass = serde_json::from_value(shipment["last_outcome"]["class"].clone())?;
    let empty = Vec::new();
    let events = view["events"].as_array().unwrap_or(&empty);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if as_json {
        let events: Vec<Value> = events
            .iter()
            .map(|event| {
                json!({
                    "time_raw": event["time_raw"], "time": event["time"], "text": event["text"],
                    "location": event["location"], "code": event["code"], "sub_status": event["sub_status"],
                })
            })
            .collect();
        let shown = json!({
            "carrier": view["carrier"], "number": view["number"], "outcome": class, "status": shipment["status"],
            "sub_status": shipment["sub_status"], "events": events, "milestones": shipment["milestones"],
            "estimated_delivery": shipment["estimated_delivery"],
        });
        writeln!(out, "{shown}")?;
        return Ok(exit(class));
    }
    writeln!(out, "{} {}", text(&view["carrier"]), text(&view["number"]))?;
    writeln!(out, "{class}  {}  ({})", text(&shipment["sub_status"]), counted(events.len(), "event"))?;
    for event in events {
        let sub = event["sub_status"].as_str().unwrap_or("(nothing matched)");
        writeln!(
            out,
            "  {:<26} {sub:<32} {}  {}",
            text(&event["time_raw"]),
            text(&event["text"]),
            text(&event["location"])
        )?;
    }
    Ok(exit(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_without_a_reading_is_told_and_one_to_come_is_waited_for() {
        let of = |state: &str| failed(&json!({ "number": "AB123456", "state": state }));
        assert_eq!(of("blocked"), Some(OutcomeClass::Blocked));
        assert_eq!(of("needs_data"), Some(OutcomeClass::NeedsData));
        assert_eq!((of("queued"), of("known")), (None, None));
        assert_eq!(failed(&Value::Null), None, "no answer at all");
    }
}
