//! The carrier's bytes as they are kept on `waybill.payloads`.
//!
//! Key: the first 32 hexadecimal digits of SHA-256 over the uncompressed bytes. Value: those bytes, zstd-compressed (header
//! `content-encoding: zstd`). One answer is kept as it came. Answers of several steps stand in a small container
//! (`content-type: application/vnd.waybill.answers`): the four bytes `WBA1`, then per answer
//!
//! ```text
//! u8 length, step name · u16 status · u16 length, content type · u32 length, body       (little endian)
//! ```
//!
//! Bodies of steps that only bring tokens or cookies are left out: they are secrets (SEC-1). URLs are left out for the same
//! reason. What does not fit a record is cut, and header `waybill-truncated` holds the uncut length.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use waybill_log::{Headers, NewRecord, TopicPartition};
use waybill_schemas::{CarrierSlug, WallMs, headers, limits::MAX_RECORD_BYTES};

/// Media type of several answers in one payload.
pub const CONTAINER: &str = "application/vnd.waybill.answers";
/// The container's first bytes.
pub const MAGIC: [u8; 4] = *b"WBA1";
const LEVEL: i32 = 3;
/// Room for key, headers and envelope.
const ENVELOPE_BYTES: usize = 4 * 1024;

/// One answer to keep.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) step: &'static str,
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    /// Whether the body is the carrier's word on the parcel; those of token steps are not.
    pub(crate) speaks: bool,
}

/// A payload, ready to be produced.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) hash: String,
    content_type: String,
    bytes: Vec<u8>,
    truncated_from: Option<usize>,
}

/// The payload of a look-up's answers; `None` when nothing was answered.
pub(crate) fn pack(answers: &[Kept]) -> Option<Payload> {
    let (raw, content_type) = match answers {
        [] => return None,
        [only] if only.speaks => (only.body.to_vec(), only.content_type.clone()),
        several => (container(several), CONTAINER.to_owned()),
    };
    let hash: String = Sha256::digest(&raw).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let most = MAX_RECORD_BYTES - ENVELOPE_BYTES;
    let mut length = raw.len();
    loop {
        // Compressing a slice in memory fails only for lack of memory.
        let bytes = zstd::bulk::compress(&raw[..length], LEVEL).ok()?;
        if bytes.len() <= most {
            let truncated_from = (length < raw.len()).then_some(raw.len());
            return Some(Payload { hash, content_type, bytes, truncated_from });
        }
        // In proportion to what came out, with some reserve: ends after very few rounds.
        let share = (length as u128 * most as u128 / bytes.len() as u128 * 95 / 100) as usize;
        length = share.min(length - 1);
    }
}

fn container(answers: &[Kept]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for answer in answers {
        let step = &answer.step.as_bytes()[..answer.step.len().min(255)];
        let content_type = &answer.content_type.as_bytes()[..answer.content_type.len().min(256)];
        let body: &[u8] = if answer.speaks { &answer.body } else { &[] };
        out.push(u8::try_from(step.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(step);
        out.extend_from_slice(&answer.status.to_le_bytes());
        out.extend_from_slice(&u16::try_from(content_type.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(content_type);
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(body);
    }
    out
}

impl Payload {
    /// Its size on the log, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The record of it.
    pub(crate) fn record(self, at: TopicPartition, carrier: &CarrierSlug, fetched_at: WallMs) -> NewRecord {
        let text = |value: &str| Bytes::copy_from_slice(value.as_bytes());
        let mut all: Headers = vec![
            (headers::CONTENT_TYPE.to_owned(), text(&self.content_type)),
            ("content-encoding".to_owned(), text("zstd")),
            ("waybill-carrier".to_owned(), text(carrier.as_str())),
            ("waybill-fetched-at".to_owned(), text(&fetched_at.to_string())),
        ];
        if let Some(length) = self.truncated_from {
            all.push(("waybill-truncated".to_owned(), text(&length.to_string())));
        }
        NewRecord { at, key: Some(self.hash.into()), value: Some(self.bytes.into()), headers: all }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn kept(step: &'static str, body: &[u8], speaks: bool) -> Kept {
        Kept { step, status: 200, content_type: "text/html".to_owned(), body: Bytes::copy_from_slice(body), speaks }
    }

    #[test]
    fn one_answer_is_kept_as_it_came() {
        let payload = pack(&[kept("page", b"<p>\xff verbatim</p>", true)]).unwrap();
        assert_eq!(zstd::bulk::decompress(&payload.bytes, 1_000).unwrap(), b"<p>\xff verbatim</p>");
        assert_eq!(payload.hash.len(), 32);
        assert_eq!(payload.hash, pack(&[kept("page", b"<p>\xff verbatim</p>", true)]).unwrap().hash);
        assert!(pack(&[]).is_none());
    }

    #[test]
    fn sec_1_token_answers_are_not_kept() {
        let payload = pack(&[kept("token", b"secret-token", false), kept("detail", b"{}", true)]).unwrap();
        let raw = zstd::bulk::decompress(&payload.bytes, 10_000).unwrap();
        assert!(raw.starts_with(&MAGIC));
        assert!(!raw.windows(12).any(|window| window == b"secret-token"));
        assert!(raw.ends_with(b"{}"));
        assert_eq!(payload.content_type, CONTAINER);
        let alone = pack(&[kept("token", b"secret-token", false)]).unwrap();
        assert!(
            !zstd::bulk::decompress(&alone.bytes, 10_000).unwrap().windows(12).any(|window| window == b"secret-token")
        );
    }

    #[test]
    fn what_does_not_fit_a_record_is_cut_and_says_so() {
        // Bytes that do not compress.
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..3_000_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        let payload = pack(&[kept("page", &noise, true)]).unwrap();
        assert_eq!(payload.truncated_from, Some(3_000_000));
        let record =
            payload.record(TopicPartition::new("waybill.payloads", 0), &"acme".parse().unwrap(), WallMs::new(5));
        let bytes = record.value.unwrap();
        assert!(bytes.len() < MAX_RECORD_BYTES);
        let back = zstd::bulk::decompress(&bytes, 3_000_000).unwrap();
        assert!(back.len() > 500_000 && noise.starts_with(&back));
    }
}
