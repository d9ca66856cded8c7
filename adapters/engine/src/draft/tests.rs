//! Drafts of answers as carriers give them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const SCANS: &str = r#"{"e": [{"time": "2026-11-21T08:12:00", "description": "Out for delivery", "city": "Hamburg"},
 {"time": "2026-11-20T22:40:00", "description": "Arrived at depot", "city": "Hannover"}]}"#;

fn drafted(body: &[u8], content_type: Option<&str>) -> Result<Draft, DraftError> {
    draft(&"acme".parse().unwrap(), body, Wish { content_type, ..Wish::default() })
}

/// The texts of events, each with its time as printed.
fn events(draft: &Draft) -> Vec<(&str, &str)> {
    assert!(draft.reads.events.iter().all(|event| event.time.is_some()), "{}", draft.adapter);
    draft.reads.events.iter().map(|event| (event.time_raw.as_str(), event.text.as_str())).collect()
}

#[test]
fn documents_within_documents_are_unwrapped() {
    let string = serde_json::to_string(SCANS).unwrap();
    let page = |script: &str| format!("<html><body><div id=root></div>{script}</body></html>");
    for (body, stage, file) in [
        (page(&format!("<script>window.__S__ = {SCANS};</script>")), "after: '\\bwindow\\.__S__", "page.html"),
        (
            page(&format!("<script id=\"__NEXT_DATA__\" type=\"application/json\">{SCANS}</script>")),
            "css: 'script#__NEXT_DATA__'",
            "page.html",
        ),
        (page(&format!("<script>var d = JSON.parse({string});</script>")), "take: string", "page.html"),
        (format!("{{\"data\": {string}}}"), "json: '$.data'", "page.json"),
        (page(&format!("<script>var d = {{\"data\": {string}}};</script>")), "json: '$.data'", "page.html"),
        (format!("answer({SCANS});"), "after: '\\banswer", "page.json"),
    ] {
        let draft = drafted(body.as_bytes(), None).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert!(draft.adapter.contains(stage), "{stage}: {}", draft.adapter);
        assert_eq!(draft.answer_file, file);
        assert_eq!(
            events(&draft),
            [("2026-11-21T08:12:00", "Out for delivery"), ("2026-11-20T22:40:00", "Arrived at depot")],
            "{}",
            draft.adapter
        );
    }
    // What the page itself shows needs no unwrapping.
    let table = "<table id=t><tr><th>Date<th>Status</tr><tr><td>21.11.2026 08:12<td>Out for delivery</tr>\
                 <tr><td>20.11.2026 22:40<td>Arrived at depot</tr></table>";
    let shown = drafted(page(&format!("{table}<script>var s = {SCANS}</script>")).as_bytes(), None).unwrap();
    assert!(!shown.adapter.contains("unwrap"), "{}", shown.adapter);
}

#[test]
fn a_date_and_a_time_in_keys_of_their_own_are_joined() {
    for clock in [["08:12", "22:40"], ["08:12:00", "22:40:00"]] {
        let body = format!(
            r#"{{"l": [{{"date": "2026-11-21", "time": "{}", "status": "Out for delivery"}},
             {{"date": "2026-11-20", "time": "{}", "status": "Arrived"}}]}}"#,
            clock[0], clock[1]
        );
        let draft = drafted(body.as_bytes(), None).unwrap();
        let times: Vec<String> = events(&draft).iter().map(|(time, _)| (*time).to_owned()).collect();
        assert_eq!(
            times,
            [format!("2026-11-21 {}", clock[0]), format!("2026-11-20 {}", clock[1])],
            "{}",
            draft.adapter
        );
    }
    let stamps =
        r#"{"scans": [{"ts": 1795248720000, "msg": "Out for delivery"}, {"ts": 1795214400000, "msg": "Arrived"}]}"#;
    assert_eq!(events(&drafted(stamps.as_bytes(), None).unwrap()).len(), 2);
}

#[test]
fn a_refusal_tells_what_repeats() {
    let body = r#"{"l": [{"when": "yesterday, eightish", "status": "Out for delivery"},
        {"when": "the day before", "status": "Arrived at depot"}]}"#;
    let refused = drafted(body.as_bytes(), None).unwrap_err().to_string();
    assert!(refused.starts_with("2 rows repeat at l[*]"), "{refused}");
    assert!(refused.contains("when holds, for one, \"yesterday, eightish\""), "{refused}");
    assert_eq!(drafted(b"{\"a\": 1}", None), Err(DraftError::NoRows));
    assert_eq!(drafted(b"just words", None), Err(DraftError::Shape));
}

#[test]
fn a_charset_that_only_the_header_told_is_written() {
    let page = "<html><body><table class=h><tr><th>日付</th><th>状態</th></tr>\
                <tr><td>2026/11/21 08:12</td><td>配達中です</td></tr>\
                <tr><td>2026/11/20 22:40</td><td>到着しました</td></tr></table></body></html>";
    let (bytes, ..) = encoding_rs::SHIFT_JIS.encode(page);
    let draft = drafted(&bytes, Some("text/html; charset=Shift_JIS")).unwrap();
    assert!(draft.adapter.contains("charset: {fallback: shift_jis}"), "{}", draft.adapter);
    assert_eq!(events(&draft)[0].1, "配達中です");
    let declared = drafted(page.as_bytes(), Some("text/html; charset=utf-8")).unwrap();
    assert!(!declared.adapter.contains("charset:"), "{}", declared.adapter);
}

/// What the drafted files, read by the engine, find in the answer they were drafted from: the time of each event in ISO
/// 8601, its text and its place.
fn read_again(body: &str) -> Vec<(String, String, String)> {
    let draft = drafted(body.as_bytes(), None).unwrap_or_else(|error| panic!("{error}: {body}"));
    let files = Files { folder: "acme", adapter: &draft.adapter, mapping: &draft.mapping };
    let adapter = Adapter::compile("acme".parse().unwrap(), &files, &catalog::embedded_phrases().unwrap()).unwrap();
    let list = [Answer::saved("page", body.as_bytes())];
    let looked = waybill_schemas::UtcMs::new(1_795_305_600_000);
    let reading = crate::answer::Reading { seen_at: Some(looked), ..crate::answer::Reading::default() };
    let read = adapter.read_with(&Answers { number: None, list: &list }, reading);
    let shown = |event: &waybill_schemas::event::RawEvent| {
        let time = event.time.as_ref().unwrap_or_else(|| panic!("{}: {}", event.time_raw, draft.adapter));
        (time.iso.clone(), event.text.clone(), event.location.clone().unwrap_or_default())
    };
    read.events.iter().map(shown).collect()
}

#[test]
fn what_only_a_heading_has_is_no_place() {
    let heading = "<div class=row><span>Date</span><span>Depot</span><span>Status</span></div>";
    let row = |time: &str, place: &str, text: &str| {
        format!(
            "<div class=row><span class=d>{time}</span><span class=p>{place}</span><span class=s>{text}</span></div>"
        )
    };
    let rows = [
        row("21.11.2026 08:12", "Hamburg", "Out for delivery"),
        row("20.11.2026 22:40", "Hannover", "Arrived at depot"),
    ];
    let read = read_again(&format!("<html><body><div class=list>{heading}{}</div></body></html>", rows.concat()));
    let places: Vec<&str> = read.iter().map(|(_, _, place)| place.as_str()).collect();
    assert_eq!(places, ["Hamburg", "Hannover"]);
}

/// The events of every answer here.
fn three(place: &str) -> Vec<(String, String, String)> {
    let events = [
        ("2026-11-21T08:12", "Out for delivery"),
        ("2026-11-20T22:40", "Arrived at depot"),
        ("2026-11-19T17:05", "Parcel collected"),
    ];
    events.map(|(time, text)| (time.to_owned(), text.to_owned(), place.to_owned())).to_vec()
}

/// As printed: the day, the time of day, the text.
const PRINTED: [(&str, &str, &str); 3] = [
    ("21.11.2026", "08:12", "Out for delivery"),
    ("20.11.2026", "22:40", "Arrived at depot"),
    ("19.11.2026", "17:05", "Parcel collected"),
];

fn printed(row: impl Fn(&str, &str, &str) -> String) -> String {
    PRINTED.iter().map(|(day, time, text)| row(day, time, text)).collect()
}

fn page(body: &str) -> String {
    format!("<!DOCTYPE html><html lang=en><head><title>Track</title></head><body>{body}</body></html>")
}

#[test]
fn a_stream_that_is_pushed_in_pieces_is_joined() {
    let lines = format!(
        "0:[\"$\",\"html\",null,{{\"children\":[\"$\",\"$L1\",null,{{}}]}}]\n1:I[\"page.js\",[\"12\"]]\n3:T5,hello\
         5:[\"$\",\"$L6\",null,{{\"parcel\":{SCANS},\"eta\":\"$undefined\"}}]\n"
    );
    let middle = lines.find("Arrived").unwrap() + 3;
    for cuts in [vec![], vec![middle], vec![10, 40, middle]] {
        let mut from = 0;
        let mut body = "<script>(self.__next_f=self.__next_f||[]).push([0])</script>".to_owned();
        for to in cuts.iter().copied().chain([lines.len()]) {
            let piece = serde_json::to_string(&lines[from..to]).unwrap();
            body.push_str(&format!("<script>self.__next_f.push([1,{piece}])</script>"));
            from = to;
        }
        let body = page(&body);
        let draft = drafted(body.as_bytes(), None).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert!(draft.adapter.contains("take: strings"), "{}", draft.adapter);
        assert!(draft.adapter.contains("after: '\"parcel\":'"), "{}", draft.adapter);
        let read = read_again(&body);
        assert_eq!(read.len(), 2, "{}", draft.adapter);
        assert_eq!(read[0], ("2026-11-21T08:12:00".into(), "Out for delivery".into(), "Hamburg".into()));
    }
    let dates = r#"{"e": [{"time": "$D2026-11-21T08:12:00.000Z", "description": "Out for delivery", "city": "$undefined"},
        {"time": "$D2026-11-20T22:40:00.000Z", "description": "Arrived at depot", "city": "Hannover"}]}"#;
    let read = read_again(dates);
    assert_eq!(read[0], ("2026-11-21T08:12:00Z".into(), "Out for delivery".into(), String::new()));
    assert_eq!(read[1].2, "Hannover");
}

#[test]
fn definition_lists_and_blocks_are_rows() {
    let list = |row: &dyn Fn(&str, &str, &str) -> String| printed(row);
    for body in [
        format!("<dl class=h>{}</dl>", list(&|d, t, s| format!("<dt>{d} {t}</dt><dd>{s}</dd>"))),
        format!("<section><dl>{}</dl></section>", list(&|d, t, s| format!("<dt>{d} {t}</dt><dd>{s}</dd>"))),
        format!("<dl id=h>{}</dl>", list(&|d, t, s| format!("<div><dt>{d} {t}</dt><dd>{s}</dd></div>"))),
        format!(
            "<ul><li>Home</li><li>Help</li></ul><ul>{}</ul>",
            list(&|d, t, s| format!("<li><i>{d} {t}</i><u>{s}</u></li>"))
        ),
        format!("<ul class=h>{}</ul>", list(&|d, t, s| format!("<li>{d} {t} - {s}</li>"))),
        format!("<ul class=h>{}</ul>", list(&|d, t, s| format!("<li>{d} {t}<br>{s}</li>"))),
        format!("<div id=h>{}</div>", list(&|d, t, s| format!("<div><div>{d} {t}</div><div>{s}</div></div>"))),
        format!("<div id=h>{}</div>", list(&|d, t, s| format!("<div class=d>{d} {t}</div><div class=t>{s}</div>"))),
        format!("<div id=h>{}</div>", list(&|d, t, s| format!("<div class=e>{d} {t}<span class=t>{s}</span></div>"))),
        format!("<div id=h>{}</div>", list(&|d, t, s| format!("<p class=e><span>{d} {t}</span><b>{s}</b></p>"))),
        format!("<div id=h>{}</div>", list(&|d, t, s| format!("<a class=e href=#><span>{d} {t}</span><b>{s}</b></a>"))),
    ] {
        assert_eq!(read_again(&page(&body)), three(""), "{body}");
    }
    for body in [
        format!("<dl class=h>{}</dl>", list(&|d, t, s| format!("<dt>{d} {t}</dt><dd>{s}</dd><dd>Hamburg</dd>"))),
        format!(
            "<div class=h>{}</div>",
            list(&|d, t, s| format!(
                "<dl class=e><dt>Date</dt><dd>{d} {t}</dd><dt>Status</dt><dd>{s}</dd><dt>Place</dt><dd>Hamburg</dd></dl>"
            ))
        ),
    ] {
        assert_eq!(read_again(&page(&body)), three("Hamburg"), "{body}");
    }
    let stamped = page(
        "<ol class=h><li><time datetime='2026-11-21T08:12'>yesterday</time><b>Out for delivery</b></li>\
         <li><time datetime='2026-11-20T22:40'>Friday</time><b>Arrived at depot</b></li></ol>",
    );
    assert_eq!(read_again(&stamped), three("")[..2]);
}

#[test]
fn days_stand_above_their_rows() {
    let expected: Vec<_> = [
        ("2026-11-21T08:12", "Out for delivery"),
        ("2026-11-21T06:01", "Arrived at depot"),
        ("2026-11-20T22:40", "Departed"),
    ]
    .map(|(time, text)| (time.to_owned(), text.to_owned(), String::new()))
    .to_vec();
    for body in [
        page(
            "<div class=day><h4>21.11.2026</h4><ul><li class=e><i>08:12</i><b>Out for delivery</b></li>\
             <li class=e><i>06:01</i><b>Arrived at depot</b></li></ul></div>\
             <div class=day><h4>20.11.2026</h4><ul><li class=e><i>22:40</i><b>Departed</b></li></ul></div>",
        ),
        page(
            "<div id=h><div class=day>21.11.2026</div><div class=e><i>08:12</i><b>Out for delivery</b></div>\
             <div class=e><i>06:01</i><b>Arrived at depot</b></div>\
             <div class=day>20.11.2026</div><div class=e><i>22:40</i><b>Departed</b></div></div>",
        ),
        r#"{"days": [{"date": "2026-11-21", "scans": [{"time": "08:12", "status": "Out for delivery"},
            {"time": "06:01", "status": "Arrived at depot"}]},
            {"date": "2026-11-20", "scans": [{"time": "22:40", "status": "Departed"}]}]}"#
            .to_owned(),
        r#"{"days": {"2026-11-21": [{"time": "08:12", "status": "Out for delivery"},
            {"time": "06:01", "status": "Arrived at depot"}], "2026-11-20": [{"time": "22:40", "status": "Departed"}]}}"#
            .to_owned(),
    ] {
        let mut read = read_again(&body);
        read.sort_by(|a, b| b.0.cmp(&a.0));
        assert_eq!(read, expected, "{body}");
    }
}

#[test]
fn an_object_whose_names_count_or_tell_times_is_a_list() {
    let rows = [
        ("1", "T08:12", 21, "Out for delivery"),
        ("2", "T22:40", 20, "Arrived at depot"),
        ("3", "T17:05", 19, "Parcel collected"),
    ];
    let of = |row: &dyn Fn(&str, &str, &str) -> String| {
        let all = rows.map(|(count, time, day, text)| row(count, &format!("2026-11-{day}{time}"), text));
        format!("{{\"parcel\": {{\"events\": {{{}}}}}}}", all.join(", "))
    };
    for body in [
        of(&|count, time, text| format!(r#""{count}": {{"time": "{time}", "status": "{text}"}}"#)),
        of(&|_, time, text| format!(r#""{time}": {{"status": "{text}", "piece": 1}}"#)),
        of(&|_, time, text| format!(r#""{time}": "{text}""#)),
        of(&|count, time, text| format!(r#""step_{count}": {{"time": "{time}", "status": "{text}"}}"#)),
    ] {
        let mut read = read_again(&body);
        read.sort_by(|a, b| b.0.cmp(&a.0));
        assert_eq!(read, three(""), "{body}");
    }
    let lists = r#"{"scans": [["2026-11-21T08:12", "Out for delivery"], ["2026-11-20T22:40", "Arrived at depot"]]}"#;
    assert_eq!(read_again(lists), three("")[..2]);
}

#[test]
fn xml_is_read_whatever_its_namespaces() {
    let rows = |prefix: &str| -> String {
        PRINTED
            .iter()
            .map(|(day, time, text)| {
                let p = prefix;
                format!(
                    "<{p}Event><{p}Date>{day}</{p}Date><{p}Time>{time}</{p}Time><{p}Text>{text}</{p}Text></{p}Event>"
                )
            })
            .collect()
    };
    let track = |prefix: &str, name: &str| {
        format!("<{prefix}Track {name}><{prefix}Events>{}</{prefix}Events></{prefix}Track>", rows(prefix))
    };
    let soap = |inner: &str| {
        format!("<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>{inner}</s:Body></s:Envelope>")
    };
    let escaped = track("", "").replace('<', "&lt;").replace('>', "&gt;");
    for body in [
        track("", "xmlns='urn:acme'"),
        track("t:", "xmlns:t='urn:acme'"),
        soap(&track("t:", "xmlns:t='urn:acme'")),
        soap(&format!("<r xmlns='urn:q'><result><![CDATA[{}]]></result></r>", track("", ""))),
        soap(&format!("<q:r xmlns:q='urn:q'><q:result>{escaped}</q:result></q:r>")),
        format!(
            "<Track xmlns='urn:acme'><Events>{}</Events></Track>",
            printed(|day, time, text| format!("<Event when='{day} {time}'>{text}</Event>"))
        ),
    ] {
        assert_eq!(read_again(&body), three(""), "{body}");
    }
    let json = format!("<?xml version=\"1.0\"?><string xmlns=\"http://acme.example/\">{SCANS}</string>");
    assert_eq!(read_again(&json).len(), 2);
}

#[test]
fn a_place_that_is_a_dash_is_none() {
    let body = "<html><body><table class=\"history\"><tr><th>Date</th><th>Time</th><th>Event</th><th>Depot</th></tr>\
                <tr><td>13/03/2026</td><td>14:22</td><td>Delivered to neighbour</td><td>Leeds</td></tr>\
                <tr><td>12/03/2026</td><td>08:02</td><td>Out with courier</td><td>Leeds</td></tr>\
                <tr><td>11/03/2026</td><td>19:40</td><td>Left at depot</td><td>-</td></tr>\
                <tr><td>10/03/2026</td><td>16:15</td><td>Collected</td><td>Exeter</td></tr></table></body></html>";
    let draft = drafted(body.as_bytes(), None).unwrap();
    assert!(draft.adapter.contains("location: {cell: 4, blank: ['-']}"), "{}", draft.adapter);
    let places: Vec<Option<&str>> = draft.reads.events.iter().map(|event| event.location.as_deref()).collect();
    assert_eq!(places, [Some("Leeds"), Some("Leeds"), None, Some("Exeter")]);
}

#[test]
fn what_yaml_takes_only_escaped_is_written_escaped() {
    let body = SCANS.replace("Out for delivery", "Out\u{81} for \\\"it's\\\" \\\\ \u{2028}delivery\u{feff}");
    assert_ne!(body, SCANS);
    let read = read_again(&body);
    assert_eq!(read.len(), 2);
    assert!(read.iter().any(|(_, text, _)| text.contains("\"it's\" \\")), "{read:?}");
}

#[test]
fn days_with_as_many_rows_each_are_no_terms() {
    let body = page(
        "<ul class=h><li class=day>Saturday, 21 November 2026</li><li class=e><i>08:12</i><b>Out for delivery</b></li>\
         <li class=e><i>06:01</i><b>Arrived at depot</b></li><li class=day>Friday, 20 November 2026</li>\
         <li class=e><i>22:40</i><b>Departed</b></li><li class=e><i>17:05</i><b>Collected</b></li></ul>",
    );
    let read: Vec<String> = read_again(&body).into_iter().map(|(time, text, _)| format!("{time} {text}")).collect();
    assert_eq!(
        read,
        [
            "2026-11-21T08:12 Out for delivery",
            "2026-11-21T06:01 Arrived at depot",
            "2026-11-20T22:40 Departed",
            "2026-11-20T17:05 Collected"
        ]
    );
}

#[test]
fn rows_of_a_table_take_their_day_from_above_or_from_beside() {
    let two: Vec<_> = three("")[..2].to_vec();
    for (body, expected) in [
        (
            "<table class=h><tr><th colspan=2>21.11.2026</th></tr><tr><td>08:12</td><td>Out for delivery</td></tr>\
             <tr><th colspan=2>20.11.2026</th></tr><tr><td>22:40</td><td>Arrived at depot</td></tr></table>",
            two.clone(),
        ),
        (
            "<table class=h><tr><th>Time<th>Status</tr><tr><td colspan=2>21.11.2026</td></tr><tr><td>08:12</td>\
             <td>Out for delivery</td></tr><tr><td colspan=2>20.11.2026</td></tr><tr><td>22:40</td>\
             <td>Arrived at depot</td></tr></table>",
            two.clone(),
        ),
        (
            "<table class=h><tr><th>Date<th>Time<th>Status</tr><tr><td>21.11.2026<td>08:12<td>Out for delivery</tr>\
             <tr><td><td>06:01<td>Arrived</tr><tr><td>20.11.2026<td>22:40<td>Arrived at depot</tr></table>",
            vec![two[0].clone(), ("2026-11-21T06:01".to_owned(), "Arrived".to_owned(), String::new()), two[1].clone()],
        ),
        (
            "<table class=h><tr><td>11/21<td>08:12<td>Out for delivery</tr>\
             <tr><td>11/20<td>22:40<td>Arrived at depot</tr></table>",
            two.clone(),
        ),
    ] {
        assert_eq!(read_again(&page(body)), expected, "{body}");
    }
    let weights = page(
        "<table class=h><tr><td>2.5<td>08:12<td>Out for delivery</tr><tr><td>2.5<td>22:40<td>Arrived at depot</tr></table>",
    );
    assert!(matches!(drafted(weights.as_bytes(), None), Err(DraftError::NoTimes { .. })));
}

#[test]
fn tables_of_one_kind_with_the_same_headings_are_read_as_one() {
    let table = |rows: &str| format!("<h2>x</h2><table class=h><tr><th>Date</th><th>Status</th></tr>{rows}</table>");
    let row = |(day, time, text): (&str, &str, &str)| format!("<tr><td>{day} {time}</td><td>{text}</td></tr>");
    let body = page(&format!(
        "{}{}",
        table(&row(PRINTED[0])),
        table(&PRINTED[1..].iter().copied().map(row).collect::<String>())
    ));
    assert_eq!(read_again(&body), three(""));
    assert!(drafted(body.as_bytes(), None).unwrap().adapter.contains("CHECK: the events of all 2 at table.h"));
}

#[test]
fn the_shipment_of_the_number_asked_for_is_told_from_others() {
    let body = format!(
        r#"{{"shipments": [{{"id": "BB2", "events": [{{"time": "2026-11-19T08:12", "status": "Lost"}},
           {{"time": "2026-11-18T08:12", "status": "Collected"}}]}}, {{"id": "aa-1", {}]}}"#,
        SCANS.trim_start_matches('{').replace("\"e\"", "\"events\"")
    );
    let wish = Wish { number: Some("AA1"), ..Wish::default() };
    let draft = super::draft(&"acme".parse().unwrap(), body.as_bytes(), wish).unwrap();
    assert!(draft.adapter.contains("scope: {each: 'shipments[*]', number: id, pick: none}"), "{}", draft.adapter);
    assert_eq!(events(&draft)[0].1, "Out for delivery");
    assert_eq!(draft.reads.events.len(), 2);
    let unknown = drafted(body.as_bytes(), None).unwrap();
    assert!(unknown.adapter.contains("# CHECK: the events of all 2 at 'shipments[*]'"), "{}", unknown.adapter);
}

#[test]
fn a_page_in_a_string_is_html_though_it_is_well_formed() {
    let table = printed(|day, time, text| format!("<tr><td>{day} {time}</td><td>{text}</td></tr>"));
    let inner = format!("<div><table class=\"h\"><tr><th>Date</th><th>Status</th></tr>{table}</table></div>");
    let body = format!("{{\"ok\": true, \"html\": {}}}", serde_json::to_string(&inner).unwrap());
    assert_eq!(read_again(&body), three(""));
}

#[test]
fn names_of_events_and_countries_are_known_for_what_they_are() {
    let body = r#"{"e": [
        {"at": "2026-11-21T08:12", "eventName": "Delivered", "status": {"code": "D1"}, "to": {"countryCode": "PT", "name": "A. Person"},
         "site": {"name": "Porto"}},
        {"at": "2026-11-20T22:40", "eventName": "Sorted", "status": {"code": "S4"}, "to": {"countryCode": "ES", "name": "A. Person"},
         "site": {"name": "Vigo"}}]}"#;
    let draft = drafted(body.as_bytes(), None).unwrap();
    for line in ["text: eventName ", "code: status.code ", "location: site.name ", "country: to.countryCode "] {
        assert!(draft.adapter.contains(line), "{line}: {}", draft.adapter);
    }
    let body = page(
        "<ul class=h><li><h4>Delivered</h4><p>The parcel was delivered.</p><small>21.11.2026 08:12</small></li>\
         <li><h4>Sorted</h4><p>The parcel was sorted.</p><small>20.11.2026 22:40</small></li></ul>",
    );
    assert!(!drafted(body.as_bytes(), None).unwrap().adapter.contains("location: "));
}

#[test]
fn what_cannot_be_drafted_says_why() {
    let many = |count: usize| {
        let row = r#"{"time": "2026-11-21T08:12", "status": "Sorted"}"#;
        format!("[{}]", vec![row; count].join(","))
    };
    for (body, why) in [
        (b" \n".to_vec(), "the answer is empty"),
        (b"\x1f\x8b\x08\x00".to_vec(), "the answer is compressed"),
        ("<div>".repeat(3_000).into_bytes(), "deeper than any real page"),
        (many(1_500).into_bytes(), "more than 1000 events"),
        (b"<html><body><table class=h><tr><td>21.11.2026 08:12<td>Sorted".to_vec(), "its end is missing"),
    ] {
        let error = drafted(&body, None).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn the_language_is_the_one_whose_phrases_know_the_texts() {
    let body = r#"{"e": [{"time": "2026-11-21 08:12", "text": "배달완료"}, {"time": "2026-11-20 22:40", "text": "집하처리"},
        {"time": "2026-11-20 21:40", "text": "delivered"}]}"#;
    let draft = drafted(body.as_bytes(), None).unwrap();
    assert!(draft.adapter.contains("languages: [ko, en]"), "{}", draft.adapter);
    assert_eq!(draft.unmatched, Vec::<String>::new());
    assert!(drafted(SCANS.as_bytes(), None).unwrap().adapter.contains("languages: [en]"));
}
