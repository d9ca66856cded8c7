//! The `waybill` program: composition only. Every service is a library; this puts them together.

mod adapter_check;
mod adapter_cmd;
mod adapter_explain;
mod adapter_new;
mod carriers_cmd;
mod cli;
mod config;
mod datadir;
mod demo;
mod detect_cmd;
mod directory;
mod follow;
mod layout;
mod reload;
mod standalone;
mod topics_cmd;
mod track;

use std::{
    ffi::OsString,
    io::{Write, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use waybill_adapters::Catalog;
use waybill_clickhouse::{
    client::{self, ClientOptions},
    embedded::{ChildArgs, serve_child},
};
use waybill_runtime::{JourneyScale, telemetry};

use crate::{
    cli::{Adapter, Cli, Command, ConfigCommand, Topics},
    config::Config,
    datadir::DataDir,
    standalone::{CLICKHOUSE_CHILD, Setup, Standalone},
};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == CLICKHOUSE_CHILD) {
        return finish(clickhouse_child(args));
    }
    finish(run(Cli::parse_from(args).command))
}

/// The process that holds ClickHouse's engine; started by this program, not by people.
fn clickhouse_child(args: Vec<OsString>) -> Result<ExitCode> {
    serve_child(&ChildArgs::parse(args.into_iter().skip(2))?)?;
    Ok(ExitCode::SUCCESS)
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
        Command::Track(order) => return block_on(track::run(order)),
        Command::Detect(order) => {
            let config = Config::load(&order.common)?;
            detect_cmd::run(&Catalog::load(&config.adapters)?, &order, &mut stdin().lock(), &mut out)
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
        Command::Adapter(Adapter::Run(order)) => {
            drop(out);
            return block_on(adapter_explain::run(order));
        }
        Command::Adapter(Adapter::Parse(order)) => {
            let config = Config::load(&order.common)?;
            adapter_cmd::parse(&Catalog::load(&config.adapters)?, &order, &mut out)
        }
        Command::Carriers(order) => {
            drop(out);
            return block_on(async move {
                carriers_cmd::run(order, &mut stdout()).await?;
                Ok(ExitCode::SUCCESS)
            });
        }
        Command::Topics(Topics::List) => topics_cmd::list(&mut out),
        Command::Topics(Topics::Tail { topic, last, common }) => {
            drop(out);
            let config = Config::load(&common)?;
            return block_on(async move {
                topics_cmd::tail(&config, &topic, last, &mut stdout()).await?;
                Ok(ExitCode::SUCCESS)
            });
        }
        Command::Config(ConfigCommand::Check(common)) => {
            let config = Config::load(&common)?;
            let carriers = Catalog::load(&config.adapters)?.len();
            writeln!(out, "the configuration can be used; {carriers} carriers are known").map_err(Into::into)
        }
        Command::Config(ConfigCommand::Show(common)) => {
            writeln!(out, "{}", Config::load(&common)?.shown()?).map_err(Into::into)
        }
        Command::Migrate(common) => {
            drop(out);
            return block_on(migrate(Config::load(&common)?));
        }
    };
    done.map(|()| ExitCode::SUCCESS).or_else(ignore_closed_pipe)
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
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn migrate(config: Config) -> Result<ExitCode> {
    let section = &config.clickhouse;
    let url = section.url.as_deref().context("clickhouse.url is not set; the embedded ClickHouse migrates itself")?;
    let user = section.user.as_deref().unwrap_or("default");
    let options = ClientOptions::new(url, user, config::password(section.password_file.as_deref())?);
    let applied = standalone::migrate(&client::build(&options)?).await?;
    writeln!(stdout(), "{} migrations applied, the rest were there", applied.len())?;
    Ok(ExitCode::SUCCESS)
}

async fn run_standalone(order: cli::Standalone) -> Result<ExitCode> {
    let mut config = Config::load(&order.common)?;
    if let Some(url) = order.store_url {
        config.clickhouse.url = Some(url);
    }
    if order.demo {
        return demo::run(config, order.common.data_dir.is_none(), order.run_for).await;
    }
    telemetry::init_logs(&config.telemetry)?;
    let catalog = Catalog::load(&config.adapters)?;
    let dir = DataDir::take(&config.data_dir)?;
    let journey = dir.journey(JourneyScale::REAL)?;
    let base = Catalog::embedded()?;
    let running = Standalone::start(config, Setup { dir, catalog, base, journey, simulator: None }).await?;
    let mut out = stdout();
    writeln!(
        out,
        "waybill is running: API {}, SQL {}, health {}",
        running.holder.api, running.holder.sql, running.holder.admin
    )?;
    running.run_until(until(order.run_for)).await?;
    Ok(ExitCode::SUCCESS)
}

/// A signal, or the end of the time given.
async fn until(run_for: Option<Duration>) {
    match run_for {
        None => standalone::signal().await,
        Some(time) => {
            let _ = tokio::time::timeout(time, standalone::signal()).await;
        }
    }
}
