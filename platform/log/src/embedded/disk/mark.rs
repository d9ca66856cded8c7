//! The acknowledgement mark: a small file beside the storage engine that says how many write batches were acknowledged.
//!
//! It is written after a batch is safe and before its producers are answered, without waiting for the disk: it never
//! says too much, survives kill -9 exactly, and after a power cut it may say too little. So at the next opening fewer
//! batches than the mark says means that acknowledged records are gone, which no check inside the engine can tell.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

/// The mark's file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// So many batches were acknowledged.
    Acknowledged(u64),
    /// There was no file.
    Absent,
    /// The file is damaged.
    Unreadable,
}

impl Mark {
    /// Opens the file or creates it, and reads it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Reading)> {
        let existed = path.try_exists()?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mark = Self { file };
        if !existed {
            return Ok((mark, Reading::Absent));
        }
        let mut stored = [0; 16];
        let reading = match mark.file.read_exact_at(&mut stored, 0) {
            Ok(()) => decode(stored),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Reading::Unreadable,
            Err(error) => return Err(error),
        };
        Ok((mark, reading))
    }

    /// Sets the mark; 16 bytes in one write to an existing block, so it is never half of one and half of another.
    pub(super) fn set(&self, sequence: u64) -> io::Result<()> {
        let mut stored = [0; 16];
        stored[..8].copy_from_slice(&sequence.to_le_bytes());
        stored[8..].copy_from_slice(&xxh3_64(&sequence.to_le_bytes()).to_le_bytes());
        self.file.write_all_at(&stored, 0)
    }

    /// Waits until the mark is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn decode(stored: [u8; 16]) -> Reading {
    let (sequence, sum) = stored.split_at(8);
    match sequence.try_into() {
        Ok(bytes) if xxh3_64(sequence).to_le_bytes() == sum => Reading::Acknowledged(u64::from_le_bytes(bytes)),
        _ => Reading::Unreadable,
    }
}
