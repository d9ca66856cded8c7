//! What carriers ask for: requests of several steps, tokens, GraphQL, batches, and sources that ask nothing any more.

use std::collections::BTreeMap;

use waybill_adapters::{Answer, Asked, Context, Reading, RequestError};
use waybill_schemas::OutcomeClass;

use crate::{ANY, adapter, pairs, read, read_with, reading, try_adapter};

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
fn a_number_is_sent_without_what_it_begins_with() {
    let source =
        |url: &str| format!("sources:\n  - {{name: page, kind: page, steps: [{{name: page, get: '{url}'}}]}}\n{ANY}");
    let none = BTreeMap::new();
    let url = |number: &str| {
        let adapter = adapter(&source("https://acme.example/{number|without AC}?z={param.zip|without GB-:GB-1}"));
        let context = Context { number, params: &none, secrets: &none, taken: &none, lang: "en" };
        adapter.source("page").unwrap().steps[0].request(&context).unwrap().url
    };
    assert_eq!(url("AC123"), "https://acme.example/123?z=1");
    assert_eq!(url("123AC"), "https://acme.example/123AC?z=1");
    for (url, expected) in [
        ("https://acme.example/{number|upper}", "has `|upper`; what may stand there is `|without JD`"),
        ("https://acme.example/{number|without }", "what may stand there is `|without JD`"),
        ("https://acme.example/{numbers|without AC}", "cannot shorten several numbers at once"),
    ] {
        let error = try_adapter(&source(url)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn values_are_escaped_for_the_text_they_stand_in() {
    for (content_type, written) in [
        ("text/xml; charset=utf-8", r"<7&quot;&lt;\ü>"),
        ("application/vnd.acme+json", r#"<7\"<\\ü>"#),
        ("text/plain", r#"<7"<\ü>"#),
    ] {
        let adapter = adapter(&format!(
            "sources:\n  - name: api\n    kind: api\n    needs: [code]\n    steps:\n      - {{name: page, post: \
             'https://acme.example/t', text: {{content_type: '{content_type}', body: '<{{param.code}}>'}}}}\n{ANY}"
        ));
        let (params, none) = (pairs(&[("code", r#"7"<\ü"#)]), BTreeMap::new());
        let context = Context { number: "A1", params: &params, secrets: &none, taken: &none, lang: "en" };
        let body = adapter.source("api").unwrap().steps[0].request(&context).unwrap().body.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), written, "{content_type}");
    }
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
    let repeated =
        |steps: &str| batch(steps).replace("join: ';', each: '<no>{number}</no>'", "repeat: true, each: 'N{number}'");
    let once_each = |steps: &str| {
        let adapter = adapter(&repeated(steps));
        let none = BTreeMap::new();
        let context = Context { number: "A1", params: &none, secrets: &none, taken: &none, lang: "en" };
        let request = adapter.source("api").unwrap().steps[0].request_of_batch(&context, &["A1", "B2"]).unwrap();
        (request.url, request.body.map(|body| String::from_utf8(body).unwrap()))
    };
    let query = "{name: page, get: 'https://acme.example/t', query: {all: 'x{numbers}', no: '{numbers}'}}";
    assert_eq!(once_each(query).0, "https://acme.example/t?all=xNA1%2CNB2&no=NA1&no=NB2");
    let form = "{name: page, post: 'https://acme.example/t', form: {no: '{numbers}'}}";
    assert_eq!(once_each(form).1.unwrap(), "no=NA1&no=NB2");
    let nowhere = try_adapter(&repeated("{name: page, get: 'https://acme.example/{numbers}'}")).unwrap_err();
    assert!(nowhere.contains("batch says repeat"), "{nowhere}");
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
fn a_retired_source_asks_nothing_and_its_answers_are_still_read() {
    let adapter = adapter(&format!("sources:\n  - {{name: old, kind: page, retired: true}}\n{ANY}"));
    assert!(!adapter.source("old").unwrap().on_by_default(|_| true));
    assert_eq!(read(&adapter, br#"{"a":{"b":"x"}}"#).events[0].text, "x");
}
