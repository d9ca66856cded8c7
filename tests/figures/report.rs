//! Figures: how rounds become one, how they are printed, and which are wanted.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a tool that measures, for the terminal"
)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A figure's name and unit.
pub(crate) type Name = (&'static str, &'static str);

/// Each round of a figure per second lasts about so long.
const ROUND: Duration = Duration::from_millis(150);
/// Rounds of a figure per second.
const ROUNDS: usize = 7;

/// What was measured so far.
pub(crate) struct Report {
    names: Vec<Name>,
    filter: String,
    figures: Vec<Value>,
    skipped: Vec<Value>,
}

impl Report {
    /// An empty report on some or all of the figures there are.
    ///
    /// # Errors
    /// When the filter leaves none.
    pub(crate) fn new(filter: Option<String>, names: Vec<Name>) -> Result<Self> {
        let report = Self { names, filter: filter.unwrap_or_default(), figures: Vec::new(), skipped: Vec::new() };
        let some = report.names.iter().any(|(name, _)| report.wants(name));
        ensure!(some, "no figure's name contains `{}`: see --list", report.filter);
        Ok(report)
    }

    /// Prints what can be measured.
    pub(crate) fn list(&self) {
        self.names.iter().filter(|(name, _)| self.wants(name)).for_each(|(name, unit)| println!("{name} {unit}"));
    }

    /// Whether the filter lets a figure through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    /// Whether any of these is wanted, for what is set up once for several.
    pub(crate) fn wants_any(&self, names: &[Name]) -> bool {
        names.iter().any(|(name, _)| self.wants(name))
    }

    /// A figure by its rounds: their median.
    ///
    /// # Errors
    /// When nothing was measured.
    pub(crate) fn put(&mut self, name: &str, mut rounds: Vec<f64>) -> Result<()> {
        rounds.sort_by(f64::total_cmp);
        let value = quantile(&rounds, 0.5).with_context(|| format!("{name}: nothing was measured"))?;
        self.add(name, value, &rounds)
    }

    /// A figure that is a quantile of its samples.
    ///
    /// # Errors
    /// When there is no sample.
    pub(crate) fn put_quantile(&mut self, name: &str, mut samples: Vec<f64>, part: f64) -> Result<()> {
        samples.sort_by(f64::total_cmp);
        let value = quantile(&samples, part).with_context(|| format!("{name}: nothing was measured"))?;
        self.add(name, value, &samples)
    }

    fn add(&mut self, name: &str, value: f64, sorted: &[f64]) -> Result<()> {
        let known = self.names.iter().find(|(known, _)| *known == name);
        let (_, unit) = known.with_context(|| format!("the figure {name} is not listed"))?;
        if self.wants(name) {
            println!("{name} {} {unit}", shown(value));
            let bounds = (sorted.first().copied(), sorted.last().copied());
            self.figures.push(json!({
                "name": name, "value": rounded(value), "unit": unit, "measurements": sorted.len(),
                "least": bounds.0.map(rounded), "most": bounds.1.map(rounded),
            }));
        }
        Ok(())
    }

    /// Measures a figure per second on this thread, if it is wanted: `call` does `items` of it.
    ///
    /// # Errors
    /// When it is not listed.
    pub(crate) fn per_second(&mut self, name: &str, items: usize, mut call: impl FnMut()) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let mut round = || {
            let (began, mut calls) = (Instant::now(), 0_u32);
            while began.elapsed() < ROUND {
                call();
                calls += 1;
            }
            f64::from(calls) * items as f64 / began.elapsed().as_secs_f64()
        };
        // The first warms caches and the branch predictor.
        round();
        let rounds = (0..ROUNDS).map(|_| round()).collect();
        self.put(name, rounds)
    }

    /// Says that figures cannot be measured here.
    pub(crate) fn skip(&mut self, names: &[Name], why: &str) {
        for (name, _) in names.iter().filter(|(name, _)| name.contains(&self.filter)) {
            println!("# skipped {name}: {why}");
            self.skipped.push(json!({ "name": name, "why": why }));
        }
    }

    /// Prints all as one JSON object, and writes it to a file if one is named.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn finish(self, path: Option<&Path>) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let whole = json!({
            "version": env!("CARGO_PKG_VERSION"), "profile": if cfg!(debug_assertions) { "dev" } else { "bench" }, "cores": cores,
            "figures": self.figures, "skipped": self.skipped,
        });
        println!("{whole}");
        if let Some(path) = path {
            fs::write(path, format!("{whole}\n")).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }
}

/// Says aloud why nothing more is measured.
pub(crate) fn say_error(error: &anyhow::Error) {
    eprintln!("figures: {error:#}");
}

/// How long something takes, in seconds, with what it answers.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (f64, T) {
    let began = Instant::now();
    let answer = work.await;
    (began.elapsed().as_secs_f64(), answer)
}

/// By nearest rank: always one of the measurements.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// Three figures are meant; more only where the number has more before its point.
fn rounded(value: f64) -> f64 {
    if value >= 100.0 { value.round() } else { (value * 100.0).round() / 100.0 }
}

fn shown(value: f64) -> String {
    rounded(value).to_string()
}
