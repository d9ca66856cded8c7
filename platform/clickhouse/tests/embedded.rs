//! The embedded store as its users see it: the Rust crate's inserts and reads, plain HTTP, crashes, the walls.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at the first surprise")]

mod support;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{config, encoded, http, http_as, kill, migrated, no_library, pid, reader, running_again, start, stop};
use waybill_clickhouse::client::{ClientOptions, build};
use waybill_clickhouse::embedded::{EmbeddedClickHouse, PASSWORD_FILE};
use waybill_clickhouse::migrations::{self, Migration, MigrationError};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crates_inserts_and_reads_work() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = migrated(&store).await;

    // Validated, unvalidated and packed inserts arrive whole and verbatim.
    insert(&client, 0..50_000).await.unwrap();
    insert(&client.clone().with_validation(false), 50_000..50_100).await.unwrap();
    insert(&client.clone().with_compression(clickhouse::Compression::Lz4), 50_100..50_200).await.unwrap();
    let all: Vec<Event> = reader(&store).query("SELECT ?fields FROM v_events ORDER BY id").fetch_all().await.unwrap();
    assert_eq!(all.len(), 50_200);
    assert!(all.iter().zip(0..).all(|(have, id)| *have == row(id)));

    // Bound values, server-side parameters with awkward text, an unvalidated read, a packed answer asked for.
    let text = row(7).text;
    let found: u64 = client
        .query("SELECT id FROM events WHERE text = {t:String} AND id < ?")
        .bind(100)
        .param("t", &text)
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(found, 7);
    let plain = client.clone().with_validation(false).with_compression(clickhouse::Compression::Lz4);
    assert_eq!(plain.query("SELECT count() FROM events").fetch_one::<u64>().await.unwrap(), 50_200);

    // A wrong row type is caught before anything is sent, a missing table is the store's own sentence.
    let wrong = client.insert::<Event>("nothing").await.err().map(|error| error.to_string());
    assert!(wrong.is_some_and(|text| text.contains("UNKNOWN_TABLE")));

    // An error in the middle of a stream reaches the reader.
    let late = reader(&store)
        .query("SELECT throwIf(number = 3000000, 'late') AS x FROM numbers(4000000) SETTINGS max_block_size = 1000")
        .fetch_all::<u8>()
        .await;
    assert!(late.is_err(), "settings within a statement are refused to readers");
    let late =
        client.query("SELECT throwIf(number = 3000000, 'late') AS x FROM numbers(4000000)").fetch_all::<u8>().await;
    let late = late.expect_err("it fails").to_string();
    // The crate understands a mark that the network cut in two as an error too, only without its text.
    assert!(late.contains("late") || late.contains("exception tag"), "{late}");

    // An insert that is dropped stores nothing.
    let mut dropped = client.insert::<Event>("events").await.unwrap();
    for id in 1_000_000..1_010_000 {
        dropped.write(&row(id)).await.unwrap();
    }
    drop(dropped);
    assert_eq!(client.query("SELECT count() FROM events").fetch_one::<u64>().await.unwrap(), 50_200);
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_kill_9_during_inserts_loses_nothing_acknowledged() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = migrated(&store).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    const BATCH: u64 = 500;
    let mut inserters = Vec::new();
    for _ in 0..2 {
        let (client, acknowledged, next, done) = (client.clone(), acknowledged.clone(), next.clone(), done.clone());
        inserters.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if insert(&client, first..first + BATCH).await.is_ok() {
                    acknowledged.lock().unwrap().push(first);
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }));
    }
    for _ in 0..3 {
        let before = acknowledged.lock().unwrap().len();
        let grown = async {
            while acknowledged.lock().unwrap().len() < before + 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), grown).await.expect("inserts go on");
        let old = pid(&store).expect("it runs");
        kill(old);
        running_again(&store, old).await;
    }
    done.store(true, Ordering::Relaxed);
    for inserter in inserters {
        inserter.await.unwrap();
    }
    let batches: Vec<(u64, u64)> = reader(&store)
        .query("SELECT intDiv(id, 500) * 500 AS first, count() FROM events GROUP BY first ORDER BY first")
        .fetch_all()
        .await
        .unwrap();
    assert!(batches.iter().all(|(_, rows)| *rows == BATCH), "a batch is there whole or not at all");
    let stored: std::collections::HashSet<u64> = batches.iter().map(|(first, _)| *first).collect();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 15);
    assert!(acknowledged.iter().all(|first| stored.contains(first)), "an acknowledged batch is lost");
    stop(store).await;
}

/// DNS rebinding: a page under a name of its own that resolves to 127.0.0.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_1_a_web_page_reads_no_number_under_a_name_of_its_own() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let port = store.url().rsplit_once(':').unwrap().1.to_owned();
    // What clients of any language send: the host that they were given.
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "[::1]".to_owned(), "localhost".to_owned()] {
        let (status, _, body) = http_as(&store, &host, "POST", "/", &[], b"SELECT 1").await;
        assert_eq!((status, body.as_slice()), (200, b"1\n".as_slice()), "{host}");
    }
    for (host, headers) in [
        (format!("rebound.example:{port}"), vec![]),
        (format!("10.0.0.1:{port}"), vec![]),
        (format!("127.0.0.1:{port}"), vec![("Origin", "http://rebound.example")]),
        (format!("localhost:{port}"), vec![("Origin", "null")]),
    ] {
        for (method, target) in [("POST", "/"), ("GET", "/?query=SELECT%201"), ("OPTIONS", "/"), ("GET", "/ping")] {
            let (status, head, body) = http_as(&store, &host, method, target, &headers, b"SELECT 1").await;
            assert_eq!(status, 403, "{host} {headers:?} {method} {target}");
            assert!(head.contains("x-clickhouse-exception-code: 497"), "{head}");
            assert!(String::from_utf8_lossy(&body).contains("localhost"), "it names the remedy");
        }
    }
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_1_readers_cannot_write_and_nobody_reaches_the_host() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.txt");
    std::fs::write(&secret, "top secret\n").unwrap();
    let secret = secret.to_str().unwrap();
    let store = start(&folder.path().join("store")).await;
    let client = migrated(&store).await;
    insert(&client, 0..3).await.unwrap();

    // The reader changes nothing, whatever it tries.
    for sql in [
        "INSERT INTO waybill.events (id) VALUES (9)",
        "INSERT INTO waybill.events (id) SELECT 9",
        "CREATE TABLE waybill.x (a UInt8) ENGINE = Memory",
        "CREATE TABLE default.x (a UInt8) ENGINE = Memory",
        "DROP TABLE waybill.events",
        "TRUNCATE TABLE waybill.events",
        "ALTER TABLE waybill.events DELETE WHERE 1",
        "DELETE FROM waybill.events WHERE 1",
        "OPTIMIZE TABLE waybill.events FINAL",
        "SET readonly = 0",
        "SYSTEM SHUTDOWN",
        "KILL QUERY WHERE 1",
        "CREATE USER x",
        "ATTACH TABLE waybill.y FROM '/tmp' (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE t (a UInt8)",
        "SELECT 1; DROP TABLE waybill.events",
    ] {
        let (status, _, body) = http(&store, "POST", "/", &[], sql.as_bytes()).await;
        assert!((400..500).contains(&status), "{sql}: {status} {}", String::from_utf8_lossy(&body));
    }
    let (status, ..) = http(&store, "POST", "/?readonly=0", &[], b"SELECT 1").await;
    assert_eq!(status, 403);

    // Neither user sees a file of the host or reaches out of the database.
    let writer = store.writer();
    let ways = [
        format!("SELECT * FROM file('{secret}', LineAsString)"),
        format!("SELECT * FROM `file`/**/('{secret}', 'LineAsString')"),
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM `{secret}`"),
        format!("SELECT * FROM default.`{secret}`"),
        format!("SELECT * FROM system.`{secret}`"),
        format!("SELECT file('{secret}')"),
        format!("DESCRIBE TABLE file('{secret}', CSV)"),
        format!("SELECT * FROM view(SELECT * FROM file('{secret}', LineAsString))"),
        format!("CREATE VIEW waybill.leak AS SELECT * FROM file('{secret}', LineAsString)"),
        format!("CREATE TABLE waybill.leak (a String) ENGINE = File(LineAsString, '{secret}')"),
        format!("CREATE TABLE waybill.leak AS file('{secret}', LineAsString)"),
        format!("CREATE DATABASE leak ENGINE = Filesystem('{}')", folder.path().display()),
        format!("INSERT INTO waybill.events (text) SELECT * FROM file('{secret}', LineAsString)"),
        format!("INSERT INTO FUNCTION file('{secret}.out', LineAsString) SELECT 'x'"),
        format!("INSERT INTO waybill.events (text) FROM INFILE '{secret}' FORMAT LineAsString"),
        format!("SELECT 1 INTO OUTFILE '{secret}.out'"),
        format!("BACKUP DATABASE waybill TO File('{secret}.out')"),
        "SELECT * FROM url('http://127.0.0.1:9/', CSV, 'a String')".to_owned(),
        "SELECT * FROM remote('127.0.0.1', system.one)".to_owned(),
        "SELECT * FROM executable('id', CSV, 'a String')".to_owned(),
        format!(
            "CREATE DICTIONARY waybill.d (a String) PRIMARY KEY a SOURCE(FILE(path '{secret}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)"
        ),
        "CREATE TABLE default.x (a UInt8) ENGINE = Memory".to_owned(),
        "DROP DATABASE waybill".to_owned(),
        "CREATE FUNCTION f AS x -> x".to_owned(),
        "SYSTEM SHUTDOWN".to_owned(),
    ];
    for sql in &ways {
        for credentials in [("default", ""), (writer.user.as_str(), writer.password.as_str())] {
            let headers = [("X-ClickHouse-User", credentials.0), ("X-ClickHouse-Key", credentials.1)];
            let (status, _, body) = http(&store, "POST", "/", &headers, sql.as_bytes()).await;
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!((400..500).contains(&status), "{} through {sql}: {status} {body}", credentials.0);
            assert!(!body.contains("top secret"), "{sql}");
        }
    }
    assert!(!std::path::Path::new(&format!("{secret}.out")).exists());
    assert_eq!(client.query("SELECT count() FROM events").fetch_one::<u64>().await.unwrap(), 3);

    // A wrong password is refused, and a GET never writes even with the right one.
    let wrong = build(&ClientOptions::new(store.url(), "waybill", "wrong")).unwrap();
    assert!(wrong.query("SELECT 1").fetch_one::<u8>().await.is_err());
    let target =
        format!("/?user=waybill&password={}&query={}", writer.password, encoded("TRUNCATE TABLE waybill.events"));
    assert_eq!(http(&store, "GET", &target, &[], b"").await.0, 403);
    let target = format!("/?user=waybill&password={}", writer.password);
    assert_eq!(http(&store, "POST", &target, &[], b"TRUNCATE TABLE waybill.events").await.0, 200);
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_interface_speaks_as_clickhouse_does() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = migrated(&store).await;
    insert(&client, 0..2).await.unwrap();
    let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();

    assert_eq!(text(http(&store, "GET", "/ping", &[], b"").await.2), "Ok.\n");
    assert_eq!(text(http(&store, "GET", "/", &[], b"").await.2), "Ok.\n");
    let (status, head, body) =
        http(&store, "GET", "/?query=SELECT+1+AS+x+FORMAT+JSONEachRow&query_id=mine&session_id=s", &[], b"").await;
    assert_eq!((status, text(body).as_str()), (200, "{\"x\":1}\n"));
    assert!(
        head.contains("x-clickhouse-query-id: mine")
            && head.contains("x-clickhouse-format: jsoneachrow")
            && head.contains("x-clickhouse-timezone: ")
    );
    // The statement may be split between query string and body; formats come from three places.
    assert_eq!(text(http(&store, "POST", "/?query=SELECT", &[], b"count() FROM waybill.events").await.2), "2\n");
    assert_eq!(text(http(&store, "POST", "/?default_format=CSV", &[], b"SELECT 'a', 1").await.2), "\"a\",1\n");
    assert_eq!(
        text(http(&store, "POST", "/", &[("X-ClickHouse-Format", "JSONCompactEachRow")], b"SELECT 1, 2").await.2),
        "[1, 2]\n"
    );
    assert!(text(http(&store, "POST", "/", &[], b"SELECT 1 AS x FORMAT JSON;").await.2).contains("\"rows\": 1"));
    assert_eq!(
        text(
            http(&store, "POST", "/?database=waybill&param_n=1", &[], b"SELECT id FROM events WHERE id = {n:UInt64}")
                .await
                .2
        ),
        "1\n"
    );
    assert_eq!(text(http(&store, "POST", "/", &[], b"SHOW TABLES FROM waybill LIKE 'v_%'").await.2), "v_events\n");
    assert_eq!(
        text(http(&store, "POST", "/?max_block_size=7", &[], b"SELECT sum(number) FROM numbers(100)").await.2),
        "4950\n"
    );

    // Errors have ClickHouse's code, its text and a fitting status.
    for (target, sql, status, code) in [
        ("/", "SELECT * FROM waybill.nothing", 404, "60"),
        ("/?database=nothing", "SELECT 1", 404, "81"),
        ("/", "SELEC 1", 400, "62"),
        ("/", "SELECT 'open", 400, "62"),
        ("/", "", 400, "62"),
        ("/?no_such_setting=1", "SELECT 1", 404, "115"),
        ("/", "SELECT 1 FORMAT Nothing", 400, "73"),
        ("/?user=nobody", "SELECT 1", 401, "516"),
        (
            "/?max_execution_time=1",
            "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))",
            408,
            "159",
        ),
    ] {
        let (got, head, body) = http(&store, "POST", target, &[], sql.as_bytes()).await;
        assert_eq!(got, status, "{sql}: {}", text(body));
        assert!(head.contains(&format!("x-clickhouse-exception-code: {code}")), "{sql}: {head}");
    }

    // Inserts by every way of sending them; a damaged body stores nothing.
    let writer = store.writer();
    let auth = format!("/?user=waybill&password={}&database=waybill", writer.password);
    let insert = format!("{auth}&query={}", encoded("INSERT INTO events (id, text) FORMAT TabSeparated"));
    let (status, head, body) = http(&store, "POST", &insert, &[], b"10\ta\n11\tb\n").await;
    assert_eq!(status, 200, "{}", text(body));
    assert!(head.contains("\"written_rows\":\"2\""), "{head}");
    assert_eq!(http(&store, "POST", &auth, &[], b"INSERT INTO events (id) VALUES (12), (13)").await.0, 200);
    assert_eq!(
        http(
            &store,
            "POST",
            &auth,
            &[],
            b"INSERT INTO events (id, text) FORMAT JSONEachRow\n{\"id\":14,\"text\":\"c\"}"
        )
        .await
        .0,
        200
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"INSERT INTO events (id) FORMAT CSV\n15\n").unwrap();
    let packed = gzip.finish().unwrap();
    assert_eq!(http(&store, "POST", &auth, &[("Content-Encoding", "gzip")], &packed).await.0, 200);
    assert_eq!(http(&store, "POST", &auth, &[("Content-Encoding", "gzip")], &packed[..packed.len() - 4]).await.0, 400);
    assert_eq!(http(&store, "POST", &insert, &[], b"20\ta\n21\n").await.0, 400);
    assert_eq!(http(&store, "POST", &auth, &[("Content-Encoding", "br")], b"x").await.0, 415);
    let count: u64 = client.query("SELECT count() FROM events").fetch_one().await.unwrap();
    assert_eq!(count, 8);
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_nobody_waits_for_is_killed() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = reader(&store).with_database("system");
    let marked = "SELECT count() FROM system.processes WHERE query LIKE '%forever%' AND query NOT LIKE '%processes%'";
    let seen = async |wanted: bool| {
        let wait = async {
            while (client.query(marked).fetch_one::<u64>().await.unwrap() > 0) != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await
    };
    let long = client.clone();
    let waiting = tokio::spawn(async move {
        long.query("SELECT count() AS forever FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))")
            .fetch_one::<u64>()
            .await
    });
    seen(true).await.expect("the statement runs");
    waiting.abort();
    seen(false).await.expect("the statement is killed soon after its client went");
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hinders_a_start_is_said_in_one_sentence() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sentence = async |config| {
        let error = EmbeddedClickHouse::start(config).await.expect_err("it must not start").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = config(&folder.path().join("a"));
    busy.listen = taken.local_addr().unwrap();
    assert!(sentence(busy).await.contains("choose another port"));

    let mut open = config(&folder.path().join("a"));
    open.listen = "0.0.0.0:0".parse().unwrap();
    assert!(sentence(open).await.contains("loopback only"));

    let mut lost = config(&folder.path().join("a"));
    lost.library = Some("/nonexistent/lib.so".into());
    assert!(sentence(lost).await.contains("scripts/fetch-chdb.sh"));

    let mut broken = config(&folder.path().join("a"));
    let library = folder.path().join("not-a-library.so");
    std::fs::write(&library, "text").unwrap();
    broken.library = Some(library);
    assert!(sentence(broken).await.contains("cannot be loaded"));

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(sentence(config(&file.join("below"))).await.contains("cannot be used"));

    let missing = folder.path().join("no-program");
    let mut nowhere = config(&folder.path().join("a"));
    nowhere.program = missing;
    assert!(sentence(nowhere).await.contains("cannot be started"));

    let store = start(&folder.path().join("b")).await;
    assert!(sentence(config(&folder.path().join("b"))).await.contains("in use by another process"));
    stop(store).await;
    // After a stop the folder is free, the password is the same and what was stored is there.
    let password = std::fs::read_to_string(folder.path().join("b").join(PASSWORD_FILE)).unwrap();
    let store = start(&folder.path().join("b")).await;
    assert_eq!(store.writer().password, password);
    stop(store).await;
}

/// The lines of a child that was started by hand: its handshake.
fn first_line(child: &mut std::process::Child) -> String {
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    line
}

#[test]
fn the_child_ends_when_its_life_line_does() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_waybill-clickhouse-child"))
        .args(["--data-dir", folder.path().to_str().unwrap(), "--listen", "127.0.0.1:0"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(first_line(&mut child).contains("ready"));
    // It is killed with the thread that started it, so this thread waits for it; here the life line is closed instead.
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "an orderly end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_statements_at_once_are_turned_away() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut one = config(folder.path());
    one.limits.concurrency = 1;
    one.limits.queue_seconds = 1;
    let store = EmbeddedClickHouse::start(one).await.unwrap();
    let endless = b"SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))";
    let (first, second) = tokio::join!(
        http(&store, "POST", "/?max_execution_time=5", &[], endless),
        http(&store, "POST", "/?max_execution_time=5", &[], endless),
    );
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [408, 503]);
    assert_eq!(http(&store, "POST", "/", &[], b"SELECT 1").await.0, 200, "the place is free again");
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schemas_migrations_apply_and_apply_again() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = support::writer(&store);
    let all = waybill_schemas::migrations::all();
    let list: Vec<Migration<'_>> =
        all.iter().map(|one| Migration { number: one.number, name: one.name, sql: one.sql }).collect();
    assert_eq!(migrations::apply(&client, &list).await.unwrap().len(), list.len());
    assert_eq!(migrations::apply(&client, &list).await.unwrap(), [0_u32; 0]);
    // A crash before the ledger's line repeats a migration: every statement bears it.
    client.query("TRUNCATE TABLE waybill.schema_migrations").execute().await.unwrap();
    assert_eq!(migrations::apply(&client, &list).await.unwrap().len(), list.len());
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_apply_once_and_refuse_what_changed() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = support::writer(&store);
    let first = Migration {
        number: 1,
        name: "first",
        sql: "CREATE TABLE IF NOT EXISTS t (a UInt8 COMMENT 'x; y') ENGINE = MergeTree ORDER BY a;",
    };
    let second = Migration {
        number: 2,
        name: "second",
        sql: "ALTER TABLE t ADD COLUMN IF NOT EXISTS b String; ALTER TABLE nothing DROP COLUMN c;",
    };
    let mended = Migration {
        sql: "ALTER TABLE t ADD COLUMN IF NOT EXISTS b String; ALTER TABLE t COMMENT COLUMN b 'yes?';",
        ..second.clone()
    };
    // Two at once do no harm.
    let list = [first.clone()];
    let (one, two) = tokio::join!(migrations::apply(&client, &list), migrations::apply(&client, &list));
    assert!(one.unwrap().len() + two.unwrap().len() >= 1);
    assert_eq!(migrations::apply(&client, std::slice::from_ref(&first)).await.unwrap(), [0_u32; 0]);
    // A failure in the middle leaves the migration out of the ledger; mended, it goes through.
    let failed = migrations::apply(&client, &[first.clone(), second]).await;
    assert!(matches!(failed, Err(MigrationError::Statement { number: 2, statement: 2, .. })));
    assert_eq!(migrations::apply(&client, &[first.clone(), mended.clone()]).await.unwrap(), [2]);
    let changed = Migration { sql: "SELECT 1;", ..first.clone() };
    assert!(matches!(
        migrations::apply(&client, &[changed, mended]).await,
        Err(MigrationError::Changed { number: 1, .. })
    ));
    assert!(matches!(migrations::apply(&client, &[first]).await, Err(MigrationError::Newer { stored: 2, known: 1 })));
    assert_eq!(migrations::ledger(&reader(&store)).await.unwrap().len(), 2);
    stop(store).await;
}
