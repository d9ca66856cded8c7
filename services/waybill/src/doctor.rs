//! `waybill doctor`: reaches everything that the configuration names, and says in a sentence each what is there and what is
//! missing. Nothing is changed, and no secret is shown.

use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use tokio::time::timeout;
use waybill_adapters::Catalog;
use waybill_clickhouse::{client, library, migrations};
use waybill_fetcher::look_at;
use waybill_log::{KafkaLog, Log};
use waybill_runtime::{
    Clocks,
    clock_gate::{Trust, certainly_off_ms, judge},
    telemetry,
};
use waybill_schemas::{politeness::CarrierPolicy, topics::TopicPrefix};

use crate::{cli::Common, config::Config, parts};

/// How long each part may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One sentence, and whether it is a good one.
struct Finding {
    what: &'static str,
    said: Result<String, String>,
}

fn good(what: &'static str, said: impl Into<String>) -> Finding {
    Finding { what, said: Ok(said.into()) }
}

fn bad(what: &'static str, said: impl Into<String>) -> Finding {
    Finding { what, said: Err(said.into()) }
}

/// Looks at everything; the exit code tells whether something is missing.
///
/// # Errors
/// When the configuration or the adapters cannot be read at all.
pub(crate) async fn run(common: Common) -> Result<ExitCode> {
    let mut config = Config::load(&common)?;
    config.telemetry.filter = Some("off".to_owned());
    telemetry::init_logs(&config.telemetry)?;
    let catalog = Catalog::load(&config.adapters)?;
    let mut findings = log(&config).await;
    findings.extend(clickhouse(&config).await);
    findings.extend(carriers(&config, &catalog));
    findings.push(keys(&config));
    let mut out = stdout();
    let mut missing = 0;
    for Finding { what, said } in &findings {
        match said {
            Ok(said) => writeln!(out, "ok       {what:<11} {said}")?,
            Err(said) => {
                missing += 1;
                writeln!(out, "MISSING  {what:<11} {said}")?;
            }
        }
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn log(config: &Config) -> Vec<Finding> {
    let Some(options) = &config.log.kafka else {
        let dir = config.data_dir.display();
        return vec![good("log", format!("the log is embedded in `waybill standalone`, in {dir}"))];
    };
    let brokers = &options.brokers;
    let log = match timeout(PATIENCE, parts::connect(options, Duration::ZERO)).await {
        Ok(Ok(log)) => log,
        Ok(Err(error)) => return vec![bad("kafka", format!("{error:#}"))],
        Err(_) => return vec![bad("kafka", format!("{brokers} did not answer within {} s", PATIENCE.as_secs()))],
    };
    let mut findings = vec![good("kafka", format!("{brokers} answers"))];
    findings.push(topics(config, &log).await);
    findings.push(clock(&log).await);
    findings
}

async fn topics(config: &Config, log: &KafkaLog) -> Finding {
    let prefix: TopicPrefix = config.log.prefix.parse().unwrap_or_default();
    let wanted = parts::new_topics(&prefix, config.log.partitions());
    match timeout(PATIENCE, log.topics_diff(&wanted)).await {
        Ok(Ok(drifts)) if drifts.is_empty() => {
            good("topics", format!("all {} topics are there and as they should be", wanted.len()))
        }
        Ok(Ok(drifts)) => {
            let first: Vec<String> = drifts.iter().take(3).map(ToString::to_string).collect();
            let more = drifts.len().saturating_sub(first.len());
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            bad("topics", format!("{}{more}; see `waybill topics diff` and `waybill topics apply`", first.join("; ")))
        }
        Ok(Err(error)) => bad("topics", format!("they cannot be looked at: {error}")),
        Err(_) => bad("topics", "the brokers do not describe them in time"),
    }
}

async fn clock(log: &KafkaLog) -> Finding {
    let clocks = Clocks::real();
    let asked = clocks.wall();
    match timeout(PATIENCE, log.time()).await {
        Ok(Ok(theirs)) => {
            let off_ms = certainly_off_ms(asked, theirs, clocks.wall());
            if judge(off_ms) == Trust::Given {
                good("clock", format!("it agrees with the brokers' ({off_ms} ms off for certain)"))
            } else {
                bad(
                    "clock",
                    format!("it is {off_ms} ms off the brokers'; fetchers here would send nothing: set it by NTP"),
                )
            }
        }
        Ok(Err(error)) => bad("clock", format!("the brokers do not tell their time: {error}")),
        Err(_) => bad("clock", "the brokers do not tell their time"),
    }
}

async fn clickhouse(config: &Config) -> Vec<Finding> {
    if config.clickhouse.url.is_none() {
        return vec![embedded(config)];
    }
    let (client, url) = match parts::server(&config.clickhouse, "`waybill doctor`") {
        Ok(server) => server,
        Err(error) => return vec![bad("clickhouse", format!("{error:#}"))],
    };
    let version = client.clone().with_database("default");
    let version = version.query("SELECT version()").fetch_one::<String>();
    let version = match timeout(PATIENCE, version).await {
        Ok(Ok(version)) => version,
        Ok(Err(error)) => {
            let said = client::hindrance(&error).unwrap_or_else(|| {
                let remedy = "start it, or correct clickhouse.url, clickhouse.user or clickhouse.password_file";
                format!("{remedy}: {}", first_line(&error.to_string()))
            });
            return vec![bad("clickhouse", format!("{url} does not serve us; {said}"))];
        }
        Err(_) => return vec![bad("clickhouse", format!("{url} did not answer within {} s", PATIENCE.as_secs()))],
    };
    let mut findings = vec![good("clickhouse", format!("{url} answers, version {version}"))];
    let all = parts::all_migrations();
    findings.push(match timeout(PATIENCE, migrations::ledger(&client)).await {
        Ok(Ok(ledger)) => match migrations::plan(&all, &ledger) {
            Ok(left) if left.is_empty() => good("migrations", format!("all {} are applied", all.len())),
            Ok(left) => bad("migrations", format!("{} are not applied; run `waybill migrate`", left.len())),
            Err(error) => bad("migrations", error.to_string()),
        },
        Ok(Err(error)) => bad("migrations", first_line(&error.to_string())),
        Err(_) => bad("migrations", "the ledger is not answered in time"),
    });
    findings
}

fn embedded(config: &Config) -> Finding {
    match library::locate_library(config.clickhouse.library.as_deref()) {
        Ok(path) => good("clickhouse", format!("the embedded ClickHouse's library is {}", path.display())),
        Err(error) => bad("clickhouse", format!("{error}; `waybill standalone` needs it, or clickhouse.url")),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Carriers that somebody means to ask: switched on, or configured and not switched off.
fn carriers(config: &Config, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ready: Vec<String> = Vec::new();
    for adapter in catalog.all() {
        let own = config.fetcher.carriers.get(&adapter.slug);
        let meant = own.is_some_and(|own| own.enabled != Some(false));
        match look_at(catalog, &config.fetcher, &adapter.slug, &CarrierPolicy::default()) {
            Ok(_) => ready.push(adapter.slug.to_string()),
            Err(why) if meant => findings.push(bad("carrier", format!("{}: {why}", adapter.slug))),
            Err(_) => {}
        }
    }
    for slug in config.fetcher.carriers.keys().filter(|slug| catalog.get(slug).is_none()) {
        findings.push(bad("carrier", format!("{slug}: no adapter has this name; --adapters adds some")));
    }
    let (count, names) = (ready.len(), ready.iter().take(12).cloned().collect::<Vec<_>>().join(", "));
    let more = if count > 12 { ", …" } else { "" };
    findings.insert(0, good("carriers", format!("{count} can be asked: {names}{more}")));
    findings
}

fn keys(config: &Config) -> Finding {
    let api = &config.api;
    match waybill_api::auth::Access::new(api.listen, api.keys_file.as_deref()) {
        Ok(_) if api.keys_file.is_some() => good("api", format!("{} asks for keys, and they can be read", api.listen)),
        Ok(_) => good("api", format!("{} is reached from this machine only and asks for no keys", api.listen)),
        Err(error) => bad("api", error.to_string()),
    }
}
