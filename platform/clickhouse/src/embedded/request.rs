//! What a request asks for, read from its query string, headers and form fields. Pure.

use crate::engine::Parameter;
use crate::gate::Access;
use axum::http::{HeaderMap, header};
use base64::Engine as _;

/// The writing user's name.
pub(super) const WRITER: &str = "waybill";
const READER: &str = "default";

/// Names in the query string that steer the HTTP interface and are no settings of the engine.
const STEERING: &[&str] = &[
    "buffer_size",
    "client_protocol_version",
    "close_session",
    "enable_http_compression",
    "http_zlib_compression_level",
    "network_compression_method",
    "quota_key",
    "role",
    "session_check",
    "session_id",
    "session_timeout",
    "stacktrace",
    "wait_end_of_query",
];

/// A request taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) query: String,
    pub(super) database: Option<String>,
    pub(super) default_format: Option<String>,
    pub(super) query_id: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) parameters: Vec<Parameter>,
    /// The answer is to be packed in ClickHouse's blocks.
    pub(super) packs_answer: bool,
    /// The body is packed in ClickHouse's blocks.
    pub(super) packed_body: bool,
    user: Option<String>,
    password: Option<String>,
}

impl Asked {
    /// Reads the query string and the headers that stand for parts of it.
    pub(super) fn read(query_string: &str, headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query_string.as_bytes()) {
            asked.take(&name, value.into_owned());
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        asked.default_format = text("x-clickhouse-format").or(asked.default_format);
        asked.database = text("x-clickhouse-database").or(asked.database);
        if let Some((user, password)) = basic_credentials(headers) {
            (asked.user, asked.password) = (Some(user), Some(password));
        }
        asked.user = text("x-clickhouse-user").or(asked.user);
        asked.password = text("x-clickhouse-key").or(asked.password);
        asked
    }

    /// Takes one named value, from the query string or a form.
    pub(super) fn take(&mut self, name: &str, value: String) {
        match name {
            "query" => self.query.push_str(&value),
            "database" => self.database = Some(value),
            "default_format" => self.default_format = Some(value),
            "query_id" => self.query_id = Some(value),
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "compress" => self.packs_answer = is_on(&value),
            "decompress" => self.packed_body = is_on(&value),
            _ if STEERING.contains(&name) => {}
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
    }

    /// Who this is: nobody is turned away for reading, only the right password may write.
    pub(super) fn access(&self, password: &str) -> Option<Access> {
        let given = self.password.as_deref().unwrap_or_default();
        match self.user.as_deref().unwrap_or(READER) {
            "" | READER if given.is_empty() => Some(Access::Reader),
            WRITER if same(given.as_bytes(), password.as_bytes()) => Some(Access::Writer),
            _ => None,
        }
    }
}

fn is_on(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

/// Compares without leaving early, so that time tells nothing of the password.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differing, (l, r)| differing | (l ^ r)) == 0
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The boundary of a form, if the body is one.
pub(super) fn form_boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, rest) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    rest.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The fields of a form: name and text. Files are refused: external tables are not offered here.
pub(super) fn form_fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, &'static str> {
    const BROKEN: &str = "the form in the request's body is broken";
    let delimiter = format!("--{boundary}");
    let mut rest = strip(body, delimiter.as_bytes()).ok_or(BROKEN)?;
    let inner = format!("\r\n{delimiter}");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        rest = strip(rest, b"\r\n").ok_or(BROKEN)?;
        let head_end = find(rest, b"\r\n\r\n").ok_or(BROKEN)?;
        let head = std::str::from_utf8(&rest[..head_end]).map_err(|_| BROKEN)?;
        let content = &rest[head_end + 4..];
        let end = find(content, inner.as_bytes()).ok_or(BROKEN)?;
        let value = std::str::from_utf8(&content[..end]).map_err(|_| BROKEN)?;
        let disposition = head
            .split("\r\n")
            .find(|line| line.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("content-disposition:")))
            .ok_or(BROKEN)?;
        if disposition.contains("filename=") {
            return Err("external tables are not offered by the embedded ClickHouse");
        }
        let name = disposition.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).ok_or(BROKEN)?;
        fields.push((name.to_owned(), value.to_owned()));
        rest = &content[end + inner.len()..];
    }
    Ok(fields)
}

fn strip<'b>(bytes: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    bytes.strip_prefix(prefix)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    #[test]
    fn settings_parameters_and_steering_are_told_apart() {
        let asked = Asked::read(
            "query=select+1&param_x=a%2Bb&max_threads=2&session_id=s&compress=1&database=waybill",
            &HeaderMap::new(),
        );
        assert_eq!(asked.query, "select 1");
        assert_eq!(asked.parameters, [("x".to_owned(), "a+b".to_owned())]);
        assert_eq!(asked.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert!(asked.packs_answer && !asked.packed_body);
    }

    #[test]
    fn sec_1_only_the_right_password_may_write() {
        let access = |query: &str| Asked::read(query, &HeaderMap::new()).access("secret");
        assert_eq!(access(""), Some(Access::Reader));
        assert_eq!(access("user=default"), Some(Access::Reader));
        assert_eq!(access("user=waybill&password=secret"), Some(Access::Writer));
        for wrong in [
            "user=waybill",
            "user=waybill&password=secre",
            "user=waybill&password=secret1",
            "user=default&password=secret",
            "user=root",
        ] {
            assert_eq!(access(wrong), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Basic d2F5YmlsbDpzZWNyZXQ=".parse().unwrap());
        assert_eq!(Asked::read("", &headers).access("secret"), Some(Access::Writer));
        headers.insert("x-clickhouse-key", "other".parse().unwrap());
        assert_eq!(Asked::read("", &headers).access("secret"), None);
    }

    #[test]
    fn a_form_is_read_and_a_file_in_it_refused() {
        let form = b"--B\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nselect\r\n{x:String}\r\n--B\r\nContent-Disposition: form-data; name=\"param_x\"\r\n\r\n\r\n--B--\r\n";
        assert_eq!(
            form_fields(form, "B").unwrap(),
            [("query".to_owned(), "select\r\n{x:String}".to_owned()), ("param_x".to_owned(), String::new())]
        );
        let file = b"--B\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n1\r\n--B--\r\n";
        assert!(form_fields(file, "B").is_err());
        for cut in 0..form.len() - 4 {
            assert!(form_fields(&form[..cut], "B").is_err(), "cut at {cut}");
        }
    }
}
