//! Whether a caller addresses this machine itself (SEC-1): what a listener on loopback without keys asks, so that a web
//! page cannot reach it under a name of its own (DNS rebinding) or order anything from elsewhere.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// Whether a request with these headers is addressed to this machine (`localhost`, 127.0.0.1, `[::1]`, with or without a
/// port) and not sent by a page from elsewhere. HTTP/1.1 clients of every language name the host that they were given.
#[must_use]
pub fn is_from_here(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or_default()).peekable();
    let addressed = hosts.peek().is_some() && hosts.all(is_local_host);
    // A browser tells which page a request comes from; only this machine's own pages may order anything.
    let page = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| is_local_host(host));
    addressed && headers.get_all(header::ORIGIN).iter().all(|value| value.to_str().is_ok_and(page))
}

/// Whether a `host` or `host:port` is a loopback name or address.
fn is_local_host(host: &str) -> bool {
    let (name, rest) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some(parts) => parts,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    port && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn sec_1_only_this_machines_own_names_are_local() {
        let host = |value: &str| is_from_here(&headers(&[(header::HOST, value)]));
        for good in ["127.0.0.1:8123", "127.0.0.1", "localhost", "LocalHost:8080", "127.8.9.1:1", "[::1]:8080", "[::1]"]
        {
            assert!(host(good), "{good}");
        }
        for bad in [
            "evil.example:8080",
            "",
            "10.0.0.1",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1]evil.example",
            "[::1",
            "localhost:80:90",
            "localhost:x",
            "0.0.0.0:8080",
            "clickhouse:8123",
        ] {
            assert!(!host(bad), "{bad}");
        }
        assert!(!is_from_here(&HeaderMap::new()), "nothing says whom it is for");
        assert!(!is_from_here(&headers(&[(header::HOST, "localhost"), (header::HOST, "evil.example")])));
    }

    #[test]
    fn sec_1_pages_from_elsewhere_are_not_from_here() {
        let page = |origin: &str| is_from_here(&headers(&[(header::HOST, "127.0.0.1:1"), (header::ORIGIN, origin)]));
        assert!(page("http://localhost:8080"));
        assert!(page("http://[::1]:8080"));
        assert!(!page("https://shop.example"));
        assert!(!page("null"));
        assert!(!page(""));
    }
}
