//! Detection against formats and numbers that others have collected. They are read from the folder that
//! `WAYBILL_NUMBERS` names (`formats.json`, `numbers.csv`); without it, and outside of CI, there is nothing to compare.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says what differs")]

mod support;

use std::{collections::BTreeMap, fs, path::PathBuf};

use regex::Regex;
use serde_json::Value;
use waybill_adapters::{Catalog, CheckDigit, Confidence, Detected};

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("WAYBILL_NUMBERS").map(PathBuf::from);
    assert!(named.is_some() || std::env::var_os("CI").is_none(), "CI compares: set WAYBILL_NUMBERS");
    if named.is_none() {
        eprintln!("WAYBILL_NUMBERS names no folder: nothing is compared");
    }
    named
}

/// Carriers of a family.
fn family(name: &str, number: &str) -> Vec<String> {
    match name {
        "dhl" => ["dhl", "dhl-express", "dhl-germany", "dhl-global-mail", "dhl-ecommerce"].map(String::from).to_vec(),
        "ontrac" | "ontrac-lasership" => ["lasership", "ontrac"].map(String::from).to_vec(),
        "amazon-logistics" => vec!["amazon".to_owned()],
        "s10" => {
            let text = include_str!("../../postal-operators.yaml");
            let country = &number[number.len() - 2..];
            let line = text.lines().find(|line| line.trim_start().starts_with(&format!("'{country}':"))).unwrap();
            vec![line.rsplit("slug: ").next().unwrap().trim_end_matches('}').to_owned()]
        }
        other => vec![other.to_owned()],
    }
}

struct Row {
    carrier: String,
    format: String,
    number: String,
    valid: bool,
}

fn rows(folder: &std::path::Path) -> Vec<Row> {
    let text = fs::read_to_string(folder.join("numbers.csv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), 4, "{line}");
        let [carrier, format, number, kind] = [0, 1, 2, 3].map(|at| cells[at].to_owned());
        Row { carrier, format, number, valid: kind.trim() == "valid" }
    };
    text.lines().skip(1).filter(|line| !line.is_empty()).map(row).collect()
}

/// What a collected format says of its numbers.
struct Format {
    /// They have a check digit.
    checked: bool,
    /// Their form, where nothing but the check digit is asked beside it and the expression is one of Rust's dialect.
    form: Option<Regex>,
}

/// Formats by name.
fn formats(folder: &std::path::Path) -> BTreeMap<String, Format> {
    let formats: Value = serde_json::from_slice(&fs::read(folder.join("formats.json")).unwrap()).unwrap();
    let each = formats["formats"].as_array().unwrap().iter();
    let format = |one: &Value| {
        let only_digit = one["validation"].as_object().is_some_and(|rules| rules.keys().all(|rule| rule == "checksum"));
        let form = Regex::new(&format!("^(?:{})$", one["regex"].as_str().unwrap())).ok();
        Format { checked: !one["validation"]["checksum"].is_null(), form: form.filter(|_| only_digit) }
    };
    each.map(|one| (one["format"].as_str().unwrap().to_owned(), format(one))).collect()
}

fn shown(detected: &Detected) -> String {
    let one =
        |c: &waybill_adapters::Candidate| format!("{}/{}/{}", c.carrier, c.confidence.as_str(), c.check_digit.as_str());
    detected.candidates.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_collected_number_is_detected_as_it_should_be() {
    let Some(folder) = folder() else { return };
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    let formats = formats(&folder);
    let rows = rows(&folder);
    // Where another collected family goes first, its form has to fit as well.
    let rival = |c: &waybill_adapters::Candidate| {
        c.check_digit != CheckDigit::Invalid
            && rows.iter().any(|row| family(&row.carrier, &row.number).iter().any(|slug| *slug == c.carrier.as_str()))
    };
    let mut wrong = Vec::new();
    for row in &rows {
        let detected = detector.detect(&row.number).unwrap();
        let ours = family(&row.carrier, &row.number);
        let of_family = |c: &&waybill_adapters::Candidate| ours.iter().any(|slug| *slug == c.carrier.as_str());
        let mut say = |what: &str| {
            wrong.push(format!("{} {} {:?}: {what}: {}", row.carrier, row.format, row.number, shown(&detected)));
        };
        let mine: Vec<_> = detected.candidates.iter().filter(of_family).collect();
        if row.valid {
            if !detected.candidates.iter().take(3).any(|c| of_family(&c)) {
                say("not among the first three");
            } else if !detected.candidates.first().is_some_and(|c| of_family(&c) || rival(c)) {
                say("not first");
            }
            if formats[&row.format].checked && !mine.iter().any(|c| c.check_digit == CheckDigit::Valid) {
                say("its check digit is not called valid");
            }
        } else {
            if mine.iter().any(|c| c.confidence == Confidence::High) {
                say("high although it is not valid");
            }
            let Format { checked, form } = &formats[&row.format];
            let only_digit = *checked && form.as_ref().is_some_and(|form| form.is_match(&row.number));
            if only_digit && !mine.iter().any(|c| c.check_digit == CheckDigit::Invalid) {
                say("its check digit is not called invalid");
            }
            if mine.iter().any(|c| c.check_digit == CheckDigit::Valid) {
                eprintln!("{} {} {:?} passes for {}", row.carrier, row.format, row.number, shown(&detected));
            }
        }
        if std::env::var_os("WAYBILL_SHOW").is_some() {
            eprintln!("{} {:?} {}: {}", row.format, row.number, row.valid, shown(&detected));
        }
    }
    eprintln!("{} numbers", rows.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pasted into one text, every number is found again.
#[test]
fn numbers_are_found_in_a_text_that_holds_all_of_them() {
    let Some(folder) = folder() else { return };
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    let rows: Vec<Row> = rows(&folder).into_iter().filter(|row| row.valid).collect();
    let lines: Vec<String> = rows.iter().map(|row| format!("Your parcel {} is on its way.", row.number)).collect();
    let found = detector.extract(&lines.join("\n").to_lowercase());
    let lost: Vec<&str> = rows
        .iter()
        .filter(|row| {
            let number = detector.detect(&row.number).unwrap().number;
            !found.iter().any(|detected| detected.number == number)
        })
        .map(|row| row.number.as_str())
        .collect();
    assert!(lost.is_empty(), "{lost:?} of {}", rows.len());
}

/// Full stops, underlines, and what scanners and keyboards put between characters are the text's, not the number's.
#[test]
fn what_a_text_ties_to_a_number_is_no_part_of_it() {
    const UPS: &str = "1Z999AA10123456784";
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let only = |text: &str| {
        let all = catalog.detector().extract(text);
        assert_eq!(all.len(), 1, "{text:?}: {all:?}");
        let first = all[0].candidates[0].clone();
        (all[0].number.to_string(), first.carrier.to_string(), first.confidence)
    };
    for text in [
        format!("Parcel no.{UPS}"),
        format!("Sendungsnr.{UPS}."),
        format!("label_{UPS}.pdf"),
        format!("It has left.{UPS}.Thanks"),
        "Nr.1Z 999 AA1 01 2345 6784".to_owned(),
        "1Z999AA1\u{1d}0123\u{fe0f}456\u{61c}784".to_owned(),
    ] {
        assert_eq!(only(&text), (UPS.to_owned(), "ups".to_owned(), Confidence::High), "{text:?}");
    }
    // Where they belong to a number they stay.
    for number in ["99.00.123456.12345678", "SANDBOX-OUT_FOR_DELIVERY-0009"] {
        assert_eq!(only(&format!("It is {number}, I think")).0, number);
    }
}

/// Digits prove nothing without a check digit that is right, whatever they begin with.
#[test]
fn digits_alone_are_never_high_without_a_check_digit() {
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    let (mut state, mut unchecked) = (7_u64, 0);
    for beginning in ["", "00", "0034", "1000", "420", "80", "92", "94", "96"] {
        for length in 6..=34 {
            let mut number = beginning.to_owned();
            while number.len() < length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                number.push(char::from(b'0' + u8::try_from((state >> 33) % 10).unwrap()));
            }
            let detected = detector.detect(&number).unwrap();
            for candidate in detected.candidates.iter().filter(|c| c.check_digit != CheckDigit::Valid) {
                unchecked += 1;
                assert_ne!(candidate.confidence, Confidence::High, "{number}: {}", shown(&detected));
            }
        }
    }
    assert!(unchecked > 100, "{unchecked}");
}

/// Invented numbers of formats that nobody has collected, with the check digit that their rule asks for: their carrier goes
/// first (or second, behind one whose rule is the same), and with another digit it is never high.
#[test]
fn check_digits_of_other_carriers_are_verified() {
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    for (carrier, number) in [
        ("gls", "123456789011"),
        ("gls", "12345678904"),
        ("japan-post", "123456789013"),
        ("japan-post", "12345678903"),
        ("hermes", "01234567890128"),
        ("evri", "H0A1B21234567891"),
        ("colissimo", "6A12345678905"),
        ("la-poste", "1L12345678905"),
        ("la-poste", "861234567890125"),
        ("tnt", "123456785"),
        ("bring", "70123456789012346"),
        ("postnord", "00373123456789012348"),
        ("posti", "00364123456789012346"),
        ("usps", "4201234591123456789012345677"),
        ("dpd", "4202556605332812769151409290"),
    ] {
        let detected = detector.detect(number).unwrap();
        let place = detected.candidates.iter().position(|c| c.carrier.as_str() == carrier);
        let of = place.map(|at| &detected.candidates[at]);
        let right = of.is_some_and(|c| c.check_digit == CheckDigit::Valid) && place < Some(2);
        assert_eq!(detected.candidates[0].check_digit, CheckDigit::Valid, "{number}: {}", shown(&detected));
        assert!(right, "{carrier} {number}: {}", shown(&detected));
        let last = number.as_bytes()[number.len() - 1];
        let wrong = format!("{}{}", &number[..number.len() - 1], (last - b'0' + 1) % 10);
        let detected = detector.detect(&wrong).unwrap();
        let mine = detected.candidates.iter().find(|c| c.carrier.as_str() == carrier);
        let called = mine.is_some_and(|c| c.confidence == Confidence::Low && c.check_digit != CheckDigit::Valid);
        assert!(called, "{carrier} {wrong}: {}", shown(&detected));
    }
    // What some countries print has no digit to be wrong, and what a post and a courier both use is certain for neither.
    let told = |number: &str| shown(&detector.detect(number).unwrap());
    assert!(told("12345678905").contains("gls/low/none"), "{}", told("12345678905"));
    assert_eq!(told("GE123456785GB"), "royal-mail/medium/valid tnt/medium/valid");
    assert_eq!(told("PQABCD0701234560128001Q"), "correos/high/valid");
    assert_eq!(told("PQABCD0701234560128001R"), "correos/low/invalid");
    // An international number whose two letters are no country's belongs to nobody for certain, whatever its check digit.
    for nobody in ["RB123456785ZF", "EE123456785QQ", "TBB123456789012"] {
        let detected = detector.detect(nobody).unwrap();
        assert!(detected.candidates.iter().all(|c| c.confidence != Confidence::High), "{nobody}: {}", shown(&detected));
    }
}
