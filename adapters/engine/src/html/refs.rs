//! Character references (`&nbsp;`, `&#252;`) in texts and attribute values, by the standard's rules.

use html5ever::data::NAMED_ENTITIES;

/// Where a reference stands: in an attribute, `&copy=1` is part of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Text,
    Attribute,
}

/// No name of the standard is longer.
const LONGEST_NAME: usize = 33;

/// Appends `raw` with its references resolved.
pub(super) fn resolve(raw: &str, within: Within, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let length = match behind.as_bytes().first() {
            Some(b'#') => numeric(behind, out),
            Some(byte) if byte.is_ascii_alphanumeric() => named(behind, within, out),
            _ => 0,
        };
        if length == 0 {
            out.push('&');
        }
        rest = &behind[length..];
    }
    out.push_str(rest);
}

/// A reference by number; the length of what was used behind the `&`, 0 if it is none.
fn numeric(text: &str, out: &mut String) -> usize {
    let bytes = text.as_bytes();
    let hexadecimal = matches!(bytes.get(1), Some(b'x' | b'X'));
    let (start, base) = if hexadecimal { (2, 16) } else { (1, 10) };
    let digits = bytes[start..].iter().take_while(|byte| char::from(**byte).is_digit(base)).count();
    if digits == 0 {
        return 0;
    }
    let value = bytes[start..start + digits].iter().fold(0u32, |value, byte| {
        let digit = char::from(*byte).to_digit(base).unwrap_or(0);
        value.saturating_mul(base).saturating_add(digit)
    });
    out.push(character(value));
    let end = start + digits;
    end + usize::from(bytes.get(end) == Some(&b';'))
}

fn character(value: u32) -> char {
    // What pages mean by the numbers of windows-1252's own signs.
    const FROM_0X80: [char; 32] = [
        '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
        '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}',
        '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}',
        '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
    ];
    match value {
        0 => char::REPLACEMENT_CHARACTER,
        0x80..=0x9f => FROM_0X80[value as usize - 0x80],
        value => char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// A reference by name: the longest known one that the text begins with.
fn named(text: &str, within: Within, out: &mut String) -> usize {
    let bytes = text.as_bytes();
    let letters = bytes.iter().take(LONGEST_NAME).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let whole = letters + usize::from(bytes.get(letters) == Some(&b';'));
    for length in (2..=whole).rev() {
        let Some((first, second)) = NAMED_ENTITIES.get(&text[..length]).filter(|(first, _)| *first != 0) else {
            continue;
        };
        let open = bytes[length - 1] != b';';
        let followed = bytes.get(length).is_some_and(|byte| *byte == b'=' || byte.is_ascii_alphanumeric());
        if open && followed && within == Within::Attribute {
            return 0;
        }
        out.extend([*first, *second].into_iter().filter(|value| *value != 0).filter_map(char::from_u32));
        return length;
    }
    0
}
