//! The one place where a `clickhouse::Client` is made.
//!
//! The crate's own HTTP client has no timeouts at all: a connection that died silently would hang its caller for as
//! long as the kernel believes in it. So: connect within 5 s, 65 s without a byte in either direction is a dead
//! connection (5 s more than the store lets a statement run), a pooled connection is dropped after 8 s, before the store
//! closes it (10 s), and the kernel probes it. Settings that must never be forgotten are set here too.
//!
//! An address with `https://` is spoken to by TLS (`tls`), any other in plain; what may stand between both sides is told
//! in one sentence that names the setting ([`told`]).

use crate::client::idle::{IdleConnector, Speech};
use crate::client::tls::TlsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod idle;
mod tls;
mod trouble;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No byte sent or received for this long while an answer is awaited: the connection is dead.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);
/// Less than the 10 s after which ClickHouse, the embedded one too, closes an idle connection.
const POOL_IDLE: Duration = Duration::from_secs(8);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The database everything lives in.
pub const DATABASE: &str = "waybill";

/// Where the store is and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The address of its HTTP interface, such as `http://127.0.0.1:8123` or `https://clickhouse.example:8443`.
    pub url: String,
    /// A file (PEM) with the authorities that may vouch for an `https://` server; `None`: this machine's.
    pub ca_file: Option<PathBuf>,
    /// The user.
    pub user: String,
    /// Its password; never logged.
    pub password: String,
    /// The database, usually [`DATABASE`].
    pub database: String,
}

impl ClientOptions {
    /// The usual database at `url`.
    pub fn new(url: impl Into<String>, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            user: user.into(),
            password: password.into(),
            database: DATABASE.to_owned(),
        }
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SEC-1: secrets never reach logs.
        formatter
            .debug_struct("ClientOptions")
            .field("url", &self.url)
            .field("ca_file", &self.ca_file)
            .field("user", &self.user)
            .field("password", &"***")
            .field("database", &self.database)
            .finish()
    }
}

/// Why no client can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error(
        "the store's address {url:?} is not usable: {reason} (it should look like http://127.0.0.1:8123 or https://clickhouse.example:8443)"
    )]
    Address {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Authorities are given and nothing would be verified.
    #[error("clickhouse.ca_file is set and {url} is no https address; write https://, or leave clickhouse.ca_file out")]
    Unverified {
        /// The address as given.
        url: String,
    },
    /// The file of authorities cannot be used.
    #[error("clickhouse.ca_file {path} is not usable: {reason}")]
    CaFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This machine knows no authorities.
    #[error(
        "the certificate of ClickHouse cannot be verified here ({reason}); install the authorities of this machine (ca-certificates), or name a file with ClickHouse's own in clickhouse.ca_file"
    )]
    Authorities {
        /// What is wrong.
        reason: String,
    },
}

/// Makes a client. Nothing is sent yet.
pub fn build(options: &ClientOptions) -> Result<clickhouse::Client, ClientError> {
    let ca_file = options.ca_file.as_deref();
    let address = check_address(&options.url, ca_file)?;
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_nodelay(true);
    let client = if address.scheme() == "https" {
        connector.enforce_http(false);
        over(TlsConnector::new(IdleConnector::new(connector, REQUEST_TIMEOUT, Speech::Tls), ca_file)?)
    } else {
        over(IdleConnector::new(connector, REQUEST_TIMEOUT, Speech::Plain))
    };
    // On loopback packing costs more than it saves; between machines it is the other way round.
    let compression = if is_loopback(&address) { clickhouse::Compression::None } else { clickhouse::Compression::Lz4 };
    let mut client = client
        .with_url(options.url.trim_end_matches('/'))
        .with_user(&options.user)
        .with_database(&options.database)
        .with_compression(compression)
        // An acknowledged insert must be stored, not queued in the server's memory.
        .with_setting("async_insert", "0")
        // Old events arrive in many months at once; the limit would refuse them.
        .with_setting("max_partitions_per_insert_block", "0");
    if !options.password.is_empty() {
        client = client.with_password(&options.password);
    }
    Ok(client)
}

/// A client whose connections are made so.
fn over<C>(connector: C) -> clickhouse::Client
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let http = HttpClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(connector);
    clickhouse::Client::with_http_client(http)
}

/// Whether an address can be the store's, with these authorities; nothing is read or sent.
///
/// # Errors
/// One sentence that says how it should look.
pub fn check(url: &str, ca_file: Option<&Path>) -> Result<(), ClientError> {
    check_address(url, ca_file).map(|_| ())
}

/// What stands between the client and the server, where an error comes of that: one sentence with setting and remedy.
#[must_use]
pub fn hindrance(error: &clickhouse::error::Error) -> Option<String> {
    trouble::of(error).map(ToString::to_string)
}

/// An error for people: what stands between the client and the server, or what the error says itself.
#[must_use]
pub fn told(error: &clickhouse::error::Error) -> String {
    hindrance(error).unwrap_or_else(|| error.to_string())
}

fn check_address(text: &str, ca_file: Option<&Path>) -> Result<url::Url, ClientError> {
    let wrong = |reason: &str| ClientError::Address { url: text.to_owned(), reason: reason.to_owned() };
    let address = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(address.scheme(), "http" | "https") {
        return Err(wrong("it is no http or https address"));
    }
    if address.host().is_none() {
        return Err(wrong("it names no host"));
    }
    if !address.username().is_empty() || address.password().is_some() {
        // SEC-1: an address is logged and shown; it must not hold a secret. So the text is not repeated here.
        let url = format!("{}://…", address.scheme());
        return Err(ClientError::Address { url, reason: "user and password belong in their own settings".to_owned() });
    }
    if ca_file.is_some() && address.scheme() != "https" {
        return Err(ClientError::Unverified { url: text.to_owned() });
    }
    Ok(address)
}

fn is_loopback(address: &url::Url) -> bool {
    match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn an_unusable_address_gets_one_sentence() {
        for url in ["", "8123", "ftp://x", "https://", "http://"] {
            let error = build(&ClientOptions::new(url, "default", "")).err().map(|error| error.to_string());
            assert!(error.is_some_and(|text| text.contains("should look like")), "{url}");
        }
    }

    #[test]
    fn authorities_that_vouch_for_nobody_get_one_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        for (url, ca_file, said) in [
            ("http://x:8123", file.path(), "write https://"),
            ("https://x:8443", file.path(), "holds no certificate in PEM"),
            ("https://x:8443", Path::new("/nowhere/ca.pem"), "/nowhere/ca.pem"),
            ("https://x:8443", Path::new("/dev/zero"), "bytes"),
        ] {
            let options =
                ClientOptions { ca_file: Some(ca_file.to_path_buf()), ..ClientOptions::new(url, "default", "") };
            let error = build(&options).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("clickhouse.ca_file") && error.contains(said), "{url}: {error}");
        }
    }

    #[test]
    fn sec_1_a_password_is_never_shown() {
        let shown = format!("{:?}", ClientOptions::new("http://127.0.0.1:1", "waybill", "hunter2"));
        assert!(!shown.contains("hunter2"));
        for url in ["http://waybill:hunter2@host", "https://waybill:hunter2@host"] {
            let error = build(&ClientOptions::new(url, "waybill", "")).err();
            assert!(error.is_some_and(|error| !error.to_string().contains("hunter2")), "{url}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_died_silently_is_given_up() {
        // It takes what is asked and never says a word.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = tokio::sync::oneshot::channel();
        let silent = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            tell.send(connection.read(&mut [0; 64]).await.unwrap()).unwrap();
            std::future::pending::<()>().await;
        });
        let begun = tokio::time::Instant::now();
        let client = build(&ClientOptions::new(format!("http://{address}"), "default", "")).unwrap();
        let asking = tokio::spawn(async move { client.query("SELECT 1").fetch_one::<u8>().await });
        assert_ne!(asked.await.unwrap(), 0);
        // From here on the runtime moves time on when nothing else can happen. Not before: connecting is for the kernel, and
        // where that is slow its own limit would be over first.
        tokio::time::pause();
        assert!(asking.await.unwrap().is_err());
        assert!(begun.elapsed() >= REQUEST_TIMEOUT && begun.elapsed() < REQUEST_TIMEOUT * 3, "{:?}", begun.elapsed());
        silent.abort();
    }
}
