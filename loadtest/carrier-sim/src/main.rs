//! `waybill-carrier-sim`: the simulator as a process of its own. Prints one JSON line with its address, then answers until
//! it is told to stop.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use waybill_carrier_sim::{Config, DAY, JourneyMap, PlanConfig, Replay, Rule, Simulator, wall_now_ms};
use waybill_schemas::WallMs;

/// Carriers on loopback: deterministic, misbehaving on request, with a ledger of everything answered.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Another seed, other parcels.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many parcels.
    #[arg(long, default_value_t = 2_000)]
    parcels: u32,
    /// Wall time at which the journey clock starts: RFC 3339 or milliseconds since 1970 [default: now].
    #[arg(long, value_parser = instant)]
    start: Option<i64>,
    /// Journey time at that moment [default: 45 days earlier].
    #[arg(long, value_parser = instant)]
    anchor: Option<i64>,
    /// Journey milliseconds per wall millisecond.
    #[arg(long, default_value_t = 36_000.0)]
    scale: f64,
    /// Journey time at which the first parcels begin [default: the anchor].
    #[arg(long, value_parser = instant)]
    begin: Option<i64>,
    /// Parcels of each thousand whose page nobody can read, for good.
    #[arg(long, default_value_t = 1)]
    unreadable_per_thousand: u32,
    /// Folder with `expected.jsonl` and the recorded bodies to replay.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// The look-ups to replay, instead of the folder's `expected.jsonl`.
    #[arg(long, requires = "replay")]
    expected: Option<PathBuf>,
    /// Replay only look-ups of this source.
    #[arg(long, requires = "replay")]
    replay_source: Option<String>,
    /// Folder of the ledger; without it the ledger is in memory.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// A rule of misbehaviour as JSON, e.g. {"carrier":"aurora-post","chance":0.1,"what":"broken"}; repeatable.
    #[arg(long = "misbehave", value_parser = rule)]
    rules: Vec<Rule>,
}

fn instant(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    text.parse::<WallMs>().map(WallMs::ms).map_err(|error| error.to_string())
}

fn rule(text: &str) -> Result<Rule, String> {
    serde_json::from_str(text).map_err(|error| format!("not a rule of misbehaviour: {error}"))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence, whatever RUST_BACKTRACE says. Where stderr is gone there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "waybill-carrier-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let start_ms = arguments.start.unwrap_or_else(wall_now_ms);
    let anchor_ms = arguments.anchor.unwrap_or_else(|| start_ms.saturating_sub(45 * DAY));
    anyhow::ensure!(arguments.scale >= 1.0 && arguments.scale.is_finite(), "--scale must be at least 1");
    let clock = JourneyMap { anchor_ms, start_ms, scale: arguments.scale };
    let mut plan = PlanConfig::new(arguments.seed, arguments.parcels, clock);
    plan.begin_ms = arguments.begin.unwrap_or(anchor_ms);
    plan.unreadable_per_thousand = arguments.unreadable_per_thousand;

    let mut config = Config::new(plan);
    config.listen = arguments.listen;
    config.ledger = arguments.ledger;
    config.rules = arguments.rules;
    if let Some(folder) = &arguments.replay {
        let expected = arguments.expected.unwrap_or_else(|| folder.join("expected.jsonl"));
        config.replay = Replay::load(Path::new(folder), &expected, arguments.replay_source.as_deref())?;
    }
    let simulator = Simulator::start(config)?;

    let line = serde_json::json!({ "address": simulator.addr(), "route": simulator.route(), "plan": plan });
    writeln!(std::io::stdout(), "{line}").context("the address cannot be printed")?;
    std::io::stdout().flush().context("the address cannot be printed")?;
    wait_for_the_end()?;
    simulator.stop();
    Ok(())
}

fn wait_for_the_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
