//! A request's body as a blocking `Read`, unpacked on the way, bounded in size and in time.
//!
//! A small task moves frames from the connection into a channel of a few slots; the thread that runs the statement
//! reads from it, so a body is never held whole. A body that breaks off, stalls or is too large is an error, never an
//! early end: an insert fed from it is cancelled, not committed.

use super::blocks::BlockReader;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt as _;
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// How many frames may wait between the connection and the statement.
const SLOTS: usize = 8;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Lz4Frame,
    Zstd,
}

impl Encoding {
    /// The `Content-Encoding` header's meaning; `None` for one that is not understood.
    pub(super) fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "lz4" => Some(Self::Lz4Frame),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What may be sent, and how slowly.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Most bytes after unpacking.
    pub(super) max_bytes: u64,
    /// Longest wait for the next bytes.
    pub(super) idle: Duration,
}

/// Starts moving the body; the handle stops it when dropped.
pub(super) fn pump(body: Body, limits: BodyLimits) -> (ChannelReader, AbortOnDropHandle<()>) {
    let (sender, receiver) = mpsc::channel(SLOTS);
    let task = tokio::spawn(forward(body.into_data_stream(), sender, limits.idle));
    (ChannelReader { receiver, current: Bytes::new() }, AbortOnDropHandle::new(task))
}

async fn forward(mut body: BodyDataStream, sender: mpsc::Sender<io::Result<Bytes>>, idle: Duration) {
    loop {
        let item = match tokio::time::timeout(idle, body.next()).await {
            Ok(None) => {
                // An empty piece is the mark of a complete body: a channel that merely closes is a broken one.
                let _ = sender.send(Ok(Bytes::new())).await;
                return;
            }
            Ok(Some(Ok(bytes))) if bytes.is_empty() => continue,
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(error))) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, format!("the request's body broke off: {error}")))
            }
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the request's body stalled".to_owned())),
        };
        let last = item.is_err();
        if sender.send(item).await.is_err() || last {
            return;
        }
    }
}

/// The receiving end, for the thread that runs the statement.
pub(super) struct ChannelReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(Ok(bytes)) if bytes.is_empty() => {
                    self.receiver.close();
                    // Reading again after the end finds the end again.
                    let (sender, receiver) = mpsc::channel(1);
                    let _ = sender.try_send(Ok(Bytes::new()));
                    self.receiver = receiver;
                    return Ok(0);
                }
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the request was abandoned")),
            }
        }
        let some = buffer.len().min(self.current.len());
        buffer[..some].copy_from_slice(&self.current.split_to(some));
        Ok(some)
    }
}

/// Puts the unpacking in front of a reader: the transport's encoding first, then ClickHouse's own blocks.
pub(super) fn unpack(
    source: impl Read + Send + 'static,
    encoding: Encoding,
    blocks: bool,
    max_bytes: u64,
) -> io::Result<Box<dyn Read + Send>> {
    let plain: Box<dyn Read + Send> = match encoding {
        Encoding::Identity => Box::new(source),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Encoding::Deflate => Box::new(flate2::read::ZlibDecoder::new(source)),
        Encoding::Lz4Frame => Box::new(FrameReader::new(source)),
        Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(source)?),
    };
    let plain: Box<dyn Read + Send> = if blocks { Box::new(BlockReader::new(plain)) } else { plain };
    Ok(Box::new(Bounded { source: plain, left: max_bytes }))
}

/// Reads frame after frame. The decoder reports the end of a frame and the end of a cut-off source alike, as an end;
/// here only a source that ends between two frames does.
struct FrameReader<R: Read> {
    decoder: lz4_flex::frame::FrameDecoder<Ending<R>>,
    within_frame: bool,
}

impl<R: Read> FrameReader<R> {
    fn new(source: R) -> Self {
        let source = Ending { source, ended: false };
        Self { decoder: lz4_flex::frame::FrameDecoder::new(source), within_frame: false }
    }
}

impl<R: Read> Read for FrameReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                self.within_frame = true;
                return Ok(read);
            }
            if self.decoder.get_ref().ended {
                let cut =
                    self.within_frame.then(|| io::Error::new(io::ErrorKind::InvalidData, "the lz4 body is cut off"));
                return cut.map_or(Ok(0), Err);
            }
            self.within_frame = false;
        }
        Ok(0)
    }
}

/// Remembers that its source ended.
struct Ending<R> {
    source: R,
    ended: bool,
}

impl<R: Read> Read for Ending<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.ended |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// Fails, rather than ends, when more comes than is allowed.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the request's body is too large: send the rows in several inserts",
            )
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    #![allow(clippy::disallowed_methods, reason = "what is read here was written here")]
    use super::*;
    use std::io::Write as _;

    fn through(packed: Vec<u8>, encoding: Encoding, max: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        unpack(io::Cursor::new(packed), encoding, false, max)?.read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn each_encoding_unpacks_and_a_cut_one_fails() {
        let data = b"row\n".repeat(10_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&data).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&data).unwrap();
        let zstd = zstd::stream::encode_all(data.as_slice(), 1).unwrap();
        for (packed, encoding) in [
            (gzip.finish().unwrap(), Encoding::Gzip),
            (lz4.finish().unwrap(), Encoding::Lz4Frame),
            (zstd, Encoding::Zstd),
        ] {
            assert!(through(packed.clone(), encoding, 1 << 20).unwrap() == data, "{encoding:?}");
            let cut = packed[..packed.len() - 3].to_vec();
            assert!(through(cut, encoding, 1 << 20).is_err(), "{encoding:?} was cut and not noticed");
            assert!(through(packed, encoding, 1_000).is_err(), "{encoding:?} beyond the limit");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error_and_not_an_end() {
        let frames: Vec<Result<Bytes, io::Error>> = vec![Ok(Bytes::from_static(b"abc")), Err(io::Error::other("gone"))];
        let limits = BodyLimits { max_bytes: 100, idle: Duration::from_secs(5) };
        let (mut reader, _task) = pump(Body::from_stream(futures::stream::iter(frames)), limits);
        let outcome = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new())).await.unwrap();
        assert!(outcome.is_err());
    }
}
