//! `waybill standalone --demo`: the whole pipeline against simulated carriers, on a journey clock that runs fast.
//!
//! Politeness is real: limiters, quotas and deadlines run on the wall clock, and the simulator at the other end counts
//! every arrival. Only the parcels' lives run fast. Everything survives a restart: the clock, the log, the simulator's
//! ledger.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Write, stdout},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tokio::time::{Instant, interval};
use waybill_api::CarrierDirectory;
use waybill_carrier_sim::{
    self as sim, FullestWindow, JourneyMap, Ledger, LedgerError, Parcel, PlanConfig, Simulator, SimulatorError,
};
use waybill_fetcher::Route;
use waybill_log::{Headers, NewRecord, SharedLog, TopicPartition};
use waybill_runtime::{Clocks, JourneyScale, telemetry};
use waybill_schemas::{
    CarrierSlug, JourneyMs,
    command::{Command, CommandKind},
    layout::Layout,
    topics::{TopicPrefix, names},
};

use crate::{
    config::{Config, DemoConfig},
    datadir::{DataDir, Parcels},
    directory::Directory,
    parts::Known,
    process,
    standalone::{self, Setup, Standalone},
    until,
};

const DAY_MS: i64 = 86_400_000;
/// Commands of one append.
const CHUNK: usize = 500;
/// Time between two progress lines.
const PROGRESS: Duration = Duration::from_secs(5);
/// Written once every parcel is on the log.
const REGISTERED: &str = "demo-registered";

/// Runs the demo; the exit code tells whether every budget held.
///
/// # Errors
/// One sentence for whatever cannot be started.
pub(crate) async fn run(mut config: Config, own_dir: bool, run_for: Option<Duration>) -> Result<ExitCode> {
    if own_dir {
        // Simulated and real parcels must never share a history.
        config.data_dir = "waybill-data-demo".into();
    }
    config.log_lines("warn");
    telemetry::init_logs(&config.telemetry)?;
    standalone::check(&config)?;
    let dir = DataDir::take(&config.data_dir)?;
    let journey = dir.journey(Parcels::Simulated(first_journey(&config.demo)))?;
    let simulator = start_simulator(&config.demo, &dir, journey)?;
    let carriers = route_to(&simulator, &mut config)?;
    let known = Known::load(&config)?;
    let known = Known { catalog: known.catalog.with_dir(&sim::CARRIERS)?, base: known.base.with_dir(&sim::CARRIERS)? };
    known.fit(&config)?;

    let marker = dir.join(REGISTERED);
    let at = Some(format!("http://{}", simulator.addr()));
    let mut stop = pin!(process::signal());
    let running = tokio::select! {
        () = &mut stop => return Ok(ExitCode::SUCCESS),
        started = Standalone::start(config, Setup { dir, known, journey, simulator: at }) => started?,
    };
    let (api, sql) = (&running.holder.api, &running.holder.sql);
    writeln!(stdout(), "waybill demo: API {api}, SQL {sql} (database waybill)")?;
    if !marker.exists() {
        register(&running.log, &running.topics, &running.layout, simulator.plan().parcels()).await?;
        std::fs::write(&marker, b"").context("the data directory")?;
    }

    let view = View {
        ledger: simulator.ledger(),
        directory: Arc::clone(&running.directory),
        reader: running.reader.clone(),
        clocks: running.clocks,
        carriers,
    };
    let watching = async {
        tokio::select! {
            () = view.show() => {}
            () = until(run_for, stop) => {}
        }
    };
    let ended = running.run_until(watching).await;
    let verdict = view.verdict();
    writeln!(stdout(), "{verdict}")?;
    ended?;
    Ok(verdict.exit())
}

fn first_journey(demo: &DemoConfig) -> JourneyScale {
    let start = Clocks::real().wall();
    let ago = i64::from(demo.anchor_days) * DAY_MS;
    let scale = 1.0 + ago as f64 / (f64::from(demo.catch_up_s) * 1_000.0);
    JourneyScale { anchor: JourneyMs::new(start.ms() - ago), start, scale }
}

fn start_simulator(demo: &DemoConfig, dir: &DataDir, journey: JourneyScale) -> Result<Simulator> {
    let clock = JourneyMap { anchor_ms: journey.anchor.ms(), start_ms: journey.start.ms(), scale: journey.scale };
    let mut config = sim::Config::new(PlanConfig::new(demo.seed, demo.parcels, clock));
    config.ledger = Some(dir.join("simulator"));
    Simulator::start(config).map_err(|error| match error {
        SimulatorError::Ledger(LedgerError::OtherPlan { path }) => anyhow!(
            "{} is from a demo with another demo.seed or demo.parcels; say the same, or name another --data-dir",
            path.display()
        ),
        other => other.into(),
    })
}

/// Switches the simulated carriers on and sends their requests to the simulator.
fn route_to(simulator: &Simulator, config: &mut Config) -> Result<Vec<CarrierSlug>> {
    config.fetcher.allow_private = true;
    let mut carriers = Vec::new();
    for slug in sim::carriers() {
        let slug: CarrierSlug = slug.parse()?;
        config.fetcher.routes.push(Route { carrier: slug.clone(), to: simulator.route(), robots: None });
        config.fetcher.carriers.entry(slug.clone()).or_default().enabled = Some(true);
        carriers.push(slug);
    }
    Ok(carriers)
}

async fn register(log: &SharedLog, topics: &TopicPrefix, layout: &Layout, parcels: &[Parcel]) -> Result<()> {
    let topic: Arc<str> = topics.of(names::COMMANDS).into();
    for chunk in parcels.chunks(CHUNK) {
        let records: Result<Vec<NewRecord>> = chunk.iter().map(|parcel| record(&topic, layout, parcel)).collect();
        for answer in log.produce(records?).await {
            answer.context("a parcel cannot be registered")?;
        }
    }
    Ok(())
}

fn record(topic: &Arc<str>, layout: &Layout, parcel: &Parcel) -> Result<NewRecord> {
    let carrier: CarrierSlug = parcel.carrier.parse()?;
    let partition = layout.partition_of(&carrier);
    let id = format!("demo-{}", parcel.index);
    let command = Command {
        params: (!parcel.params.is_empty()).then(|| parcel.params.clone()),
        reference: Some(parcel.reference.clone()),
        tags: Some(vec!["demo".to_owned()]),
        ..Command::new(id, CommandKind::Register, carrier, parcel.number.parse()?)
    };
    Ok(NewRecord {
        at: TopicPartition::new(Arc::clone(topic), partition),
        key: Some(format!("{}:{}", command.carrier, command.number).into()),
        value: Some(serde_json::to_vec(&command)?.into()),
        headers: Headers::new(),
    })
}

/// What the terminal shows.
struct View {
    ledger: Arc<Ledger>,
    directory: Arc<Directory>,
    reader: clickhouse::Client,
    clocks: Clocks,
    carriers: Vec<CarrierSlug>,
}

impl View {
    /// Shows progress for as long as it is polled.
    async fn show(&self) {
        let began = Instant::now();
        let mut turn = interval(PROGRESS);
        turn.tick().await;
        loop {
            turn.tick().await;
            let line = self.progress(began.elapsed()).await;
            // A closed terminal does not end the demo.
            let _ = writeln!(stdout(), "{line}");
        }
    }

    async fn progress(&self, elapsed: Duration) -> String {
        let statuses = self.counts("SELECT toString(status), count() FROM waybill.v_shipments GROUP BY status").await;
        let events = self.count("SELECT count() FROM waybill.v_events").await;
        let (mut active, mut stopped, mut in_flight) = (0, 0, 0);
        let mut rates = String::new();
        for carrier in &self.carriers {
            let state = self.directory.state(carrier);
            let of = |field: &str| state["scheduler"][field].as_u64().unwrap_or_default();
            active += of("active");
            stopped += of("stopped");
            in_flight += of("in_flight");
            if let Some(info) = self.directory.find(carrier) {
                let seen = self.recent_rate(carrier);
                rates.push_str(&format!(" {carrier} {seen:.1}/{:.0}", info.budget.rate_per_second));
            }
        }
        let shown: Vec<String> = statuses.iter().map(|(status, count)| format!("{status} {count}")).collect();
        let day: String = self.clocks.journey().to_string().chars().take(10).collect();
        format!(
            "{:>4} s  journey {day}  registered {}  done {stopped}  in flight {in_flight}  events stored {events}\n        {}\n        requests/s of allowed (bursts come on top):{rates}",
            elapsed.as_secs(),
            active + stopped,
            shown.join("  "),
        )
    }

    fn recent_rate(&self, carrier: &CarrierSlug) -> f64 {
        let arrivals = self.ledger.arrivals(&[carrier.as_str()]);
        let since = self.clocks.wall_us() - i64::try_from(PROGRESS.as_micros()).unwrap_or(i64::MAX);
        let recent = arrivals.iter().rev().take_while(|at| **at >= since).count();
        recent as f64 / PROGRESS.as_secs_f64()
    }

    async fn count(&self, sql: &str) -> u64 {
        self.reader.query(sql).fetch_one::<u64>().await.unwrap_or_default()
    }

    async fn counts(&self, sql: &str) -> BTreeMap<String, u64> {
        let rows = self.reader.query(sql).fetch_all::<(String, u64)>().await;
        rows.unwrap_or_default().into_iter().collect()
    }

    /// Over every carrier's door.
    fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for carrier in &self.carriers {
            let Some(info) = self.directory.find(carrier) else { continue };
            let arrivals = self.ledger.arrivals(&[carrier.as_str()]);
            verdict.add(&sim::fullest_window(&arrivals, info.budget.rate_per_second, info.budget.burst));
        }
        verdict
    }
}

/// Whether carriers' doors saw no more than their budgets, in every window (POL-1).
#[derive(Debug, Default)]
struct Verdict {
    requests: u64,
    over: u64,
    fullest_percent: f64,
}

impl Verdict {
    fn add(&mut self, window: &FullestWindow) {
        self.requests += window.requests;
        self.over += window.over;
        self.fullest_percent = self.fullest_percent.max(window.percent());
    }

    fn exit(&self) -> ExitCode {
        if self.over == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, over, fullest_percent } = self;
        write!(f, "politeness: {requests} requests, {over} over budget, fullest window {fullest_percent:.0} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pol_1_one_request_over_one_budget_fails_the_demo_and_is_told() {
        // Ten at once of a bucket of ten; then one more.
        let mut verdict = Verdict::default();
        verdict.add(&sim::fullest_window(&[0; 10], 1.0, 10));
        assert_eq!(verdict.exit(), ExitCode::SUCCESS);
        assert_eq!(verdict.to_string(), "politeness: 10 requests, 0 over budget, fullest window 100 %");
        verdict.add(&sim::fullest_window(&[0; 11], 1.0, 10));
        assert_eq!(verdict.exit(), ExitCode::FAILURE);
        assert_eq!(verdict.to_string(), "politeness: 21 requests, 1 over budget, fullest window 110 %");
    }
}
