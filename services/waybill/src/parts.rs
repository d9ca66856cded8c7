//! The parts that every composition is made of: the log with its settled layout, ClickHouse, the carriers, and each
//! service with what it stands on. `standalone` and `cluster` only choose among them.

use std::{ffi::OsString, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use tokio::net::TcpListener;
use waybill_adapters::{Catalog, LiveCatalog};
use waybill_clickhouse::{
    client::{self, ClientOptions},
    embedded::{EmbeddedClickHouse, EmbeddedConfig},
    migrations,
};
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, ErrorClass, KafkaLog, KafkaOptions, LogError, NewTopic, SharedLog, TopicPartition,
};
use waybill_runtime::{ClockGate, Clocks};
use waybill_schemas::{
    layout::Layout,
    topics::{self, Partitioning, TopicPrefix, names},
};

use crate::{
    config::{ClickHouseConfig, Config, password},
    datadir::DataDir,
    directory::{Directory, layout_of},
    follow::Table,
    layout,
    process::Process,
    reload::Reloader,
};

/// The hidden first argument of the process that holds ClickHouse's engine.
pub(crate) const CLICKHOUSE_CHILD: &str = "clickhouse-child";
/// Pause between two tries to reach something at the start.
const START_PAUSE: Duration = Duration::from_secs(1);

/// The topics of a layout, to be created.
pub(crate) fn new_topics(prefix: &TopicPrefix, partitions: u32) -> Vec<NewTopic> {
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3_600);
    topics::all()
        .iter()
        .map(|spec| NewTopic {
            name: prefix.of(&spec.name),
            partitions: if spec.partitioning == Partitioning::Single { 1 } else { partitions },
            cleanup: spec.cleanup,
            retention: hours(spec.retention_hours),
            min_compaction_lag: hours(spec.min_compaction_lag_hours),
        })
        .collect()
}

/// A log whose topics are there, with what every process must know before it works.
pub(crate) struct Opened {
    /// The log.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    /// Where numbers live.
    pub layout: Layout,
    /// The operator's policies, read to their end.
    pub policies: Table,
    /// Where reading them goes on.
    pub policy_place: u64,
}

/// Reads the policies of a log and settles the layout.
///
/// # Errors
/// When topics are missing or the layout differs from the recorded one.
pub(crate) async fn settle(log: SharedLog, config: &Config, catalog: &Catalog) -> Result<Opened> {
    let topics: TopicPrefix = config.log.prefix.parse().context("log.prefix")?;
    present(&log, &topics, config.log.partitions()).await?;
    let (policies, places) = Table::read(&log, &topics.of(names::POLICIES), 1).await?;
    let ours = layout_of(catalog, config.log.partitions());
    let layout = layout::settle(&log, &topics, &policies, ours).await?;
    let policy_place = places.first().copied().unwrap_or(0);
    Ok(Opened { log, topics, layout, policies, policy_place })
}

/// Whether the layout of this process is the recorded one and that of the topics that are there, as far as there are any: to
/// be asked before topics are changed.
///
/// # Errors
/// When it differs.
pub(crate) async fn agrees(log: &SharedLog, config: &Config, catalog: &Catalog) -> Result<()> {
    let topics: TopicPrefix = config.log.prefix.parse().context("log.prefix")?;
    let missing = missing(log, &topics, config.log.partitions()).await?;
    let policies = topics.of(names::POLICIES);
    if missing.contains(&policies) {
        return Ok(());
    }
    let (policies, _) = Table::read(log, &policies, 1).await?;
    layout::agrees(&policies, &layout_of(catalog, config.log.partitions()))
}

/// Every topic is there, with the partitions of the layout.
async fn present(log: &SharedLog, prefix: &TopicPrefix, partitions: u32) -> Result<()> {
    let missing = missing(log, prefix, partitions).await?;
    match missing.len() {
        0 => Ok(()),
        1 => bail!("the topic {} is missing; run `waybill topics apply`", missing[0]),
        count => bail!("{count} topics are missing, {} among them; run `waybill topics apply`", missing[0]),
    }
}

/// The topics that are not there. Those that are have the partitions of the layout.
async fn missing(log: &SharedLog, prefix: &TopicPrefix, partitions: u32) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for spec in topics::all() {
        let name = prefix.of(&spec.name);
        match log.describe(&name).await {
            Ok(found) if spec.partitioning == Partitioning::Budget && found.partitions != partitions => bail!(
                "topic {name} has {} partitions and this process is configured for {partitions}; set log.partitions to {}",
                found.partitions,
                found.partitions
            ),
            Ok(_) => {}
            Err(LogError::UnknownTopic(_)) => missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}

/// Opens the log of a data directory with its topics and its settled layout.
///
/// # Errors
/// When the log is damaged or held, or the layout differs from the recorded one.
pub(crate) async fn open_embedded(
    config: &Config,
    dir: &DataDir,
    clocks: Clocks,
    catalog: &Catalog,
) -> Result<(Arc<EmbeddedLog>, Opened)> {
    let prefix: TopicPrefix = config.log.prefix.parse().context("log.prefix")?;
    let options = EmbeddedOptions::new(Arc::new(move || clocks.wall()));
    let path = dir.join("log");
    let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(&path, options)).await??;
    let log = Arc::new(log);
    let shared: SharedLog = log.clone();
    let created = shared.create_topics(&new_topics(&prefix, config.log.partitions())).await;
    created.map_err(|error| match error {
        LogError::TopicMismatch { actual, wanted, .. } => anyhow!(
            "this data directory was laid out with {actual} partitions and log.partitions is {wanted}; set it to {actual}"
        ),
        error => error.into(),
    })?;
    Ok((log, settle(shared, config, catalog).await?))
}

/// The options of Kafka, which `what` needs.
///
/// # Errors
/// One sentence that names the key.
pub(crate) fn kafka_options<'c>(config: &'c Config, what: &str) -> Result<&'c KafkaOptions> {
    let options = config.log.kafka.as_ref();
    options.with_context(|| {
        format!("{what} needs Apache Kafka: set log.kafka.brokers, or run `waybill standalone`, which needs none")
    })
}

/// Connects to Kafka, trying again for `patience`: at the start of a cluster the brokers may come up a little later.
///
/// # Errors
/// One sentence that names the brokers, or the option that is wrong.
pub(crate) async fn connect(options: &KafkaOptions, patience: Duration) -> Result<KafkaLog> {
    let began = tokio::time::Instant::now();
    loop {
        match KafkaLog::connect(options.clone()).await {
            Ok(log) => return Ok(log),
            Err(error) if error.class() == ErrorClass::Retry && began.elapsed() < patience => {
                tracing::warn!(%error, brokers = options.brokers, "process.log_not_reached");
                tokio::time::sleep(START_PAUSE).await;
            }
            Err(error) => {
                let failed = format!("the brokers of log.kafka.brokers ({}) cannot be used", options.brokers);
                return Err(anyhow::Error::from(error).context(failed));
            }
        }
    }
}

/// ClickHouse, for reading and for writing.
pub(crate) struct Store {
    /// As a user who only reads, where there is one.
    pub reader: clickhouse::Client,
    /// As a user who writes.
    pub writer: clickhouse::Client,
    /// Where it answers.
    pub url: String,
    /// Its process, where it is ours.
    pub embedded: Option<EmbeddedClickHouse>,
}

/// A client of the server of `clickhouse.url`.
///
/// # Errors
/// When there is none, or its password or its authorities cannot be read.
pub(crate) fn server(section: &ClickHouseConfig, what: &str) -> Result<(clickhouse::Client, String)> {
    let url = section.url.as_deref();
    let url = url.with_context(|| format!("{what} needs a ClickHouse server: set clickhouse.url"))?;
    let user = section.user.as_deref().unwrap_or("default");
    let mut options = ClientOptions::new(url, user, password(section.password_file.as_deref())?);
    options.ca_file.clone_from(&section.ca_file);
    Ok((client::build(&options)?, url.to_owned()))
}

/// The configured server, or the embedded one of a data directory.
///
/// # Errors
/// When neither can be used.
pub(crate) async fn open_store(config: &Config, dir: &DataDir) -> Result<Store> {
    let section = &config.clickhouse;
    if section.url.is_some() {
        let (client, url) = server(section, "this process")?;
        return Ok(Store { reader: client.clone(), writer: client, url, embedded: None });
    }
    let program = std::env::current_exe().context("this program's own path")?;
    let mut embedded = EmbeddedConfig::new(program, vec![OsString::from(CLICKHOUSE_CHILD)], dir.join("clickhouse"));
    embedded.library.clone_from(&section.library);
    if let Some(listen) = section.listen {
        embedded.listen = listen;
    }
    let embedded = EmbeddedClickHouse::start(embedded).await?;
    let (url, writer, reader) = (embedded.url(), embedded.writer(), embedded.reader());
    Ok(Store {
        reader: client::build(&ClientOptions::new(url.as_str(), reader.user, reader.password))?,
        writer: client::build(&ClientOptions::new(url.as_str(), writer.user, writer.password))?,
        url,
        embedded: Some(embedded),
    })
}

/// Every migration of this program.
pub(crate) fn all_migrations() -> Vec<migrations::Migration<'static>> {
    let all = waybill_schemas::migrations::all();
    all.iter().map(|one| migrations::Migration { number: one.number, name: one.name, sql: one.sql }).collect()
}

/// Applies every migration of this program.
///
/// # Errors
/// When the ledger disagrees or ClickHouse refuses a statement.
pub(crate) async fn migrate(client: &clickhouse::Client) -> Result<Vec<u32>> {
    Ok(migrations::apply(client, &all_migrations()).await?)
}

/// What services are made of.
pub(crate) struct Parts {
    /// The configuration.
    pub config: Config,
    /// Both clocks.
    pub clocks: Clocks,
    /// Whether they may be trusted.
    pub clock: ClockGate,
    /// The log.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    /// Where numbers live.
    pub layout: Layout,
    /// The adapters, live.
    pub catalog: LiveCatalog,
    /// The carriers, live.
    pub directory: Arc<Directory>,
    /// This process's name in its groups.
    pub member: String,
}

/// The carriers at the start of a process.
pub(crate) struct Known {
    /// With the overlays of the configuration.
    pub catalog: Catalog,
    /// The program's own, which overlays lie over.
    pub base: Catalog,
}

impl Known {
    /// Loads both.
    ///
    /// # Errors
    /// One sentence that names file and line.
    pub(crate) fn load(config: &Config) -> Result<Self> {
        Ok(Self { catalog: Catalog::load(&config.adapters)?, base: Catalog::embedded()? })
    }

    /// Whether the configuration of carriers fits their adapters; what does not and hinders nobody else is logged.
    ///
    /// # Errors
    /// One sentence that names the budget that is out of range.
    pub(crate) fn fit(&self, config: &Config) -> Result<()> {
        let misfits = config.check_carriers(&self.catalog)?;
        for carrier in misfits.strangers {
            tracing::warn!(%carrier, "config.carrier_without_adapter");
        }
        for why in misfits.wrong {
            tracing::warn!(why, "config.carrier_misfit");
        }
        Ok(())
    }
}

/// Whether a process follows what `waybill.carriers` says of each budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum States {
    /// Somebody asks for it.
    Followed,
    /// Nobody does.
    Unread,
}

impl Parts {
    /// Puts the parts together and begins to follow what must be followed.
    ///
    /// # Errors
    /// Whatever the log reports.
    pub(crate) async fn new(
        process: &mut Process,
        opened: Opened,
        (config, known): (Config, Known),
        (clocks, clock): (Clocks, ClockGate),
        states: States,
    ) -> Result<Self> {
        let Opened { log, topics, layout, policies, policy_place } = opened;
        let catalog = LiveCatalog::from(known.catalog);
        let reloader = Reloader::new(catalog.clone(), known.base, &config, &layout, clocks);
        // Candidates are loaded here; what is wrong with one keeps nothing from starting.
        let first = reloader.clone();
        tokio::task::spawn_blocking(move || drop(first.reload())).await?;
        process.spawn("reloading of adapters", reloader.run(process.stop()));
        let at = TopicPartition::new(topics.of(names::POLICIES), 0);
        let told = (process.health.component("tail.policies"), process.stop());
        process.spawn("policies' reader", policies.clone().follow(log.clone(), at, policy_place, told));
        let table = match states {
            States::Unread => Table::default(),
            States::Followed => {
                let topic = topics.of(names::CARRIERS);
                let (table, places) = Table::read(&log, &topic, layout.partitions).await?;
                for (partition, place) in (0u32..).zip(places) {
                    let at = TopicPartition::new(topic.as_str(), partition);
                    let told = (process.health.component(&format!("tail.carriers-{partition}")), process.stop());
                    process.spawn("carriers' reader", table.clone().follow(log.clone(), at, place, told));
                }
                table
            }
        };
        let directory = Arc::new(Directory {
            catalog: catalog.clone(),
            config: config.clone(),
            policies,
            states: table,
            log: log.clone(),
            topics: topics.clone(),
            layout: layout.clone(),
        });
        let member = config.member();
        Ok(Self { config, clocks, clock, log, topics, layout, catalog, directory, member })
    }

    /// Runs the scheduler.
    pub(crate) fn scheduler(&self, process: &mut Process) {
        let deps = waybill_scheduler::Deps {
            log: self.log.clone(),
            topics: self.topics.clone(),
            layout: self.layout.clone(),
            clocks: self.clocks,
            carriers: self.directory.clone(),
            member: self.member.clone(),
            health: process.health.clone(),
            config: self.config.scheduler.clone(),
        };
        process.health.expect("scheduler");
        process.spawn("scheduler", waybill_scheduler::run(deps, process.stop()));
    }

    /// Runs the fetcher.
    pub(crate) fn fetcher(&self, process: &mut Process) {
        let deps = waybill_fetcher::Deps {
            log: self.log.clone(),
            topics: self.topics.clone(),
            layout: self.layout.clone(),
            clocks: self.clocks,
            catalog: self.catalog.clone(),
            policies: self.directory.clone(),
            member: self.member.clone(),
            health: process.health.clone(),
            clock: self.clock.clone(),
            config: self.config.fetcher.clone(),
        };
        process.health.expect("fetcher");
        process.spawn("fetcher", waybill_fetcher::run(deps, process.stop()));
    }

    /// Runs the normalizer.
    pub(crate) fn normalizer(&self, process: &mut Process) {
        let deps = waybill_normalizer::Deps {
            log: self.log.clone(),
            topics: self.topics.clone(),
            layout: self.layout.clone(),
            clocks: self.clocks,
            catalog: self.catalog.clone(),
            member: self.member.clone(),
            health: process.health.clone(),
            config: self.config.normalizer.clone(),
        };
        process.health.expect("normalizer");
        process.spawn("normalizer", waybill_normalizer::run(deps, process.stop()));
    }

    /// Runs the store.
    pub(crate) fn store(&self, process: &mut Process, clickhouse: clickhouse::Client) {
        let deps = waybill_store::Deps {
            log: self.log.clone(),
            topics: self.topics.clone(),
            clickhouse,
            clocks: self.clocks,
            member: self.member.clone(),
            health: process.health.clone(),
            config: self.config.store.clone(),
        };
        process.health.expect("store.clickhouse");
        process.spawn("store", waybill_store::run(deps, process.stop()));
    }

    /// Runs the API.
    pub(crate) fn api(&self, process: &mut Process, clickhouse: clickhouse::Client, listener: TcpListener) {
        let deps = waybill_api::Deps {
            log: self.log.clone(),
            topics: self.topics.clone(),
            layout: self.layout.clone(),
            clocks: self.clocks,
            carriers: self.directory.clone(),
            clickhouse,
            health: process.health.clone(),
            config: self.config.api.clone(),
        };
        process.health.expect("api");
        process.spawn("api", waybill_api::run(deps, listener, process.stop()));
    }
}
