//! Migrations: each once, again after a crash, and none that changed.

use waybill_clickhouse::migrations::{self, Migration, MigrationError};

use crate::support::{no_library, reader, start, stop, writer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schemas_migrations_apply_and_apply_again() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = writer(&store);
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
    let client = writer(&store);
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
