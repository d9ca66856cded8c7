//! Plain HTTP as clients of any language speak it: formats, errors, statements that nobody waits for or that are too many.

use std::time::Duration;

use waybill_clickhouse::embedded::EmbeddedClickHouse;

use crate::{
    insert,
    support::{config, encoded, http, migrated, no_library, reader, start, stop},
};

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
    // No statement ends by itself while this test waits.
    let mut patient = config(folder.path());
    patient.limits.max_execution_seconds = 600;
    let store = EmbeddedClickHouse::start(patient).await.unwrap();
    let client = reader(&store).with_database("system");
    let marked = "SELECT count() FROM system.processes WHERE query LIKE '%forever%' AND query NOT LIKE '%processes%'";
    let seen = async |wanted: bool| {
        let wait = async {
            while (client.query(marked).fetch_one::<u64>().await.unwrap() > 0) != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await
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
    // Whichever has the only place keeps it for a minute: it is the other that is answered first.
    let answered = tokio::select! {
        one = http(&store, "POST", "/", &[], endless) => one,
        other = http(&store, "POST", "/", &[], endless) => other,
    };
    assert_eq!(answered.0, 503);
    // Nobody waits for the first any more.
    let free_again = async { while http(&store, "POST", "/", &[], b"SELECT 1").await.0 != 200 {} };
    tokio::time::timeout(Duration::from_secs(120), free_again).await.expect("the place is free again");
    stop(store).await;
}
