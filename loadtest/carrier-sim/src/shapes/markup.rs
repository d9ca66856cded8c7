//! What makes pages untidy without changing what a reader sees.

/// Text for HTML and XML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// Text for HTML in which the first word is bold, the first space a no-break one and the next ones line breaks of the
/// source: a reader sees the same.
pub(crate) fn dressed(text: &str) -> String {
    let mut words = text.split(' ').map(escape);
    let mut out = format!("<b>{}</b>", words.next().unwrap_or_default());
    for (index, word) in words.enumerate() {
        out.push_str(if index == 0 { "&nbsp;" } else { "\n        " });
        out.push_str(&word);
    }
    out
}

/// A page's text in a legacy charset. What the charset lacks becomes a character reference, as browsers send it.
pub(crate) fn encoded(text: &str, encoding: &'static encoding_rs::Encoding) -> Vec<u8> {
    encoding.encode(text).0.into_owned()
}

/// A place's cell; blank where there is none.
pub(crate) fn cell(text: Option<&str>) -> String {
    text.map_or_else(|| "&nbsp;".to_owned(), escape)
}
