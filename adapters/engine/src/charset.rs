//! From bytes to text: which charset an answer is in, against what it declares where an adapter knows better.

use encoding_rs::{Encoding, UTF_8};

use crate::{
    error::{Fault, Faults},
    spec::{CharsetSpec, InvalidBytes},
};

/// Compiled rules of an adapter.
#[derive(Debug, Default)]
pub(crate) struct Charset {
    force: Option<&'static Encoding>,
    declared: Vec<(&'static Encoding, &'static Encoding)>,
    fallback: Option<&'static Encoding>,
    /// Whether bytes that are no text become U+FFFD.
    replace: bool,
}

/// The bytes are not text in their charset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undecodable(pub(crate) &'static str);

fn named(name: &str) -> Result<&'static Encoding, Fault> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| {
        Fault::new(name, format!("`{name}` is no charset; use a WHATWG label such as euc-kr or windows-1252"))
    })
}

impl Charset {
    pub(crate) fn compile(spec: &CharsetSpec) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let declared = spec.declared.iter().map(|(from, to)| Ok::<_, Fault>((named(from)?, named(to)?)));
        let made = (
            faults.keep_optional(spec.force.as_deref().map(named)),
            faults.keep_all(declared),
            faults.keep_optional(spec.fallback.as_deref().map(named)),
        );
        let (Some(force), Some(declared), Some(fallback)) = made else { return Err(faults) };
        Ok(Self { force, declared, fallback, replace: spec.invalid == InvalidBytes::Replace })
    }

    /// The name of the charset that [`Self::decode`] takes.
    pub(crate) fn name_for(&self, body: &[u8], transport: Option<&str>) -> &'static str {
        self.choose(body, transport).0.name()
    }

    /// The charset, and the length of a byte order mark to leave out.
    fn choose(&self, body: &[u8], transport: Option<&str>) -> (&'static Encoding, usize) {
        if let Some(encoding) = self.force {
            return (encoding, 0);
        }
        if let Some(marked) = Encoding::for_bom(body) {
            return marked;
        }
        let stated = transport.and_then(|name| Encoding::for_label(name.trim().trim_matches('"').as_bytes()));
        if let Some(stated) = stated.or_else(|| in_document(body)) {
            let actual = self.declared.iter().find(|(from, _)| *from == stated).map_or(stated, |(_, to)| *to);
            return (actual, 0);
        }
        match self.fallback {
            Some(fallback) if std::str::from_utf8(body).is_err() => (fallback, 0),
            _ => (UTF_8, 0),
        }
    }

    /// Decodes an answer. Order: the adapter's `force`; a byte order mark; what the transport or the document declares
    /// (corrected by the adapter's `declared`); UTF-8; the adapter's `fallback`. What is no text in it is refused, but
    /// where the adapter says `invalid: replace`.
    pub(crate) fn decode(&self, body: &[u8], transport: Option<&str>) -> Result<String, Undecodable> {
        let (encoding, mark) = self.choose(body, transport);
        if self.replace {
            return Ok(encoding.decode_without_bom_handling(&body[mark..]).0.into_owned());
        }
        strictly(encoding, &body[mark..])
    }
}

fn strictly(encoding: &'static Encoding, body: &[u8]) -> Result<String, Undecodable> {
    match encoding.decode_without_bom_handling_and_without_replacement(body) {
        Some(text) => Ok(text.into_owned()),
        None => Err(Undecodable(encoding.name())),
    }
}

/// What the first kilobyte declares: `encoding="…"` of XML or `charset=…` of HTML.
fn in_document(body: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&body[..body.len().min(2048)]).to_ascii_lowercase();
    let marker = if head.trim_start().starts_with("<?xml") { "encoding=" } else { "charset=" };
    let limit = if marker == "encoding=" { head.find("?>").unwrap_or(head.len()) } else { head.len() };
    let after = head[..limit].split_once(marker)?.1;
    let name = after.trim_start_matches(['"', '\'', ' ']);
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c))).unwrap_or(name.len());
    let encoding = Encoding::for_label(&name.as_bytes()[..end])?;
    // A page that could be read so far as ASCII is not UTF-16, whatever it says.
    Some(if encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE { UTF_8 } else { encoding })
}

/// The `charset` parameter of a content type.
pub(crate) fn of_content_type(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn declarations_are_believed_in_order_and_corrected() {
        let plain = Charset::default();
        assert_eq!(plain.decode("배달".as_bytes(), None).unwrap(), "배달");
        let (euc, _, _) = encoding_rs::EUC_KR.encode("배달");
        assert!(plain.decode(&euc, None).is_err(), "undeclared and not UTF-8");
        assert_eq!(plain.decode(&euc, Some("euc-kr")).unwrap(), "배달");
        let page = [b"<meta charset='euc-kr'>".as_slice(), &euc].concat();
        assert!(plain.decode(&page, None).unwrap().ends_with("배달"));
        let spec =
            CharsetSpec { declared: [("iso-8859-1".to_owned(), "utf-8".to_owned())].into(), ..Default::default() };
        let wise = Charset::compile(&spec).unwrap();
        assert!(wise.decode("<meta charset=ISO-8859-1>Zürich".as_bytes(), None).unwrap().ends_with("Zürich"));
        assert_eq!(plain.decode(b"\xef\xbb\xbfa", Some("euc-kr")).unwrap(), "a");
        assert!(plain.decode(b"a\xff\xfe", Some("utf-8")).is_err());
        let spec = CharsetSpec { invalid: InvalidBytes::Replace, ..Default::default() };
        let mixed = [b"<meta charset=utf-8><!-- ".as_slice(), &euc, " -->\u{bc30}".as_bytes()].concat();
        assert!(plain.decode(&mixed, None).is_err());
        let read = Charset::compile(&spec).unwrap().decode(&mixed, None).unwrap();
        assert!(read.contains('\u{fffd}') && read.ends_with("-->\u{bc30}"), "{read}");
        assert_eq!(of_content_type("text/html; charset=\"Shift_JIS\""), Some("Shift_JIS"));
    }
}
