//! TLS around the connection: whom the client trusts, and what it says when nothing comes of it.
//!
//! Certificates are verified as those of carriers are: by the authorities of this machine. A file of authorities goes in
//! their place: whoever runs one of their own does not mean that everybody else's may vouch for the store as well.

use crate::client::ClientError;
use crate::client::idle::{IdleConnector, IdleStream};
use crate::client::trouble::{Trouble, is_end};
use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::error::Error;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;
use waybill_schemas::files::read_file;

/// Room for every public authority there is, several times over.
const MAX_CA_BYTES: usize = 4 * 1024 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;
type Stream = MaybeHttpsStream<IdleStream>;

/// Makes connections that speak TLS.
#[derive(Clone)]
pub(super) struct TlsConnector {
    inner: HttpsConnector<IdleConnector>,
    /// The file of authorities, for the sentence.
    ca_file: Option<Arc<str>>,
}

impl TlsConnector {
    pub(super) fn new(inner: IdleConnector, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let nobody = |error: rustls::Error| ClientError::Authorities { reason: error.to_string() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().map_err(nobody)?;
        let config = match ca_file {
            Some(path) => config.with_root_certificates(authorities(path)?),
            None => config.with_platform_verifier().map_err(nobody)?,
        };
        let inner = HttpsConnector::from((inner, config.with_no_client_auth()));
        Ok(Self { inner, ca_file: ca_file.map(|path| path.to_string_lossy().into()) })
    }

    /// What went wrong, where it is more than that the server was not reached.
    fn trouble(&self, error: &(dyn Error + Send + Sync + 'static)) -> Option<Trouble> {
        let handshake = error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<io::Error>()?;
        if let Some(error) = handshake.get_ref().and_then(|held| held.downcast_ref::<rustls::Error>()) {
            return Some(self.of_tls(error));
        }
        is_end(handshake.kind()).then_some(Trouble::EndsBeforeTls)
    }

    fn of_tls(&self, error: &rustls::Error) -> Trouble {
        match error {
            rustls::Error::InvalidCertificate(error) => self.of_certificate(error),
            rustls::Error::InvalidMessage(_) => Trouble::NoTls,
            other => Trouble::NotAgreed(other.to_string()),
        }
    }

    fn of_certificate(&self, error: &CertificateError) -> Trouble {
        match error {
            // A signature is wrong by an authority's namesake.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match &self.ca_file {
                Some(path) => Trouble::UnknownTo(path.to_string()),
                None => Trouble::UnknownHere,
            },
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
                let names = if names.is_empty() { "no host at all".to_owned() } else { names.join(", ") };
                Trouble::OtherName { host: expected.to_str().into_owned(), names }
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Trouble::OutOfTime,
            other => Trouble::Refused(other.to_string()),
        }
    }
}

impl Service<Uri> for TlsConnector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.inner.call(address);
        let this = self.clone();
        Box::pin(async move {
            connecting.await.map_err(|error| match this.trouble(error.as_ref()) {
                Some(trouble) => BoxError::from(trouble),
                None => error,
            })
        })
    }
}

/// A name as people write it, of `DnsName("clickhouse.example")` and `IpAddress(192.0.2.1)`.
fn plain(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')').trim_matches('"'))
}

/// The authorities of a file.
fn authorities(path: &Path) -> Result<RootCertStore, ClientError> {
    let unusable = |reason: String| ClientError::CaFile { path: path.display().to_string(), reason };
    let pem = read_file(path, MAX_CA_BYTES).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate_are_told_as_people_write_them() {
        for (name, told) in [
            ("DnsName(\"*.clickhouse.example\")", "*.clickhouse.example"),
            ("IpAddress(192.0.2.1)", "192.0.2.1"),
            ("DirectoryName", "DirectoryName"),
        ] {
            assert_eq!(plain(name), told);
        }
    }
}
