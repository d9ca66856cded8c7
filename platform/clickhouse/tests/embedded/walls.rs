//! What nobody gets through: web pages to the interface, readers to a write, anybody to the host.

use waybill_clickhouse::client::{ClientOptions, build};

use crate::{
    insert,
    support::{encoded, http, http_as, migrated, no_library, start, stop},
};

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
