//! Puts the pieces of a streamed result together: the engine makes each piece a document of its own.

use crate::engine::ResultBlock;
use bytes::Bytes;

/// Formats whose pieces, put one after the other, are one document again (after [`Pieces`] took repeated headers off).
pub(super) fn streams(format: &str) -> bool {
    matches!(
        format,
        "RowBinary"
            | "RowBinaryWithNamesAndTypes"
            | "Native"
            | "TabSeparated"
            | "TSV"
            | "TabSeparatedRaw"
            | "TSVRaw"
            | "CSV"
            | "JSONEachRow"
            | "JSONLines"
            | "NDJSON"
            | "JSONStringsEachRow"
            | "JSONCompactEachRow"
    )
}

/// Takes the header off every piece but the first.
pub(super) struct Pieces {
    has_header: bool,
    header: Option<Vec<u8>>,
}

impl Pieces {
    pub(super) fn new(format: &str) -> Self {
        Self { has_header: format == "RowBinaryWithNamesAndTypes", header: None }
    }

    pub(super) fn take(&mut self, block: &ResultBlock) -> Bytes {
        self.strip(block.bytes())
    }

    fn strip(&mut self, bytes: &[u8]) -> Bytes {
        let rest = match &self.header {
            Some(header) => bytes.strip_prefix(header.as_slice()).unwrap_or(bytes),
            None if self.has_header => {
                self.header = header_length(bytes).map(|length| bytes[..length].to_vec());
                bytes
            }
            None => bytes,
        };
        Bytes::copy_from_slice(rest)
    }
}

/// The length of RowBinaryWithNamesAndTypes' header: a count, that many names, that many types.
fn header_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let columns = varint(bytes, &mut at)?;
    for _ in 0..columns.checked_mul(2)? {
        let length = varint(bytes, &mut at)?;
        at = at.checked_add(length)?;
    }
    (columns > 0 && at <= bytes.len()).then_some(at)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_piece_keeps_its_header() {
        let first = b"\x01\x01n\x05UInt8\x07";
        let second = b"\x01\x01n\x05UInt8\x08";
        let mut pieces = Pieces::new("RowBinaryWithNamesAndTypes");
        assert_eq!(pieces.strip(first).as_ref(), first);
        assert_eq!(pieces.strip(second).as_ref(), b"\x08");
    }
}
