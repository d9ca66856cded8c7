//! Dead letters: written until the log has them, because the offset may only move on then (LOG-1).

use std::time::Duration;

use waybill_log::{DeadLetters, ErrorClass, LogError, Record, SharedLog, TopicPartition, records};
use waybill_runtime::retry::RetryPolicy;

/// A short code of why a record is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// It is not what its topic holds.
    Unreadable,
    /// ClickHouse refuses what stands in it.
    RefusedByStore,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::RefusedByStore => "refused_by_store",
        }
    }
}

/// Writes a record to the dead letters, however long it takes. Repeating it is harmless.
///
/// # Errors
/// What trying again cannot mend.
pub(crate) async fn bury(
    log: &SharedLog,
    letters: &DeadLetters,
    from: &TopicPartition,
    record: &Record,
    why: (Code, &str),
) -> Result<(), LogError> {
    let (code, detail) = why;
    let reason = records::Reason { code: code.as_str(), detail, service: "store" };
    let mut delays = RetryPolicy::FOREVER.delays();
    while let Err(error) = letters.bury(log.as_ref(), from, record, &reason).await {
        match error.class() {
            ErrorClass::Retry | ErrorClass::Lost => {
                tracing::warn!(topic = %from.topic, %error, "store.dead_letter_failed");
                tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(15))).await;
            }
            ErrorClass::Drop => {
                // Not even its key and headers fit; its place is in the log of this process.
                tracing::error!(topic = %from.topic, partition = from.partition, offset = record.offset, %error, "store.dead_letter_refused");
                break;
            }
            ErrorClass::Fatal => return Err(error),
        }
    }
    metrics::counter!("waybill_dead_letters_total", "service" => "store", "topic" => from.topic.to_string())
        .increment(1);
    Ok(())
}
