//! Times as they are printed: in many languages, with years and zones from where they are said, or inferred and marked.

use waybill_adapters::Reading;
use waybill_schemas::{UtcMs, event::ZoneSource};

use crate::{adapter, read, read_with, reading};

#[test]
fn nrm_5_times_are_read_as_they_are_printed() {
    for (languages, formats, printed, expected) in [
        ("[en]", "'%d %b %Y %I:%M %p'", "3 Mar 2026 12:05 a.m.", Some("2026-03-03T00:05")),
        ("[en]", "'%b %d, %Y %I:%M%p'", "March 3, 2026 12:05PM", Some("2026-03-03T12:05")),
        ("[ko]", "'%Y.%m.%d %p %I:%M'", "2026.03.03 오후 2:05", Some("2026-03-03T14:05")),
        ("[zh]", "'%Y年%m月%d日 %p%I:%M'", "2026年3月3日 下午2:05", Some("2026-03-03T14:05")),
        ("[de]", "'%a, %d. %b %Y %H:%M Uhr'", "Di., 3. März 2026 14:05 Uhr", Some("2026-03-03T14:05")),
        ("[fr]", "'%d %b %Y à %Hh%M'", "3 févr. 2026 à 14h05", Some("2026-02-03T14:05")),
        ("[pl]", "'%d %b %Y %H:%M'", "3 października 2026 14:05", Some("2026-10-03T14:05")),
        ("[ru]", "'%d %b %Y, %H:%M'", "3 мая 2026, 14:05", Some("2026-05-03T14:05")),
        ("[uk]", "'%d %b %Y, %H:%M'", "3 травня 2026, 14:05", Some("2026-05-03T14:05")),
        ("[cs]", "'%d. %b %Y'", "3. května 2026", Some("2026-05-03")),
        ("[ro]", "'%d %b %Y'", "3 mai 2026", Some("2026-05-03")),
        ("[el]", "'%d %b %Y'", "3 Μαΐου 2026", Some("2026-05-03")),
        ("[hu]", "'%Y. %b %d.'", "2026. május 3.", Some("2026-05-03")),
        ("[tr]", "'%d %b %Y'", "3 Ağustos 2026", Some("2026-08-03")),
        ("[id]", "'%d %b %Y'", "3 Agustus 2026", Some("2026-08-03")),
        ("[en]", "'%d %b %Y'", "3 Smarch 2026", None),
        ("[en]", "'%d.%m.%Y'", "31.02.2026", None),
        ("[en]", "'%s'", "1772546700", Some("2026-03-03T14:05:00Z")),
        ("[en]", "'%Q'", "1772546700123", Some("2026-03-03T14:05:00Z")),
        ("[en]", "'/Date(%Q[%z])/'", "/Date(1772546700123)/", Some("2026-03-03T14:05:00Z")),
        ("[en]", "'/Date(%Q[%z])/'", "/Date(1772546700123+0200)/", Some("2026-03-03T16:05:00+02:00")),
        ("[en]", "iso", "2026-03-03T14:05:00.123+02:00", Some("2026-03-03T14:05:00+02:00")),
        ("[en]", "'%d/%m'", "03/03", None),
    ] {
        let adapter = adapter(
            &format!(
                "readers:\n  - {{name: r, shape: json, accept: {{has: e}}, times: {{formats: [{formats}], languages: {languages}}},\n\
                 \x20    tables: [{{rows: 'e[*]', time: t, text: x}}]}}\n"
            )
            .replace("languages: [en]}", "languages: [en]}"),
        );
        let body = serde_json::json!({ "e": [{ "t": printed, "x": "y" }] }).to_string();
        let event = read(&adapter, body.as_bytes()).events.remove(0);
        assert_eq!(event.time_raw, printed);
        assert_eq!(event.time.as_ref().map(|time| time.iso.as_str()), expected, "{printed}");
        assert!(event.time.is_none_or(|time| !time.year_inferred));
    }
}

#[test]
fn nrm_5_a_year_is_inferred_only_where_the_adapter_says_so_and_marked() {
    let adapter = |year: &str| {
        reading(&format!(
            "shape: json\naccept: {{has: e}}\ntimes: {{formats: ['%d/%m %H:%M'], {year}}}\n\
             tables: [{{rows: 'e[*]', time: t, text: x}}]\n\
             facts: {{eta: {{from: due, formats: ['%d/%m'], {year}}}}}"
        ))
    };
    let seen = |iso: &str| UtcMs::new(iso.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let look = |year: &str, printed: &str, seen_at: Option<&str>| {
        let body = serde_json::json!({ "e": [{ "t": printed, "x": "y" }] }).to_string();
        let reading = Reading { seen_at: seen_at.map(seen), ..Reading::default() };
        let event = read_with(&adapter(year), body.as_bytes(), None, reading).events.remove(0);
        event.time.map(|time| (time.iso, time.year_inferred))
    };
    let at = |iso: &str| Some((iso.to_owned(), true));
    assert_eq!(look("year: inferred", "31/12 23:10", Some("2027-01-02T00:00:00Z")), at("2026-12-31T23:10"));
    assert_eq!(look("year: inferred", "02/01 23:10", Some("2027-01-02T22:00:00Z")), at("2027-01-02T23:10"));
    assert_eq!(
        look("year: inferred", "03/01 01:10", Some("2027-01-02T22:00:00Z")),
        at("2027-01-03T01:10"),
        "clocks differ"
    );
    assert_eq!(look("year: inferred", "05/01 01:10", Some("2027-01-02T22:00:00Z")), at("2026-01-05T01:10"));
    assert_eq!(look("year: inferred", "29/02 01:10", Some("2027-01-02T22:00:00Z")), at("2024-02-29T01:10"));
    assert_eq!(look("year: inferred", "30/02 01:10", Some("2027-01-02T22:00:00Z")), None);
    assert_eq!(look("year: inferred", "31/12 23:10", None), None, "when it was seen is not known");
    assert_eq!(look("year: printed", "31/12 23:10", Some("2027-01-02T00:00:00Z")), None, "not asked for");
    let due = |printed: &str| {
        let body = serde_json::json!({ "e": [{ "t": "", "x": "y" }], "due": printed }).to_string();
        let reading = Reading { seen_at: Some(seen("2026-12-30T00:00:00Z")), ..Reading::default() };
        read_with(&adapter("year: inferred"), body.as_bytes(), None, reading).facts.estimated_delivery.unwrap().from
    };
    assert_eq!((due("02/01"), due("29/12")), ("2027-01-02".to_owned(), "2026-12-29".to_owned()));
}

#[test]
fn a_year_may_stand_elsewhere_and_zones_come_from_where_they_are_said() {
    let adapter = adapter(
        "zone: Europe/Berlin
readers:
  - name: r
    shape: html
    accept: {has: table}
    times:
      formats: ['%d.%m. %H:%M']
      zones: {EST: America/New_York}
      places: [{match: 'Tokyo', zone: Asia/Tokyo}]
    tables:
      - {each: table, heading: 'tr.year', rows: tr, year: {of: heading, path: th}, time: {cell: 1}, text: {cell: 2},
         location: {cell: 3}, offset: {cell: 4}}
",
    );
    let page = b"<table><tr class=year><th>Year 2025</th></tr><tr><td>31.12. 10:00<td>a<td><td>
        <tr class=year><th>2026</th></tr><tr><td>01.01. 10:00<td>b<td>Tokyo<td><tr><td>02.01. 10:00<td>c<td>X<td>EST
        <tr><td>03.01. 10:00<td>d<td>X<td>QQT</table>";
    let times: Vec<_> = read(&adapter, page).events.into_iter().map(|event| event.time.unwrap()).collect();
    let shown: Vec<_> = times.iter().map(|time| (time.iso.as_str(), time.zone_source)).collect();
    assert_eq!(
        shown,
        [
            ("2025-12-31T10:00+01:00", ZoneSource::Adapter),
            ("2026-01-01T10:00+09:00", ZoneSource::Place),
            ("2026-01-02T10:00-05:00", ZoneSource::Carrier),
            ("2026-01-03T10:00", ZoneSource::Unknown),
        ]
    );
}
