//! Inserts that are repeated until ClickHouse has answered for good.
//!
//! One insert is one range of one table under its token; whatever happens to the connection, the same bytes are sent again
//! under the same token (STO-1), and what a server that died has forgotten is found. Only a refusal for what stands in the rows is handed back; a table that does not fit the
//! program, a full disk, a lack of memory and a server that is away are waited out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use clickhouse::error::Error;
use tokio::sync::Semaphore;
use waybill_clickhouse::client::told;
use waybill_log::TopicPartition;
use waybill_runtime::retry::{Delays, RetryPolicy};

use crate::{
    buffer::Slice,
    columns::{Part, put_bytes, put_length},
    config::StoreConfig,
    plan::{Span, token},
    rows::Table,
    trouble::{Trouble, Troubled},
};

/// How an insert ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Inserted {
    /// The rows are stored, by this insert or an earlier one under its token.
    Stored,
    /// The server refuses these rows for what stands in them, and has stored none.
    Refused(String),
}

/// Whether a token may have been sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// The plan was made by this process and this is its first insert.
    Impossible,
    /// The range was taken over.
    Possible,
}

/// The rows of a span on their way into a table.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) at: TopicPartition,
    pub(crate) span: Span,
    pub(crate) table: &'static Table,
    /// A condition for the rows that this topic wrote.
    pub(crate) own_rows: &'static str,
    pub(crate) slice: Slice,
}

impl Load {
    /// The name under which ClickHouse remembers the insert.
    fn token(&self) -> String {
        token(&self.at.topic, self.at.partition, self.span, self.table.name)
    }
}

/// What is known of a token.
struct Doubt {
    token: String,
    /// It may have been sent.
    tried: bool,
    /// It was sent and answered, but perhaps not for the first time.
    answered: bool,
}

/// Waits between the tries of one piece of work, and says so.
struct Patience {
    name: &'static str,
    delays: Delays,
    max: Duration,
    trouble: Trouble,
    /// Held until the work is done: the store is not ready while anything waits.
    troubled: Option<Troubled>,
}

impl Patience {
    async fn wait(&mut self, error: &Error) {
        metrics::counter!("waybill_store_inserts_total", "table" => self.name, "outcome" => "retry").increment(1);
        let why = first_line(error);
        tracing::warn!(table = self.name, error = why, "store.insert_failed");
        self.troubled.get_or_insert_with(|| self.trouble.enter(format!("{}: {why}", self.name)));
        tokio::time::sleep(self.delays.next().unwrap_or(self.max)).await;
    }

    fn rewarded(self) {
        metrics::counter!("waybill_store_inserts_total", "table" => self.name, "outcome" => "done").increment(1);
    }
}

/// What all topics share to reach ClickHouse. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inserter {
    client: clickhouse::Client,
    permits: Arc<Semaphore>,
    trouble: Trouble,
    timeout: Duration,
    retry: RetryPolicy,
}

impl Inserter {
    pub(crate) fn new(client: clickhouse::Client, config: &StoreConfig, trouble: Trouble) -> Self {
        let retry = RetryPolicy { max: Duration::from_millis(config.retry_max_ms), ..RetryPolicy::FOREVER };
        let permits = Arc::new(Semaphore::new(config.max_concurrent_inserts));
        Self { client, permits, trouble, timeout: config.insert_timeout(), retry }
    }

    /// Inserts the rows of a span, however long it takes.
    ///
    /// The first time, an answer is enough. Once somebody may have sent the token before, it is not: ClickHouse writes
    /// down the token and then the rows, so a server killed in between remembers a token whose rows it has not, and one
    /// whose machine lost power may have the rows and not the token. So then it is looked what is there, and only what is
    /// missing is sent: under the same token first, because an earlier insert may still be under way; and if that is
    /// answered and rows are still missing, under a token that was never used.
    pub(crate) async fn insert(&self, load: &Load, earlier: Earlier) -> Inserted {
        let mut doubt = Doubt { token: load.token(), tried: earlier == Earlier::Possible, answered: false };
        let mut patience = self.patience(load.table.name);
        loop {
            let permit = self.permits.acquire().await;
            let outcome = self.attempt(load, &mut doubt).await;
            drop(permit);
            match outcome {
                Ok(Some(inserted)) => {
                    patience.rewarded();
                    return inserted;
                }
                Ok(None) => {}
                Err(error) => patience.wait(&error).await,
            }
        }
    }

    /// One step of an insert; `None` when another must follow.
    async fn attempt(&self, load: &Load, doubt: &mut Doubt) -> Result<Option<Inserted>, Error> {
        if !std::mem::replace(&mut doubt.tried, true) {
            return self.offer(load, &doubt.token, load.slice.bytes()).await.map(Some);
        }
        let missing = self.missing(load).await?;
        if missing.is_empty() {
            return Ok(Some(Inserted::Stored));
        }
        let rows = load.slice.of_parts(&missing);
        if !doubt.answered {
            let offered = self.offer(load, &doubt.token, &rows).await?;
            doubt.answered = true;
            return Ok((offered != Inserted::Stored).then_some(offered));
        }
        doubt.token = format!("{}:{:016x}", load.token(), rand::random::<u64>());
        doubt.answered = false;
        tracing::warn!(table = load.table.name, token = doubt.token, "store.remembered_without_rows");
        metrics::counter!("waybill_store_repairs_total", "table" => load.table.name).increment(1);
        self.offer(load, &doubt.token, &rows).await.map(Some)
    }

    async fn offer(&self, load: &Load, token: &str, rows: &Bytes) -> Result<Inserted, Error> {
        match self.send(load.table, Some(token), rows).await {
            Err(error) if is_about_data(&error) => {}
            other => return other.map(|()| Inserted::Stored),
        }
        // Rows of another shape than the table's are refused with the same codes as bad rows. An insert of no rows
        // tells the two apart: no row may be taken for poison because a migration is missing. And as the migration may
        // have come between the two, only a refusal behind it counts.
        self.send(load.table, None, &Bytes::new()).await?;
        match self.send(load.table, Some(token), rows).await {
            Err(error) if is_about_data(&error) => Ok(Inserted::Refused(first_line(&error))),
            other => other.map(|()| Inserted::Stored),
        }
    }

    /// The partitions of the table that have none of the rows that belong there. A part is written whole or not at all.
    /// Where all of them were replaced by newer rows meanwhile, they are sent once more and replaced once more.
    async fn missing(&self, load: &Load) -> Result<BTreeSet<Part>, Error> {
        let wanted = load.slice.parts();
        let names = wanted.iter().map(|part| format!("'{part}'")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT DISTINCT _partition_id FROM {} WHERE _partition_id IN ({names}) AND log_partition = {} \
             AND log_offset BETWEEN {} AND {} AND {}",
            load.table.name, load.at.partition, load.span.from, load.span.to, load.own_rows
        );
        let asked = self.client.clone().with_validation(false).query(&sql).fetch_all::<String>();
        let found = tokio::time::timeout(self.timeout, asked).await.unwrap_or(Err(Error::TimedOut))?;
        Ok(wanted.into_iter().filter(|part| !found.contains(&part.to_string())).collect())
    }

    /// Runs statements one after the other, however long it takes. They must be harmless to repeat.
    pub(crate) async fn execute(&self, name: &'static str, statements: &[String]) {
        let mut patience = self.patience(name);
        for statement in statements {
            loop {
                let permit = self.permits.acquire().await;
                let sent = self.client.query_raw(statement).with_setting("lightweight_deletes_sync", "2").execute();
                let outcome = tokio::time::timeout(self.timeout, sent).await.unwrap_or(Err(Error::TimedOut));
                drop(permit);
                match outcome {
                    Ok(()) => break,
                    Err(error) => patience.wait(&error).await,
                }
            }
        }
        patience.rewarded();
    }

    fn patience(&self, name: &'static str) -> Patience {
        Patience {
            name,
            delays: self.retry.delays(),
            max: self.retry.max,
            trouble: self.trouble.clone(),
            troubled: None,
        }
    }

    async fn send(&self, table: &'static Table, token: Option<&str>, rows: &Bytes) -> Result<(), Error> {
        let columns = (table.columns)();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let sql = format!("INSERT INTO {} ({}) FORMAT RowBinaryWithNamesAndTypes", table.name, names.join(", "));
        let mut insert = self
            .client
            .insert_formatted_with(sql)
            // Sent every time, whatever the server's or the client's defaults are: an insert is answered when it is
            // stored, old months do not make it fail, and its token counts.
            .with_setting("async_insert", "0")
            .with_setting("max_partitions_per_insert_block", "0")
            .with_setting("insert_deduplicate", "1");
        if let Some(token) = token {
            insert = insert.with_setting("insert_deduplication_token", token);
        }
        let header = header(&columns);
        let rows = rows.clone();
        let sent = async move {
            insert.send(header).await?;
            if !rows.is_empty() {
                insert.send(rows).await?;
            }
            insert.end().await
        };
        tokio::time::timeout(self.timeout, sent).await.unwrap_or(Err(Error::TimedOut))
    }

    /// Whether ClickHouse answers.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let asked = self.client.query("SELECT 1").fetch_one::<u8>();
        match tokio::time::timeout(Duration::from_secs(5), asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(first_line(&error)),
            Err(_) => Err("ClickHouse did not answer within 5 s".to_owned()),
        }
    }
}

/// Names and types in front of the rows.
fn header(columns: &[(String, &'static str)]) -> Bytes {
    let mut out = Vec::with_capacity(2_048);
    put_length(columns.len(), &mut out);
    columns.iter().for_each(|(name, _)| put_bytes(name.as_bytes(), &mut out));
    columns.iter().for_each(|(_, kind)| put_bytes(kind.as_bytes(), &mut out));
    out.into()
}

/// ClickHouse's codes for data that it cannot take. Everything else says something about the server.
const ABOUT_DATA: [u32; 18] = [
    6,   // CANNOT_PARSE_TEXT
    25,  // CANNOT_PARSE_ESCAPE_SEQUENCE
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    32,  // ATTEMPT_TO_READ_AFTER_EOF
    33,  // CANNOT_READ_ALL_DATA
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    53,  // TYPE_MISMATCH
    69,  // ARGUMENT_OUT_OF_BOUND
    70,  // CANNOT_CONVERT_TYPE
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    128, // TOO_LARGE_ARRAY_SIZE
    131, // TOO_LARGE_STRING_SIZE
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    469, // VIOLATED_CONSTRAINT
    691, // UNKNOWN_ELEMENT_OF_ENUM
];

fn is_about_data(error: &Error) -> bool {
    let Error::BadResponse(text) = error else { return false };
    code(text).is_some_and(|code| ABOUT_DATA.contains(&code))
}

/// The code in `Code: 117. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

/// The error for a log: one short line, without what the server repeats of the rows (SEC-1).
fn first_line(error: &Error) -> String {
    let text = told(error);
    let end = ["Expression:", "Column values:", "Row 1", "Row:", ": (at row", "\n"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    text[..end.unwrap_or(text.len())].chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_of_data_are_about_data() {
        let answer = |text: &str| Error::BadResponse(text.to_owned());
        assert!(is_about_data(&answer("Code: 469. DB::Exception: Constraint `c` is violated")));
        assert!(is_about_data(&answer("Code: 117. DB::Exception: Type of 'v' must be UInt32")));
        for text in
            ["Code: 241. DB::Exception: Memory limit", "Code: 252. DB::Exception: Too many parts", "502 Bad Gateway"]
        {
            assert!(!is_about_data(&answer(text)), "{text}");
        }
        assert!(!is_about_data(&Error::TimedOut));
    }

    #[test]
    fn sec_1_what_the_server_repeats_of_a_row_is_not_told() {
        let text = "Code: 469. DB::Exception: Constraint `c` for table w.e is violated at row 2. Expression: (number != 'RR1'). Column values: number = 'RR1'";
        let told = first_line(&Error::BadResponse(text.to_owned()));
        assert!(told.contains("Constraint") && !told.contains("RR1"), "{told}");
    }
}
