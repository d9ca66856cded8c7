//! Names of months and of halves of the day, as carriers print them.

mod latin;
mod scripts;

/// Month names of a language: twelve entries, each with its spellings in lower case, without dots; a printed name fits
/// when it equals one.
type Months = [&'static [&'static str]; 12];

/// Languages whose month names are known.
pub(crate) const LANGUAGES: [&str; 32] = [
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it", "ja", "ko", "lt", "lv", "ms",
    "nb", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "th", "tr", "uk", "zh",
];

fn months(language: &str) -> Option<&'static Months> {
    latin::months(language).or_else(|| scripts::months(language))
}

/// The month (1 to 12) of a printed name in one of the languages; dots are not part of names.
pub(crate) fn month(name: &str, languages: &[String]) -> Option<i8> {
    let folded: String = name.to_lowercase().chars().filter(|c| *c != '.').collect();
    languages.iter().filter_map(|language| months(language)).find_map(|months| {
        let index = months.iter().position(|spellings| spellings.contains(&folded.as_str()))?;
        i8::try_from(index + 1).ok()
    })
}

/// Which half of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Am,
    Pm,
}

/// Spellings of the halves, longest first where one begins another.
const HALVES: [(&str, Half); 18] = [
    ("a.m.", Half::Am),
    ("p.m.", Half::Pm),
    ("a.m", Half::Am),
    ("p.m", Half::Pm),
    ("am", Half::Am),
    ("pm", Half::Pm),
    ("오전", Half::Am),
    ("오후", Half::Pm),
    ("上午", Half::Am),
    ("下午", Half::Pm),
    ("午前", Half::Am),
    ("午後", Half::Pm),
    ("pagi", Half::Am),
    ("petang", Half::Pm),
    ("sa", Half::Am),
    ("ch", Half::Pm),
    ("ptg", Half::Pm),
    ("pg", Half::Am),
];

/// The half of the day that a text begins with, and the length of its spelling.
pub(crate) fn half(text: &str) -> Option<(Half, usize)> {
    let known = HALVES.iter().find_map(|(spelling, half)| {
        let head = text.get(..spelling.len())?;
        (head.to_lowercase() == *spelling).then_some((*half, spelling.len()))
    });
    known.or_else(|| spaced(text))
}

/// `a. m.`, as Spanish writes it, with any kind of space.
fn spaced(text: &str) -> Option<(Half, usize)> {
    let mut chars = text.char_indices().map(|(at, c)| (at, c.to_ascii_lowercase()));
    let half = match chars.next()?.1 {
        'a' => Half::Am,
        'p' => Half::Pm,
        _ => return None,
    };
    let dotted = chars.next()?.1 == '.' && chars.next()?.1.is_whitespace() && chars.next()?.1 == 'm';
    let (at, last) = chars.next()?;
    (dotted && last == '.').then_some((half, at + 1))
}
