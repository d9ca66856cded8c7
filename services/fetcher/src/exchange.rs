//! One exchange with a carrier: out through the turnstile, redirects followed by hand, the answer read under caps.
//!
//! Every request counts, redirects too. SEC-1: only declared hosts, never private addresses unless allowed, cookies for one
//! look-up only, credentials never beyond the host they were meant for.

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, StatusCode,
    cookie::{CookieStore, Jar},
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION,
        SET_COOKIE,
    },
};
use tokio::time::timeout;
use tracing::Instrument as _;
use url::Url;
use waybill_runtime::trace;
use waybill_schemas::{WallMs, limits::MAX_ANSWER_BYTES};

use crate::{
    config::FetcherConfig,
    hosts::{self, Forbidden, GuardedResolver, OnlyPrivate, Reach},
    turnstile::{Stop, Turnstile},
};

pub(crate) const MAX_REDIRECTS: usize = 5;
const POOL_IDLE: Duration = Duration::from_secs(45);
/// Idle connections kept to one host.
const POOL_IDLE_PER_HOST: usize = 4;
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A request, ready to leave.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: reqwest::Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Incoming {
    /// The first header of this name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE.as_str())
    }
}

/// What a request came to.
#[derive(Debug)]
pub(crate) enum Sent {
    Answered(Incoming),
    /// To this request instead.
    Redirected(Outgoing),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The carrier was not reached or did not answer in time.
    Unavailable(String),
    /// An answer came that no adapter may be given; with what was read of it.
    Unreadable(String, Bytes),
    /// It was not sent.
    Stopped(Stop),
}

/// Where one look-up's requests may go.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Declared hosts.
    pub(crate) hosts: Vec<String>,
    /// Not sent after.
    pub(crate) deadline: WallMs,
}

/// The HTTP client for all carriers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    client: Client,
    reach: Reach,
    answer_timeout: Duration,
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct ClientError(String);

impl Exchange {
    /// A client for this configuration.
    pub(crate) fn new(config: &FetcherConfig) -> Result<Self, ClientError> {
        // Someone else in the process may have installed it already; both are the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reach = if config.allow_private { Reach::Anywhere } else { Reach::Public };
        let client = Client::builder()
            .user_agent(config.user_agent())
            .redirect(reqwest::redirect::Policy::none())
            // A retry that we do not see would be a request that no budget counted.
            .retry(reqwest::retry::never())
            // A proxy would resolve names out of our sight.
            .no_proxy()
            .dns_resolver(GuardedResolver(reach))
            .connect_timeout(config.connect_timeout())
            .timeout(config.answer_timeout())
            .pool_idle_timeout(POOL_IDLE)
            // Never more connections than requests under way, and few kept: a carrier's budget bounds the rest.
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
            .tcp_keepalive(KEEPALIVE)
            .build()
            .map_err(|error| ClientError(error.to_string()))?;
        Ok(Self { client, reach, answer_timeout: config.answer_timeout() })
    }

    /// Sends a request and follows its redirects. `spent` counts what left, whatever comes of it.
    pub(crate) async fn send(
        &self,
        turnstile: &Arc<Turnstile>,
        mut outgoing: Outgoing,
        jar: &Jar,
        bounds: &Bounds,
        spent: &mut u32,
    ) -> Result<Incoming, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            match self.send_once(turnstile, outgoing, jar, bounds, spent).await? {
                Sent::Answered(answer) => return Ok(answer),
                Sent::Redirected(next) => outgoing = next,
            }
        }
        Err(too_many_redirects())
    }

    /// Sends one request, for whoever has a say in where redirects lead.
    pub(crate) async fn send_once(
        &self,
        turnstile: &Arc<Turnstile>,
        outgoing: Outgoing,
        jar: &Jar,
        bounds: &Bounds,
        spent: &mut u32,
    ) -> Result<Sent, Failure> {
        self.may_reach(&outgoing.url, bounds)?;
        let request = self.request(&outgoing, jar)?;
        let pass = turnstile.pass(bounds.deadline).await.map_err(Failure::Stopped)?;
        *spent += 1;
        // The client has its own deadlines; this one holds even if it misses them.
        let span = trace::client(outgoing.method.as_str(), outgoing.url.host_str().unwrap_or_default());
        let executing = self.client.execute(request).instrument(span.clone());
        let answer = timeout(self.answer_timeout + Duration::from_secs(1), executing).await;
        match &answer {
            Ok(Ok(response)) => span.record("http.response.status_code", i64::from(response.status().as_u16())),
            Ok(Err(_)) => span.record("error.type", "connection"),
            Err(_) => span.record("error.type", "timeout"),
        };
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unavailable(&error)),
            Err(_) => return Err(Failure::Unavailable("no answer in time".to_owned())),
        };
        pass.answered();
        jar.set_cookies(&mut response.headers().get_all(SET_COOKIE).iter(), &outgoing.url);
        if let Some(next) = redirect(&response, &outgoing)? {
            return Ok(Sent::Redirected(next));
        }
        match timeout(self.answer_timeout, read(response)).await {
            Ok(read) => read.map(Sent::Answered),
            Err(_) => Err(Failure::Unavailable("the answer did not end in time".to_owned())),
        }
    }

    /// Whether a URL lies within the bounds.
    pub(crate) fn may_reach(&self, url: &Url, bounds: &Bounds) -> Result<(), Failure> {
        hosts::check(url, &bounds.hosts, self.reach).map_err(|forbidden| refused(&forbidden))
    }

    fn request(&self, outgoing: &Outgoing, jar: &Jar) -> Result<reqwest::Request, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in &outgoing.headers {
            let name = HeaderName::try_from(name.as_str()).ok();
            let value = HeaderValue::from_str(value).ok();
            let (Some(name), Some(value)) = (name, value) else {
                return Err(Failure::Unreadable("a header of the step cannot be sent".to_owned(), Bytes::new()));
            };
            headers.append(name, value);
        }
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        if let Some(cookies) = jar.cookies(&outgoing.url)
            && !headers.contains_key(COOKIE)
        {
            headers.insert(COOKIE, cookies);
        }
        let mut request = self.client.request(outgoing.method.clone(), outgoing.url.clone()).headers(headers);
        if let Some(body) = &outgoing.body {
            request = request.body(body.clone());
        }
        request.build().map_err(|error| Failure::Unreadable(error.without_url().to_string(), Bytes::new()))
    }
}

pub(crate) fn too_many_redirects() -> Failure {
    Failure::Unreadable(format!("more than {MAX_REDIRECTS} redirects"), Bytes::new())
}

fn refused(forbidden: &Forbidden) -> Failure {
    match forbidden {
        // The carrier cannot be reached as things are set up; its answer is not to blame.
        Forbidden::Private(_) => Failure::Unavailable(forbidden.to_string()),
        _ => Failure::Unreadable(forbidden.to_string(), Bytes::new()),
    }
}

/// The next request, if the answer is a redirect.
fn redirect(response: &reqwest::Response, sent: &Outgoing) -> Result<Option<Outgoing>, Failure> {
    let keeps_method = match response.status() {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => false,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => return Ok(None),
    };
    let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let unreadable = |detail: String| Failure::Unreadable(detail, Bytes::new());
    let url = sent.url.join(location).map_err(|_| unreadable("a redirect leads to no URL".to_owned()))?;
    if sent.url.scheme() == "https" && url.scheme() == "http" {
        return Err(unreadable(Forbidden::Downgrade.to_string()));
    }
    let mut next = Outgoing { url, ..sent.clone() };
    if !keeps_method {
        next.method = reqwest::Method::GET;
        next.body = None;
        next.headers.retain(|(name, _)| name != CONTENT_TYPE.as_str());
    }
    if next.url.origin() != sent.url.origin() {
        // What was meant for one host is not carried to another: credentials, keys in headers of any name, bodies.
        next.headers.retain(|(name, _)| matches!(name.as_str(), "accept" | "accept-language"));
        if next.body.is_some() {
            return Err(unreadable("a redirect would carry a form to another host".to_owned()));
        }
    }
    debug_assert!(
        next.url.origin() == sent.url.origin() || next.headers.iter().all(|(name, _)| name != AUTHORIZATION.as_str())
    );
    Ok(Some(next))
}

/// Reads an answer under its cap: what is decompressed counts, so a bomb costs no more memory than any answer.
async fn read(mut response: reqwest::Response) -> Result<Incoming, Failure> {
    let status = response.status().as_u16();
    let headers: Vec<(String, String)> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|value| value.as_bytes() != b"identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect::<String>();
        return Err(Failure::Unreadable(format!("the content encoding `{encoding}` was not asked for"), Bytes::new()));
    }
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                let detail = format!("too large: the answer has more than {MAX_ANSWER_BYTES} bytes");
                return Err(Failure::Unreadable(detail, body.freeze()));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Incoming { status, headers, body: body.freeze() }),
            Err(error) if is_cut(&error) => return Err(unavailable(&error)),
            Err(_) => {
                return Err(Failure::Unreadable(
                    "undecodable: the answer's compression is damaged".to_owned(),
                    body.freeze(),
                ));
            }
        }
    }
}

/// Whether a body ended because of the connection or the clock, not because of what was in it.
fn is_cut(error: &reqwest::Error) -> bool {
    if error.is_timeout() {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as Kind;
            if matches!(io.kind(), Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::TimedOut)
            {
                return true;
            }
        }
        let said = inner.to_string();
        if said.contains("connection closed")
            || said.contains("end of file before message")
            || said.contains("IncompleteMessage")
        {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// What to say about a carrier that was not reached. URLs stay out: they hold numbers and keys.
fn unavailable(error: &reqwest::Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<OnlyPrivate>() {
            return Failure::Unavailable(inner.to_string());
        }
        cause = inner.source();
    }
    let detail = if error.is_timeout() && error.is_connect() {
        "no connection in time"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection was cut"
    };
    Failure::Unavailable(detail.to_owned())
}
