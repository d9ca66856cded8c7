//! How outcomes become HTTP answers, in the shapes ClickHouse's clients look for.

use crate::engine::{EngineError, Summary};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

/// The name that marks an error in the middle of a body; clients know it from a header.
pub(super) const EXCEPTION_TAG: &str = "waybillexception";

/// A statement that failed before its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    pub(super) message: String,
}

impl Failure {
    /// A failure of this endpoint's own, in ClickHouse's form.
    pub(super) fn own(status: StatusCode, code: u32, message: impl std::fmt::Display) -> Self {
        Self { status, code, message: format!("Code: {code}. DB::Exception: {message}") }
    }

    pub(super) fn refused(why: impl std::fmt::Display) -> Self {
        Self::own(StatusCode::FORBIDDEN, 497, format_args!("{why}. (ACCESS_DENIED)"))
    }

    pub(super) fn bad_request(why: impl std::fmt::Display) -> Self {
        Self::own(StatusCode::BAD_REQUEST, 62, format_args!("{why}. (SYNTAX_ERROR)"))
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        // The one fault an operator can mend at once is named first.
        let full = is_disk_full(&error);
        let status = if full { StatusCode::INSUFFICIENT_STORAGE } else { status_of(error.code) };
        let message = if full {
            format!("{} (the store's disk is full: free some space and repeat)", error.message)
        } else {
            error.message
        };
        Self { status, code: error.code, message }
    }
}

fn is_disk_full(error: &EngineError) -> bool {
    error.code == 243 || error.message.contains("No space left on device")
}

/// The status ClickHouse's server answers for an error code.
fn status_of(code: u32) -> StatusCode {
    match code {
        // Syntax, types, unparsable data.
        6 | 25 | 26 | 27 | 33 | 34 | 36 | 38 | 41 | 42 | 43 | 44 | 47 | 50 | 53 | 62 | 63 | 69 | 70 | 72 | 73 | 117
        | 130 | 131 | 134 => StatusCode::BAD_REQUEST,
        16 | 46 | 57 | 60 | 81 | 82 | 115 => StatusCode::NOT_FOUND,
        48 | 344 => StatusCode::NOT_IMPLEMENTED,
        159 | 160 => StatusCode::REQUEST_TIMEOUT,
        164 | 497 => StatusCode::FORBIDDEN,
        202 | 209 => StatusCode::SERVICE_UNAVAILABLE,
        307 | 396 => StatusCode::PAYLOAD_TOO_LARGE,
        516 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a successful answer says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Meta {
    pub(super) format: String,
    pub(super) summary: Option<Summary>,
}

/// Headers every answer to a statement carries.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) query_id: String,
    pub(super) timezone: String,
}

/// The answer to a statement that failed before its first byte.
pub(super) fn failure(failure: &Failure, common: &Common) -> Response {
    let mut response = Response::new(Body::from(format!("{}\n", failure.message)));
    *response.status_mut() = failure.status;
    add_common(&mut response, common);
    put(&mut response, "content-type", "text/plain; charset=UTF-8");
    put(&mut response, "x-clickhouse-exception-code", &failure.code.to_string());
    if failure.status == StatusCode::UNAUTHORIZED {
        put(&mut response, "www-authenticate", "Basic realm=\"waybill store\"");
    }
    response
}

/// The answer to a statement that works (so far).
pub(super) fn success(meta: &Meta, common: &Common, body: Body) -> Response {
    let mut response = Response::new(body);
    add_common(&mut response, common);
    put(&mut response, "content-type", content_type(&meta.format));
    put(&mut response, "x-clickhouse-format", &meta.format);
    put(&mut response, "x-clickhouse-exception-tag", EXCEPTION_TAG);
    if let Some(summary) = meta.summary {
        put(&mut response, "x-clickhouse-summary", &summary_header(summary));
    }
    response
}

fn add_common(response: &mut Response, common: &Common) {
    put(response, "x-clickhouse-query-id", &common.query_id);
    put(response, "x-clickhouse-timezone", &common.timezone);
    put(response, "x-clickhouse-server-display-name", "waybill");
}

/// Numbers as strings, as the server writes them.
fn summary_header(summary: Summary) -> String {
    serde_json::json!({
        "read_rows": summary.read_rows.to_string(),
        "read_bytes": summary.read_bytes.to_string(),
        "written_rows": summary.written_rows.to_string(),
        "written_bytes": summary.written_bytes.to_string(),
        "total_rows_to_read": "0",
        "result_rows": summary.result_rows.to_string(),
    })
    .to_string()
}

/// An error in the middle of a body: the text between tags, its length before the closing one.
pub(super) fn exception_trailer(error: &EngineError) -> Bytes {
    let message = format!("{}\n", error.message.trim());
    Bytes::from(format!(
        "\r\n__exception__\r\n{EXCEPTION_TAG}\r\n{message}{} {EXCEPTION_TAG}\r\n__exception__\r\n",
        message.len()
    ))
}

fn content_type(format: &str) -> &'static str {
    match format {
        "JSON" | "JSONCompact" | "JSONStrings" | "JSONColumns" => "application/json; charset=UTF-8",
        "JSONEachRow" | "JSONCompactEachRow" | "JSONStringsEachRow" => "application/x-ndjson; charset=UTF-8",
        format if format.starts_with("CSV") => "text/csv; charset=UTF-8",
        format if format.starts_with("TabSeparated") || format.starts_with("TSV") => {
            "text/tab-separated-values; charset=UTF-8"
        }
        "Native" | "RowBinary" | "RowBinaryWithNames" | "RowBinaryWithNamesAndTypes" | "Parquet" => {
            "application/octet-stream"
        }
        _ => "text/plain; charset=UTF-8",
    }
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_status() {
        let error = EngineError {
            code: 1000,
            message: "Code: 1000. DB::Exception: write failed: No space left on device".to_owned(),
        };
        let failure = Failure::from(error);
        assert_eq!(failure.status, StatusCode::INSUFFICIENT_STORAGE);
        assert!(failure.message.contains("disk is full"));
    }

    #[test]
    fn the_trailer_says_its_length() {
        let trailer = exception_trailer(&EngineError { code: 1, message: "Code: 1. x".to_owned() });
        assert!(trailer.ends_with(b"\n11 waybillexception\r\n__exception__\r\n"));
    }
}
