//! Numbered ClickHouse migrations, embedded from `migrations/NNNN_name.sql`.

use include_dir::{Dir, include_dir};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// One migration: idempotent statements, each ended by `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order, from 1.
    pub number: u32,
    /// What it does, from the file's name.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// All migrations in order.
pub fn all() -> Vec<Migration> {
    let mut found: Vec<Migration> = FILES
        .files()
        .filter_map(|file| {
            let stem = file.path().file_stem()?.to_str()?;
            let (number, name) = stem.split_once('_')?;
            Some(Migration { number: number.parse().ok()?, name, sql: file.contents_utf8()? })
        })
        .collect();
    found.sort_by_key(|migration| migration.number);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let numbers: Vec<u32> = all().iter().map(|migration| migration.number).collect();
        let expected: Vec<u32> = (1..).take(FILES.files().count()).collect();
        assert_eq!(numbers, expected);
    }
}
