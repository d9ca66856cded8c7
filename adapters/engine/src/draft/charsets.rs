//! A charset for bytes that declare none and are not UTF-8: the one in which their text is the least odd.

use encoding_rs::Encoding;

/// In this order where several are equally likely.
const TRIED: [&str; 10] = [
    "euc-kr",
    "shift_jis",
    "euc-jp",
    "gb18030",
    "big5",
    "windows-1252",
    "windows-1251",
    "koi8-r",
    "windows-1250",
    "iso-8859-2",
];

/// The charset, by a label of its own; none where the bytes are no text in any.
pub(super) fn charset(body: &[u8]) -> Option<&'static str> {
    let likely = TRIED.into_iter().filter_map(|label| {
        let encoding = Encoding::for_label(label.as_bytes())?;
        let text = encoding.decode_without_bom_handling_and_without_replacement(body)?;
        let is_private = |c: char| ('\u{e000}'..='\u{f8ff}').contains(&c);
        (!text.contains(is_private)).then(|| (oddness(label, encoding, &text), label))
    });
    likely.min_by_key(|(odd, _)| *odd).map(|(_, label)| label)
}

/// How much of a text is unusual in a charset: signs within words, letters that come together in no language, rare ones.
fn oddness(label: &str, encoding: &'static Encoding, text: &str) -> usize {
    let (mut odd, mut foreign, mut before) = (0, 0, ' ');
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().unwrap_or(' ');
        let in_word = before.is_ascii_alphabetic() || after.is_ascii_alphabetic();
        let is_latin = ('\u{c0}'..='\u{24f}').contains(&c);
        foreign = if is_latin { foreign + 1 } else { 0 };
        odd += match c {
            '\0'..='\x7f' | '\u{a0}' => 0,
            // Controls, half-width katakana and frames are what other charsets come to.
            '\u{80}'..='\u{9f}' | '\u{ff61}'..='\u{ff9f}' | '\u{2500}'..='\u{25ff}' => 2,
            '\u{a1}'..='\u{bf}' => 2 * usize::from(in_word),
            // Letters with accents stand alone among others.
            _ if is_latin => 2 * usize::from(foreign > 2),
            '\u{400}'..='\u{4ff}' => 2 * usize::from(in_word || (c.is_uppercase() && before.is_lowercase())),
            '\u{3040}'..='\u{30ff}' => usize::from(!matches!(label, "shift_jis" | "euc-jp")),
            '\u{3131}'..='\u{318e}' => 1,
            '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' if in_word => 2,
            '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => usize::from(is_rare(label, encoding, c)),
            _ => 0,
        };
        before = c;
    }
    odd
}

/// Whether a character is beyond the usual ones of a charset, which have a part of it to themselves.
fn is_rare(label: &str, encoding: &'static Encoding, c: char) -> bool {
    let mut buffer = [0; 4];
    let (bytes, ..) = encoding.encode(c.encode_utf8(&mut buffer));
    let lead = bytes.first().copied().unwrap_or_default();
    match label {
        "euc-kr" => lead < 0xb0 || !('\u{ac00}'..='\u{d7a3}').contains(&c),
        "shift_jis" => !(0x88..=0x97).contains(&lead),
        "euc-jp" => !(0xb0..=0xcf).contains(&lead),
        "gb18030" => !(0xb0..=0xd7).contains(&lead),
        "big5" => lead > 0xc6,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_is_the_one_in_which_the_text_is_usual() {
        for (text, label) in [
            ("집하처리 서울강남 배달완료 부산진", "euc-kr"),
            ("荷物受付 渋谷センター 配達完了 大阪北センター", "shift_jis"),
            ("荷物受付 渋谷センター 配達完了 大阪北センター", "euc-jp"),
            ("快件已签收 深圳 正在派件 广州", "gb18030"),
            ("已送達 臺北 配送中 高雄", "big5"),
            ("Zugestellt an Empfänger, Straße, Köln, München", "windows-1252"),
            ("Colis livré, réexpédié à Nîmes", "windows-1252"),
            ("Вручено адресату, Казань; покинуло сортировочный центр", "windows-1251"),
            ("Вручено адресату, Казань; покинуло сортировочный центр", "koi8-r"),
            ("Przesyłka doręczona, Kraków; wysłanie z Łodzi", "windows-1250"),
        ] {
            let bytes = Encoding::for_label(label.as_bytes()).map(|encoding| encoding.encode(text).0.into_owned());
            let mut page = b"<table><tr><td>12.11.2026 10:15<td>".to_vec();
            page.extend(bytes.unwrap_or_default());
            page.extend(b"</table>");
            assert_eq!(charset(&page), Some(label), "{text}");
        }
    }
}
