//! Names of weekdays, and the words that stand between the parts of a date: which language a column's dates are in.

use crate::names;

/// Weekdays of a language, Monday first, in lower case and in full: short forms begin them.
struct Spoken {
    language: &'static str,
    weekdays: &'static [&'static str],
    /// What else dates of that language have in them.
    between: &'static [&'static str],
}

static SPOKEN: [Spoken; 19] = [
    Spoken {
        language: "en",
        weekdays: &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
        between: &["at", "on", "of"],
    },
    Spoken {
        language: "de",
        weekdays: &["montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag", "sonnabend"],
        between: &["um", "uhr", "den"],
    },
    Spoken {
        language: "fr",
        weekdays: &["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
        between: &["le", "à", "er"],
    },
    Spoken {
        language: "es",
        weekdays: &["lunes", "martes", "miércoles", "miercoles", "jueves", "viernes", "sábado", "sabado", "domingo"],
        between: &["de", "del", "las", "el"],
    },
    Spoken {
        language: "pt",
        weekdays: &["segunda", "terça", "terca", "quarta", "quinta", "sexta", "sábado", "sabado", "domingo"],
        between: &["de", "às", "feira", "em"],
    },
    Spoken {
        language: "it",
        weekdays: &["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"],
        between: &["ore", "alle", "il"],
    },
    Spoken {
        language: "nl",
        weekdays: &["maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag"],
        between: &["om", "uur", "op"],
    },
    Spoken {
        language: "pl",
        weekdays: &["poniedziałek", "wtorek", "środa", "czwartek", "piątek", "sobota", "niedziela"],
        between: &["godz", "r"],
    },
    Spoken {
        language: "sv",
        weekdays: &["måndag", "tisdag", "onsdag", "torsdag", "fredag", "lördag", "söndag"],
        between: &["kl", "den"],
    },
    Spoken {
        language: "da",
        weekdays: &["mandag", "tirsdag", "onsdag", "torsdag", "fredag", "lørdag", "søndag"],
        between: &["kl", "den"],
    },
    Spoken {
        language: "ko",
        weekdays: &["월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일"],
        between: &["년", "오전", "오후", "시", "분"],
    },
    Spoken {
        language: "ja",
        weekdays: &["月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日", "日曜日"],
        between: &["午前", "午後"],
    },
    Spoken {
        language: "zh",
        weekdays: &[
            "星期一",
            "星期二",
            "星期三",
            "星期四",
            "星期五",
            "星期六",
            "星期日",
            "星期天",
            "周一",
            "周二",
            "周三",
            "周四",
            "周五",
            "周六",
            "周日",
            "一",
            "二",
            "三",
            "四",
            "五",
            "六",
            "週一",
            "週二",
            "週三",
            "週四",
            "週五",
            "週六",
            "週日",
        ],
        between: &["上午", "下午", "时", "点", "點", "号", "號"],
    },
    Spoken {
        language: "tr",
        weekdays: &["pazartesi", "salı", "çarşamba", "perşembe", "cuma", "cumartesi", "pazar"],
        between: &["saat"],
    },
    Spoken {
        language: "cs",
        weekdays: &["pondělí", "úterý", "středa", "čtvrtek", "pátek", "sobota", "neděle"],
        between: &["hod", "v"],
    },
    Spoken {
        language: "id",
        weekdays: &["senin", "selasa", "rabu", "kamis", "jumat", "sabtu", "minggu"],
        between: &["pukul", "wib"],
    },
    Spoken {
        language: "ru",
        weekdays: &["понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"],
        between: &["в", "г"],
    },
    Spoken {
        language: "fi",
        weekdays: &["maanantai", "tiistai", "keskiviikko", "torstai", "perjantai", "lauantai", "sunnuntai"],
        between: &["klo"],
    },
    Spoken {
        language: "hu",
        weekdays: &["hétfő", "kedd", "szerda", "csütörtök", "péntek", "szombat", "vasárnap"],
        between: &[],
    },
];

/// Columns are judged by so many of their texts.
const SAMPLE: usize = 20;

impl Spoken {
    /// A name, or its beginning: of Latin script two letters at least.
    fn has_weekday(&self, word: &str) -> bool {
        let least = if word.is_ascii() { 2 } else { 1 };
        word.chars().count() >= least && self.weekdays.iter().any(|name| name.starts_with(word))
    }
}

/// Whether a word is a weekday's name, in full or shortened, in any language that is known here.
pub(super) fn is_weekday(word: &str) -> bool {
    let word = word.to_lowercase();
    SPOKEN.iter().any(|spoken| spoken.has_weekday(&word))
}

/// The language that dates are in, where their words tell it; nothing where English does as well.
pub(super) fn spoken(texts: &[&str], said: &[String]) -> Option<&'static str> {
    let mut words: Vec<String> = Vec::new();
    for text in texts.iter().take(SAMPLE).filter(|text| text.len() <= super::dates::MOST_BYTES) {
        let text = unnumbered(text);
        let all = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        words.extend(all.take(12).map(str::to_lowercase));
    }
    let hits = |spoken: &Spoken| {
        let language = [spoken.language.to_owned()];
        let told = |word: &&String| {
            spoken.has_weekday(word)
                || spoken.between.contains(&word.as_str())
                || names::month(word, &language).is_some()
        };
        words.iter().filter(told).count()
    };
    // Of equals the one that the answer says it is in, then the first here, which is English.
    let rank = |spoken: &&Spoken| (hits(spoken), said.iter().any(|language| language == spoken.language));
    let mut best = &SPOKEN[0];
    for spoken in &SPOKEN[1..] {
        if rank(&spoken) > rank(&best) {
            best = spoken;
        }
    }
    (best.language != "en" && hits(best) > 0).then_some(best.language)
}

/// Languages in which one of the texts has a month's name.
pub(super) fn month_languages(texts: &[&str]) -> Vec<&'static str> {
    let words: Vec<&str> = texts
        .iter()
        .take(5)
        .filter(|text| text.len() <= super::dates::MOST_BYTES)
        .flat_map(|text| text.split(|c: char| !c.is_alphabetic()))
        .filter(|word| !word.is_empty())
        .collect();
    let has = |language: &&&str| {
        let language = [(**language).to_owned()];
        words.iter().any(|word| names::month(word, &language).is_some())
    };
    names::LANGUAGES.iter().filter(has).copied().collect()
}

/// Without what only counts years, months and days: several languages share these signs, and some are weekdays as well.
fn unnumbered(text: &str) -> String {
    let mut digit = false;
    let counts = |c: char| {
        let counting = digit && "年月日월일".contains(c);
        digit = c.is_ascii_digit();
        counting
    };
    text.replace(counts, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_dates_tell_their_language() {
        for (text, language) in [
            ("Saturday, November 21, 2026", None),
            ("21 nov 2026", None),
            ("21.11.2026 08:12", None),
            ("Samstag, 21. November 2026", Some("de")),
            ("samedi 21 novembre 2026 à 8h12", Some("fr")),
            ("sábado, 21 de noviembre de 2026", Some("es")),
            ("sexta-feira, 20 de novembro de 2026", Some("pt")),
            ("venerdì 20 novembre 2026", Some("it")),
            ("vr 20 nov. 2026", Some("nl")),
            ("2026년 11월 20일 금요일", Some("ko")),
            ("2026年11月20日(金)", Some("ja")),
            ("2026年11月20日 星期五", Some("zh")),
        ] {
            assert_eq!(spoken(&[text], &[]), language, "{text}");
        }
        assert_eq!(spoken(&["20 nov. 2026"], &["nl".to_owned()]), Some("nl"));
    }
}
