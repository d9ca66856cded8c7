//! Misbehaviour as HTTP: what each of [`Misbehaviour`] looks like on the wire.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Method, Response, StatusCode, Uri, header},
    response::IntoResponse,
};
use flate2::{Compression, write::GzEncoder};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::misbehave::{Misbehaviour, RetryAfter};

/// The right answer, as far as trouble needs it.
#[derive(Debug, Clone)]
pub(crate) struct Right {
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

/// The request, as far as trouble needs it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// Wall time in milliseconds.
    pub(crate) now_ms: i64,
}

/// A megabyte.
const MEGABYTE: u64 = 1024 * 1024;
/// Largest body that is made on request, in megabytes.
const MOST_MEGABYTES: u32 = 1_024;
/// Time for the first half of a body to leave.
const BEFORE_THE_CUT: Duration = Duration::from_millis(50);
/// Piece of a body that is streamed.
const PIECE: usize = 64 * 1024;

/// The HTTP status that the ledger notes for it.
pub(crate) fn status_of(trouble: Misbehaviour, asked: &Asked) -> StatusCode {
    match trouble {
        Misbehaviour::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        Misbehaviour::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Misbehaviour::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        Misbehaviour::Hang { .. } => StatusCode::GATEWAY_TIMEOUT,
        Misbehaviour::Captcha { status } => StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN),
        // A body must not get lost on the way.
        Misbehaviour::Redirect | Misbehaviour::RedirectAway if asked.method != Method::GET => {
            StatusCode::TEMPORARY_REDIRECT
        }
        Misbehaviour::Redirect | Misbehaviour::RedirectAway => StatusCode::FOUND,
        _ => StatusCode::OK,
    }
}

/// Answers wrongly. `ChangedLayout` is made by the desk and arrives here as the right answer.
pub(crate) async fn respond(
    trouble: Misbehaviour,
    right: Right,
    asked: &Asked,
    stop: &CancellationToken,
) -> Response<Body> {
    let status = status_of(trouble, asked);
    match trouble {
        Misbehaviour::Throttled { retry_after, seconds } | Misbehaviour::Unavailable { retry_after, seconds } => {
            later(status, retry_after, seconds, asked.now_ms)
        }
        Misbehaviour::Broken => plain(status, "Internal Server Error\n"),
        Misbehaviour::Hang { seconds } => {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(u64::from(seconds))) => {}
                () = stop.cancelled() => {}
            }
            cut(&right, 0)
        }
        Misbehaviour::Slow { seconds } => drip(&right, seconds),
        Misbehaviour::Cut => cut(&right, right.body.len() / 2),
        Misbehaviour::Captcha { .. } => captcha(status),
        Misbehaviour::GzipBomb { megabytes } => bomb(right.content_type, megabytes.clamp(50, MOST_MEGABYTES)).await,
        Misbehaviour::Huge { megabytes } => huge(&right.content_type, megabytes.min(MOST_MEGABYTES)),
        Misbehaviour::InvalidUtf8 => {
            let half = right.body.len() / 2;
            let bytes = [&right.body[..half], &[0xff, 0xfe, 0xc3, 0x28], &right.body[half..]].concat();
            let media = right.content_type.split(';').next().unwrap_or("text/html");
            ([(header::CONTENT_TYPE, format!("{media}; charset=utf-8"))], bytes).into_response()
        }
        Misbehaviour::Redirect => {
            let path = asked.uri.path();
            let query = asked.uri.query().map_or_else(String::new, |query| format!("{query}&"));
            (status, [(header::LOCATION, format!("{path}?{query}{REDIRECTED}=1"))]).into_response()
        }
        Misbehaviour::RedirectAway => {
            (status, [(header::LOCATION, "http://169.254.169.254/latest/meta-data/")]).into_response()
        }
        Misbehaviour::Empty => ([(header::CONTENT_TYPE, right.content_type)], Bytes::new()).into_response(),
        Misbehaviour::ChangedLayout => ([(header::CONTENT_TYPE, right.content_type)], right.body).into_response(),
    }
}

/// Query parameter that marks the second request of a redirect.
pub(crate) const REDIRECTED: &str = "redirected";

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn later(status: StatusCode, how: RetryAfter, seconds: u32, now_ms: i64) -> Response<Body> {
    let mut response = plain(status, "Please come back later\n");
    let value = match how {
        RetryAfter::Absent => return response,
        RetryAfter::Seconds => seconds.to_string(),
        RetryAfter::Date => http_date(now_ms, seconds),
    };
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// The first full second that is not before `seconds` from now, as an HTTP date.
fn http_date(now_ms: i64, seconds: u32) -> String {
    let at = (now_ms + 999).div_euclid(1_000) + i64::from(seconds);
    let at = jiff::Timestamp::from_second(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn captcha(status: StatusCode) -> Response<Body> {
    let page = "<!DOCTYPE html>\n<html><head><title>Just a moment</title></head><body><h1>Are you a person?</h1>\n\
                <div class=\"g-recaptcha\" data-sitekey=\"none\"></div><p>Please complete the captcha to continue.</p></body></html>\n";
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

fn streamed(content_type: &str, body: Body) -> Response<Body> {
    ([(header::CONTENT_TYPE, content_type.to_owned())], body).into_response()
}

/// So many bytes of the body, then the connection ends, though more was announced.
fn cut(right: &Right, bytes: usize) -> Response<Body> {
    let piece = stream::iter((bytes > 0).then(|| Ok(right.body.slice(..bytes))));
    let end = stream::once(async {
        // What was said so far must have left before the connection ends, else nothing is seen of it.
        tokio::time::sleep(BEFORE_THE_CUT).await;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut on request"))
    });
    let mut response = streamed(&right.content_type, Body::from_stream(piece.chain(end)));
    response.headers_mut().insert(header::CONTENT_LENGTH, (right.body.len().max(1)).into());
    response
}

fn drip(right: &Right, seconds: u32) -> Response<Body> {
    const DROPS: usize = 20;
    let pause = Duration::from_secs(u64::from(seconds)) / DROPS as u32;
    let size = right.body.len().div_ceil(DROPS).max(1);
    let drops = stream::unfold(right.body.clone(), move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let drop = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, Infallible>(drop), rest))
    });
    let mut response = streamed(&right.content_type, Body::from_stream(drops));
    response.headers_mut().insert(header::CONTENT_LENGTH, right.body.len().into());
    response
}

fn huge(content_type: &str, megabytes: u32) -> Response<Body> {
    let piece = Bytes::from(vec![b' '; PIECE]);
    let pieces = u64::from(megabytes) * MEGABYTE / PIECE as u64;
    let body = stream::iter((0..pieces).map(move |_| Ok::<_, Infallible>(piece.clone())));
    streamed(content_type, Body::from_stream(body))
}

async fn bomb(content_type: String, megabytes: u32) -> Response<Body> {
    // Kilobytes each, and few sizes are ever asked for.
    static MADE: OnceLock<Mutex<HashMap<u32, Bytes>>> = OnceLock::new();
    let made = MADE.get_or_init(Mutex::default);
    let known = made.lock().unwrap_or_else(PoisonError::into_inner).get(&megabytes).cloned();
    let packed = match known {
        Some(packed) => packed,
        None => {
            let packed = tokio::task::spawn_blocking(move || spaces(megabytes)).await;
            let Ok(Ok(packed)) = packed else { return plain(StatusCode::INTERNAL_SERVER_ERROR, "no bomb today\n") };
            made.lock().unwrap_or_else(PoisonError::into_inner).insert(megabytes, packed.clone());
            packed
        }
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_ENCODING, "gzip".to_owned())];
    (headers, packed).into_response()
}

fn spaces(megabytes: u32) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let piece = vec![b' '; PIECE];
    for _ in 0..u64::from(megabytes) * MEGABYTE / PIECE as u64 {
        encoder.write_all(&piece)?;
    }
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_never_earlier_than_the_seconds_said() {
        assert_eq!(http_date(1_794_000_000_001, 5), "Fri, 06 Nov 2026 21:20:06 GMT");
        assert_eq!(http_date(1_794_000_000_000, 5), "Fri, 06 Nov 2026 21:20:05 GMT");
    }
}
