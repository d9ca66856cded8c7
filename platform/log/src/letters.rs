//! Dead letters read back: what each says of its record, whether it may be written back where it came from, and the mark
//! that it was.
//!
//! Writing back is safe only where a repeat is harmless and nothing newer is overwritten:
//!
//! | topic | written back | why |
//! |---|---|---|
//! | `commands`, refused by the scheduler | yes | it was never carried out; carrying it out is what is wanted |
//! | `commands`, refused by the store | no | the scheduler has carried it out: a second time it could undo what came after |
//! | `fetch-requests`, `fetch-results` | no | the attempt has its outcome, and the scheduler has made or will make another: sending this one as well would overlap it (SCH-2), whatever epoch it bears |
//! | `outcomes` | yes | the scheduler applies it only to the open attempt that it names (SCH-2) |
//! | `schedule`, `carriers` | no | only the partition's owner may write state, under its claim's epoch; any other record is one of a zombie, which the owner overwrites |
//! | `tracking-events`, `status-changes`, `payloads` | yes | consumers and the store drop repeats by identity |
//! | `shipments`, `forgotten`, `policies` | if nothing newer of its key stands behind it | the last record of a key is its state |
//!
//! Pure: the caller reads and writes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waybill_schemas::{WallMs, headers, topics::names};

use crate::{
    records::{dead_letter_headers as dead, header},
    seam::{Headers, NewRecord, Record, TopicPartition},
};

/// Key of the marks of letters that were written back, on `waybill.dead-letters` beside the letters.
pub const REPLAYED_KEY: &str = "!replayed";
/// Value of [`headers::KIND`] on such a mark.
const REPLAYED: &str = "replayed";
/// Every header that a letter adds begins so.
const ADDED: &str = "waybill-dead-";

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its own offset on `waybill.dead-letters`.
    pub offset: u64,
    /// When it was written.
    pub append_time: WallMs,
    /// Why, as a code.
    pub reason: String,
    /// Why, in a sentence.
    pub detail: String,
    /// Which service gave up.
    pub service: String,
    /// Where the original stood.
    pub from: TopicPartition,
    /// Its offset there.
    pub from_offset: u64,
    /// The original's value is only where it stood: it was too large for the letter.
    pub value_omitted: bool,
    /// The original's key.
    pub key: Option<Bytes>,
    /// The original's value.
    pub value: Option<Bytes>,
    /// The original's headers.
    pub headers: Headers,
}

/// Whether a letter may be written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteBack {
    /// As it is.
    Plainly,
    /// If no newer record of its key stands behind the original.
    IfNewest,
    /// Never; the sentence says what to do instead.
    Never(&'static str),
}

impl Letter {
    /// Reads a record of `waybill.dead-letters`; `None` for marks and for what is no letter.
    pub fn of(record: &Record) -> Option<Self> {
        // A letter's own headers stand last: an original that was a letter itself had the same names before.
        let said = |name: &str| {
            let found = record.headers.iter().rev().find(|(found, _)| found == name);
            found.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        let from = TopicPartition::new(said(dead::TOPIC)?, said(dead::PARTITION)?.parse().ok()?);
        Some(Self {
            offset: record.offset,
            append_time: record.append_time,
            reason: said(dead::REASON)?.to_owned(),
            detail: said(dead::DETAIL).unwrap_or_default().to_owned(),
            service: said(dead::SERVICE).unwrap_or_default().to_owned(),
            from,
            from_offset: said(dead::OFFSET)?.parse().ok()?,
            value_omitted: said(dead::VALUE_OMITTED) == Some("true"),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().filter(|(name, _)| !name.starts_with(ADDED)).cloned().collect(),
        })
    }

    /// The original as it was, to the partition that it came from. With an omitted value, `kept` is the original where it
    /// stood, if it is still kept.
    pub fn original(&self, kept: Option<&Record>) -> Option<NewRecord> {
        let value = if self.value_omitted { kept?.value.clone() } else { self.value.clone() };
        Some(NewRecord { at: self.from.clone(), key: self.key.clone(), value, headers: self.headers.clone() })
    }

    /// Whether it may be written back; `topic` is the original's name without the configured prefix.
    pub fn write_back(&self, topic: &str) -> WriteBack {
        match topic {
            names::COMMANDS if self.service == "store" => WriteBack::Never(
                "the command was carried out; only the store could not keep it, and carrying it out again could undo what \
                 came after",
            ),
            names::COMMANDS | names::OUTCOMES | names::TRACKING_EVENTS | names::STATUS_CHANGES | names::PAYLOADS => {
                WriteBack::Plainly
            }
            names::FETCH_REQUESTS | names::FETCH_RESULTS => WriteBack::Never(
                "its attempt has ended and the scheduler makes the next one itself; order a refresh to have it at once",
            ),
            names::SCHEDULE | names::CARRIERS => WriteBack::Never(
                "only the partition's owner writes state, under its own claim; its next record follows",
            ),
            names::SHIPMENTS | names::FORGOTTEN | names::POLICIES => WriteBack::IfNewest,
            _ => WriteBack::Never("nothing is known of its topic"),
        }
    }
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MarkValue {
    /// Offsets of the letters.
    letters: Vec<u64>,
}

/// The mark that these letters were written back, to be appended beside them.
pub fn mark_replayed(at: &TopicPartition, letters: &[u64]) -> NewRecord {
    NewRecord {
        at: at.clone(),
        key: Some(Bytes::from_static(REPLAYED_KEY.as_bytes())),
        value: Some(Bytes::from(serde_json::json!(MarkValue { letters: letters.to_vec() }).to_string())),
        headers: vec![header(headers::KIND, REPLAYED)],
    }
}

/// The letters that a mark names; `None` when the record is no mark.
pub fn replayed(record: &Record) -> Option<Vec<u64>> {
    if record.header_str(headers::KIND) != Some(REPLAYED) || record.key_str() != Some(REPLAYED_KEY) {
        return None;
    }
    let value: MarkValue = serde_json::from_slice(record.value.as_ref()?).ok()?;
    Some(value.letters)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use waybill_schemas::topics;

    use super::*;
    use crate::records::{DeadLetters, Reason};

    fn read(new: NewRecord, offset: u64) -> Record {
        Record { offset, append_time: WallMs::new(9), key: new.key, value: new.value, headers: new.headers }
    }

    fn original() -> Record {
        Record {
            offset: 41,
            append_time: WallMs::new(1),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"\xff broken")),
            headers: vec![header("a", "b"), header("a", "c")],
        }
    }

    #[test]
    fn a_letter_gives_the_original_back_byte_for_byte() {
        let letters = DeadLetters::new(&"shop".parse().unwrap());
        let from = TopicPartition::new("shop.commands", 3);
        let reason = Reason { code: "unreadable", detail: "it is no JSON", service: "scheduler" };
        let letter = Letter::of(&read(letters.letter(&from, &original(), &reason), 7)).unwrap();
        let back = letter.original(None).unwrap();
        let record = original();
        assert_eq!((back.at, back.key, back.value, back.headers), (from, record.key, record.value, record.headers));
        assert_eq!((letter.offset, letter.from_offset, letter.reason.as_str()), (7, 41, "unreadable"));
        assert_eq!((letter.service.as_str(), letter.detail.as_str()), ("scheduler", "it is no JSON"));
    }

    #[test]
    fn an_omitted_value_comes_from_where_it_stood_or_not_at_all() {
        let letters = DeadLetters::new(&"waybill".parse().unwrap());
        let large =
            Record { value: Some(Bytes::from(vec![1; waybill_schemas::limits::MAX_RECORD_BYTES])), ..original() };
        let reason = Reason { code: "unreadable", detail: "", service: "store" };
        let from = TopicPartition::new("waybill.payloads", 0);
        let letter = Letter::of(&read(letters.letter(&from, &large, &reason), 7)).unwrap();
        assert!(letter.original(None).is_none());
        assert_eq!(letter.original(Some(&large)).unwrap().value, large.value);
    }

    #[test]
    fn a_mark_names_letters_and_is_none() {
        let at = TopicPartition::new("waybill.dead-letters", 0);
        let mark = read(mark_replayed(&at, &[3, 9]), 10);
        assert_eq!(replayed(&mark), Some(vec![3, 9]));
        assert!(Letter::of(&mark).is_none());
        assert_eq!(replayed(&original()), None);
    }

    #[test]
    fn sch_2_nothing_that_claims_guard_and_no_attempt_is_ever_written_back() {
        let letters = DeadLetters::new(&"waybill".parse().unwrap());
        let letter = |service| {
            let reason = Reason { code: "unreadable", detail: "", service };
            let from = TopicPartition::new("waybill.commands", 0);
            Letter::of(&read(letters.letter(&from, &original(), &reason), 1)).unwrap()
        };
        for topic in [names::SCHEDULE, names::CARRIERS, names::FETCH_REQUESTS, names::FETCH_RESULTS] {
            assert!(matches!(letter("store").write_back(topic), WriteBack::Never(_)), "{topic}");
        }
        assert_eq!(letter("scheduler").write_back(names::COMMANDS), WriteBack::Plainly);
        assert!(matches!(letter("store").write_back(names::COMMANDS), WriteBack::Never(_)));
        // Compacted topics are never written back plainly: an old record must not become the last of its key.
        for spec in topics::all().iter().filter(|spec| spec.cleanup == topics::Cleanup::Compact) {
            assert_ne!(letter("store").write_back(&spec.name), WriteBack::Plainly, "{}", spec.name);
        }
    }
}
