//! The fetcher's memory of a number, which travels with its requests: one byte of format, then tagged fields.
//!
//! A field is a tag (1 byte), a length (2 bytes, little endian) and its bytes. Tags that this version does not know are kept
//! and written back. Bytes that are no such memory are an error and never taken as empty: an empty memory would publish
//! every known event as news.

use waybill_schemas::{Memory, limits::MAX_MEMORY_BYTES};

const FORMAT: u8 = 1;
const ETAG: u8 = 1;
const DIGEST: u8 = 2;
const PAYLOAD: u8 = 3;
const ADAPTER_VERSION: u8 = 4;
const SOURCE: u8 = 5;
const LAST_MODIFIED: u8 = 6;
/// Longer validators are not worth carrying.
const MAX_VALIDATOR_BYTES: usize = 256;

/// What an answer said for asking again whether anything has changed, as it came (RFC 9110, 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    /// `ETag`.
    pub(crate) etag: Option<String>,
    /// `Last-Modified`.
    pub(crate) last_modified: Option<String>,
}

/// What the fetcher knows about a number from its last accepted reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FetcherMemory {
    /// The answer's validators; only from `tracked`.
    pub(crate) validators: Validators,
    /// Digest of the last accepted reading; its class is part of it.
    pub(crate) digest: Option<u64>,
    /// Hash of the last payload kept.
    pub(crate) payload: Option<String>,
    /// The adapter version that got them.
    pub(crate) adapter_version: String,
    /// The source that got them.
    pub(crate) source: String,
    unknown: Vec<(u8, Vec<u8>)>,
}

/// The bytes are no memory of a fetcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("the fetcher's memory has format {0}, this version reads {FORMAT}")]
    Format(u8),
    #[error("the fetcher's memory is damaged")]
    Damaged,
}

impl FetcherMemory {
    /// Reads a memory; an empty one knows nothing.
    pub(crate) fn decode(memory: &Memory) -> Result<Self, MemoryError> {
        let mut known = Self::default();
        let Some((format, mut rest)) = memory.0.split_first() else { return Ok(known) };
        if *format != FORMAT {
            return Err(MemoryError::Format(*format));
        }
        while let [tag, low, high, tail @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (value, after) = tail.split_at_checked(length).ok_or(MemoryError::Damaged)?;
            let text = || String::from_utf8(value.to_vec()).map_err(|_| MemoryError::Damaged);
            match *tag {
                ETAG => known.validators.etag = Some(text()?),
                LAST_MODIFIED => known.validators.last_modified = Some(text()?),
                DIGEST => {
                    let bytes = value.try_into().map_err(|_| MemoryError::Damaged)?;
                    known.digest = Some(u64::from_le_bytes(bytes));
                }
                PAYLOAD => known.payload = Some(text()?),
                ADAPTER_VERSION => known.adapter_version = text()?,
                SOURCE => known.source = text()?,
                unknown => known.unknown.push((unknown, value.to_vec())),
            }
            rest = after;
        }
        if rest.is_empty() { Ok(known) } else { Err(MemoryError::Damaged) }
    }

    /// Writes it. What does not fit is left out, least needed first, so that a memory never outgrows its limit.
    pub(crate) fn encode(&self) -> Memory {
        let mut bytes = vec![FORMAT];
        let mut put = |tag: u8, value: &[u8]| {
            if let Ok(length) = u16::try_from(value.len())
                && bytes.len() + 3 + value.len() <= MAX_MEMORY_BYTES
            {
                bytes.push(tag);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(value);
            }
        };
        put(ADAPTER_VERSION, self.adapter_version.as_bytes());
        put(SOURCE, self.source.as_bytes());
        if let Some(digest) = self.digest {
            put(DIGEST, &digest.to_le_bytes());
        }
        if let Some(payload) = &self.payload {
            put(PAYLOAD, payload.as_bytes());
        }
        for (tag, value) in [(ETAG, &self.validators.etag), (LAST_MODIFIED, &self.validators.last_modified)] {
            if let Some(value) = value.as_ref().filter(|value| value.len() <= MAX_VALIDATOR_BYTES) {
                put(tag, value.as_bytes());
            }
        }
        for (tag, value) in &self.unknown {
            put(*tag, value);
        }
        Memory(bytes)
    }

    /// What to ask with: only the adapter version and source that got it may use it.
    pub(crate) fn validators_for(&self, adapter_version: &str, source: &str) -> Option<&Validators> {
        let same = self.adapter_version == adapter_version && self.source == source;
        (same && self.digest.is_some()).then_some(&self.validators)
    }

    /// The memory after a reading. Fields of a later version stay.
    pub(crate) fn advanced(&self, validators: Validators, digest: Option<u64>, payload: Option<String>) -> Self {
        Self { validators, digest, payload: payload.or_else(|| self.payload.clone()), ..self.clone() }
    }

    /// Who got it.
    #[must_use]
    pub(crate) fn by(self, adapter_version: &str, source: &str) -> Self {
        Self { adapter_version: adapter_version.to_owned(), source: source.to_owned(), ..self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn etag(text: &str) -> Validators {
        Validators { etag: Some(text.to_owned()), last_modified: None }
    }

    #[test]
    fn a_memory_is_read_back_and_later_fields_stay() {
        let known = FetcherMemory::default()
            .advanced(
                Validators { last_modified: Some("Sun, 22 Nov 2026 04:00:00 GMT".to_owned()), ..etag("W/\"5\"") },
                Some(77),
                Some("ab".to_owned()),
            )
            .by("v1", "api");
        let mut memory = known.encode();
        assert_eq!(FetcherMemory::decode(&memory).unwrap(), known);
        memory.0.extend_from_slice(&[200, 2, 0, 9, 9]);
        let later = FetcherMemory::decode(&memory).unwrap();
        assert!(later.encode().0.ends_with(&[200, 2, 0, 9, 9]));
        assert_eq!(FetcherMemory::decode(&Memory::default()).unwrap(), FetcherMemory::default());
    }

    /// What stands in people's logs: see schemas/frozen/README.md.
    #[test]
    fn a_memory_of_version_0_1_is_read_and_written_back() {
        let records = include_str!("../../../schemas/frozen/v0.1/schedule.json");
        let records: Vec<serde_json::Value> = serde_json::from_str(records).unwrap();
        let tracked = records.iter().find(|record| record["name"] == "tracked").unwrap();
        let memory: Memory = serde_json::from_value(tracked["value"]["memories"]["fetcher"].clone()).unwrap();
        let known = FetcherMemory::decode(&memory).unwrap();
        let wanted = FetcherMemory::default()
            .advanced(
                Validators { last_modified: Some("Sun, 22 Nov 2026 04:00:00 GMT".to_owned()), ..etag("W/\"5\"") },
                Some(0x1122_3344_5566_7788),
                Some("9f86d081884c7d659a2feaa0c55ad015".to_owned()),
            )
            .by("5f3a90c1d2e4b678", "page");
        assert_eq!(known, wanted);
        assert_eq!(FetcherMemory::decode(&known.encode()).unwrap(), wanted);
        let mut later = memory;
        later.0.extend_from_slice(&[200, 1, 0, 7]);
        let later = FetcherMemory::decode(&later).unwrap();
        assert_eq!(later.digest, wanted.digest);
        assert!(later.encode().0.ends_with(&[200, 1, 0, 7]));
    }

    #[test]
    fn an_unreadable_memory_is_never_taken_as_empty() {
        assert_eq!(FetcherMemory::decode(&Memory(vec![9])), Err(MemoryError::Format(9)));
        let whole = FetcherMemory::default().advanced(Validators::default(), Some(1), None).by("v", "s").encode();
        // A cut between two fields leaves a shorter memory; anywhere else it is seen.
        let boundaries = [5, 9];
        for cut in 2..whole.0.len() {
            let part = Memory(whole.0[..cut].to_vec());
            assert_eq!(FetcherMemory::decode(&part).is_ok(), boundaries.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn an_etag_is_sent_only_by_who_got_it() {
        let known = FetcherMemory::default().advanced(etag("e"), Some(1), None).by("v1", "api");
        assert_eq!(known.validators_for("v1", "api"), Some(&etag("e")));
        assert_eq!(known.validators_for("v2", "api"), None);
        assert_eq!(known.validators_for("v1", "page"), None);
    }

    #[test]
    fn a_memory_never_outgrows_its_limit() {
        let known =
            FetcherMemory::default().advanced(etag(&"e".repeat(60_000)), Some(1), Some("p".repeat(5_000))).by("v", "s");
        assert!(known.encode().0.len() <= MAX_MEMORY_BYTES);
        assert_eq!(FetcherMemory::decode(&known.encode()).unwrap().digest, Some(1));
    }
}
