//! Python's clickhouse-connect against the embedded store: the analysts' client.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at the first surprise")]

mod support;

use support::{migrated, missing, no_library, start, stop};
use waybill_clickhouse::library::cache_directory;

const SCRIPT: &str = r#"
import datetime, sys
import clickhouse_connect
host, port, user, password = sys.argv[1:5]
writer = clickhouse_connect.get_client(host=host, port=int(port), username=user, password=password, database="waybill")
rows = [[i, f"text {i}\n", datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), None] for i in range(20000)]
summary = writer.insert("events", rows, column_names=["id", "text", "at", "note"])
assert summary.written_rows == 20000, summary.written_rows
for compression in (True, False, "lz4", "zstd", "gzip"):
    reader = clickhouse_connect.get_client(host=host, port=int(port), database="waybill", compress=compression)
    result = reader.query("SELECT id, text, at, note FROM v_events ORDER BY id")
    assert len(result.result_rows) == 20000
    assert result.result_rows[7][:2] == (7, "text 7\n"), result.result_rows[7]
    value = reader.query("SELECT count() FROM events WHERE id < {n:UInt64}", parameters={"n": 100}).result_rows
    assert value == [(100,)], value
    assert reader.command("SELECT max(id) FROM events") == 19999
    for refused in ("CREATE TABLE x (a UInt8) ENGINE = Memory", "SELECT * FROM file('/etc/hostname')"):
        try:
            reader.command(refused)
        except clickhouse_connect.driver.exceptions.DatabaseError:
            continue
        raise AssertionError(refused)
try:
    reader.insert("events", rows[:1], column_names=["id", "text", "at", "note"])
except clickhouse_connect.driver.exceptions.DatabaseError:
    print("ok")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_connect_reads_and_the_writer_writes() {
    if no_library() {
        return;
    }
    let python = cache_directory().join("py/bin/python");
    if !python.is_file() && missing("the Python environment", "run scripts/fetch-python.sh") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    migrated(&store).await;
    let url = store.url();
    let (host, port) = url.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let writer = store.writer();
    let run = tokio::process::Command::new(python)
        .args(["-c", SCRIPT, host, port, &writer.user, &writer.password])
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(std::time::Duration::from_secs(300), run).await.expect("it ends in time").unwrap();
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok", "{shown}");
    stop(store).await;
}
