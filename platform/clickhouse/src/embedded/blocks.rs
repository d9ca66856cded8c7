//! ClickHouse's own compression framing, asked for by `compress=1` and `decompress=1`: blocks of
//! checksum (16 bytes) · method (1) · size with this header (4, little endian) · size unpacked (4) · data.
//!
//! The checksum is CityHash128 of version 1.0.2, halves swapped, over method, sizes and data. It is verified: a
//! damaged insert must fail, not be stored.

use std::io::{self, Read};

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;
/// No client makes blocks near this size; a larger one is damage or malice.
const MAX_BLOCK: usize = 64 << 20;

/// Unpacks a stream of blocks.
pub(super) struct BlockReader<R> {
    source: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, block: Vec::new(), at: 0 }
    }

    /// Reads the next block; `false` at the end of the stream, which must be at a block's border.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut prefix = [0_u8; CHECKSUM + HEADER];
        let mut have = 0;
        while have < prefix.len() {
            match self.source.read(&mut prefix[have..])? {
                0 if have == 0 => return Ok(false),
                0 => return Err(damaged("it ends within a block's header")),
                read => have += read,
            }
        }
        let mut packed = prefix[CHECKSUM..].to_vec();
        let with_header = little_endian(&packed[1..5]);
        let unpacked = little_endian(&packed[5..9]);
        if !(HEADER..=MAX_BLOCK).contains(&with_header) || unpacked > MAX_BLOCK {
            return Err(damaged("a block's size is out of range"));
        }
        packed.resize(with_header, 0);
        self.source.read_exact(&mut packed[HEADER..]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends within a block"),
            _ => error,
        })?;
        if checksum(&packed) != prefix[..CHECKSUM] {
            return Err(damaged("a block's checksum does not match"));
        }
        let data = &packed[HEADER..];
        self.block = match packed[0] {
            METHOD_NONE => data.to_vec(),
            METHOD_LZ4 => {
                lz4_flex::block::decompress(data, unpacked).map_err(|_| damaged("a block cannot be unpacked"))?
            }
            METHOD_ZSTD => zstd::bulk::decompress(data, unpacked).map_err(|_| damaged("a block cannot be unpacked"))?,
            _ => return Err(damaged("a block's compression method is unknown")),
        };
        if self.block.len() != unpacked {
            return Err(damaged("a block unpacks to another size than it says"));
        }
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let some = buffer.len().min(self.block.len() - self.at);
        buffer[..some].copy_from_slice(&self.block[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

/// Packs bytes into blocks for a client that sent `compress=1`.
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in bytes.chunks(1 << 20) {
        let compressed = lz4_flex::block::compress(piece);
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        let mut block = vec![METHOD_LZ4];
        block.extend(size(compressed.len() + HEADER));
        block.extend(size(piece.len()));
        block.extend(compressed);
        out.extend(checksum(&block));
        out.extend(block);
    }
    out
}

fn checksum(block: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(block).rotate_right(64).to_le_bytes()
}

fn little_endian(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compressed body is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    #![allow(clippy::disallowed_methods, reason = "what is read here was written here")]
    use super::*;

    #[test]
    fn what_is_packed_unpacks_whole() {
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut back = Vec::new();
        BlockReader::new(pack(&data).as_slice()).read_to_end(&mut back).unwrap();
        assert!(back == data);
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let packed = pack(b"some data that is long enough to be compressed compressed compressed");
        for at in 0..packed.len() {
            let mut broken = packed.clone();
            broken[at] ^= 1;
            assert!(BlockReader::new(broken.as_slice()).read_to_end(&mut Vec::new()).is_err(), "byte {at}");
            if at > 0 {
                assert!(BlockReader::new(&packed[..at]).read_to_end(&mut Vec::new()).is_err(), "cut at {at}");
            }
        }
    }
}
