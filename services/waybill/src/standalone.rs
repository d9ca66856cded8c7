//! `waybill standalone`: every service in one process on an embedded log and an embedded ClickHouse.
//!
//! Order of starting: data directory → log and topics → policies and layout → ClickHouse and migrations → listeners →
//! services. Order of ending: readiness turns 503, services drain, ClickHouse stops, the log closes. A service that ends
//! by itself ends the process with its reason.

use std::{ffi::OsString, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_adapters::{Catalog, LiveCatalog};
use waybill_clickhouse::{
    client::{self, ClientOptions},
    embedded::{EmbeddedClickHouse, EmbeddedConfig},
    migrations,
};
use waybill_log::{
    NewTopic, SharedLog, TopicPartition,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use waybill_runtime::{Clocks, Health, JourneyScale, admin, telemetry};
use waybill_schemas::{
    layout::Layout,
    topics::{self, Partitioning, TopicPrefix, names},
};

use crate::{
    config::{Config, password},
    datadir::{DataDir, Holder},
    directory::{Directory, layout_of},
    follow::Table,
    layout,
    reload::Reloader,
};

/// The hidden first argument of the process that holds ClickHouse's engine.
pub(crate) const CLICKHOUSE_CHILD: &str = "clickhouse-child";
/// How long draining may take before the rest is dropped; what was not committed is done again.
const DRAIN: Duration = Duration::from_secs(15);

/// What a standalone process runs on besides its configuration.
pub(crate) struct Setup {
    /// The data directory, held by this process.
    pub dir: DataDir,
    /// The carriers, overlays included.
    pub catalog: Catalog,
    /// The program's own carriers, which overlays lie over.
    pub base: Catalog,
    /// How journey time follows wall time.
    pub journey: JourneyScale,
    /// Where simulated carriers answer, to be told to whoever asks.
    pub simulator: Option<String>,
}

/// A running standalone process.
pub(crate) struct Standalone {
    /// The data directory, held until the process ends.
    _dir: DataDir,
    /// Both clocks.
    pub clocks: Clocks,
    /// The log.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    /// Where numbers live.
    pub layout: Layout,
    /// The carriers, live.
    pub directory: Arc<Directory>,
    /// ClickHouse, for reading.
    pub reader: clickhouse::Client,
    /// Where the process answers.
    pub holder: Holder,
    shutdown: CancellationToken,
    closed: CancellationToken,
    tasks: JoinSet<Result<&'static str>>,
    clickhouse: Option<EmbeddedClickHouse>,
}

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

struct Store {
    reader: clickhouse::Client,
    writer: clickhouse::Client,
    url: String,
    embedded: Option<EmbeddedClickHouse>,
}

async fn open_store(config: &Config, dir: &DataDir) -> Result<Store> {
    let section = &config.clickhouse;
    if let Some(url) = &section.url {
        let user = section.user.as_deref().unwrap_or("default");
        let options = ClientOptions::new(url.as_str(), user, password(section.password_file.as_deref())?);
        let client = client::build(&options)?;
        return Ok(Store { reader: client.clone(), writer: client, url: url.clone(), embedded: None });
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

/// Applies every migration of this program.
///
/// # Errors
/// When the ledger disagrees or ClickHouse refuses a statement.
pub(crate) async fn migrate(client: &clickhouse::Client) -> Result<Vec<u32>> {
    let all = waybill_schemas::migrations::all();
    let all: Vec<migrations::Migration<'_>> =
        all.iter().map(|one| migrations::Migration { number: one.number, name: one.name, sql: one.sql }).collect();
    Ok(migrations::apply(client, &all).await?)
}

/// Opens the log of a data directory with its topics and its settled layout.
///
/// # Errors
/// When the log is damaged or held, or the layout differs from the recorded one.
pub(crate) async fn open_log(
    config: &Config,
    dir: &DataDir,
    clocks: Clocks,
    catalog: &Catalog,
) -> Result<(Arc<EmbeddedLog>, TopicPrefix, Layout, Table, Vec<u64>)> {
    let prefix: TopicPrefix = config.log.prefix.parse().context("log.prefix")?;
    let options = EmbeddedOptions::new(Arc::new(move || clocks.wall()));
    let path = dir.join("log");
    let log = tokio::task::spawn_blocking(move || EmbeddedLog::open(&path, options)).await??;
    let log = Arc::new(log);
    let shared: SharedLog = log.clone();
    shared.create_topics(&new_topics(&prefix, config.log.partitions)).await.context("log.partitions")?;
    let (policies, places) = Table::read(&shared, &prefix.of(names::POLICIES), 1).await?;
    let ours = layout_of(catalog, config.log.partitions);
    let layout = layout::settle(&shared, &prefix, &policies, ours).await?;
    Ok((log, prefix, layout, policies, places))
}

async fn listen(what: &'static str, address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr)> {
    let listener = admin::bind(what, address, key).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

impl Standalone {
    /// Starts everything; it works when this returns.
    ///
    /// # Errors
    /// One sentence for whatever cannot be started.
    pub(crate) async fn start(config: Config, setup: Setup) -> Result<Self> {
        let dir = setup.dir;
        let clocks = Clocks::scaled(setup.journey);
        let (admin_listener, admin_at) = listen("the admin listener", config.admin.listen, "admin.listen").await?;
        let (api_listener, api_at) = listen("the API", config.api.listen, "api.listen").await?;
        // Checked before anything is started, so that an unsafe configuration leaves nothing behind (SEC-1).
        waybill_api::auth::Access::new(api_at, config.api.keys_file.as_deref())?;

        let health = Health::default();
        let metrics = telemetry::metrics_handle();
        let shutdown = CancellationToken::new();
        let closed = CancellationToken::new();
        let mut tasks: JoinSet<Result<&'static str>> = JoinSet::new();
        let serving = admin::serve(admin_listener, health.clone(), metrics, shutdown.clone(), closed.clone());
        spawn(&mut tasks, "admin", serving);

        let catalog = setup.catalog;
        let (embedded, prefix, layout, policies, policy_places) = open_log(&config, &dir, clocks, &catalog).await?;
        let catalog = LiveCatalog::from(catalog);
        let reloader = Reloader::new(catalog.clone(), setup.base, &config, &layout, clocks);
        // Candidates are loaded here; what is wrong with one keeps nothing from starting.
        let first = reloader.clone();
        tokio::task::spawn_blocking(move || drop(first.reload())).await?;
        spawn(&mut tasks, "reloading of adapters", reloader.run(shutdown.clone()));
        let log: SharedLog = embedded.clone();
        spawn(&mut tasks, "log maintenance", maintain(embedded, clocks, shutdown.clone()));
        let carriers_topic = prefix.of(names::CARRIERS);
        let (states, state_places) = Table::read(&log, &carriers_topic, layout.partitions).await?;
        for (partition, place) in (0u32..).zip(state_places) {
            let at = TopicPartition::new(carriers_topic.as_str(), partition);
            spawn(&mut tasks, "carriers", states.clone().follow(log.clone(), at, place, shutdown.clone()));
        }
        for place in policy_places {
            let at = TopicPartition::new(prefix.of(names::POLICIES), 0);
            spawn(&mut tasks, "policies", policies.clone().follow(log.clone(), at, place, shutdown.clone()));
        }

        let store = open_store(&config, &dir).await?;
        migrate(&store.writer).await.context("ClickHouse's tables")?;

        let directory = Arc::new(Directory {
            catalog: catalog.clone(),
            config: config.clone(),
            policies,
            states,
            log: log.clone(),
            topics: prefix.clone(),
            layout: layout.clone(),
        });
        let member = format!("standalone-{}", std::process::id());
        spawn(
            &mut tasks,
            "scheduler",
            waybill_scheduler::run(
                waybill_scheduler::Deps {
                    log: log.clone(),
                    topics: prefix.clone(),
                    layout: layout.clone(),
                    clocks,
                    carriers: directory.clone(),
                    member: member.clone(),
                    health: health.clone(),
                    config: config.scheduler.clone(),
                },
                shutdown.clone(),
            ),
        );
        spawn(
            &mut tasks,
            "fetcher",
            waybill_fetcher::run(
                waybill_fetcher::Deps {
                    log: log.clone(),
                    topics: prefix.clone(),
                    layout: layout.clone(),
                    clocks,
                    catalog: catalog.clone(),
                    policies: directory.clone(),
                    member: member.clone(),
                    health: health.clone(),
                    config: config.fetcher.clone(),
                },
                shutdown.clone(),
            ),
        );
        spawn(
            &mut tasks,
            "normalizer",
            waybill_normalizer::run(
                waybill_normalizer::Deps {
                    log: log.clone(),
                    topics: prefix.clone(),
                    layout: layout.clone(),
                    clocks,
                    catalog,
                    member: member.clone(),
                    health: health.clone(),
                    config: config.normalizer.clone(),
                },
                shutdown.clone(),
            ),
        );
        spawn(
            &mut tasks,
            "store",
            waybill_store::run(
                waybill_store::Deps {
                    log: log.clone(),
                    topics: prefix.clone(),
                    clickhouse: store.writer,
                    clocks,
                    member,
                    health: health.clone(),
                    config: config.store.clone(),
                },
                shutdown.clone(),
            ),
        );
        spawn(
            &mut tasks,
            "api",
            waybill_api::run(
                waybill_api::Deps {
                    log: log.clone(),
                    topics: prefix.clone(),
                    layout: layout.clone(),
                    clocks,
                    carriers: directory.clone(),
                    clickhouse: store.reader.clone(),
                    health,
                    config: config.api.clone(),
                },
                api_listener,
                shutdown.clone(),
            ),
        );
        let holder = Holder {
            pid: std::process::id(),
            api: format!("http://{api_at}"),
            admin: format!("http://{admin_at}"),
            sql: store.url,
            simulator: setup.simulator,
        };
        dir.announce(&holder)?;
        tracing::info!(api = holder.api, sql = holder.sql, admin = holder.admin, "standalone.started");
        Ok(Self {
            _dir: dir,
            clocks,
            log,
            topics: prefix,
            layout,
            directory,
            reader: store.reader,
            holder,
            shutdown,
            closed,
            tasks,
            clickhouse: store.embedded,
        })
    }

    /// Runs until `until` is over or a service ends by itself, then drains.
    ///
    /// # Errors
    /// The reason of a service that ended by itself.
    pub(crate) async fn run_until(mut self, until: impl Future<Output = ()>) -> Result<()> {
        let ended = tokio::select! {
            () = until => None,
            ended = self.tasks.join_next() => Some(ended),
        };
        let reason = match ended {
            None => None,
            Some(Some(Ok(Ok(name)))) => Some(anyhow!("the {name} ended by itself")),
            Some(Some(Ok(Err(error)))) => Some(error),
            Some(Some(Err(error))) => Some(anyhow!("a part of the process broke down: {error}")),
            Some(None) => None,
        };
        self.stop().await;
        reason.map_or(Ok(()), Err)
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let drained = timeout(DRAIN, async {
            while self.tasks.len() > 1 {
                match self.tasks.join_next().await {
                    Some(Ok(Ok(_))) | None => {}
                    Some(Ok(Err(error))) => tracing::warn!(%error, "standalone.stop_failed"),
                    Some(Err(error)) => tracing::warn!(%error, "standalone.stop_failed"),
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("standalone.drain_timeout");
        }
        self.closed.cancel();
        self.tasks.shutdown().await;
        if let Some(clickhouse) = self.clickhouse {
            clickhouse.stop(Duration::from_secs(4)).await;
        }
        tracing::info!("standalone.stopped");
    }
}

/// Runs a part of the process under its name.
fn spawn<F, E>(tasks: &mut JoinSet<Result<&'static str>>, name: &'static str, part: F)
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<anyhow::Error> + Send + 'static,
{
    tasks.spawn(async move {
        let ended: Result<(), E> = part.await;
        ended.map(|()| name).map_err(|error| error.into().context(format!("the {name} failed")))
    });
}

async fn maintain(log: Arc<EmbeddedLog>, clocks: Clocks, shutdown: CancellationToken) -> Result<()> {
    let mut turn = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = turn.tick() => {}
        }
        if let Err(error) = log.maintain(clocks.wall()).await {
            tracing::warn!(%error, "log.maintenance_failed");
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut stream) => {
            stream.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}
