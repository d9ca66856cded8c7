//! What carriers answer: pieces, merged answers, charsets, namespaces, what is private, pages that are cut.

use waybill_adapters::{Adapter, Answer, Answers, Catalog, Reading};
use waybill_schemas::OutcomeClass;

use crate::{adapter, pairs, read, read_with, reading, try_adapter};

#[test]
fn what_can_never_come_to_anything_is_refused_with_the_remedy() {
    let table =
        |fields: &str| format!("{{name: r, shape: html, accept: {{has: p}}, tables: [{{rows: tr, {fields}}}]}}");
    for (reader, line, words) in [
        (table("text: {cell: 0}"), 8, "`cell` counts from 1"),
        (table("text: {path: td, nth: 0}"), 8, "`nth` counts from 1"),
        (table("text: td, time: td, times: {formats: [dd.MM.yyyy]}"), 8, "%d.%m.%Y %H:%M"),
        (table("txt: td"), 8, "the key `txt` is not known here; did you mean `text`?"),
        ("{name: r, shape: html}".to_owned(), 8, "the key `accept` is missing here"),
        (
            "{name: r, shape: html, accept: {}, tables: [{rows: tr, text: td}]}".to_owned(),
            8,
            "a condition that asks for nothing always holds",
        ),
        ("{name: r, shape: htm, accept: {has: p}}".to_owned(), 8, "`htm` is not known here; known are html, json, xml"),
    ] {
        let error = try_adapter(&format!("readers:\n  - {reader}\n")).unwrap_err();
        assert!(error.contains(&format!("adapter.yaml:{line}: ")) && error.contains(words), "{error}");
    }
    for (rest, words) in [
        ("numbers: [{pattern: 'ac[0-9]{9}'}]\n", "in upper case"),
        ("numbers: [{pattern: 'AC [0-9]{9}'}]\n", "without spaces"),
        ("zone: [a, b]\n", "one text is expected here"),
    ] {
        let error = try_adapter(rest).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
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
    assert_eq!(text(", pick: none", None), "one", "without a number asked nobody gets another's history");
    let alone =
        |pick: &str, page: &str| read_with(&piece(pick), page.as_bytes(), Some("CC3"), Reading::default()).events.len();
    let two = "<div class=piece><li>one</div><div class=piece><h3>AA1</h3><li>two</div>";
    for (pick, of_another) in [(", pick: none", 0), (", pick: only", 1)] {
        assert_eq!(alone(pick, "<div class=piece><li>one</div>"), 1, "the only one, and it bears no number");
        assert_eq!(alone(pick, "<div class=piece><h3>AA1</h3><li>one</div>"), of_another, "{pick}");
        assert_eq!(alone(pick, two), 0, "{pick}");
    }
}

#[test]
fn of_a_chosen_piece_document_is_the_piece_and_answer_is_all() {
    let xml = reading(
        "shape: xml
accept: {root: r}
scope: {each: p, number: '@n'}
tables: [{rows: '//e', text: '.'}]
facts: {service: {of: document, path: '//service'}, weight: {of: answer, path: '//weight'}}",
    );
    let body = b"<r><service>all</service><weight>9 kg</weight><p n='A1'><e>one</e></p><p n='B2'><e>two</e></p></r>";
    let outcome = read_with(&xml, body, Some("B2"), Reading::default());
    assert_eq!(outcome.events.iter().map(|event| event.text.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(outcome.facts.service, None, "`//` stays below the piece, and `document` is the piece");
    assert_eq!(outcome.facts.weight.as_deref(), Some("9 kg"));
    let json = reading(
        "shape: json\naccept: {has: p}\nscope: {each: 'p[*]', number: id}\n\
         tables: [{rows: 'e[*]', text: {join: ['$', {of: answer, path: $.where}], with: ' '}}]",
    );
    let body = br#"{"where":"Riga","p":[{"id":"A1","e":["one"]},{"id":"B2","e":["two"]}]}"#;
    assert_eq!(read_with(&json, body, Some("B2"), Reading::default()).events[0].text, "two Riga");
}

#[test]
fn conditions_read_headers_whatever_their_case() {
    let adapter = reading(
        "shape: json
accept: {any: [{has: e}, {header: {x-error: '.'}}]}
tables: [{rows: 'e[*]', text: x}]
not_found: [{when: {header: {X-Error: '^(?i)unknown'}}}]
throttled: [{when: {header: {x-remaining: '^0$'}}}]",
    );
    let class = |headers: &[(&str, &str)], body: &[u8]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answers = [Answer { headers: &headers, ..Answer::saved("page", body) }];
        adapter.read(&Answers { number: None, list: &answers }).class
    };
    let events = br#"{"e":[{"x":"Moving"}]}"#;
    assert_eq!(class(&[], events), OutcomeClass::Tracked);
    assert_eq!(class(&[("X-Remaining", "10")], events), OutcomeClass::Tracked);
    assert_eq!(class(&[("X-Remaining", "0")], events), OutcomeClass::Throttled);
    assert_eq!(class(&[("x-error", "other"), ("X-ERROR", "Unknown number")], b"{}"), OutcomeClass::NotFound);
    assert_eq!(class(&[("X-Error", "broken")], b"{}"), OutcomeClass::Unreadable);
    assert_eq!(class(&[], b"{}"), OutcomeClass::Unreadable);
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
