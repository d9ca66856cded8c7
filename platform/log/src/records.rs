//! Records as services write them: JSON with its media type, and dead letters.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use waybill_schemas::{
    ShipmentKey, headers,
    limits::MAX_RECORD_BYTES,
    topics::{TopicPrefix, names},
};

use crate::seam::{Appended, Headers, Log, LogError, NewRecord, Record, TopicPartition};

/// Media type of JSON values.
pub const JSON: &str = "application/json";

/// A value could not be written or read as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the value is not as expected: {0}")]
pub struct JsonError(#[from] serde_json::Error);

impl JsonError {
    /// Where it broke, as ` (line 1, column 7)`; never what stood there, which may be personal data.
    pub fn place(&self) -> String {
        format!(" (line {}, column {})", self.0.line(), self.0.column())
    }
}

/// A header of a text.
pub fn header(name: &str, value: impl Into<String>) -> (String, Bytes) {
    (name.to_owned(), Bytes::from(value.into()))
}

/// A record with a JSON value; the media type is put before the other headers.
///
/// # Errors
/// [`JsonError`] when the value cannot be JSON, e.g. a map whose keys are no texts.
pub fn json_record<T: Serialize + ?Sized>(
    at: TopicPartition,
    key: impl Into<Bytes>,
    value: &T,
    headers: Headers,
) -> Result<NewRecord, JsonError> {
    let value = Bytes::from(serde_json::to_vec(value)?);
    let mut all = vec![header(headers::CONTENT_TYPE, JSON)];
    all.extend(headers);
    Ok(NewRecord { at, key: Some(key.into()), value: Some(value), headers: all })
}

/// A record that deletes its key on compacted topics.
pub fn tombstone(at: TopicPartition, key: impl Into<Bytes>, headers: Headers) -> NewRecord {
    NewRecord { at, key: Some(key.into()), value: None, headers }
}

/// A record's JSON value; a tombstone is read as `null`.
///
/// # Errors
/// [`JsonError`].
pub fn read_json<T: DeserializeOwned>(record: &Record) -> Result<T, JsonError> {
    Ok(serde_json::from_slice(record.value.as_deref().unwrap_or(b"null"))?)
}

/// Produces records and answers for all of them: the first error, if any.
///
/// # Errors
/// The first error among the answers; other records may have been appended.
pub async fn produce_all(log: &dyn Log, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    log.produce(records).await.into_iter().collect()
}

/// Headers that name an attempt beside the value; with `request_offset` on results and outcomes.
pub fn attempt_headers(attempt: i64, request_offset: Option<u64>) -> Headers {
    let mut named = vec![header(headers::ATTEMPT, attempt.to_string())];
    named.extend(request_offset.map(|offset| header(headers::REQUEST_OFFSET, offset.to_string())));
    named
}

/// What key and headers tell of an attempt, whatever the value holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAttempt {
    /// Whose.
    pub key: ShipmentKey,
    /// Which.
    pub attempt: i64,
    /// The offset of its request, where the record says so.
    pub request_offset: Option<u64>,
}

impl NamedAttempt {
    /// Reads key and headers; `None` where they do not name an attempt.
    pub fn of(record: &Record) -> Option<Self> {
        let number = |name: &str| record.header_str(name).and_then(|text| text.parse().ok());
        Some(Self {
            key: ShipmentKey::from_record_key(record.key_str()?)?,
            attempt: record.header_str(headers::ATTEMPT)?.parse().ok()?,
            request_offset: number(headers::REQUEST_OFFSET),
        })
    }
}

/// Headers of dead letters.
pub mod dead_letter_headers {
    /// Why: a code in `snake_case`.
    pub const REASON: &str = "waybill-dead-reason";
    /// Why, in a sentence.
    pub const DETAIL: &str = "waybill-dead-detail";
    /// Which service gave up.
    pub const SERVICE: &str = "waybill-dead-service";
    /// Topic of the original.
    pub const TOPIC: &str = "waybill-dead-topic";
    /// Partition of the original.
    pub const PARTITION: &str = "waybill-dead-partition";
    /// Offset of the original.
    pub const OFFSET: &str = "waybill-dead-offset";
    /// `true` when the original's value was left out because record and envelope would be too large.
    pub const VALUE_OMITTED: &str = "waybill-dead-value-omitted";
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason<'a> {
    /// A code in `snake_case`.
    pub code: &'a str,
    /// One sentence for people, without secrets and full tracking numbers.
    pub detail: &'a str,
    /// The service that gave up.
    pub service: &'a str,
}

/// Writes records that could not be processed to `waybill.dead-letters`, as they came.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    at: TopicPartition,
}

impl DeadLetters {
    /// For topics of this prefix.
    pub fn new(prefix: &TopicPrefix) -> Self {
        Self { at: TopicPartition::new(prefix.of(names::DEAD_LETTERS), 0) }
    }

    /// The dead letter of a record: its key, value and headers unchanged, the reason and its place as headers behind
    /// them. Where the envelope does not fit any more, the value stays out: its place tells where it is.
    pub fn letter(&self, from: &TopicPartition, record: &Record, reason: &Reason<'_>) -> NewRecord {
        use dead_letter_headers as names;
        let mut headers = record.headers.clone();
        headers.extend([
            header(names::REASON, reason.code),
            header(names::DETAIL, reason.detail.chars().take(500).collect::<String>()),
            header(names::SERVICE, reason.service),
            header(names::TOPIC, from.topic.to_string()),
            header(names::PARTITION, from.partition.to_string()),
            header(names::OFFSET, record.offset.to_string()),
        ]);
        let envelope: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let mut value = record.value.clone();
        if envelope + size(&record.key) + size(&value) > MAX_RECORD_BYTES {
            value = None;
            headers.push(header(names::VALUE_OMITTED, "true"));
        }
        NewRecord { at: self.at.clone(), key: record.key.clone(), value, headers }
    }

    /// Appends a record's dead letter. Whoever consumes goes on only when this has answered well (LOG-1).
    ///
    /// # Errors
    /// Whatever producing says.
    pub async fn bury(
        &self,
        log: &dyn Log,
        from: &TopicPartition,
        record: &Record,
        reason: &Reason<'_>,
    ) -> Result<Appended, LogError> {
        tracing::warn!(
            topic = %from.topic, partition = from.partition, offset = record.offset, reason = reason.code,
            detail = reason.detail, "log.dead_letter"
        );
        let mut answers = log.produce(vec![self.letter(from, record, reason)]).await;
        answers.pop().unwrap_or(Err(LogError::Closed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use waybill_schemas::WallMs;

    use super::*;

    #[test]
    fn a_dead_letter_is_the_record_as_it_came_and_says_why_and_from_where() {
        let letters = DeadLetters::new(&"shop".parse().unwrap());
        let mut record = Record {
            offset: 41,
            append_time: WallMs::new(1),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"\xff broken")),
            headers: vec![header("a", "b")],
        };
        let from = TopicPartition::new("shop.commands", 3);
        let reason = Reason { code: "unreadable", detail: "it is no JSON", service: "scheduler" };
        let letter = letters.letter(&from, &record, &reason);
        assert_eq!(&*letter.at.topic, "shop.dead-letters");
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
        let texts: Vec<String> =
            letter.headers.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
        assert_eq!(texts, ["b", "unreadable", "it is no JSON", "scheduler", "shop.commands", "3", "41"]);

        record.value = Some(Bytes::from(vec![0; MAX_RECORD_BYTES]));
        let letter = letters.letter(&from, &record, &reason);
        assert!(letter.value.is_none());
        assert_eq!(letter.headers.last().unwrap().0, dead_letter_headers::VALUE_OMITTED);
    }
}
