//! Numbered SQL migrations with a ledger, applied in order, each once.
//!
//! ClickHouse has no transactions over definitions, so safety comes from shape: every statement is idempotent
//! (`IF NOT EXISTS` and its like), a migration enters the ledger only after its last statement, and so a crash
//! between statements or two processes at once only repeat what is harmless to repeat. A changed text under an
//! applied number, or a ledger from a newer program, stops everything before anything is touched.

mod split;

pub use split::{SplitError, split_statements};

use crate::client::{DATABASE, hindrance};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// One migration: a number that never changes its meaning, a name for people, and statements closed by `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration<'m> {
    /// Its place in the order; from 1.
    pub number: u32,
    /// What it does, as in its file's name.
    pub name: &'m str,
    /// The statements.
    pub sql: &'m str,
}

impl Migration<'_> {
    /// The checksum the ledger keeps: of the text with plain line ends, so that a checkout's habits do not matter.
    pub fn checksum(&self) -> String {
        let digest = Sha256::digest(self.sql.replace("\r\n", "\n").trim().as_bytes());
        digest.iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// Why migrations stopped. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The list itself is not in order.
    #[error("migration {number} ({name}) is out of order: numbers must rise from 1")]
    Order {
        /// The number out of place.
        number: u32,
        /// Its name.
        name: String,
    },
    /// A text cannot be split into statements.
    #[error("migration {number} ({name}) cannot be read: {reason}")]
    Text {
        /// The migration.
        number: u32,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: SplitError,
    },
    /// An applied migration has another text now.
    #[error(
        "migration {number} ({name}) was changed after it was applied: put its text back and add a new migration instead"
    )]
    Changed {
        /// The migration.
        number: u32,
        /// Its name.
        name: String,
    },
    /// The store is ahead of the program.
    #[error(
        "the store was migrated to {stored} by a newer program, this one knows migrations up to {known}: run that version or a later one"
    )]
    Newer {
        /// The highest number in the ledger.
        stored: u32,
        /// The highest number here.
        known: u32,
    },
    /// A statement failed.
    #[error("migration {number} ({name}) failed at its statement {statement}: {source}")]
    Statement {
        /// The migration.
        number: u32,
        /// Its name.
        name: String,
        /// Which of its statements, from 1.
        statement: usize,
        /// What the store said.
        source: clickhouse::error::Error,
    },
    /// The ledger could not be read or written.
    #[error(
        "the migrations' ledger cannot be used (clickhouse.url, clickhouse.user and clickhouse.password_file tell where and as whom): {0}"
    )]
    Ledger(#[source] clickhouse::error::Error),
    /// Something stands between this program and the store: a sentence.
    #[error("{0}")]
    Hindered(String),
    /// Nobody answers at the store's address; the source says why.
    #[error("ClickHouse is not reached; start it, or correct clickhouse.url (--store-url)")]
    Unreached(#[source] clickhouse::error::Error),
}

impl From<clickhouse::error::Error> for MigrationError {
    fn from(error: clickhouse::error::Error) -> Self {
        if let Some(sentence) = hindrance(&error) {
            return Self::Hindered(sentence);
        }
        if matches!(error, clickhouse::error::Error::Network(_)) { Self::Unreached(error) } else { Self::Ledger(error) }
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The migration's number.
    pub number: u32,
    /// Its name when it was applied.
    pub name: String,
    /// The checksum of its text then.
    pub checksum: String,
}

/// What is to be done. Pure: the ledger is an argument.
pub fn plan<'m, 'p>(
    migrations: &'p [Migration<'m>],
    ledger: &[Applied],
) -> Result<Vec<&'p Migration<'m>>, MigrationError> {
    let mut last = 0;
    for migration in migrations {
        if migration.number <= last {
            return Err(MigrationError::Order { number: migration.number, name: migration.name.to_owned() });
        }
        last = migration.number;
    }
    let applied: BTreeMap<u32, &Applied> = ledger.iter().map(|line| (line.number, line)).collect();
    if let Some((&stored, _)) = applied.last_key_value().filter(|(stored, _)| **stored > last) {
        return Err(MigrationError::Newer { stored, known: last });
    }
    // Two processes that applied one number with different texts leave two lines; either one that differs counts.
    let changed = ledger.iter().find_map(|line| {
        migrations.iter().find(|migration| migration.number == line.number && migration.checksum() != line.checksum)
    });
    if let Some(changed) = changed {
        return Err(MigrationError::Changed { number: changed.number, name: changed.name.to_owned() });
    }
    Ok(migrations.iter().filter(|migration| !applied.contains_key(&migration.number)).collect())
}

/// Reads the ledger; empty where there is none yet.
pub async fn ledger(client: &clickhouse::Client) -> Result<Vec<Applied>, MigrationError> {
    let client = client.clone().with_database("default");
    let exists: u64 = client
        .query("SELECT count() FROM system.tables WHERE database = ? AND name = 'schema_migrations'")
        .bind(DATABASE)
        .fetch_one()
        .await?;
    if exists == 0 {
        return Ok(Vec::new());
    }
    let lines: Vec<(u32, String, String)> = client
        .query(&format!("SELECT DISTINCT number, name, checksum FROM {DATABASE}.schema_migrations ORDER BY number"))
        .fetch_all()
        .await?;
    Ok(lines.into_iter().map(|(number, name, checksum)| Applied { number, name, checksum }).collect())
}

/// Makes the database and the ledger if need be, and applies what is missing. Returns the numbers applied.
pub async fn apply(client: &clickhouse::Client, migrations: &[Migration<'_>]) -> Result<Vec<u32>, MigrationError> {
    // Everything is checked and split before anything is touched.
    let missing = plan(migrations, &ledger(client).await?)?;
    let mut work = Vec::new();
    for migration in missing {
        let statements = split_statements(migration.sql).map_err(|reason| MigrationError::Text {
            number: migration.number,
            name: migration.name.to_owned(),
            reason,
        })?;
        work.push((migration, statements));
    }
    let outside = client.clone().with_database("default");
    outside.query_raw(&format!("CREATE DATABASE IF NOT EXISTS {DATABASE}")).execute().await?;
    let inside = client.clone().with_database(DATABASE);
    inside.query_raw(LEDGER).execute().await?;
    let mut applied = Vec::new();
    for (migration, statements) in work {
        for (index, statement) in statements.iter().enumerate() {
            inside.query_raw(statement).execute().await.map_err(|source| MigrationError::Statement {
                number: migration.number,
                name: migration.name.to_owned(),
                statement: index + 1,
                source,
            })?;
        }
        inside
            .query(&format!("INSERT INTO {DATABASE}.schema_migrations (number, name, checksum) SELECT ?, ?, ?"))
            .bind(migration.number)
            .bind(migration.name)
            .bind(migration.checksum())
            .execute()
            .await?;
        tracing::info!(number = migration.number, name = migration.name, "store.migrated");
        applied.push(migration.number);
    }
    // Somebody else may have migrated meanwhile: what the ledger says now must still agree with this program.
    plan(migrations, &self::ledger(client).await?)?;
    Ok(applied)
}

/// The checksum is part of the key, so two different texts of one number both stay and are seen.
const LEDGER: &str = "CREATE TABLE IF NOT EXISTS waybill.schema_migrations (
    number UInt32 COMMENT 'the migration',
    name String COMMENT 'what it does',
    checksum String COMMENT 'of its text when it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when'
) ENGINE = ReplacingMergeTree ORDER BY (number, checksum)
COMMENT 'which migrations were applied'";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    const TWO: &[Migration<'static>] = &[
        Migration { number: 1, name: "one", sql: "SELECT 1;" },
        Migration { number: 2, name: "two", sql: "SELECT 2;" },
    ];

    fn line(migration: &Migration<'_>) -> Applied {
        Applied { number: migration.number, name: migration.name.to_owned(), checksum: migration.checksum() }
    }

    #[test]
    fn only_what_the_ledger_lacks_is_planned() {
        let numbers = |ledger: &[Applied]| plan(TWO, ledger).unwrap().iter().map(|m| m.number).collect::<Vec<_>>();
        assert_eq!(numbers(&[]), [1, 2]);
        assert_eq!(numbers(&[line(&TWO[0])]), [2]);
        assert_eq!(numbers(&[line(&TWO[0]), line(&TWO[1])]), [0_u32; 0]);
    }

    #[test]
    fn a_changed_text_or_a_newer_store_stops_everything() {
        let changed = Applied { checksum: "x".to_owned(), ..line(&TWO[0]) };
        assert!(matches!(plan(TWO, std::slice::from_ref(&changed)), Err(MigrationError::Changed { number: 1, .. })));
        assert!(matches!(plan(TWO, &[line(&TWO[0]), changed]), Err(MigrationError::Changed { number: 1, .. })));
        let newer = Applied { number: 9, ..line(&TWO[0]) };
        assert!(matches!(plan(TWO, &[newer]), Err(MigrationError::Newer { stored: 9, known: 2 })));
        let disorder = [TWO[1].clone(), TWO[0].clone()];
        assert!(matches!(plan(&disorder, &[]), Err(MigrationError::Order { number: 1, .. })));
    }

    #[test]
    fn line_ends_do_not_change_a_checksum() {
        let unix = Migration { number: 1, name: "a", sql: "SELECT 1;\nSELECT 2;\n" };
        let other = Migration { number: 1, name: "a", sql: "SELECT 1;\r\nSELECT 2;" };
        assert_eq!(unix.checksum(), other.checksum());
    }
}
