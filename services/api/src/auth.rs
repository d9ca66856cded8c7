//! Who may call (SEC-1): beyond loopback only holders of a key; on loopback without keys only callers that address the
//! machine itself, so that a web page cannot reach the API under a name of its own (DNS rebinding).

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use waybill_runtime::local;
use waybill_schemas::{files::read_text, limits::MAX_KEYS_BYTES};

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Others could reach it.
    #[error(
        "the API would listen on {0}, which others can reach, without keys: set api.keys_file or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The keys cannot be read.
    #[error("keys file {0}: {1}")]
    File(String, String),
}

type Hash = [u8; 32];

/// The keys in force. Only hashes are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Access {
    /// Loopback without keys.
    Local,
    /// Holders of a key, by the hash of their token.
    Keys(Arc<BTreeMap<Hash, String>>),
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No key or an unknown one.
    Key,
    /// Addressed under a name that is not this machine's own, or ordered by a page from elsewhere.
    Host,
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

impl Access {
    /// Decides who may call a listener.
    ///
    /// # Errors
    /// [`AuthError::Open`] when others could reach it and there are no keys, [`AuthError::File`] when keys are unusable.
    pub fn new(listen: SocketAddr, keys_file: Option<&Path>) -> Result<Self, AuthError> {
        let Some(path) = keys_file else {
            return if listen.ip().is_loopback() { Ok(Self::Local) } else { Err(AuthError::Open(listen)) };
        };
        let file_error = |why: String| AuthError::File(path.display().to_string(), why);
        let text = read_text(path, MAX_KEYS_BYTES).map_err(|error| file_error(error.to_string()))?;
        Self::read(&text).map_err(file_error)
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let (name, token) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("line {number}: write `name token`, separated by a space"))?;
            let token = token.trim();
            if token.len() < 24 {
                return Err(format!("line {number}: the token of `{name}` is shorter than 24 characters"));
            }
            keys.insert(hash(token), name.to_owned());
        }
        if keys.is_empty() {
            return Err("it holds no key; write lines of `name token`".to_owned());
        }
        Ok(Self::Keys(Arc::new(keys)))
    }

    /// Whether a call with these headers may pass.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Self::Local if local::is_from_here(headers) => Ok(()),
            Self::Local => Err(Refusal::Host),
            Self::Keys(keys) => {
                let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = sent.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Refusal::Key)?;
                // Looking up a hash tells an attacker nothing of the token by its timing.
                if keys.contains_key(&hash(token.trim())) { Ok(()) } else { Err(Refusal::Key) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn sec_1_a_listener_beyond_loopback_needs_keys() {
        let open: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        assert!(Access::new(open, None).unwrap_err().to_string().contains("api.keys_file"));
        assert!(matches!(Access::new("127.0.0.1:1".parse().unwrap(), None), Ok(Access::Local)));
        assert!(matches!(Access::new("[::1]:1".parse().unwrap(), None), Ok(Access::Local)));
    }

    #[test]
    fn sec_1_keys_are_checked_and_short_ones_refused() {
        let access = Access::read("# ours\nshop 0123456789abcdef01234567\n").unwrap();
        let with = |value: &str| access.check(&headers(header::AUTHORIZATION, value));
        assert_eq!(with("Bearer 0123456789abcdef01234567"), Ok(()));
        assert_eq!(with("Bearer 0123456789abcdef0123456x"), Err(Refusal::Key));
        assert_eq!(with("0123456789abcdef01234567"), Err(Refusal::Key));
        assert_eq!(access.check(&HeaderMap::new()), Err(Refusal::Key));
        assert!(Access::read("shop short").unwrap_err().contains("line 1"));
        assert!(Access::read("\n").is_err());
    }

    #[test]
    fn sec_1_keys_come_from_a_file_and_one_without_an_end_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "shop 0123456789abcdef01234567\n").unwrap();
        let open: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        assert!(matches!(Access::new(open, Some(file.path())), Ok(Access::Keys(_))));
        let refused = Access::new(open, Some(Path::new("/dev/zero"))).unwrap_err().to_string();
        assert!(refused.contains("/dev/zero") && refused.contains("more than 1048576 bytes"), "{refused}");
    }

    #[test]
    fn sec_1_without_keys_only_the_machine_itself_is_addressed() {
        let host = |value: &str| Access::Local.check(&headers(header::HOST, value));
        for good in ["127.0.0.1:8080", "localhost", "localhost:8080", "[::1]:8080"] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for bad in ["evil.example:8080", "", "10.0.0.1"] {
            assert_eq!(host(bad), Err(Refusal::Host), "{bad}");
        }
        for (origin, verdict) in [
            ("http://localhost:8080", Ok(())),
            ("https://shop.example", Err(Refusal::Host)),
            ("null", Err(Refusal::Host)),
        ] {
            let mut from = headers(header::HOST, "127.0.0.1:8080");
            from.insert(header::ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(Access::Local.check(&from), verdict, "{origin}");
        }
    }
}
