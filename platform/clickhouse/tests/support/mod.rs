//! What the tests against a real child process share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test uses a part of it and says what it skips"
)]
#![allow(clippy::disallowed_methods, reason = "reads what its own child answers")]

use std::path::Path;
use std::time::Duration;
use waybill_clickhouse::client::{ClientOptions, build};
use waybill_clickhouse::embedded::{EmbeddedClickHouse, EmbeddedConfig, StoreState};
use waybill_clickhouse::library::locate_library;
use waybill_clickhouse::migrations::{Migration, apply};

/// Tables the tests use.
pub const MIGRATIONS: &[Migration<'static>] = &[Migration {
    number: 1,
    name: "tables",
    sql: "CREATE TABLE IF NOT EXISTS waybill.events (id UInt64, text String, at DateTime64(3, 'UTC'), note Nullable(String))
          ENGINE = MergeTree ORDER BY id;
          CREATE VIEW IF NOT EXISTS waybill.v_events AS SELECT * FROM waybill.events;",
}];

/// Whether the test must be left out here; said aloud. With `CI` set, what is missing is a failure.
pub fn missing(what: &str, reason: &str) -> bool {
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!ci, "{what} is missing: {reason}");
    eprintln!("skipped: {what} is missing: {reason}");
    true
}

pub fn no_library() -> bool {
    locate_library(None).is_err_and(|error| missing("the embedded ClickHouse", &error.to_string()))
}

pub fn config(folder: &Path) -> EmbeddedConfig {
    let mut config =
        EmbeddedConfig::new(env!("CARGO_BIN_EXE_waybill-clickhouse-child").into(), Vec::new(), folder.to_path_buf());
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.limits.max_server_memory_bytes = 1 << 30;
    config
}

pub async fn start(folder: &Path) -> EmbeddedClickHouse {
    EmbeddedClickHouse::start(config(folder)).await.expect("the store starts")
}

pub fn writer(store: &EmbeddedClickHouse) -> clickhouse::Client {
    let writer = store.writer();
    build(&ClientOptions::new(store.url(), writer.user, writer.password)).unwrap()
}

pub fn reader(store: &EmbeddedClickHouse) -> clickhouse::Client {
    build(&ClientOptions::new(store.url(), "default", "")).unwrap()
}

pub async fn migrated(store: &EmbeddedClickHouse) -> clickhouse::Client {
    let client = writer(store);
    apply(&client, MIGRATIONS).await.expect("the migrations apply");
    client
}

pub fn pid(store: &EmbeddedClickHouse) -> Option<i32> {
    match &*store.states().borrow() {
        StoreState::Running { pid, .. } => i32::try_from(*pid).ok(),
        _ => None,
    }
}

pub fn kill(pid: i32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

pub async fn stop(store: EmbeddedClickHouse) {
    store.stop(Duration::from_secs(15)).await;
}

/// Waits until a child other than `old` serves.
pub async fn running_again(store: &EmbeddedClickHouse, old: i32) {
    let mut states = store.states();
    let other =
        |state: &StoreState| matches!(state, StoreState::Running { pid, .. } if i64::from(*pid) != i64::from(old));
    tokio::time::timeout(Duration::from_secs(60), states.wait_for(other))
        .await
        .expect("it runs again in time")
        .unwrap();
}

/// A bare HTTP request; status, headers and body.
pub async fn http(
    store: &EmbeddedClickHouse,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    http_as(store, "127.0.0.1", method, target, headers, body).await
}

/// The same, addressed to a host of that name.
pub async fn http_as(
    store: &EmbeddedClickHouse,
    host: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = store.url();
    let address = address.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // In one piece: an answer that needs no body may come, and the connection end, before a second piece is sent.
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..split]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer[split + 4..].to_vec();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(&body) } else { body };
    (status, head, body)
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    out
}

/// A text, percent-encoded for a query string.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
