#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn times(yaml: &str) -> Times {
    let spec: TimesSpec = serde_saphyr::from_str(yaml).unwrap();
    Times::compile(&[&spec], None, &["de".to_owned(), "id".to_owned(), "ko".to_owned()]).unwrap()
}

fn read(times: &Times, text: &str) -> (String, TimePrecision, ZoneSource, Option<String>) {
    let found =
        times.read(Shown { time: text, ..Shown::default() }).unwrap_or_else(|| panic!("{text} is not understood"));
    (found.iso, found.precision, found.zone_source, found.utc.map(|utc| utc.to_string()))
}

#[test]
fn nrm_5_a_time_is_as_exact_as_printed_and_says_where_its_zone_came_from() {
    let home = times("{formats: ['%d %b %Y[,] [%H:%M[:%S]][ %p]', 'iso'], zone: Europe/Berlin}");
    let expected = [
        ("11 Mai 2021, 03:41:00 PM", "2021-05-11T15:41:00+02:00", TimePrecision::Second, ZoneSource::Adapter),
        ("13 May 2021, 07:26:33AM", "2021-05-13T07:26:33+02:00", TimePrecision::Second, ZoneSource::Adapter),
        ("11 Mai 2021, 20:37:42PM", "2021-05-11T20:37:42+02:00", TimePrecision::Second, ZoneSource::Adapter),
        ("11 Mai 2021 12:05 AM", "2021-05-11T00:05+02:00", TimePrecision::Minute, ZoneSource::Adapter),
        ("2 Januar 2017", "2017-01-02", TimePrecision::Date, ZoneSource::Adapter),
        ("2 Jan. 2017 PM", "2017-01-02", TimePrecision::HalfDay, ZoneSource::Adapter),
        ("2017-01-02T03:04:05.678+09:00", "2017-01-02T03:04:05+09:00", TimePrecision::Second, ZoneSource::Carrier),
        ("2017-01-02 03:04Z", "2017-01-02T03:04Z", TimePrecision::Minute, ZoneSource::Carrier),
    ];
    for (text, iso, precision, source) in expected {
        let (found, exact, from, _) = read(&home, text);
        assert_eq!((found.as_str(), exact, from), (iso, precision, source), "{text}");
    }
    let nowhere = times("{formats: ['%Y%m%d %H%M%S']}");
    let (iso, _, source, utc) = read(&nowhere, "20220613 143000");
    assert_eq!((iso.as_str(), source, utc), ("2022-06-13T14:30:00", ZoneSource::Unknown, None));
}

#[test]
fn nrm_5_an_abbreviation_that_is_not_known_is_not_covered_by_the_adapters_zone() {
    let rules = times("{formats: ['%Y-%m-%d %H:%M[ %Z]'], zone: America/Toronto, zones: {MST: America/Edmonton}}");
    assert_eq!(read(&rules, "2021-07-14 10:42 MST").0, "2021-07-14T10:42-06:00", "standard time printed in summer");
    assert_eq!(read(&rules, "2021-07-14 10:42 XYZ").2, ZoneSource::Unknown);
    assert_eq!(read(&rules, "2021-07-14 10:42").2, ZoneSource::Adapter);
}

#[test]
fn places_zones_beside_the_time_years_and_fillers() {
    let rules = times(
        "{formats: ['%d.%m. %H:%M', '%Y-%m-%d[ %H:%M]'], zone: Asia/Seoul, midnight: date, \
                       places: [{match: '^MY', zone: Asia/Kuala_Lumpur}]}",
    );
    let shown = Shown { time: "24.12. 18:00", year: Some("Stand: 2023"), ..Shown::default() };
    assert_eq!(rules.read(shown).unwrap().iso, "2023-12-24T18:00+09:00");
    assert!(rules.read(Shown { year: None, ..shown }).is_none(), "a year is never invented");
    let there = rules.read(Shown { time: "2020-01-01 10:00", location: Some("MY4332"), ..Shown::default() }).unwrap();
    assert_eq!((there.iso.as_str(), there.zone_source), ("2020-01-01T10:00+08:00", ZoneSource::Place));
    let beside = rules.read(Shown { time: "2020-01-01 10:00", offset: Some("-04:00"), ..Shown::default() }).unwrap();
    assert_eq!((beside.iso.as_str(), beside.zone_source), ("2020-01-01T10:00-04:00", ZoneSource::Carrier));
    assert_eq!(read(&rules, "2020-01-01 00:00").1, TimePrecision::Date);
}

#[test]
fn epochs_and_clock_changes() {
    let epoch = times("{formats: ['/Date(%Q[%z])/', '%Q', '%s']}");
    assert_eq!(read(&epoch, "/Date(1514894640000+0100)/").0, "2018-01-02T13:04:00+01:00");
    assert_eq!(read(&epoch, "1514894640").0, "2018-01-02T12:04:00Z");
    let berlin = times("{formats: [iso], zone: Europe/Berlin}");
    assert_eq!(read(&berlin, "2024-03-31 02:30").3.unwrap(), "2024-03-31T01:30:00.000Z", "skipped: before the change");
    assert_eq!(read(&berlin, "2024-10-27 02:30").3.unwrap(), "2024-10-27T00:30:00.000Z", "repeated: the first");
}

#[test]
fn sloppy_writing_is_understood() {
    let rules = times(
        "{formats: ['%m/%d/%Y %I:%M %p', '%b. %d, %Y', '%a, %d.%m.%y %H:%M', '%Y. %m. %d. %p %I:%M', \
                       'Date %d %b %Y Time %H:%M', '%d%b%Y', '%H:%M %d-%b-%Y', '%d de %b de %Y, %I:%M %p']}",
    );
    for (text, iso) in [
        ("08/17/2022 12:47 P.M.", "2022-08-17T12:47"),
        ("02/19/2022 6:38 A.M.", "2022-02-19T06:38"),
        ("Agu. 24, 2022", "2022-08-24"),
        ("Mi, 16.03.22 09:47", "2022-03-16T09:47"),
        ("2022. 9. 14. 오후 5:52", "2022-09-14T17:52"),
        ("Date 18 Jun 2022 Time 06:49", "2022-06-18T06:49"),
        ("03JAN2024", "2024-01-03"),
        ("13:26 09-Aug-2022", "2022-08-09T13:26"),
        ("2 de April de 2022, 6:38 p.\u{a0}m.", "2022-04-02T18:38"),
        ("2 de April de 2022, 6:38 a. m.", "2022-04-02T06:38"),
    ] {
        assert_eq!(read(&rules, text).0, iso, "{text}");
    }
    for text in ["", "31/31/2020 1:00 PM", "yesterday", "08/17/2022 12:47 P.M. or so", "30.02.2020"] {
        assert!(rules.read(Shown { time: text, ..Shown::default() }).is_none(), "{text}");
    }
    for format in ["%Y-%q", "[%Y", "%Y]", "[a][b][c][d][e][f][g]", "dd.MM.yyyy"] {
        assert!(Format::compile(format).is_err(), "{format}");
    }
}

#[test]
fn nrm_5_buddhist_years_count_where_an_adapter_says_so_and_digits_of_every_width_are_digits() {
    let thai = times(
        "{formats: ['[วันที่ ]%d %b %Y [เวลา ]%H:%M[ น.]', '%d/%m/%y %H:%M', '%d/%m/%Y', '%d.%m. %H:%M'], languages: [th], \
         calendar: buddhist}",
    );
    for (text, iso) in [
        ("วันที่ 03 มี.ค. 2569 เวลา 15:10", "2026-03-03T15:10"),
        ("29 กุมภาพันธ์ 2567 00:05 น.", "2024-02-29T00:05"),
        ("๒๒ พ.ค. ๒๕๖๙ ๑๙:๔๐", "2026-05-22T19:40"),
        ("03 Mar 2026 15:10", "2026-03-03T15:10"),
        ("31/12/2568", "2025-12-31"),
        ("22/05/69 07:08", "2026-05-22T07:08"),
        ("22/05/70 07:08", "2027-05-22T07:08"),
        ("22/05/26 07:08", "2026-05-22T07:08"),
    ] {
        assert_eq!(read(&thai, text).0, iso, "{text}");
    }
    let beside = Shown { time: "24.12. 18:00", year: Some("พ.ศ. 2568"), ..Shown::default() };
    assert_eq!(thai.read(beside).unwrap().iso, "2025-12-24T18:00");
    let elsewhere = times("{formats: ['%Y.%m.%d', '%Y/%m/%d[ %H:%M]', '%d.%m. %H:%M']}");
    assert_eq!(read(&elsewhere, "2569.03.03").0, "2569-03-03", "a year is not taken for another one by itself");
    assert!(elsewhere.read(beside).is_none());
    let wide = "２０２６／１１／０４\u{3000}０９：０５";
    assert_eq!(read(&elsewhere, wide).0, "2026-11-04T09:05");
}
