//! robots.txt as RFC 9309 describes it: which paths a program of our name may ask for. Pure; who fetches it and how long it
//! is believed is the caller's.

/// Our product token in robots.txt.
pub(crate) const PRODUCT: &str = "waybill";
/// Bytes that are read; the rest is ignored, as the RFC allows beyond 500 KiB.
pub(crate) const MAX_BYTES: usize = 500 * 1024;

/// The rules that apply to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Robots {
    /// Everything may be asked for: there is no robots.txt.
    AllowAll,
    /// These rules.
    Rules(Vec<Rule>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Disallow,
}

/// One line of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    verdict: Verdict,
    pattern: String,
}

impl Robots {
    /// Reads a robots.txt. Groups of our own name count; without one, those of `*`.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BYTES)]);
        let text = text.trim_start_matches('\u{feff}');
        let (mut ours, mut everybodys) = (Vec::new(), Vec::new());
        let (mut named_us, mut for_us, mut for_all) = (false, false, false);
        let mut naming = false;
        for line in text.split(['\r', '\n']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            let verdict = match key.as_str() {
                "user-agent" => {
                    if !naming {
                        (for_us, for_all) = (false, false);
                    }
                    naming = true;
                    for_us |= is_us(value);
                    for_all |= value == "*";
                    named_us |= is_us(value);
                    continue;
                }
                "allow" => Verdict::Allow,
                "disallow" => Verdict::Disallow,
                // Other lines, such as Sitemap, stand anywhere and end nothing.
                _ => continue,
            };
            naming = false;
            if value.is_empty() {
                continue;
            }
            let rule = Rule { verdict, pattern: normal(value, Signs::OfPattern) };
            if for_us {
                ours.push(rule.clone());
            }
            if for_all {
                everybodys.push(rule);
            }
        }
        Self::Rules(if named_us { ours } else { everybodys })
    }

    /// Whether a path with its query may be asked for. The longest matching rule decides; of equals, the one that allows.
    pub(crate) fn allows(&self, path_and_query: &str) -> bool {
        let Self::Rules(rules) = self else { return true };
        if path_and_query == "/robots.txt" {
            return true;
        }
        let path = normal(path_and_query, Signs::OfPath);
        let decisive = rules
            .iter()
            .filter(|rule| matches(&rule.pattern, &path))
            .max_by_key(|rule| (rule.pattern.len(), rule.verdict == Verdict::Allow));
        decisive.is_none_or(|rule| rule.verdict == Verdict::Allow)
    }
}

/// A user-agent line names us by our product token, whatever version stands behind it.
fn is_us(value: &str) -> bool {
    let token = value.split(|c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '_')).next().unwrap_or_default();
    token.eq_ignore_ascii_case(PRODUCT)
}

/// The path or pattern with every octet written in one way, so that equal paths are equal texts: percent-encoded where it is no
/// printable ASCII or stands for `%`, `*` or `$` itself, else as it is, whether it came encoded or not (RFC 9309, 2.2.2).
fn normal(text: &str, signs: Signs) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let decoded = digits.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let (byte, length) = decoded.map_or((bytes[at], 1), |byte| (byte, 3));
        at += length;
        let is_sign = length == 1 && signs == Signs::OfPattern && (byte == b'*' || (byte == b'$' && at == bytes.len()));
        if is_sign || (byte.is_ascii_graphic() && !matches!(byte, b'%' | b'*' | b'$')) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What `*` and a final `$` mean where they are not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signs {
    /// Anything, and the end.
    OfPattern,
    /// Themselves.
    OfPath,
}

/// Whether a pattern matches the beginning of a path: `*` stands for anything, a final `$` for the end. Greedy with one
/// point to return to, so hostile patterns cost at most length × length.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, anchored) = match pattern.strip_suffix('$') {
        Some(open) => (open.as_bytes(), true),
        None => (pattern.as_bytes(), false),
    };
    let path = path.as_bytes();
    let (mut p, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        if p == pattern.len() && (!anchored || at == path.len()) {
            return true;
        }
        if p < pattern.len() && pattern[p] == b'*' {
            back = Some((p + 1, at));
            p += 1;
        } else if p < pattern.len() && at < path.len() && pattern[p] == path[at] {
            (p, at) = (p + 1, at + 1);
        } else if let Some((after_star, from)) = back.filter(|(_, from)| *from < path.len()) {
            back = Some((after_star, from + 1));
            (p, at) = (after_star, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(robots: &str, path: &str) -> bool {
        Robots::parse(robots.as_bytes()).allows(path)
    }

    #[test]
    fn the_longest_rule_decides_and_allowing_wins_a_tie() {
        let robots = "User-agent: *\nDisallow: /track\nAllow: /track/public\nDisallow: /same\nAllow: /same\n";
        assert!(!allowed(robots, "/track/1"));
        assert!(allowed(robots, "/track/public/1"));
        assert!(allowed(robots, "/same"));
        assert!(allowed(robots, "/else"));
    }

    #[test]
    fn our_own_group_counts_before_everybodys() {
        let robots = "User-agent: *\nDisallow: /\n\nUser-agent: Waybill/2.0\nDisallow: /private\n";
        assert!(allowed(robots, "/track"));
        assert!(!allowed(robots, "/private/1"));
        let grouped = "User-agent: otherbot\nUser-agent: waybill\nDisallow: /a\n\nUser-agent: waybill\nDisallow: /b";
        assert!(!allowed(grouped, "/a") && !allowed(grouped, "/b") && allowed(grouped, "/c"));
        let others = "User-agent: waybillx\nDisallow: /\n";
        assert!(allowed(others, "/track"));
        let empty_group = "User-agent: waybill\nDisallow:\n\nUser-agent: *\nDisallow: /\n";
        assert!(allowed(empty_group, "/track"));
    }

    #[test]
    fn wildcards_ends_and_encodings() {
        let robots =
            "user-agent:*\ndisallow: /*.pdf$\ndisallow: /q?*id=\ndisallow: /caf%c3%a9\ndisallow: /%7Euser # home\n";
        assert!(!allowed(robots, "/a/b.pdf"));
        assert!(allowed(robots, "/a/b.pdf?x"));
        assert!(!allowed(robots, "/q?lang=en&id=5"));
        assert!(!allowed(robots, "/café"));
        assert!(!allowed(robots, "/~user/x"));
        assert!(allowed(robots, "/robots.txt"));
    }

    #[test]
    fn octets_are_compared_however_they_are_written() {
        // The table of RFC 9309, 2.2.2, and its note on special characters (2.2.3).
        for (rule, path) in [
            ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar"),
            ("/foo/bar/\u{30c4}", "/foo/bar/%E3%83%84"),
            ("/foo/bar/%E3%83%84", "/foo/bar/%e3%83%84"),
            ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
            ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"),
            ("/path/foo-%24", "/path/foo-$"),
            ("/a$b", "/a$b"),
            ("/a b|c", "/a%20b%7Cc"),
            ("/100%", "/100%25"),
        ] {
            assert!(!allowed(&format!("User-agent: *\nDisallow: {rule}\n"), path), "{rule} {path}");
        }
        for (rule, path) in [
            ("/path/file-with-a-%2A.html", "/path/file-with-a-b.html"),
            ("/path/foo-%24", "/path/foo-"),
            ("/a$", "/a$"),
        ] {
            assert!(allowed(&format!("User-agent: *\nDisallow: {rule}\n"), path), "{rule} {path}");
        }
    }

    #[test]
    fn odd_files_harm_nobody() {
        assert!(allowed("", "/x"));
        assert!(allowed("Disallow: /", "/x"), "a rule outside of a group is ignored");
        assert!(allowed("<html>not found</html>", "/x"));
        assert!(Robots::AllowAll.allows("/x"));
        assert!(!allowed("\u{feff}User-agent: *\rDisallow: /\r", "/x"));
        let stars = format!("User-agent: *\nDisallow: /{}b", "*a".repeat(500));
        assert!(allowed(&stars, &format!("/{}", "a".repeat(2_000))));
        let _ = Robots::parse(&[0xff, 0xfe, 0x00, b':', 0x80]);
        assert!(!allowed("User-agent: other\r\nUser-agent: WAYBILL\r\n\r\n# ours\r\nDisallow: /\r\n", "/x"));
        let beyond = format!("User-agent: *\nDisallow: /a\n#{}\nDisallow: /b\n", "x".repeat(MAX_BYTES));
        assert!(!allowed(&beyond, "/a") && allowed(&beyond, "/b"), "what stands beyond the cap is not read");
    }
}
