#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::super::guess;

/// A column of dates: drafted with all of its texts understood, as these.
fn column(texts: [&str; 3]) -> (Vec<String>, Option<String>) {
    let times = guess::times(&texts, &[]).unwrap_or_else(|| panic!("{texts:?} is no time"));
    let mut variants = Vec::new();
    for format in &times.formats {
        variants.extend(crate::format::Format::compile(format).unwrap());
    }
    let languages = [times.language.clone().unwrap_or_else(|| "en".to_owned())];
    let read = texts.map(|text| {
        let found = variants.iter().find_map(|variant| variant.parse(text, &languages));
        let at = found.unwrap_or_else(|| panic!("{text} is not in {:?}", times.formats));
        let late = at.half == Some(crate::names::Half::Pm) && at.hour.is_some_and(|hour| hour < 12);
        let hour = at.hour.map(|hour| if late { hour + 12 } else { hour });
        let time = hour.map(|hour| format!(" {hour:02}:{:02}", at.minute.unwrap_or(0))).unwrap_or_default();
        format!("{}-{}-{}{time}", at.year.unwrap_or(0), at.month.unwrap(), at.day.unwrap())
    });
    (read.to_vec(), times.language)
}

#[test]
fn dates_written_out_are_understood_in_every_language() {
    let november = ["2026-11-21 08:12", "2026-11-20 22:40", "2026-11-19 17:05"];
    for (language, texts) in [
        (
            "ko",
            [
                "2026년 11월 21일 토요일 오전 8:12",
                "2026년 11월 20일 금요일 오후 10:40",
                "2026년 11월 19일 목요일 오후 5:05",
            ],
        ),
        ("ko", ["2026년 11월 21일 (토) 08:12", "2026년 11월 20일 (금) 22:40", "2026년 11월 19일 (목) 17:05"]),
        ("ko", ["2026년 11월 21일 8시 12분", "2026년 11월 20일 22시 40분", "2026년 11월 19일 17시 05분"]),
        ("ko", ["2026. 11. 21. 오전 8:12:00", "2026. 11. 20. 오후 10:40:00", "2026. 11. 19. 오후 5:05:00"]),
        ("ko", ["2026.11.21(토) 08:12", "2026.11.20(금) 22:40", "2026.11.19(목) 17:05"]),
        (
            "fr",
            ["samedi 21 novembre 2026 à 08:12", "vendredi 20 novembre 2026 à 22:40", "jeudi 19 novembre 2026 à 17:05"],
        ),
        (
            "fr",
            ["samedi 21 novembre 2026 à 8h12", "vendredi 20 novembre 2026 à 22h40", "jeudi 19 novembre 2026 à 17h05"],
        ),
        ("fr", ["Sam. 21 nov. 2026 - 08 h 12", "Ven. 20 nov. 2026 - 22 h 40", "Jeu. 19 nov. 2026 - 17 h 05"]),
        (
            "de",
            [
                "Samstag, 21. November 2026, 08:12 Uhr",
                "Freitag, 20. November 2026, 22:40 Uhr",
                "Donnerstag, 19. November 2026, 17:05 Uhr",
            ],
        ),
        (
            "de",
            [
                "Samstag, den 21. November 2026 um 08.12 Uhr",
                "Freitag, den 20. November 2026 um 22.40 Uhr",
                "Donnerstag, den 19. November 2026 um 17.05 Uhr",
            ],
        ),
        ("de", ["Sa., 21.11.2026, 08:12 Uhr", "Fr., 20.11.2026, 22:40 Uhr", "Do., 19.11.2026, 17:05 Uhr"]),
        (
            "es",
            [
                "sábado, 21 de noviembre de 2026, 08:12",
                "viernes, 20 de noviembre de 2026, 22:40",
                "jueves, 19 de noviembre de 2026, 17:05",
            ],
        ),
        (
            "es",
            [
                "21 de noviembre de 2026 a las 8:12 a. m.",
                "20 de noviembre de 2026 a las 10:40 p. m.",
                "19 de noviembre de 2026 a las 5:05 p. m.",
            ],
        ),
        (
            "pt",
            [
                "sábado, 21 de novembro de 2026 às 08:12",
                "sexta-feira, 20 de novembro de 2026 às 22:40",
                "quinta-feira, 19 de novembro de 2026 às 17:05",
            ],
        ),
        (
            "pt",
            [
                "21 de novembro de 2026, às 08h12",
                "20 de novembro de 2026, às 22h40",
                "19 de novembro de 2026, às 17h05",
            ],
        ),
        (
            "it",
            [
                "sabato 21 novembre 2026, ore 08:12",
                "venerdì 20 novembre 2026, ore 22:40",
                "giovedì 19 novembre 2026, ore 17:05",
            ],
        ),
        (
            "it",
            [
                "sabato 21 novembre 2026 alle 08.12",
                "venerdì 20 novembre 2026 alle ore 22.40",
                "giovedì 19 novembre 2026 alle 17.05",
            ],
        ),
        (
            "nl",
            [
                "zaterdag 21 november 2026 om 08:12 uur",
                "vrijdag 20 november 2026 om 22:40 uur",
                "donderdag 19 november 2026 om 17:05 uur",
            ],
        ),
        ("ja", ["2026年11月21日(土) 08:12", "2026年11月20日(金) 22:40", "2026年11月19日(木) 17:05"]),
        ("ja", ["2026年11月21日 土曜日 8時12分", "2026年11月20日 金曜日 22時40分", "2026年11月19日 木曜日 17時5分"]),
        (
            "ja",
            [
                "2026年11月21日（土） 午前8時12分",
                "2026年11月20日（金） 午後10時40分",
                "2026年11月19日（木） 午後5時05分",
            ],
        ),
        ("zh", ["2026年11月21日 星期六 08:12:33", "2026年11月20日 星期五 22:40:11", "2026年11月19日 星期四 17:05:00"]),
        ("zh", ["2026年11月21日上午8:12", "2026年11月20日下午10:40", "2026年11月19日下午5:05"]),
        (
            "en",
            [
                "Saturday 21st November 2026, 08:12",
                "Friday 20th November 2026, 22:40",
                "Thursday 19th November 2026, 17:05",
            ],
        ),
        (
            "en",
            ["08:12, Saturday 21 November 2026", "22:40, Friday 20 November 2026", "17:05, Thursday 19 November 2026"],
        ),
        ("en", ["Sat Nov 21 08:12:00 UTC 2026", "Fri Nov 20 22:40:00 UTC 2026", "Thu Nov 19 17:05:00 UTC 2026"]),
        ("tr", ["21 Kasım 2026 Cumartesi 08:12", "20 Kasım 2026 Cuma 22:40", "19 Kasım 2026 Perşembe 17:05"]),
        (
            "cs",
            ["sobota 21. listopadu 2026 8:12", "pátek 20. listopadu 2026 22:40", "čtvrtek 19. listopadu 2026 17:05"],
        ),
        (
            "id",
            [
                "Sabtu, 21 November 2026 | 08:12 WIB",
                "Jumat, 20 November 2026 | 22:40 WIB",
                "Kamis, 19 November 2026 | 17:05 WIB",
            ],
        ),
        (
            "ru",
            ["суббота, 21 ноября 2026 в 08:12", "пятница, 20 ноября 2026 в 22:40", "четверг, 19 ноября 2026 в 17:05"],
        ),
        ("fi", ["la 21.11.2026 klo 8.12", "pe 20.11.2026 klo 22.40", "to 19.11.2026 klo 17.05"]),
        (
            "hu",
            [
                "2026. november 21. szombat 08:12",
                "2026. november 20. péntek 22:40",
                "2026. november 19. csütörtök 17:05",
            ],
        ),
        ("ro", ["sâmbătă 21 noiembrie 2026 08:12", "vineri 20 noiembrie 2026 22:40", "joi 19 noiembrie 2026 17:05"]),
        (
            "el",
            ["Σάββατο 21 Νοεμβρίου 2026 08:12", "Παρασκευή 20 Νοεμβρίου 2026 22:40", "Πέμπτη 19 Νοεμβρίου 2026 17:05"],
        ),
    ] {
        let (read, told) = column(texts);
        assert_eq!(read, november, "{texts:?}");
        assert_eq!(told.as_deref(), (language != "en").then_some(language), "{texts:?}");
    }
}

#[test]
fn days_alone_and_days_without_a_year_are_understood() {
    for (texts, read) in [
        (["le 1er août 2026", "31 juillet 2026", "30 juillet 2026"], ["2026-8-1", "2026-7-31", "2026-7-30"]),
        (
            ["21 de enero de 2026", "20 de enero de 2026", "19 de enero de 2026"],
            ["2026-1-21", "2026-1-20", "2026-1-19"],
        ),
        (
            ["2026年11月21日 星期六", "2026年11月20日 星期五", "2026年11月9日 星期一"],
            ["2026-11-21", "2026-11-20", "2026-11-9"],
        ),
        (
            ["zaterdag 21 maart 08:12", "vrijdag 20 maart 22:40", "zo 1 maart 17:05"],
            ["0-3-21 08:12", "0-3-20 22:40", "0-3-1 17:05"],
        ),
        (
            ["Sa 21.11. 08:12", "Fr 20.11. 22:40", "Do 19.11. 17:05"],
            ["0-11-21 08:12", "0-11-20 22:40", "0-11-19 17:05"],
        ),
        (["11月21日 08:12", "11月20日 22:40", "11月9日 17:05"], ["0-11-21 08:12", "0-11-20 22:40", "0-11-9 17:05"]),
        (["mar. 17 mars 2026", "mer. 18 mars 2026", "jeu. 19 mars 2026"], ["2026-3-17", "2026-3-18", "2026-3-19"]),
    ] {
        assert_eq!(column(texts).0, read, "{texts:?}");
    }
}

#[test]
fn what_is_no_time_is_none() {
    for texts in [
        ["2 of 3 parcels", "1 of 3 parcels", "3 of 3 parcels"],
        ["2.50 kg", "12.00 kg", "1.25 kg"],
        ["Hauptstr. 12", "Hauptstr. 13", "Bahnhofstr. 1"],
        ["1.2.3", "1.2.4", "2.0.1"],
        ["+49 30 1234", "+49 30 4321", "+49 40 1111"],
        ["Left at depot 7 for the courier", "Arrived at depot 9", "Collected"],
    ] {
        assert_eq!(guess::times(&texts, &[]), None, "{texts:?}");
    }
}

#[test]
fn days_that_are_closer_together_are_likelier() {
    for (texts, formats) in [
        (["11/12/2026 3:15 PM", "11/12/2026 8:02 AM", "11/11/2026 11:59 PM"], "%m/%d/%Y"),
        (["12/11/2026 15:15", "12/11/2026 08:02", "11/11/2026 23:59"], "%d/%m/%Y"),
        (["11/11 14:44", "11/11 05:10", "11/10 18:22"], "%m/%d "),
        (["05/04/2026", "05/04/2026", "05/04/2026"], "%d/%m/%Y"),
    ] {
        let times = guess::times(&texts, &[]).unwrap_or_else(|| panic!("{texts:?} is no time"));
        assert!(times.ambiguous && times.formats[0].starts_with(formats), "{texts:?}: {times:?}");
    }
}

#[test]
fn words_that_are_not_known_take_one_place_for_all() {
    let texts = [
        "Xan 12.11.2026 10:44",
        "Yol 11.11.2026 22:31",
        "Zum 9.11.2026 11:00",
        "Wer 8.11.2026 11:00",
        "Ver 7.11.2026 11:00",
    ];
    let times = guess::times(&texts, &[]).unwrap_or_else(|| panic!("{texts:?} is no time"));
    assert_eq!(times.formats, ["%a %d.%m.%Y %H:%M"]);
}
