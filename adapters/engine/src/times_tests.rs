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
        ("02 Mai 2017, 04:58:00 PM", "2017-05-02T16:58:00+02:00", TimePrecision::Second, ZoneSource::Adapter),
        ("04 May 2017, 08:17:54AM", "2017-05-04T08:17:54+02:00", TimePrecision::Second, ZoneSource::Adapter),
        ("02 Mai 2017, 19:28:15PM", "2017-05-02T19:28:15+02:00", TimePrecision::Second, ZoneSource::Adapter),
        ("02 Mai 2017 12:05 AM", "2017-05-02T00:05+02:00", TimePrecision::Minute, ZoneSource::Adapter),
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
    let (iso, _, source, utc) = read(&nowhere, "20100429 120000");
    assert_eq!((iso.as_str(), source, utc), ("2010-04-29T12:00:00", ZoneSource::Unknown, None));
}

#[test]
fn nrm_5_an_abbreviation_that_is_not_known_is_not_covered_by_the_adapters_zone() {
    let rules = times("{formats: ['%Y-%m-%d %H:%M[ %Z]'], zone: America/Toronto, zones: {MST: America/Edmonton}}");
    assert_eq!(read(&rules, "2015-09-23 11:59 MST").0, "2015-09-23T11:59-06:00", "standard time printed in summer");
    assert_eq!(read(&rules, "2015-09-23 11:59 XYZ").2, ZoneSource::Unknown);
    assert_eq!(read(&rules, "2015-09-23 11:59").2, ZoneSource::Adapter);
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
                       'Date %d %b %Y Time %H:%M', '%d%b%Y', '%H:%M %d-%b-%Y']}",
    );
    for (text, iso) in [
        ("09/29/2020 12:29 P.M.", "2020-09-29T12:29"),
        ("01/12/2016 5:25 A.M.", "2016-01-12T05:25"),
        ("Agu. 13, 2018", "2018-08-13"),
        ("Mi, 21.02.18 08:18", "2018-02-21T08:18"),
        ("2020. 8. 21. 오후 4:34", "2020-08-21T16:34"),
        ("Date 23 May 2020 Time 07:08", "2020-05-23T07:08"),
        ("03JAN2024", "2024-01-03"),
        ("11:40 04-Jul-2016", "2016-07-04T11:40"),
    ] {
        assert_eq!(read(&rules, text).0, iso, "{text}");
    }
    for text in ["", "31/31/2020 1:00 PM", "yesterday", "09/29/2020 12:29 P.M. or so", "30.02.2020"] {
        assert!(rules.read(Shown { time: text, ..Shown::default() }).is_none(), "{text}");
    }
    for format in ["%Y-%q", "[%Y", "%Y]", "[a][b][c][d][e][f][g]"] {
        assert!(Format::compile(format).is_err(), "{format}");
    }
}
