//! The embedded store as its users see it: the Rust crate's inserts and reads, plain HTTP, crashes, the walls.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at the first surprise")]

mod inserts;
mod interface;
mod migrations;
mod process;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod walls;

use clickhouse::Row;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
struct Event {
    id: u64,
    text: String,
    at: i64,
    note: Option<String>,
}

fn row(id: u64) -> Event {
    Event {
        id,
        text: format!("line\n\t'{id}' \u{e9}\0"),
        at: 1_700_000_000_000 + id as i64,
        note: id.is_multiple_of(2).then(|| "n".to_owned()),
    }
}

async fn insert(client: &clickhouse::Client, ids: std::ops::Range<u64>) -> clickhouse::error::Result<()> {
    let mut insert = client.insert::<Event>("events").await?;
    for id in ids {
        insert.write(&row(id)).await?;
    }
    insert.end().await
}
