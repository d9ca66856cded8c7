//! Looks at the storage engine's journals before the engine does.
//!
//! The engine ends its replay at the first bytes it cannot read and cuts the file there; that is right for a torn tail
//! and would lose acknowledged records silently in the middle. So: a journal that has a successor was closed in order
//! and must be whole to its end; the newest may end in a torn batch, because nothing of it was acknowledged. Whether
//! something *was* acknowledged behind the last whole batch is known by the acknowledgement mark (see [`super::mark`]).
//! A torn end is cut here and not left to the engine, which takes some of them (an item's head without its body, as a
//! full disk leaves it) for more than a torn end.
//! Layout of a journal (engine format 3): start (1, items u32, seqno u64), items (2, type, compression, keyspace u64,
//! key length u16, value length u32, stored length u32, key, value) or clears (4, keyspace u64), end (3, xxh3 of the
//! items, "FJL" 3); the rest of the preallocated file is zero.

use std::{
    fs,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::codec::SEQUENCE;

const TRAILER: &[u8; 4] = b"FJL\x03";
/// Its tag, the sum, the trailer.
const END_BYTES: usize = 13;
/// No item is longer: a record and its envelope, with room.
const MAX_ITEM_BYTES: usize = 64 * 1024 * 1024;

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// After a whole batch, then nothing but zeroes.
    Clean,
    /// In bytes that are no whole batch.
    Torn,
}

/// What a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Journal {
    pub(super) ending: Ending,
    /// The highest batch count written in it.
    pub(super) sequence: Option<u64>,
    /// Bytes up to the end of the last whole batch.
    pub(super) whole_bytes: u64,
}

/// The journals of an engine's directory, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|end| end == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Walks through a journal.
pub(super) fn inspect(path: &Path) -> io::Result<Journal> {
    let mut reader = io::BufReader::with_capacity(256 * 1024, fs::File::open(path)?);
    let (mut sequence, mut whole_bytes) = (None, 0);
    let ending = loop {
        match batch(&mut reader)? {
            Step::Batch(found) => {
                sequence = sequence.max(found);
                whole_bytes = reader.stream_position()?;
            }
            Step::End => break Ending::Clean,
            Step::Padding if only_zeroes(&mut reader)? => break Ending::Clean,
            Step::Padding | Step::Broken => break Ending::Torn,
        }
    };
    Ok(Journal { ending, sequence, whole_bytes })
}

/// Whether a batch was written to its end behind this place.
pub(super) fn has_end_behind(path: &Path, place: u64) -> io::Result<bool> {
    let mut file = fs::File::open(path)?;
    file.seek(io::SeekFrom::Start(place))?;
    let mut bytes = io::BufReader::with_capacity(256 * 1024, file).bytes();
    let mut last = [0; END_BYTES];
    bytes.try_fold(false, |found, byte| {
        last.rotate_left(1);
        last[END_BYTES - 1] = byte?;
        Ok(found || is_end(&last))
    })
}

/// Whether these are the last bytes of a batch, by their form.
fn is_end(end: &[u8; END_BYTES]) -> bool {
    end[0] == 3 && &end[9..] == TRAILER
}

/// Ends a journal behind its last whole batch.
pub(super) fn cut(path: &Path, whole_bytes: u64) -> io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_len(whole_bytes)?;
    file.sync_all()
}

enum Step {
    Batch(Option<u64>),
    Padding,
    End,
    Broken,
}

/// Reads one batch; short reads are a broken batch, errors of the disk are errors.
fn batch(reader: &mut impl Read) -> io::Result<Step> {
    let mut tag = [0];
    if reader.read(&mut tag)? == 0 {
        return Ok(Step::End);
    }
    match tag[0] {
        0 => return Ok(Step::Padding),
        1 => {}
        _ => return Ok(Step::Broken),
    }
    match batch_body(reader) {
        Ok(Some(sequence)) => Ok(Step::Batch(sequence)),
        Ok(None) => Ok(Step::Broken),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Step::Broken),
        Err(error) => Err(error),
    }
}

fn batch_body(reader: &mut impl Read) -> io::Result<Option<Option<u64>>> {
    let mut start = [0; 12];
    reader.read_exact(&mut start)?;
    let items = u32::from_le_bytes([start[0], start[1], start[2], start[3]]);
    let mut hasher = Xxh3::new();
    let mut sequence = None;
    let mut body = Vec::new();
    for _ in 0..items {
        let mut tag = [0];
        reader.read_exact(&mut tag)?;
        hasher.update(&tag);
        match tag[0] {
            2 => {
                let Some(key_length) = item(reader, &mut hasher, &mut body)? else { return Ok(None) };
                let (key, value) = body.split_at(key_length);
                if let (true, Ok(value)) = (key == SEQUENCE, value.try_into()) {
                    sequence = sequence.max(Some(u64::from_le_bytes(value)));
                }
            }
            4 => {
                let mut keyspace = [0; 8];
                reader.read_exact(&mut keyspace)?;
                hasher.update(&keyspace);
            }
            _ => return Ok(None),
        }
    }
    let mut end = [0; END_BYTES];
    reader.read_exact(&mut end)?;
    let whole = is_end(&end) && end[1..9] == hasher.digest().to_le_bytes();
    Ok(whole.then_some(sequence))
}

/// Reads an item's key and value into `body`; answers the key's length.
fn item(reader: &mut impl Read, hasher: &mut Xxh3, body: &mut Vec<u8>) -> io::Result<Option<usize>> {
    // Type, then compression; a compression other than none or lz4 (one byte each) is none of ours.
    let mut head = [0; 20];
    reader.read_exact(&mut head)?;
    hasher.update(&head);
    let key_length = usize::from(u16::from_le_bytes([head[10], head[11]]));
    let stored = u32::from_le_bytes([head[16], head[17], head[18], head[19]]) as usize;
    if stored > MAX_ITEM_BYTES {
        return Ok(None);
    }
    body.resize(key_length + stored, 0);
    reader.read_exact(body)?;
    hasher.update(body);
    Ok(Some(key_length))
}

fn only_zeroes(reader: &mut impl Read) -> io::Result<bool> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(true);
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
}
