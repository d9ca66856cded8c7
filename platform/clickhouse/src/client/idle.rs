//! A connection that fails when nothing moves on it for too long.
//!
//! The `clickhouse` crate takes any hyper connector but offers no place for a request's timeout, so the bound is put
//! on the stream: a pending read fails once neither direction moved for the limit. A pooled connection is closed by
//! the pool long before.
//!
//! Where plain HTTP is spoken, the first byte of the first answer is looked at: a server that wants TLS answers with a
//! record of it or ends the connection, and hyper would tell of an answer that it cannot read.

use crate::client::trouble::{Trouble, is_end};
use hyper::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

/// The types of TLS records that a server begins with: an alert, or a handshake.
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

/// What is spoken on a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// HTTP.
    Plain,
    /// TLS, by whoever uses the stream.
    Tls,
}

/// Makes [`IdleStream`]s.
#[derive(Clone)]
pub(super) struct IdleConnector {
    inner: HttpConnector,
    limit: Duration,
    speech: Speech,
}

impl IdleConnector {
    pub(super) fn new(inner: HttpConnector, limit: Duration, speech: Speech) -> Self {
        Self { inner, limit, speech }
    }
}

type Connecting<E> = Pin<Box<dyn Future<Output = Result<IdleStream, E>> + Send>>;

impl Service<Uri> for IdleConnector {
    type Response = IdleStream;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Connecting<Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.inner.call(address);
        let (limit, unheard) = (self.limit, self.speech == Speech::Plain);
        Box::pin(async move {
            let stream = connecting.await?;
            Ok(IdleStream { stream, limit, timer: Box::pin(tokio::time::sleep(limit)), unheard })
        })
    }
}

/// A TCP stream with a limit on silence.
pub(super) struct IdleStream {
    stream: TokioIo<TcpStream>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    /// Plain HTTP is expected, and the server has not said anything yet.
    unheard: bool,
}

impl IdleStream {
    fn moved(&mut self) {
        let next = Instant::now() + self.limit;
        self.timer.as_mut().reset(next);
    }

    fn check(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the store went silent"))
    }

    /// Reads the first byte of the first answer.
    fn hear(&mut self, context: &mut Context<'_>, buffer: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut first = [0];
        let mut heard = ReadBuf::new(&mut first);
        ready!(Pin::new(&mut self.stream).poll_read(context, heard.unfilled())).map_err(|error| self.told(error))?;
        self.unheard = false;
        match heard.filled() {
            [] => Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, Trouble::EndsUnheard))),
            [ALERT | HANDSHAKE, ..] => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Trouble::SpeaksTls))),
            said => {
                buffer.put_slice(said);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// The error of a stream that was ended, with what it may mean.
    fn told(&self, error: io::Error) -> io::Error {
        if self.unheard && is_end(error.kind()) {
            return io::Error::new(error.kind(), Trouble::EndsUnheard);
        }
        error
    }
}

impl Read for IdleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = if self.unheard {
            self.hear(context, &mut buffer)
        } else {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        };
        if let Poll::Ready(outcome) = read {
            self.moved();
            return Poll::Ready(outcome);
        }
        self.check(context).map(Err)
    }
}

impl Write for IdleStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.moved();
            return Poll::Ready(outcome.map_err(|error| self.told(error)));
        }
        self.check(context).map(Err)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_write_vectored(context, buffers) {
            self.moved();
            return Poll::Ready(outcome.map_err(|error| self.told(error)));
        }
        self.check(context).map(Err)
    }
}

impl Connection for IdleStream {
    fn connected(&self) -> Connected {
        self.stream.inner().connected()
    }
}
