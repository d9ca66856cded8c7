//! What may stand between the client and the server, each as one sentence for whoever configures it.
//!
//! The crates in between tell the kind of an error and leave out its cause; these are found again at the end of the chain.

use std::error::Error;
use std::io::{self, ErrorKind};

/// What is wrong between both sides, and how it is put right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody whom this machine trusts has signed the certificate.
    #[error(
        "the certificate of ClickHouse is signed by no authority that this machine trusts; name a file with the authority's certificate (PEM) in clickhouse.ca_file"
    )]
    UnknownHere,
    /// Nobody in the file has signed it.
    #[error(
        "the certificate of ClickHouse is signed by no authority in clickhouse.ca_file ({0}); put the authority's certificate there"
    )]
    UnknownTo(String),
    /// It is somebody else's.
    #[error(
        "the certificate of ClickHouse is for {names} and not for {host}; write in clickhouse.url a name that it bears, or give the server one for {host}"
    )]
    OtherName {
        /// Where the client went.
        host: String,
        /// Whose it is.
        names: String,
    },
    /// It was valid or will be.
    #[error("the certificate of ClickHouse is not valid at this time; renew it, or set this machine's clock")]
    OutOfTime,
    /// It is no certificate for a server, or a damaged one.
    #[error("the certificate of ClickHouse is refused ({0}); give the server another one, or correct clickhouse.url")]
    Refused(String),
    /// TLS was begun and something else was answered.
    #[error(
        "the server of clickhouse.url does not speak TLS there; write http://, or the port of its HTTPS interface (usually 8443)"
    )]
    NoTls,
    /// TLS was begun and nothing was answered.
    #[error(
        "the server of clickhouse.url ends the connection before TLS is agreed; if it speaks plain HTTP there write http://, or else the port of its HTTPS interface (usually 8443)"
    )]
    EndsBeforeTls,
    /// TLS was begun and both did not agree.
    #[error(
        "no TLS is agreed with the server of clickhouse.url ({0}); it must offer TLS 1.2 or 1.3 and ask for no client's certificate"
    )]
    NotAgreed(String),
    /// Plain HTTP was asked and TLS was answered.
    #[error("the server of clickhouse.url speaks TLS there; write https://")]
    SpeaksTls,
    /// Plain HTTP was asked and nothing was answered.
    #[error(
        "the server of clickhouse.url ends the connection without an answer; if it is not just being stopped and speaks TLS there, write https://"
    )]
    EndsUnheard,
}

/// The trouble at the end of an error's causes.
pub(super) fn of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        // What an I/O error holds is not its source: its source is that one's source.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let within = held.and_then(|held| held.downcast_ref::<Trouble>());
        let found = error.downcast_ref::<Trouble>().or(within);
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}

/// Whether the peer has ended the connection.
pub(super) fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the kind only")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_trouble_is_found_however_deep_it_lies() {
        let held = |trouble: Trouble| Outer(io::Error::new(ErrorKind::InvalidData, trouble));
        assert_eq!(of(&held(Trouble::SpeaksTls)), Some(&Trouble::SpeaksTls));
        assert_eq!(of(&Outer(io::Error::other(held(Trouble::NoTls)))), Some(&Trouble::NoTls));
        assert_eq!(of(&Trouble::OutOfTime), Some(&Trouble::OutOfTime));
        assert_eq!(of(&Outer(io::Error::from(ErrorKind::TimedOut))), None);
    }
}
