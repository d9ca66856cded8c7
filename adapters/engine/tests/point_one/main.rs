//! What carriers ask for and answer, one small invented adapter each: requests of several steps, batches, GraphQL, merged
//! answers, charsets, times as they are printed, errors inside a 200, what is private.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod asking;
mod times;

use std::{collections::BTreeMap, fs, sync::Arc};

use waybill_adapters::{Adapter, Answer, Answers, Catalog, ReadOutcome, Reading};

const HEAD: &str = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\n\
                    budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n";

fn try_adapter(rest: &str) -> Result<Arc<Adapter>, String> {
    let folder = tempfile::tempdir().unwrap();
    let carrier = folder.path().join("carriers/acme");
    fs::create_dir_all(&carrier).unwrap();
    fs::write(carrier.join("adapter.yaml"), format!("{HEAD}{rest}")).unwrap();
    fs::write(carrier.join("mapping.yaml"), "format: 1\nexact: {Delivered: Delivered_Other}\n").unwrap();
    let catalog = Catalog::of_folder(&folder.path().join("carriers")).map_err(|error| error.to_string())?;
    Ok(catalog.get(&"acme".parse().unwrap()).unwrap())
}

fn adapter(rest: &str) -> Arc<Adapter> {
    try_adapter(rest).unwrap_or_else(|error| panic!("{error}"))
}

/// An adapter with one reader.
fn reading(reader: &str) -> Arc<Adapter> {
    let indented: String = reader.lines().map(|line| format!("    {line}\n")).collect();
    adapter(&format!("readers:\n  - name: only\n{indented}"))
}

fn read(adapter: &Adapter, body: &[u8]) -> ReadOutcome {
    read_with(adapter, body, None, Reading::default())
}

fn read_with(adapter: &Adapter, body: &[u8], number: Option<&str>, reading: Reading<'_>) -> ReadOutcome {
    let answers = [Answer::saved("page", body)];
    adapter.read_with(&Answers { number, list: &answers }, reading)
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const ANY: &str = "readers:\n  - {name: any, shape: json, accept: {has: a}, tables: [{rows: a, text: b}]}\n";
