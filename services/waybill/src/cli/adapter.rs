//! `waybill adapter …`: what people who write adapters ask for.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Common, parse_pair};

/// `waybill adapter …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Adapter {
    /// List the carriers: which are on, their sources, and where the secrets of these are read.
    List {
        /// Print JSON.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// Print the table of adapters/README.md.
        #[arg(long)]
        markdown: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Check adapter files, run their examples, and warn of what looks like personal data in them. All mistakes are told.
    Check(Check),
    /// Read saved answers of a carrier, without the network; the exit code tells whether they could be read.
    Parse(Parse),
    /// Draft a carrier's folder from a saved answer, with comments on what to check.
    New(New),
    /// Look one number up, within the politeness budget, and show how the answer was read.
    Run(Run),
    /// Print the JSON Schema of a carrier's file, for editors.
    Schema {
        /// Which file's.
        #[arg(value_parser = ["adapter", "mapping", "phrases"])]
        file: String,
    },
}

/// `waybill adapter check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A carrier's folder, a folder of carriers, or a carrier's slug; left out, every carrier.
    pub target: Option<String>,
    /// Write what the examples come to as what they must come to; read it before you commit it.
    #[arg(long)]
    pub bless: bool,
    #[command(flatten)]
    pub common: Common,
}

/// `waybill adapter new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The new carrier's slug: lower-case letters, digits and hyphens.
    pub slug: String,
    /// The saved answer, as the carrier sent it.
    #[arg(long, value_name = "ANSWER")]
    pub from: PathBuf,
    /// Where it came from.
    #[arg(long)]
    pub url: Option<String>,
    /// The number that was asked for.
    #[arg(long)]
    pub number: Option<String>,
    /// The carrier's name for people.
    #[arg(long)]
    pub name: Option<String>,
    /// The answer's content type, where its charset is stated only there.
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// The folder of carriers to write to.
    #[arg(long, value_name = "DIR", default_value = "carriers")]
    pub into: PathBuf,
}

/// `waybill adapter run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The tracking number, as typed.
    pub number: String,
    /// The carrier's slug.
    #[arg(long)]
    pub carrier: String,
    /// What the carrier needs beyond the number, e.g. `postal_code=12345`; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub params: Vec<(String, String)>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Save the answers here as `STEP.SHAPE`, for `adapter parse` and `adapter new`.
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// `waybill adapter parse`.
#[derive(Debug, Args)]
pub(crate) struct Parse {
    /// The carrier's slug.
    #[arg(long)]
    pub carrier: String,
    /// The number that was asked for, where the answer holds several.
    #[arg(long)]
    pub number: Option<String>,
    /// The source that was asked.
    #[arg(long)]
    pub source: Option<String>,
    /// The day on which the carrier answered, e.g. 2026-11-22: years that it does not print are inferred from it.
    #[arg(long, value_name = "DAY")]
    pub at: Option<String>,
    /// Show which reader accepted and why, what each selector found, which rule gave each event its meaning, and which
    /// marker decided where there are none.
    #[arg(long)]
    pub explain: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Saved answers: `PATH`, or `step=PATH` for the steps page, token, cookie, summary and detail.
    #[arg(required = true, value_name = "BODY")]
    pub bodies: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}
