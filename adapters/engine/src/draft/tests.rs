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
