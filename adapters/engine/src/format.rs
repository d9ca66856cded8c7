//! Formats of times, like strptime's, forgiving where carriers are sloppy.
//!
//! `%Y` four digits · `%y` two digits · `%m` `%d` one or two digits · `%b` a month's name, short or long · `%a` any word
//! (a weekday) · `%H` or `%I` an hour · `%M` · `%S` · `%f` a fraction · `%p` AM/PM in several languages · `%z` an offset
//! (`+01:00`, `-0500`, `Z`, `GMT+2`) · `%Z` an abbreviation · `%s` `%Q` seconds, milliseconds since 1970 · `%*` any run
//! without white space · `%%`. White space stands for any amount, also none; other characters for themselves, case
//! ignored; `[…]` may be absent. Digits and signs of full width and Thai digits count as ASCII. `iso` stands for ISO 8601
//! as it is met.

use std::borrow::Cow;

use jiff::tz::Offset;

use crate::{
    error::Fault,
    names::{self, Half},
};

/// One flattened format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Item>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(char),
    Space,
    Field(char),
}

/// What a text in a format says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) year: Option<i16>,
    /// The year was printed with two digits.
    pub(crate) short_year: bool,
    pub(crate) month: Option<i8>,
    pub(crate) day: Option<i8>,
    pub(crate) hour: Option<i8>,
    pub(crate) minute: Option<i8>,
    pub(crate) second: Option<i8>,
    pub(crate) half: Option<Half>,
    pub(crate) offset: Option<Offset>,
    /// The offset was printed as `Z`.
    pub(crate) utc: bool,
    pub(crate) abbreviation: Option<String>,
    pub(crate) epoch_ms: Option<i64>,
}

const ISO: &str = "%Y-%m-%d[[T] %H:%M[:%S[.%f]][ %z]]";
/// More optional parts than this make a format unreadable for people as well.
const MOST_VARIANTS: usize = 64;
const FIELDS: &str = "YymdbaHIMSfpzZsQ*";

impl Format {
    /// Compiles a format into its variants, the longest first.
    pub(crate) fn compile(text: &str) -> Result<Vec<Self>, Fault> {
        let source = if text == "iso" { ISO } else { text };
        let wrong = |why: &str| Fault::new(text, format!("the time format `{text}` {why}"));
        if !source.contains('%') {
            return Err(wrong("has no fields; they are written as in %d.%m.%Y %H:%M"));
        }
        let mut variants = expand(source).ok_or_else(|| wrong("has unbalanced brackets; an optional part is [so]"))?;
        if variants.len() > MOST_VARIANTS {
            return Err(wrong("has too many optional parts; write several formats"));
        }
        variants.sort_by_key(|variant| std::cmp::Reverse(variant.len()));
        variants.dedup();
        variants.into_iter().map(|variant| Self::flat(&variant).map_err(|why| wrong(&why))).collect()
    }

    fn flat(text: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            items.push(match c {
                '%' => match chars.next() {
                    Some('%') => Item::Literal('%'),
                    Some('B') => Item::Field('b'),
                    Some('A') => Item::Field('a'),
                    Some(field) if FIELDS.contains(field) => Item::Field(field),
                    other => {
                        let shown: String = other.into_iter().collect();
                        return Err(format!(
                            "has %{shown}, which is not known; known are %{}",
                            "Y y m d b a H I M S f p z Z s Q *"
                        ));
                    }
                },
                // Names take their dot with them, whether it is there or not.
                '.' if matches!(items.last(), Some(Item::Field('a' | 'b'))) => continue,
                c if c.is_whitespace() => Item::Space,
                c => Item::Literal(c),
            });
        }
        Ok(Self(items))
    }

    /// Reads a whole text; `None` when it is not in this format.
    pub(crate) fn parse(&self, text: &str, languages: &[String]) -> Option<Parsed> {
        if text.len() > 200 {
            return None;
        }
        let mut parsed = Parsed::default();
        let mut rest = text;
        for (index, item) in self.0.iter().enumerate() {
            match item {
                Item::Space => rest = rest.trim_start(),
                Item::Literal(c) => {
                    let found = rest.chars().next()?;
                    if found != *c && !found.to_lowercase().eq(c.to_lowercase()) {
                        return None;
                    }
                    rest = &rest[found.len_utf8()..];
                }
                Item::Field(field) => {
                    let glued =
                        matches!(self.0.get(index + 1), Some(Item::Field(next)) if "YymdHIMSsQ".contains(*next));
                    rest = parsed.field(*field, rest, glued, languages)?;
                }
            }
        }
        rest.trim().is_empty().then_some(parsed)
    }
}

impl Parsed {
    fn field<'t>(&mut self, field: char, text: &'t str, glued: bool, languages: &[String]) -> Option<&'t str> {
        let (value, rest) = match field {
            'Y' => digits(text, 4, 4)?,
            // Digits that follow each other without a separator are of full width.
            'y' | 'm' | 'd' | 'H' | 'I' | 'M' | 'S' => digits(text, if glued || field == 'y' { 2 } else { 1 }, 2)?,
            'f' => digits(text, 1, 9)?,
            's' => digits(text, 9, 11)?,
            'Q' => digits(text, 12, 14)?,
            'b' => return self.month_name(text, languages),
            'a' => {
                let end = text.find(|c: char| !(c.is_alphabetic() || c == '.')).unwrap_or(text.len());
                return (end > 0).then(|| &text[end..]);
            }
            'p' => {
                let (half, length) = names::half(text)?;
                self.half = Some(half);
                return Some(&text[length..]);
            }
            'z' => {
                let (offset, length) = offset(text)?;
                self.utc = text[..length].eq_ignore_ascii_case("z");
                self.offset = Some(offset);
                return Some(&text[length..]);
            }
            'Z' => {
                let end = text.find(|c: char| !(c.is_alphabetic() || c == '/' || c == '_')).unwrap_or(text.len());
                self.abbreviation = Some(text.get(..end).filter(|name| !name.is_empty())?.to_owned());
                return Some(&text[end..]);
            }
            _ => {
                let end = text.find(char::is_whitespace).unwrap_or(text.len());
                return (end > 0).then(|| &text[end..]);
            }
        };
        let small = i8::try_from(value).ok();
        let within = |low: i8, high: i8| small.filter(|value| (low..=high).contains(value));
        match field {
            'Y' => self.year = Some(i16::try_from(value).ok().filter(|year| *year >= 1900)?),
            'y' => {
                self.year = Some(i16::try_from(value).ok()? + if value < 70 { 2000 } else { 1900 });
                self.short_year = true;
            }
            'm' => self.month = Some(within(1, 12)?),
            'd' => self.day = Some(within(1, 31)?),
            'H' | 'I' => self.hour = Some(within(0, 24)?),
            'M' => self.minute = Some(within(0, 59)?),
            'S' => self.second = Some(within(0, 60)?),
            's' => self.epoch_ms = Some(value.checked_mul(1000)?),
            'Q' => self.epoch_ms = Some(value),
            _ => {}
        }
        Some(rest)
    }

    fn month_name<'t>(&mut self, text: &'t str, languages: &[String]) -> Option<&'t str> {
        // A name may end in a dot; in some languages it consists of digits and a sign.
        let stop = |c: char| !(c.is_alphanumeric() || c == '.' || c == '\u{e38}' || is_thai_mark(c));
        let end = text.find(stop).unwrap_or(text.len());
        let word = &text[..end];
        if let Some(month) = names::month(word, languages) {
            self.month = Some(month);
            return Some(&text[end..]);
        }
        // Glued to what follows, as in `03JAN2024`: the letters alone.
        let letters = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
        self.month = Some(names::month(&word[..letters], languages)?);
        Some(&text[letters..])
    }
}

/// A text with digits and signs of full width, and Thai digits, as their ASCII twins: people read them alike.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    const FULL_WIDTH: u32 = 0xff01 - 0x21;
    let twin = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => u32::from(c) - FULL_WIDTH,
        '\u{e50}'..='\u{e59}' => u32::from(c) - 0xe50 + u32::from('0'),
        other => u32::from(other),
    };
    if text.chars().all(|c| twin(c) == u32::from(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| char::from_u32(twin(c)).unwrap_or(c)).collect())
}

fn is_thai_mark(c: char) -> bool {
    ('\u{e31}'..='\u{e4e}').contains(&c)
}

/// Between `least` and `most` ASCII digits; a fraction's value is not used.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

/// The offset that a text begins with, and its length: `Z`, `+01:00`, `+0100`, `+01`, `GMT+1`, `UTC`, `GMT`.
pub(crate) fn offset(text: &str) -> Option<(Offset, usize)> {
    let upper = |length: usize| text.get(..length).map(str::to_ascii_uppercase);
    let named = matches!(upper(3).as_deref(), Some("GMT" | "UTC"));
    let start = if named { 3 } else { 0 };
    let rest = &text[start..];
    let spaces = if named { rest.len() - rest.trim_start().len() } else { 0 };
    let signed = &rest[spaces..];
    let sign = match signed.bytes().next() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        // The typographic minus.
        _ if signed.starts_with('\u{2212}') => -1,
        Some(b'Z' | b'z') if !named && !signed[1..].starts_with(char::is_alphabetic) => return Some((Offset::UTC, 1)),
        _ if named => return Some((Offset::UTC, 3)),
        _ => return None,
    };
    let width = signed.chars().next()?.len_utf8();
    let (hours, after) = digits(&signed[width..], 1, 2)?;
    let hour_digits = signed.len() - width - after.len();
    let (minutes, left) = match after.strip_prefix(':') {
        Some(after) => digits(after, 2, 2)?,
        None if hour_digits == 2 => digits(after, 2, 2).unwrap_or((0, after)),
        None => (0, after),
    };
    let seconds = sign * i32::try_from(hours * 3600 + minutes * 60).ok()?;
    if hours > 14 || minutes > 59 {
        return None;
    }
    Some((Offset::from_seconds(seconds).ok()?, text.len() - left.len()))
}

/// Every reading of a format with its optional parts present or absent.
fn expand(text: &str) -> Option<Vec<String>> {
    let Some(open) = text.find('[') else {
        return (!text.contains(']')).then(|| vec![text.to_owned()]);
    };
    let mut depth = 0usize;
    let mut close = None;
    for (index, c) in text.char_indices().skip_while(|(index, _)| *index < open) {
        match c {
            '[' => depth += 1,
            ']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    close = Some(index);
                    break;
                }
            }
            _ => {}
        }
    }
    let close = close?;
    let (head, inner, tail) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
    if head.contains(']') {
        return None;
    }
    let mut out = Vec::new();
    let tails = expand(tail)?;
    for inner in expand(inner)?.into_iter().chain([String::new()]) {
        for tail in &tails {
            out.push(format!("{head}{inner}{tail}"));
        }
        if out.len() > 1024 {
            return None;
        }
    }
    Some(out)
}
