//! What carriers ask for and answer, one small invented adapter each: requests of several steps, batches, GraphQL, merged
//! answers, charsets, times as they are printed, errors inside a 200, what is private.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, sync::Arc};

use waybill_adapters::{Adapter, Answer, Answers, Asked, Catalog, Context, ReadOutcome, Reading, RequestError};
use waybill_schemas::{OutcomeClass, UtcMs, event::ZoneSource};

const HEAD: &str = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\n\
                    budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n";

fn try_adapter(rest: &str) -> Result<Arc<Adapter>, String> {
    let folder = tempfile::tempdir().unwrap();
    let carrier = folder.path().join("carriers/acme");
    fs::create_dir_all(&carrier).unwrap();
    fs::write(carrier.join("adapter.yaml"), format!("{HEAD}{rest}")).unwrap();
    fs::write(carrier.join("mapping.yaml"), "format: 1\nexact: {Delivered: Delivered_Other}\n").unwrap();
    let catalog = Catalog::of_folder(&folder.path().join("carriers")).map_err(|error| error.to_string())?;
    Ok(catalog.get(&"acme".parse().unwrap()).unwrap())
}

fn adapter(rest: &str) -> Arc<Adapter> {
    try_adapter(rest).unwrap_or_else(|error| panic!("{error}"))
}

/// An adapter with one reader.
fn reading(reader: &str) -> Arc<Adapter> {
    let indented: String = reader.lines().map(|line| format!("    {line}\n")).collect();
    adapter(&format!("readers:\n  - name: only\n{indented}"))
}

fn read(adapter: &Adapter, body: &[u8]) -> ReadOutcome {
    read_with(adapter, body, None, Reading::default())
}

fn read_with(adapter: &Adapter, body: &[u8], number: Option<&str>, reading: Reading<'_>) -> ReadOutcome {
    let answers = [Answer::saved("page", body)];
    adapter.read_with(&Answers { number, list: &answers }, reading)
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const ANY: &str = "readers:\n  - {name: any, shape: json, accept: {has: a}, tables: [{rows: a, text: b}]}\n";

#[test]
fn steps_pass_on_tokens_cookies_and_hidden_fields() {
    let adapter = adapter(&format!(
        "sources:
  - name: page
    kind: page
    needs: [postal_code]
    steps:
      - name: cookie
        get: https://acme.example/
        take:
          session: {{cookie: SID}}
          csrf: {{css: 'form input[name=_csrf]', attr: value}}
          build: {{match: 'build=(\\w+)', optional: true}}
      - name: page
        post: https://acme.example/find
        headers: {{X-Session: '{{take.session}}', X-Build: '{{take.build}}'}}
        form: {{no: '{{number}}', zip: '{{param.postal_code}}', country: '{{param.country:GB}}', _csrf: '{{take.csrf}}'}}
{ANY}"
    ));
    let steps = &adapter.source("page").unwrap().steps;
    let headers = [
        ("set-cookie".to_owned(), "other=1; Path=/".to_owned()),
        ("Set-Cookie".to_owned(), "SID=s 1&x; HttpOnly".to_owned()),
    ];
    let body = b"<form><input type=hidden name=_csrf value='t&amp;1'></form>";
    let answer = Answer { headers: &headers, ..Answer::saved("cookie", body) };
    let taken = steps[0].take(&answer).unwrap();
    assert_eq!(taken, pairs(&[("session", "s 1&x"), ("csrf", "t&1"), ("build", "")]));
    let (params, none) = (pairs(&[("postal_code", "AB1 2")]), BTreeMap::new());
    let context = Context { number: "X1", params: &params, secrets: &none, taken: &taken, lang: "en" };
    let request = steps[1].request(&context).unwrap();
    assert_eq!(request.body.unwrap(), b"_csrf=t%261&country=GB&no=X1&zip=AB1%202");
    assert!(request.headers.contains(&("x-session".to_owned(), "s 1&x".to_owned())));
    let lacking = steps[1].request(&Context { params: &none, ..context }).unwrap_err();
    assert_eq!(lacking, RequestError::NeedsData(vec!["postal_code".to_owned()]), "the field is named");
    let early = steps[1].request(&Context { taken: &none, ..context }).unwrap_err();
    assert_eq!(early, RequestError::NotTaken(vec!["build".into(), "csrf".into(), "session".into()]));
}

#[test]
fn oauth_tokens_are_kept_as_long_as_they_say_and_never_for_one_number() {
    let source = |step: &str| {
        format!(
            "sources:
  - name: api
    kind: api
    secrets: [id, secret]
    steps:
      - name: token
        post: https://acme.example/token
        basic_auth: {{user: '{{secret.id}}', password: '{{secret.secret}}'}}
        form: {{grant_type: client_credentials}}
        take: {{token: {{json: access_token}}, expires: {{json: expires_in, optional: true}}}}
        keep_s: 3600
        {step}
      - name: page
        get: https://acme.example/{{number}}
        headers: {{Authorization: 'Bearer {{take.token}}'}}
{ANY}"
        )
    };
    let adapter = adapter(&source("keep_from: expires"));
    let step = &adapter.source("api").unwrap().steps[0];
    let taken = |expires: &str| {
        let body = format!("{{\"access_token\":\"t\"{expires}}}");
        step.take(&Answer::saved("token", body.as_bytes())).unwrap()
    };
    assert_eq!(step.keep_for_s(&taken(",\"expires_in\":900")), Some(870), "a little less than it says");
    assert_eq!(step.keep_for_s(&taken(",\"expires_in\":90000")), Some(3600), "never longer than the adapter says");
    assert_eq!(step.keep_for_s(&taken(",\"expires_in\":\"20\"")), None, "too short to keep");
    assert_eq!(step.keep_for_s(&taken("")), Some(3600));
    let secrets = pairs(&[("id", "me"), ("secret", "pa:ss")]);
    let none = BTreeMap::new();
    let context = Context { number: "X1", params: &none, secrets: &secrets, taken: &none, lang: "en" };
    let request = step.request(&context).unwrap();
    assert!(request.headers.contains(&("authorization".to_owned(), "Basic bWU6cGE6c3M=".to_owned())));
    let lacking = step.request(&Context { secrets: &none, ..context }).unwrap_err();
    assert_eq!(lacking, RequestError::Secrets(vec!["id".to_owned(), "secret".to_owned()]));
    for (step, expected) in [
        ("keep_from: lifetime", "keep_from names `lifetime`, which the step does not take"),
        ("query: {n: '{number}'}", "step `token` uses the number, although it keeps what it takes for others"),
    ] {
        let error = try_adapter(&source(step)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn graphql_is_sent_as_it_stands_and_its_errors_are_told_apart() {
    let adapter = adapter(
        "sources:
  - name: api
    kind: api
    steps:
      - name: page
        post: https://acme.example/graphql
        graphql:
          operation: Track
          query: 'query Track($n: String!) { track(number: $n) { events { at what } } }'
          variables: {n: '{number}', lang: '{lang}', first: 10}
readers:
  - name: graphql
    shape: json
    accept: {any: [{has: 'data'}, {has: 'errors[0]'}]}
    times: {formats: [iso]}
    tables: [{rows: 'data.track.events[*]', time: at, text: what}]
    not_found: [{when: {text: 'errors[0].extensions.code', equals: NOT_FOUND}, text: 'errors[0].message'}]
    needs_data: [{when: {text: 'errors[0].extensions.code', equals: POSTAL_CODE}, needs: [postal_code]}]
    throttled: [{when: {text: 'errors[0].extensions.code', equals: RATE_LIMITED}}]
    blocked: [{when: {text: 'errors[0].extensions.code', equals: UNAUTHENTICATED}}]
    down: [{when: {text: 'errors[0].extensions.code', equals: BACKEND}}]
    unreadable: [{when: {has: 'errors[0]', not: {text: 'errors[0].extensions.code', equals: NOT_FOUND}}}]
",
    );
    let none = BTreeMap::new();
    let context = Context { number: "X\"1", params: &none, secrets: &none, taken: &none, lang: "en" };
    let request = adapter.source("api").unwrap().steps[0].request(&context).unwrap();
    let body: serde_json::Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
    assert_eq!(body["variables"], serde_json::json!({"n": "X\"1", "lang": "en", "first": 10}));
    assert_eq!(body["operationName"], "Track");
    assert!(body["query"].as_str().unwrap().contains("{ events { at what } }"));
    let error = |code: &str| {
        format!("{{\"data\":null,\"errors\":[{{\"message\":\"m\",\"extensions\":{{\"code\":\"{code}\"}}}}]}}")
    };
    for (code, class) in [
        ("NOT_FOUND", OutcomeClass::NotFound),
        ("POSTAL_CODE", OutcomeClass::NeedsData),
        ("RATE_LIMITED", OutcomeClass::Throttled),
        ("UNAUTHENTICATED", OutcomeClass::Blocked),
        ("BACKEND", OutcomeClass::CarrierDown),
        ("ANYTHING", OutcomeClass::Unreadable),
    ] {
        let outcome = read(&adapter, error(code).as_bytes());
        assert_eq!(outcome.class, class, "{code}");
        assert_eq!(outcome.needs, if class == OutcomeClass::NeedsData { vec!["postal_code"] } else { vec![] });
    }
    let whole = br#"{"data":{"track":{"events":[{"at":"2026-03-01T10:00:00Z","what":"Sorted"}]}}}"#;
    assert_eq!(read(&adapter, whole).events[0].text, "Sorted");
}

#[test]
fn a_batch_is_one_request_and_its_answer_is_told_apart_by_number() {
    let batch = |steps: &str| {
        format!(
            "sources:
  - name: api
    kind: api
    batch: {{max: 3, join: ';', each: '<no>{{number}}</no>'}}
    steps:
      - {steps}
readers:
  - name: list
    shape: json
    accept: {{any: [{{has: 'parcels'}}, {{has: error}}]}}
    scope: {{each: 'parcels[*]', number: 'no', absent: not_found}}
    times: {{formats: [iso]}}
    tables: [{{rows: 'events[*]', time: at, text: what}}]
    not_found: [{{when: {{text: state, equals: unknown}}}}]
    blocked: [{{when: {{text: error, equals: key}}}}]
"
        )
    };
    let ask = |steps: &str, numbers: &[&str]| {
        let adapter = adapter(&batch(steps));
        let source = adapter.source("api").unwrap();
        assert_eq!(source.batch, 3);
        let none = BTreeMap::new();
        let context = Context { number: numbers[0], params: &none, secrets: &none, taken: &none, lang: "en" };
        let request = source.steps[0].request_of_batch(&context, numbers).unwrap();
        (request.url, request.body.map(|body| String::from_utf8(body).unwrap()))
    };
    let json = "{name: page, post: 'https://acme.example/t', json: {list: [{no: '{number}'}], also: ['x']}}";
    assert_eq!(ask(json, &["A1", "B2"]).1.unwrap(), r#"{"also":["x"],"list":[{"no":"A1"},{"no":"B2"}]}"#);
    assert_eq!(ask(json, &["A1"]).1.unwrap(), r#"{"also":["x"],"list":[{"no":"A1"}]}"#);
    let text = "{name: page, post: 'https://acme.example/t', text: {content_type: text/xml, body: '<r>{numbers}</r>'}}";
    assert_eq!(ask(text, &["A&1", "B2"]).1.unwrap(), "<r><no>A&amp;1</no>;<no>B2</no></r>");
    // What stands around the numbers is a value's text like they are.
    let form = "{name: page, post: 'https://acme.example/t', form: {q: 'a+b=<r>{numbers}</r>'}}";
    let escaped = "q=a%2Bb%3D%3Cr%3E%3Cno%3EA1%3C%2Fno%3E%3B%3Cno%3EB2%3C%2Fno%3E%3C%2Fr%3E";
    assert_eq!(ask(form, &["A1", "B2"]).1.unwrap(), escaped);
    let query = "{name: page, get: 'https://acme.example/t', query: {q: 'a+b=<r>{numbers}</r>'}}";
    assert_eq!(ask(query, &["A1", "B2"]).0, format!("https://acme.example/t?{escaped}"));
    let wrong = try_adapter(&batch("{name: page, get: 'https://acme.example/{number}'}")).unwrap_err();
    assert!(wrong.contains("step `page` uses `{number}` although its source asks for several"), "{wrong}");
    let alone = batch("{name: page, get: 'https://acme.example/{numbers}'}").replace("batch:", "documentation: '' #");
    assert!(try_adapter(&alone).unwrap_err().contains("say batch: {max: …} on its source"));

    let adapter = adapter(&batch(json));
    let answer = br#"{"parcels":[
        {"no":"A1","events":[{"at":"2026-03-01T10:00:00Z","what":"Delivered"}]},
        {"no":"B2","state":"unknown","events":[]},
        {"no":"C3","events":[{"at":"2026-03-02T10:00:00Z","what":"Sorted"}]}]}"#;
    let several = Reading { asked: Asked::Several, ..Reading::default() };
    let of = |number: &str| read_with(&adapter, answer, Some(number), several);
    assert_eq!(of("A1").events[0].text, "Delivered");
    assert_eq!(of("C-3").events[0].text, "Sorted", "hyphens do not matter");
    assert_eq!(of("B2").class, OutcomeClass::NotFound);
    assert_eq!(of("D4").class, OutcomeClass::NotFound, "left out means unknown to this carrier");
    let refused = read_with(&adapter, br#"{"error":"key"}"#, Some("A1"), several);
    assert_eq!(refused.class, OutcomeClass::Blocked, "an error of the whole is everybody's");
    let unscoped = reading("shape: json\naccept: {has: a}\ntables: [{rows: 'a[*]', text: b}]");
    let outcome = read_with(&unscoped, br#"{"a":[{"b":"x"}]}"#, Some("A1"), several);
    assert_eq!(outcome.class, OutcomeClass::Unreadable, "nobody gets another's history: {:?}", outcome.detail);
    assert_eq!(read(&unscoped, br#"{"a":[{"b":"x"}]}"#).events.len(), 1);
}

#[test]
fn of_several_pieces_the_one_asked_is_read() {
    let piece = |pick: &str| {
        reading(&format!(
            "shape: html\naccept: {{has: div.piece}}\nscope: {{each: div.piece, number: h3{pick}}}\ntables: [{{rows: li, text: .}}]"
        ).replace("text: .", "text: {own: true}"))
    };
    let page = b"<div class=piece><h3>AA 1</h3><li>one</div><div class=piece><h3>BB-2</h3><li>two</div>";
    let text = |pick: &str, number: Option<&str>| {
        let outcome = read_with(&piece(pick), page, number, Reading::default());
        outcome.events.first().map_or_else(|| outcome.class.as_str().to_owned(), |event| event.text.clone())
    };
    assert_eq!(text("", Some("BB2")), "two");
    assert_eq!(text("", Some("CC3")), "one");
    assert_eq!(text(", pick: last", Some("CC3")), "two");
    assert_eq!(text(", pick: none", Some("CC3")), "unreadable");
    assert_eq!(text(", pick: none, absent: not_found", Some("CC3")), "not_found");
    assert_eq!(text(", pick: none", Some("AA1")), "one");
}

#[test]
fn two_answers_become_one_history() {
    let adapter = reading(
        "shape: html
steps: [summary]
accept: {has: 'p.status'}
times: {formats: ['%d.%m.%Y %H:%M']}
tables: [{rows: tr, time: [{cell: 1}, {cell: 2}], text: {cell: 3}}]
facts: {status: p.status}
also:
  - shape: json
    steps: [detail]
    accept: {has: scans}
    times: {formats: ['%s']}
    tables: [{rows: 'scans[*]', time: t, text: x, location: {join: [city, country], with: ', '}, leg: 1}]
    facts: {weight: w, legs: [{carrier: {const: other}, number: partner}]}",
    );
    let summary = b"<p class=status>Moving</p><table><tr><td>01.02.2026<td>10:30<td>Handed over</table>";
    let detail =
        br#"{"w":"1.2 kg","partner":"P9","scans":[{"t":1770000000,"x":"Flown","city":"Riga","country":"LV"}]}"#;
    let answers = [Answer::saved("summary", summary), Answer::saved("detail", detail)];
    let outcome = adapter.read(&Answers { number: None, list: &answers });
    let texts: Vec<_> = outcome.events.iter().map(|event| (event.text.as_str(), event.leg)).collect();
    assert_eq!(texts, [("Handed over", 0), ("Flown", 1)]);
    assert_eq!(outcome.events[0].time_raw, "01.02.2026 10:30", "a time split over cells");
    assert_eq!(outcome.events[1].location.as_deref(), Some("Riga, LV"));
    assert_eq!(outcome.facts.weight.as_deref(), Some("1.2 kg"));
    assert_eq!(outcome.facts.legs[0].number, "P9", "the last mile's number");
    let alone = adapter.read(&Answers { number: None, list: &answers[..1] });
    assert_eq!(alone.events.len(), 1);
}

#[test]
fn nrm_1_legacy_charsets_are_read_as_declared() {
    let plain = "shape: html\naccept: {has: td}\ntables: [{rows: tr, text: {cell: 1}}]";
    for (charset, words) in [
        ("euc-kr", "배달완료"),
        ("shift_jis", "お届け先にお届け済み"),
        ("gb18030", "已签收𠀀"),
        ("big5", "已送達"),
        ("windows-1250", "Doručeno příjemci"),
        ("windows-1251", "Вручение адресату"),
        ("windows-1252", "Zugestellt – „Müller“ €"),
        ("windows-1253", "Παραδόθηκε"),
        ("windows-1254", "Teslim edildi ığş"),
        ("windows-1257", "Įteikta gavėjui"),
        ("iso-8859-2", "Doręczono łódź"),
    ] {
        let encoding = encoding_rs::Encoding::for_label(charset.as_bytes()).unwrap();
        let page =
            format!("<html><head><meta charset={charset}></head><table><tr><td>{words}</td></tr></table></html>");
        let (bytes, _, lossy) = encoding.encode(&page);
        assert!(!lossy, "{charset}");
        assert_eq!(read(&reading(plain), &bytes).events[0].text, words, "{charset}");
        // Undeclared, where the adapter knows.
        let (bytes, ..) = encoding.encode("<table><tr><td>");
        let (words_bytes, ..) = encoding.encode(words);
        let undeclared = [&*bytes, &*words_bytes, b"</table>"].concat();
        let fallback = format!("charset: {{fallback: {charset}}}\nreaders:\n  - name: only\n");
        let knowing = adapter(&(fallback + &plain.lines().map(|line| format!("    {line}\n")).collect::<String>()));
        assert_eq!(read(&knowing, &undeclared).events[0].text, words, "{charset}");
        assert_eq!(read(&reading(plain), &undeclared).class, OutcomeClass::Unreadable, "{charset}: nothing is guessed");
    }
}

#[test]
fn xml_is_read_whatever_its_namespaces() {
    let adapter = reading(
        "shape: xml
accept: {root: Envelope}
times: {formats: ['%Y%m%d %H%M%S']}
tables: [{rows: '//scan', time: [day, clock], text: text, code: '@code', country: place/@c}]
facts: {origin: '//from', destination: '//to', service: '//product', eta: {from: '//due', formats: ['%Y%m%d']}}",
    );
    let body = br#"<?xml version="1.0"?><s:Envelope xmlns:s="urn:soap" xmlns="urn:a" xmlns:q="urn:q"><s:Body>
        <q:from>DE</q:from><to>France</to><product>Express</product><due>20260303</due>
        <scan q:code="7"><day>20260301</day><clock>101500</clock><text><![CDATA[In & out]]></text><q:place q:c="DE"/></scan>
        </s:Body></s:Envelope>"#;
    let outcome = read(&adapter, body);
    let event = &outcome.events[0];
    assert_eq!(
        (event.text.as_str(), event.code.as_deref(), event.country.as_deref()),
        ("In & out", Some("7"), Some("DE"))
    );
    assert_eq!(event.time.as_ref().unwrap().iso, "2026-03-01T10:15:00");
    assert_eq!(outcome.facts.origin.as_deref(), Some("DE"));
    assert_eq!(outcome.facts.destination.as_deref(), Some("FR"));
    assert_eq!(outcome.facts.service.as_deref(), Some("Express"));
    assert_eq!(outcome.facts.estimated_delivery.as_ref().unwrap().from, "2026-03-03");
}

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

#[test]
fn what_tells_of_people_is_read_only_where_the_operator_lists_it() {
    let adapter = reading(
        "shape: json\naccept: {has: e}\ntables: [{rows: 'e[*]', text: x}]\n\
         facts: {private: {signed_by: signer, recipient: to.name}}",
    );
    let body = br#"{"e":[{"x":"Signed for by A. Nobody"}],"signer":"A. Nobody","to":{"name":"B. Noone"}}"#;
    assert!(read(&adapter, body).facts.private.is_empty());
    let wanted = ["signed_by".to_owned()];
    let outcome = read_with(&adapter, body, None, Reading { private: &wanted, ..Reading::default() });
    assert_eq!(outcome.facts.private, pairs(&[("signed_by", "A. Nobody")]));
    assert_eq!(outcome.events[0].text, "Signed for by A. Nobody", "an event's own words are the carrier's, verbatim");
}

#[test]
fn a_retired_source_asks_nothing_and_its_answers_are_still_read() {
    let adapter = adapter(&format!("sources:\n  - {{name: old, kind: page, retired: true}}\n{ANY}"));
    assert!(!adapter.source("old").unwrap().on_by_default(|_| true));
    assert_eq!(read(&adapter, br#"{"a":{"b":"x"}}"#).events[0].text, "x");
}

#[test]
fn a_part_of_a_page_that_is_cut_within_its_rows_is_unreadable() {
    let rows = "shape: html
accept: {has: ['table#t']}
times: {formats: ['%d.%m.%Y %H:%M']}
tables: [{rows: '#t tr', time: {cell: 1}, text: {cell: 2}}]
";
    let row = "<tr><td>01.02.2026 10:30</td><td>Handed over</td></tr>";
    let whole = format!("<table id=t>{row}{row}</table>");
    let class = |adapter: &Adapter, body: &str| read(adapter, body.as_bytes()).class;
    let adapter = reading(rows);
    assert_eq!(class(&adapter, &whole), OutcomeClass::Tracked);
    for end in 14 + row.len()..whole.len() - "</table>".len() {
        let cut = read(&adapter, &whole.as_bytes()[..end]);
        assert_eq!(cut.class, OutcomeClass::Unreadable, "{}", &whole[..end]);
    }
    let patient = reading(&format!("{rows}may_lack_end: true\n"));
    assert_eq!(class(&patient, &format!("<table id=t>{row}")), OutcomeClass::Tracked);
}

/// Blocks that stand beside each other are cut without a trace: there the count of blocks tells.
#[test]
fn carriers_whose_pages_are_parts_notice_every_cut_before_their_last_event() {
    let folder = std::path::Path::new("../carriers");
    let catalog = Catalog::of_folder(folder).unwrap();
    for (slug, name, last) in
        [("airbridge", "delivered", "</table>"), ("cesco", "delivered", "<div class=\"col-sm-12\"")]
    {
        let adapter = catalog.get(&slug.parse().unwrap()).unwrap();
        let page = std::fs::read_to_string(folder.join(slug).join("examples").join(name).join("page.html")).unwrap();
        let events = |body: &str| {
            let outcome = read(&adapter, body.as_bytes());
            (outcome.class == OutcomeClass::Tracked).then_some(outcome.events.len())
        };
        let all = events(&page);
        assert!(all.is_some(), "{slug}");
        let end = page.find(last).unwrap();
        for cut in (0..end).filter(|at| page.is_char_boundary(*at)) {
            let found = events(&page[..cut]);
            assert!(found.is_none() || found == all, "{slug}: {found:?} of {all:?} events at byte {cut}");
        }
    }
}
