//! The `waybill` program: composition only. Every service is a library; this puts them together.

mod adapter_check;
mod adapter_cmd;
mod adapter_explain;
mod adapter_new;
mod answer;
mod carriers_cmd;
mod cli;
mod cluster;
mod command_log;
mod config;
mod datadir;
mod dead_letters;
mod demo;
mod detect_cmd;
mod directory;
mod doctor;
mod follow;
mod layout;
#[cfg(target_os = "linux")]
mod librdkafka_leaders;
mod parts;
mod process;
mod reload;
mod smoke;
mod standalone;
mod topics_cmd;
mod track;

use std::{
    ffi::OsString,
    io::{Write, stdin, stdout},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use waybill_adapters::Catalog;
use waybill_clickhouse::embedded::{ChildArgs, ChildError, serve_child};
use waybill_runtime::telemetry;

use crate::{
    cli::{Adapter, Cli, Command, Common, ConfigCommand, DeadLetters, Service, Topics},
    config::Config,
    datadir::{DataDir, Parcels},
    parts::{CLICKHOUSE_CHILD, Known},
    standalone::{Setup, Standalone},
};

/// Log lines of a standalone process where the configuration names none: warnings, and what is an event for a person: a
/// carrier that is well again, an adapter exchanged, a policy that somebody changed.
const EVENTS: &str = "warn,waybill_scheduler::observe=info,waybill::reload=info,waybill_api::server=info";

fn main() -> ExitCode {
    panic_places();
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == CLICKHOUSE_CHILD) {
        return finish(clickhouse_child(args));
    }
    finish(run(Cli::parse_from(args).command).or_else(ignore_closed_pipe))
}

/// A panic is told by its place alone: its message may quote what a carrier said, a tracking number with it (SEC-1).
#[allow(clippy::print_stderr, reason = "a panic may come before the logs, or in them")]
fn panic_places() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let said = panic.payload().downcast_ref::<&'static str>().map_or("", |said| said);
        eprintln!("waybill: a panic{place} {said}");
    }));
}

/// The process that holds ClickHouse's engine; started by this program, not by people.
fn clickhouse_child(args: Vec<OsString>) -> Result<ExitCode> {
    match serve_child(&ChildArgs::parse(args.into_iter().skip(2))?) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The parent has given up listening by now.
        Err(error @ ChildError::Served(_)) => Err(error.into()),
        // Told to the parent, which says it.
        Err(_) => Ok(ExitCode::FAILURE),
    }
}

/// One sentence for an error, without repeating what its causes say again.
#[allow(clippy::print_stderr, reason = "the answer of a command line program")]
fn finish(result: Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut said = String::new();
            for cause in error.chain().map(ToString::to_string) {
                if !said.contains(&cause) {
                    said = if said.is_empty() { cause } else { format!("{said}: {cause}") };
                }
            }
            eprintln!("waybill: {said}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let mut out = stdout().lock();
    let done = match command {
        Command::Standalone(order) => return block_on(run_standalone(order)),
        Command::Scheduler(common) => return block_on(run_service(Service::Scheduler, common)),
        Command::Fetcher(common) => return block_on(run_service(Service::Fetcher, common)),
        Command::Normalizer(common) => return block_on(run_service(Service::Normalizer, common)),
        Command::Store(common) => return block_on(run_service(Service::Store, common)),
        Command::Api(common) => return block_on(run_service(Service::Api, common)),
        Command::Doctor(common) => return block_on(doctor::run(common)),
        Command::Track(order) => return block_on(track::run(order)),
        Command::Smoke(order) => return block_on(smoke::run(order)),
        Command::Detect(order) => {
            let config = Config::load(&order.common)?;
            return detect_cmd::run(&Catalog::load(&config.adapters)?, &order, &mut stdin().lock(), &mut out);
        }
        Command::Adapter(Adapter::List { json, markdown, common }) => {
            let config = Config::load(&common)?;
            let catalog = Catalog::load(&config.adapters)?;
            if markdown {
                adapter_cmd::table(&config, &catalog, &mut out)
            } else {
                adapter_cmd::list(&config, &catalog, json, &mut out)
            }
        }
        Command::Adapter(Adapter::Check(order)) => adapter_check::check(&order, &mut out),
        Command::Adapter(Adapter::New(order)) => adapter_new::new(&order, &mut out),
        Command::Adapter(Adapter::Schema { file }) => adapter_cmd::schema(&file, &mut out),
        Command::Adapter(Adapter::Run(order)) => {
            drop(out);
            return block_on(adapter_explain::run(order));
        }
        Command::Adapter(Adapter::Parse(order)) => {
            let config = Config::load(&order.common)?;
            return adapter_cmd::parse(&Catalog::load_for(&config.adapters, &order.carrier)?, &order, &mut out);
        }
        Command::Carriers(order) => {
            drop(out);
            return block_on(async move {
                carriers_cmd::run(order, &mut stdout()).await?;
                Ok(ExitCode::SUCCESS)
            });
        }
        Command::Topics(order) => {
            drop(out);
            return block_on(topics_command(order));
        }
        Command::DeadLetters(order) => {
            drop(out);
            return block_on(dead_letters_command(order));
        }
        Command::Config(ConfigCommand::Check(common)) => check_config(&Config::load(&common)?, &mut out),
        Command::Config(ConfigCommand::Show(common)) => {
            writeln!(out, "{}", Config::load(&common)?.shown()?).map_err(Into::into)
        }
        Command::Migrate(common) => {
            drop(out);
            return block_on(migrate(Config::load(&common)?));
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Everything that would keep a process from starting as far as configuration, adapters and keys tell; what has to be reached
/// is the doctor's.
fn check_config(config: &Config, out: &mut dyn Write) -> Result<()> {
    let catalog = Catalog::load(&config.adapters)?;
    let misfits = config.check_carriers(&catalog)?;
    if let Some(wrong) = misfits.wrong.into_iter().next() {
        anyhow::bail!(wrong);
    }
    telemetry::check(&config.telemetry)?;
    waybill_api::auth::Access::new(config.api.listen, config.api.keys_file.as_deref())?;
    config::password(config.clickhouse.password_file.as_deref())?;
    if config.clickhouse.url.is_some() {
        parts::server(&config.clickhouse, "this process")?;
    }
    if config.log.kafka.is_none() {
        standalone::check(config)?;
    }
    for slug in misfits.strangers {
        writeln!(out, "carriers.{slug}: no adapter has this name, so nothing comes of it; --adapters adds some")?;
    }
    let are = if catalog.len() == 1 { "is" } else { "are" };
    let carriers = adapter_check::counted(catalog.len(), "carrier");
    writeln!(out, "the configuration can be used; {carriers} {are} known")?;
    Ok(())
}

/// `waybill … | head` is no error.
fn ignore_closed_pipe(error: anyhow::Error) -> Result<ExitCode> {
    let closed =
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if closed { Ok(ExitCode::SUCCESS) } else { Err(error) }
}

fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    let result = runtime.block_on(work);
    // What is still running has had its time to drain.
    runtime.shutdown_timeout(process::RUNTIME);
    result
}

/// A command's configuration; of log lines only warnings are shown beside its answer, unless the configuration says which.
fn quiet(common: &Common) -> Result<Config> {
    let mut config = Config::load(common)?;
    config.log_lines("warn");
    telemetry::init_logs(&config.telemetry)?;
    Ok(config)
}

async fn topics_command(order: Topics) -> Result<ExitCode> {
    let mut out = stdout();
    match order {
        Topics::List => topics_cmd::list(&mut out)?,
        Topics::Apply { yes, grow, common } => {
            let changes = if yes { topics_cmd::Changes::Asked { grow } } else { topics_cmd::Changes::NotAsked };
            topics_cmd::apply(&quiet(&common)?, &changes, &mut out).await?;
        }
        Topics::Diff { common } => return topics_cmd::diff(&quiet(&common)?, &mut out).await,
        Topics::Tail { topic, last, follow, common } => {
            let until = if follow { topics_cmd::Until::Stopped } else { topics_cmd::Until::End };
            topics_cmd::tail(&quiet(&common)?, (&topic, last), until, &mut out).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn dead_letters_command(order: DeadLetters) -> Result<ExitCode> {
    let mut out = stdout();
    match order {
        DeadLetters::List { json, reason, limit, common } => {
            let form = if json { dead_letters::Form::Json } else { dead_letters::Form::Text };
            let wanted = dead_letters::Wanted { reason, limit };
            dead_letters::list(&quiet(&common)?, &wanted, form, &mut out).await?;
        }
        DeadLetters::Replay { reason, limit, dry_run, common } => {
            let act = if dry_run { dead_letters::Act::Say } else { dead_letters::Act::Do };
            let wanted = dead_letters::Wanted { reason, limit };
            dead_letters::replay(&quiet(&common)?, &wanted, act, &mut out).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(config: Config) -> Result<ExitCode> {
    let (client, url) =
        parts::server(&config.clickhouse, "`waybill migrate` (the embedded ClickHouse migrates itself)")?;
    let applied = parts::migrate(&client).await.with_context(|| format!("ClickHouse's tables at {url}"))?;
    let applied = adapter_check::counted(applied.len(), "migration");
    writeln!(stdout(), "{applied} applied, the rest were there")?;
    Ok(ExitCode::SUCCESS)
}

async fn run_service(service: Service, common: Common) -> Result<ExitCode> {
    let config = Config::load(&common)?;
    let telemetry = telemetry::init(&config.telemetry, &format!("waybill-{}", service.name()), &config.member())?;
    let ended = cluster::run(service, config, process::signal()).await;
    telemetry.finish().await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

async fn run_standalone(order: cli::Standalone) -> Result<ExitCode> {
    let mut config = Config::load(&order.common)?;
    if let Some(url) = order.store_url {
        config.clickhouse.url = Some(url);
    }
    if order.demo {
        let own_dir = config.has_default_data_dir(&order.common);
        return demo::run(config, own_dir, order.run_for).await;
    }
    config.log_lines(EVENTS);
    let telemetry = telemetry::init(&config.telemetry, "waybill-standalone", &config.member())?;
    standalone::check(&config)?;
    let known = Known::load(&config)?;
    known.fit(&config)?;
    let dir = DataDir::take(&config.data_dir)?;
    let journey = dir.journey(Parcels::Real)?;
    let mut stop = pin!(process::signal());
    let running = tokio::select! {
        () = &mut stop => return Ok(ExitCode::SUCCESS),
        started = Standalone::start(config, Setup { dir, known, journey, simulator: None }) => started?,
    };
    let mut out = stdout();
    writeln!(
        out,
        "waybill is running: API {}, SQL {}, health {}",
        running.holder.api, running.holder.sql, running.holder.admin
    )?;
    let ended = running.run_until(until(order.run_for, stop)).await;
    telemetry.finish().await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// A signal, or the end of the time given.
async fn until(run_for: Option<Duration>, stop: impl Future<Output = ()>) {
    match run_for {
        None => stop.await,
        Some(time) => {
            let _ = tokio::time::timeout(time, stop).await;
        }
    }
}
