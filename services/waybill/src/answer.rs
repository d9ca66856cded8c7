//! Talking to a Waybill API: the key that is sent, and what it answers, read under a cap.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Room for 1,000 events with their longest texts.
const MAX_BYTES: usize = 32 << 20;

/// The variable that holds the key of an API which wants one.
pub(crate) const KEY: &str = "WAYBILL_API_KEY";

/// A request with that key, where there is one.
pub(crate) fn with_key(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match std::env::var(KEY).ok().filter(|key| !key.is_empty()) {
        Some(key) => request.bearer_auth(key),
        None => request,
    }
}

/// An answer's body as bytes: the longest history there can be, and no more.
///
/// # Errors
/// When it is larger, or does not end.
pub(crate) async fn bytes(mut answer: reqwest::Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_BYTES {
            bail!("the API's answer is larger than {MAX_BYTES} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer's body as JSON.
///
/// # Errors
/// When it is larger than any answer may be, or no JSON.
pub(crate) async fn json(answer: reqwest::Response) -> Result<Value> {
    serde_json::from_slice(&bytes(answer).await?).context("what the API answered is not JSON")
}
