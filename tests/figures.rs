//! `make bench`: prints figures as `name value unit` lines while it measures, and one JSON object at the end.
//!
//! `cargo bench -p waybill --bench figures -- [--json PATH] [--list] [FILTER]`: with a filter, only figures whose name
//! contains it. A figure is the median of several rounds; the JSON also holds the least and the most. Nothing here asserts
//! a figure: machines differ, and two figures are worth comparing only when both come from one run. What is asserted is
//! that the work measured was done.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

#[path = "figures/allocated.rs"]
mod allocated;
#[path = "figures/carriers.rs"]
mod carriers;
#[path = "figures/cores.rs"]
mod cores;
#[path = "figures/log.rs"]
mod log;
#[path = "figures/memory.rs"]
mod memory;
#[path = "figures/pages.rs"]
mod pages;
#[path = "figures/program.rs"]
mod program;
#[path = "figures/report.rs"]
mod report;
#[path = "figures/store.rs"]
mod store;
#[allow(clippy::expect_used, clippy::print_stderr, reason = "as in tests, it ends with a reason")]
mod support;

use report::Report;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    filter: Option<String>,
    json: Option<PathBuf>,
    list: bool,
}

fn asked(arguments: impl IntoIterator<Item = String>) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // cargo says so to every bench.
            "--bench" => {}
            "--list" => asked.list = true,
            "--json" => asked.json = Some(arguments.next().context("--json needs the path of a file to write")?.into()),
            unknown if unknown.starts_with('-') => {
                bail!("{unknown} is not known: the arguments are [--json PATH] [--list] [FILTER]")
            }
            filter if asked.filter.is_none() => asked.filter = Some(filter.to_owned()),
            second => bail!("one filter is enough, `{second}` is a second one"),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    match asked(std::env::args().skip(1)).and_then(|asked| run(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) -> Result<()> {
    let parts: [&[report::Name]; 6] =
        [&cores::FIGURES, &pages::FIGURES, &memory::FIGURES, &log::FIGURES, &store::FIGURES, &program::FIGURES];
    let mut report = Report::new(asked.filter.clone(), parts.concat())?;
    if asked.list {
        report.list();
        return Ok(());
    }
    // Figures per core first, in a process that has no other thread.
    cores::measure(&mut report)?;
    pages::measure(&mut report)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        memory::measure(&mut report).await?;
        log::measure(&mut report).await?;
        store::measure(&mut report).await?;
        program::measure(&mut report).await
    })?;
    report.finish(asked.json.as_deref())
}
