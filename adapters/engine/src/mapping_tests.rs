#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn mapping(yaml: &str, phrases: &str) -> Mapping {
    let table = Mapping::phrase_table(&serde_saphyr::from_str(phrases).unwrap()).unwrap();
    Mapping::compile(&serde_saphyr::from_str(yaml).unwrap(), vec![Arc::new(table)], String::new()).unwrap()
}

#[test]
fn rules_are_asked_in_order() {
    let mapping = mapping(
        "{format: 1, codes: {'12': Delivered_Other, 'X*': Exception_Other}, exact: {Arrived.: InTransit_Arrival}, \
         prefix: [[arrived, InTransit_Other]], contains: [[customs, InTransit_CustomsProcessing]], \
         regex: [['^left .* hub$', InTransit_Departure]], otherwise: {I: InTransit_Other, 'DELIVD.*': Delivered_Other}}",
        "{format: 1, contains: [[lost, Exception_Lost], [note, none]]}",
    );
    let event = |code: Option<&str>, text: &str| {
        let event = RawEvent { code: code.map(str::to_owned), text: text.to_owned(), ..RawEvent::default() };
        let found = mapping.map(&event);
        (found.sub_status.map(SubStatus::as_str), found.matched_by)
    };
    assert_eq!(event(Some("12"), "arrived"), (Some("Delivered_Other"), MatchedBy::Code));
    assert_eq!(event(Some("x9"), ""), (Some("Exception_Other"), MatchedBy::Code));
    assert_eq!(event(Some("99"), " ARRIVED "), (Some("InTransit_Arrival"), MatchedBy::Exact));
    assert_eq!(event(None, "Arrived late"), (Some("InTransit_Other"), MatchedBy::Prefix));
    assert_eq!(event(None, "at Customs"), (Some("InTransit_CustomsProcessing"), MatchedBy::Contains));
    assert_eq!(event(None, "Left the big hub"), (Some("InTransit_Departure"), MatchedBy::Regex));
    assert_eq!(event(Some("I"), "parcel is lost"), (Some("Exception_Lost"), MatchedBy::Phrase));
    assert_eq!(event(None, "a note"), (None, MatchedBy::Phrase));
    assert_eq!(event(Some("I"), "whatever"), (Some("InTransit_Other"), MatchedBy::Code));
    assert_eq!(event(Some("Delivd.Neighbour"), "whatever"), (Some("Delivered_Other"), MatchedBy::Code));
    assert_eq!(event(Some("DELIVD.NORMAL"), "parcel is lost"), (Some("Exception_Lost"), MatchedBy::Phrase));
    assert_eq!(event(None, "whatever"), (None, MatchedBy::None));
}

#[test]
fn what_stands_twice_with_two_meanings_is_refused() {
    let told = |yaml: &str| match Mapping::compile(&serde_saphyr::from_str(yaml).unwrap(), Vec::new(), String::new()) {
        Ok(_) => String::new(),
        Err(faults) => format!("{faults:?}"),
    };
    let twice = told("{format: 1, exact: {Arrived: InTransit_Arrival, 'arrived.': InTransit_Other}}");
    assert!(twice.contains("stands twice"), "{twice}");
    assert!(told("{format: 1, codes: {ab: InTransit_Arrival, AB: InTransit_Other}}").contains("stands twice"));
    assert_eq!(told("{format: 1, exact: {Arrived: InTransit_Other, 'arrived.': InTransit_Other}}"), "");
}

#[test]
fn a_part_that_means_delivered_gives_way_to_a_longer_phrase() {
    let mapping = mapping(
        "{format: 1, codes: {OK: Delivered_Other}, exact: {Is being delivered: InTransit_Other}, \
         prefix: [[delivered to depot b, Delivered_Other]], \
         contains: [[refused, DeliveryFailure_Rejected], [depot, InTransit_Arrival], [fetched, Delivered_Other], \
         [delivered, Delivered_Other]], regex: [['zugestellt|^wird abgegeben$', Delivered_Other]], \
         headline: {contains: [[delivered, Delivered_Other]]}}",
        "{format: 1, contains: [[not be delivered, DeliveryFailure_Other], [being delivered, OutForDelivery_Other], \
         [delivered to depot, InTransit_Other], [at a depot, Exception_Other], [delivered, Exception_Other], \
         [nicht zugestellt, DeliveryFailure_Other], [wird abgegeben, OutForDelivery_Other]]}",
    );
    let told = |code: Option<&str>, text: &str| {
        let event = RawEvent { code: code.map(str::to_owned), text: text.to_owned(), ..RawEvent::default() };
        let found = mapping.map(&event);
        (found.sub_status.map(SubStatus::as_str), found.matched_by, mapping.rule(&event).unwrap_or_default())
    };
    let said = |status, matched_by, rule: &str| (Some(status), matched_by, rule.to_owned());
    let denied = said("DeliveryFailure_Other", MatchedBy::Phrase, "phrases, contains: not be delivered");
    assert_eq!(told(None, "It could not be delivered."), denied);
    let denied = said("DeliveryFailure_Other", MatchedBy::Phrase, "phrases, contains: nicht zugestellt");
    assert_eq!(told(None, "Nicht zugestellt"), denied);
    let own = |status, rule| said(status, MatchedBy::Contains, rule);
    assert_eq!(told(None, "Delivered"), own("Delivered_Other", "contains: delivered"));
    let regex = said("Delivered_Other", MatchedBy::Regex, "regex: zugestellt|^wird abgegeben$");
    assert_eq!(told(None, "Zugestellt"), regex);
    // Codes, whole texts and beginnings are meant as they are written.
    assert_eq!(told(None, "Wird abgegeben"), regex);
    assert_eq!(told(Some("OK"), "could not be delivered"), said("Delivered_Other", MatchedBy::Code, "codes: OK"));
    let whole = said("InTransit_Other", MatchedBy::Exact, "exact: is being delivered");
    assert_eq!(told(None, "is being delivered"), whole);
    let beginning = said("Delivered_Other", MatchedBy::Prefix, "prefix: delivered to depot b");
    assert_eq!(told(None, "Delivered to Depot B"), beginning);
    // The carrier's other parts come first; one that the phrase does not hold stays what it is.
    let refused = own("DeliveryFailure_Rejected", "contains: refused");
    assert_eq!(told(None, "Could not be delivered: refused"), refused);
    assert_eq!(told(None, "Waits at a depot"), own("InTransit_Arrival", "contains: depot"));
    assert_eq!(told(None, "Could not be delivered, fetched"), own("Delivered_Other", "contains: fetched"));
    let headline = |text: &str| {
        let facts = ShipmentFacts { status_text: Some(text.to_owned()), ..ShipmentFacts::default() };
        mapping.headline(&facts).map(SubStatus::as_str)
    };
    assert_eq!(headline("Delivered"), Some("Delivered_Other"));
    assert_eq!(headline("Being delivered"), Some("OutForDelivery_Other"));
}
