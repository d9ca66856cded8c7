//! The command line.

mod adapter;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

pub(crate) use self::adapter::{Adapter, Check, New, Parse, Run};

/// Waybill tracks parcels at many carriers, politely, and keeps every carrier's own words.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A service of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// See [`Command::Scheduler`].
    Scheduler,
    /// See [`Command::Fetcher`].
    Fetcher,
    /// See [`Command::Normalizer`].
    Normalizer,
    /// See [`Command::Store`].
    Store,
    /// See [`Command::Api`].
    Api,
}

impl Service {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Fetcher => "fetcher",
            Self::Normalizer => "normalizer",
            Self::Store => "store",
            Self::Api => "api",
        }
    }
}

/// What every command understands.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// Configuration file (YAML, TOML or JSON); keys as `waybill config show` prints them.
    #[arg(long, global = true, env = "WAYBILL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where a standalone process keeps its log, history and clock [default: waybill-data].
    #[arg(long, global = true)]
    pub data_dir: Option<PathBuf>,
    /// A folder of carriers that adds to the built-in ones or replaces them by name; may be repeated.
    #[arg(long = "adapters", global = true, value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process on an embedded log and an embedded ClickHouse.
    Standalone(Standalone),
    /// Run a cluster's scheduler: hands out due numbers within each carrier's budget (Kafka).
    Scheduler(Common),
    /// Run a cluster's fetcher: asks carriers, politely (Kafka).
    Fetcher(Common),
    /// Run a cluster's normalizer: maps answers to statuses and writes the public topics (Kafka).
    Normalizer(Common),
    /// Run a cluster's store: writes topics to ClickHouse (Kafka, `clickhouse.url`).
    Store(Common),
    /// Run a cluster's HTTP interface (Kafka, `clickhouse.url`).
    Api(Common),
    /// Look one number up, once, within the carrier's politeness budget.
    ///
    /// A process that holds the data directory is asked instead (its key in WAYBILL_API_KEY), and keeps the number registered
    /// for seven days. Where none does, and there is no folder `waybill-data`, what was spent is remembered in the cache
    /// folder.
    Track(Track),
    /// Say whose a number may be, and on what evidence; the exit code tells whether anything given was a number.
    Detect(Detect),
    /// Work with carriers' adapters.
    #[command(subcommand)]
    Adapter(Adapter),
    /// Show how each carrier is: state, budget, robots.txt, alarms; and what each budget can carry.
    Carriers(Carriers),
    /// Work with topics.
    #[command(subcommand)]
    Topics(Topics),
    /// Work with records that could not be processed.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Reach everything that the configuration names and say in a sentence what is missing.
    Doctor(Common),
    /// Check or print the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Apply ClickHouse migrations to the server of `clickhouse.url`.
    Migrate(Common),
    /// Walk a new number of the sandbox through a running cluster: API, Kafka, ClickHouse.
    Smoke(Smoke),
}

/// `waybill standalone`.
#[derive(Debug, Args)]
pub(crate) struct Standalone {
    #[command(flatten)]
    pub common: Common,
    /// Track simulated parcels of simulated carriers, on a clock that runs fast; in a data directory of its own
    /// [default: waybill-data-demo].
    #[arg(long)]
    pub demo: bool,
    /// End after this long, e.g. `120s` or `5m`.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub run_for: Option<Duration>,
    /// A ClickHouse server to use instead of the embedded one, e.g. http://127.0.0.1:8123
    /// or https://clickhouse.example:8443.
    #[arg(long, value_name = "URL")]
    pub store_url: Option<String>,
}

/// `waybill smoke`.
#[derive(Debug, Args)]
pub(crate) struct Smoke {
    /// Where the API answers, e.g. http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    pub api: String,
    /// The API's keys, lines of `name token`; the first is used.
    #[arg(long, value_name = "FILE")]
    pub keys_file: Option<PathBuf>,
    /// How long the number may take, e.g. `120s`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "120s")]
    pub within: Duration,
    #[command(flatten)]
    pub common: Common,
}

/// `waybill track`.
#[derive(Debug, Args)]
pub(crate) struct Track {
    /// The tracking number, as typed.
    pub number: String,
    /// The carrier's slug; left out, it is found by the number's form.
    #[arg(long)]
    pub carrier: Option<String>,
    /// What the carrier needs beyond the number, e.g. `postal_code=12345`; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub params: Vec<(String, String)>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `waybill detect`.
#[derive(Debug, Args)]
pub(crate) struct Detect {
    /// Numbers, as typed; without any, lines of standard input are read.
    pub numbers: Vec<String>,
    /// Look for numbers in what is given, as in a pasted text of at most 64 KiB.
    #[arg(long)]
    pub text: bool,
    /// Print a JSON object a line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `waybill carriers …`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct Carriers {
    /// Which question; left out, all carriers are listed.
    #[command(subcommand)]
    pub command: Option<CarriersCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The API to ask, e.g. http://127.0.0.1:8080 (its key in WAYBILL_API_KEY); left out, that of the process which holds the
    /// data directory.
    #[arg(long, global = true, value_name = "URL")]
    pub api: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

/// Questions about carriers.
#[derive(Debug, Subcommand)]
pub(crate) enum CarriersCommand {
    /// Show one carrier in full.
    Show {
        /// Its slug.
        slug: String,
    },
    /// Show how many numbers each budget can carry at which interval.
    Plan,
    /// Lift the mark of a carrier that refused automation, once it agrees.
    Lift {
        /// Its slug.
        slug: String,
    },
}

/// `waybill topics …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// Create the topics that are missing on Kafka and record the layout; existing ones are changed only with --yes.
    ///
    /// Nothing is changed before the recorded layout has been compared: a number of partitions that is not the layout's is
    /// refused.
    Apply {
        /// Change settings of topics that exist; never their number of partitions.
        #[arg(long)]
        yes: bool,
        /// Give this public topic, e.g. `waybill.tracking-events`, as many partitions as the layout has; with --yes. Records
        /// of a key may then lie in two partitions. May be given several times.
        #[arg(long, value_name = "TOPIC", requires = "yes")]
        grow: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show how the topics on Kafka differ from what they should be; the exit code tells whether they do.
    Diff {
        #[command(flatten)]
        common: Common,
    },
    /// Print a topic's records: Kafka's, or those of a data directory that no process holds.
    Tail {
        /// The topic, e.g. `waybill.tracking-events`.
        topic: String,
        /// How many of each partition's last records.
        #[arg(long, short = 'n', default_value_t = 10)]
        last: u64,
        /// Go on with what is appended (Kafka).
        #[arg(long, short = 'f')]
        follow: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List the topics and what they are for.
    List,
}

/// `waybill dead-letters …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// List them, oldest first: reason, topic, partition, offset, service, age; never keys, which are tracking numbers.
    List {
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
        /// Only those of this reason, e.g. `unreadable`.
        #[arg(long)]
        reason: Option<String>,
        /// At most so many, the newest.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Write letters back to where they came from, byte for byte, each once.
    ///
    /// Commands that were refused, outcomes, events, status changes and payloads are written back; a shipment, an erasure
    /// or a policy only while nothing newer of its key stands behind it. Requests, results and the schedulers' and
    /// fetchers' state never are: their attempts have ended, and a new attempt is made anyway.
    Replay {
        /// Only those of this reason, e.g. `unreadable`.
        #[arg(long)]
        reason: Option<String>,
        /// At most so many, the oldest first.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: Common,
    },
}

/// `waybill config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration can be used.
    Check(Common),
    /// Print every key with its value; secrets are left out.
    Show(Common),
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let count: u64 = digits.parse().map_err(|_| "write a number and a unit, e.g. 120s".to_owned())?;
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err("the unit is s, m or h".to_owned()),
    };
    count
        .checked_mul(seconds)
        .filter(|s| *s <= 366 * 86_400)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write name=value".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_every_command_understands_may_stand_behind_a_question_about_carriers() {
        let line = ["waybill", "carriers", "show", "ups", "--data-dir", "x", "--adapters", "a", "--adapters", "b"];
        let Command::Carriers(order) = Cli::try_parse_from(line).unwrap().command else { panic!("another command") };
        assert_eq!(order.common.data_dir.as_deref(), Some(Path::new("x")));
        assert_eq!(order.common.adapters, [Path::new("a"), Path::new("b")]);
        let before = ["waybill", "carriers", "--data-dir", "x", "plan"];
        let Command::Carriers(order) = Cli::try_parse_from(before).unwrap().command else { panic!("another command") };
        assert_eq!(order.common.data_dir.as_deref(), Some(Path::new("x")));
    }
}
