//! Errors as `application/problem+json` (RFC 9457): a stable code, a sentence, and the fields it is about.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// An error as the caller sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    more: Map<String, Value>,
}

/// The content type of every error.
const CONTENT_TYPE: &str = "application/problem+json";

/// Every code of a [`Problem`], as `openapi.json` lists them.
const CODES: [&str; 14] = [
    "bad_request",
    "key_needed",
    "host_not_local",
    "not_found",
    "method_not_allowed",
    "too_many",
    "too_long",
    "budget_invalid",
    "mark_invalid",
    "canary_absent",
    "canary_invalid",
    "busy",
    "log_unavailable",
    "store_unavailable",
];

impl Problem {
    /// An error with its stable code and a sentence that names the remedy.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not listed");
        Self { status, code, detail: detail.into(), more: Map::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Nothing is known under this address.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// The log has not taken the order; repeating it is safe.
    pub fn log_unavailable(why: &waybill_log::LogError) -> Self {
        let status = match why {
            waybill_log::LogError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, "log_unavailable", format!("the order was not taken ({why}); repeating it is safe"))
    }

    /// The store cannot be asked now.
    pub fn store_unavailable() -> Self {
        let detail = "the store cannot be asked right now; tracking goes on, try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }

    /// The body as JSON.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Value::Object(fields) = &mut body {
            fields.extend(self.more.clone());
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body().to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// An answer as callers expect it: what the framework refuses before a handler sees it (an address that is no UTF-8, a body
/// that is too large or does not arrive) is told like every other error, and not as plain text.
pub(crate) fn told(response: Response) -> Response {
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == CONTENT_TYPE);
    match response.status() {
        status if is_problem || !status.is_client_error() => response,
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too_long", "a body has at most 1 MiB; send less in one call").into_response()
        }
        status => {
            let detail =
                "the call cannot be understood: its address is UTF-8 in percent-encoding, and its body arrives whole";
            Problem::new(status, "bad_request", detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_refusal_is_a_problem() {
        let of = |status: StatusCode| told((status, "Invalid URL").into_response());
        for status in [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE] {
            let answer = of(status);
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        }
        assert_eq!(of(StatusCode::OK).headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let mut own = Problem::not_found("nothing is here").into_response();
        own.headers_mut().insert(header::ETAG, HeaderValue::from_static("own"));
        assert_eq!(told(own).headers()[header::ETAG], "own", "a problem is left as it is");
    }

    #[test]
    fn the_interface_lists_every_code() {
        let openapi: Value = serde_json::from_str(waybill_schemas::OPENAPI).unwrap();
        let listed = &openapi["components"]["schemas"]["Problem"]["properties"]["code"];
        assert_eq!(listed["enum"], json!(CODES));
        // Those that the status says already need no words.
        for code in CODES.iter().filter(|code| !["not_found", "method_not_allowed"].contains(code)) {
            assert!(listed["description"].as_str().unwrap().contains(code), "{code} is not described");
        }
    }
}
