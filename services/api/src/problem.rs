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

/// Every code of a [`Problem`], as `openapi.json` lists them.
const CODES: [&str; 13] = [
    "bad_request",
    "key_needed",
    "host_not_local",
    "not_found",
    "method_not_allowed",
    "too_many",
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
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

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
