//! How fast saved answers are read: `cargo run --release -p waybill-adapters --example pace -- CARRIER BODY…` prints, per
//! body, its size, events, microseconds a read and reads a second on one core.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a tool that measures, for the terminal"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use waybill_adapters::{Answer, Answers, Catalog};

/// Each body is read for so long.
const SPAN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(slug), bodies) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        eprintln!("usage: pace CARRIER BODY…");
        return ExitCode::FAILURE;
    };
    match run(&slug, &bodies) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(slug: &str, bodies: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let catalog = Catalog::embedded()?;
    let adapter = catalog.get(&slug.parse()?).ok_or("no such carrier")?;
    for path in bodies {
        let body = std::fs::read(path)?;
        let answers = [Answer::saved("page", &body)];
        let answers = Answers { number: None, list: &answers };
        let events = adapter.read(&answers).events.len();
        let begun = Instant::now();
        let mut reads = 0u32;
        while begun.elapsed() < SPAN {
            std::hint::black_box(adapter.read(std::hint::black_box(&answers)));
            reads += 1;
        }
        let each = begun.elapsed().as_secs_f64() / f64::from(reads.max(1));
        println!("{path}: {} bytes, {events} events, {:.0} us, {:.0} reads/s", body.len(), each * 1e6, 1.0 / each);
    }
    Ok(())
}
