#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::Catalog;

/// A right one, made by the rule of UPS.
const UPS: &str = "1Z999AA10123456784";

fn found(text: &str) -> Vec<Detected> {
    Catalog::embedded().unwrap().detector().extract(text)
}

#[test]
fn part_of_a_number_that_fits_nothing_is_never_high() {
    for typed in [
        "SP41 1976 9065 2307 4934 3",
        "1LS711901361812 7-2",
        "JD52959 2 275 7905 772 9",
        "4200 9335 2565 9130 1270 1478 1426 8990 7",
    ] {
        for text in [typed.to_owned(), format!("Your parcel {typed} will arrive on 12 March.")] {
            let high: Vec<Detected> = found(&text).into_iter().filter(is_high).collect();
            assert!(high.is_empty(), "{typed}: {high:?}");
        }
    }
}

#[test]
fn words_and_dates_beside_a_number_do_not_speak_against_it() {
    for text in [
        format!("Your parcel {UPS} will arrive on 12 March"),
        UPS.to_owned(),
        format!("{} 2026-11-21 08:12 out for delivery", UPS.to_lowercase()),
        format!("Sent on 21.11.2026 {UPS} - Hamburg"),
        format!("This is {UPS}. 2 pieces"),
        format!("3 pieces: {UPS}\n12 March"),
        "1Z 999 AA1 01 2345 6784 arrives".to_owned(),
        format!("{UPS} 12, and once more {UPS}, alone"),
    ] {
        let all = found(&text);
        let ups = all.iter().find(|detected| detected.number.as_str() == UPS);
        assert!(ups.is_some_and(is_high), "{text}: {all:?}");
    }
    let beside = found(&format!("{UPS} 12 pieces"));
    assert!(beside.iter().any(|detected| detected.number.as_str() == UPS && !is_high(detected)), "{beside:?}");
    // Two that are both certain bear each other out.
    let two = found(&format!("{UPS} {UPS}"));
    assert!(two.iter().all(is_high) && two.len() == 1, "{two:?}");
}

#[test]
fn a_part_whose_digit_is_right_by_chance_never_goes_before_the_whole() {
    for typed in ["D447 6156 0426 8667 7613 31", "JJD5 0182 4551 4534 759"] {
        let whole = typed.replace(' ', "");
        let all = found(&format!("Your parcels: {typed}, thanks"));
        assert!(all.len() == 1 && all[0].number.as_str() == whole, "{typed}: {all:?}");
    }
    // Two that stand side by side are two.
    let two: Vec<String> =
        found("123456789012 700000000010").iter().map(|detected| detected.number.to_string()).collect();
    assert_eq!(two, ["123456789012", "700000000010"]);
}

#[test]
fn a_number_with_a_slip_is_shown_whole_and_its_digit_called_wrong() {
    let all = found("It was 1Z 999 AA1 01 2345 6785, I think");
    let first = all.first().map(|detected| (detected.number.as_str(), detected.candidates[0].check_digit));
    assert_eq!(first, Some(("1Z999AA10123456785", CheckDigit::Invalid)), "{all:?}");
    assert_eq!(all.len(), 1, "{all:?}");
    let named = found("pin 1234567890");
    assert_eq!(named[0].number.as_str(), "1234567890", "{named:?}");
}

/// One digit too many, too few, or a group cut: the whole is told, and no carrier of a part of it.
#[test]
fn a_number_in_groups_with_a_slip_in_one_is_never_cut_into_others() {
    for typed in [
        "1Z 999 AA1 01 2345 67845",
        "1Z 999 AA1 01 2345 678",
        "1Z 999 AA1 001 2345 6784",
        "1Z 999 AA1 0 2345 6784",
        "0034 0434 1610 9404 255",
        "7489 9990 1234 5678 901",
        "9400 1000 0000 0000 0000 00",
        "9400 1000 0000 0000 00000 00",
        "420 90210 9400 1000 0000 0000 0000 00",
    ] {
        let whole = typed.replace(' ', "");
        for text in
            [typed.to_owned(), format!("Parcel numbered {typed}, I think"), format!("my parcel {typed} is late")]
        {
            let all = found(&text);
            let numbers: Vec<&str> = all.iter().map(|detected| detected.number.as_str()).collect();
            assert!(numbers.is_empty() || numbers == [whole.as_str()], "{text}: {all:?}");
            assert!(all.iter().all(|detected| !is_high(detected)), "{text}: {all:?}");
        }
    }
}

/// More groups than one number has are several numbers; looking for their whole ends there, so the cost stays linear.
#[test]
fn groups_that_are_too_many_for_one_number_are_no_slip_of_one() {
    let text = "1234 5678 9012 345 ".repeat(2_000);
    let all = found(&text);
    assert!(!all.is_empty() && all.len() < 50, "{}", all.len());
    assert!(all.iter().all(|detected| detected.number.as_str().len() <= 64));
}

/// Nothing becomes a number because others do: what stands beside is told apart by its length, its place or its kind.
#[test]
fn what_stands_beside_a_number_in_groups_does_not_join_it() {
    for (text, expected) in [
        ("1234 5678 9012 2 pieces", vec!["123456789012"]),
        ("order 12345 1234 5678 9012", vec!["123456789012"]),
        ("12345 678 90123 12345 678 90123", vec!["1234567890123"]),
        ("1234 5678 9012, 14 22 03", vec!["123456789012"]),
        ("1Z 999 AA1 01 2345 6784 12 34 56 78", vec![UPS]),
        ("rooms 12 and 14, from 9 to 17, 3 4 5 6", vec![]),
        ("come on 12 March 2026 or call 17 12 34", vec![]),
    ] {
        let all = found(text);
        let numbers: Vec<&str> = all.iter().map(|detected| detected.number.as_str()).collect();
        assert_eq!(numbers, expected, "{all:?}");
    }
}

#[test]
fn dashes_of_typography_and_what_nobody_sees_do_not_part_a_number() {
    for text in [
        "1Z999AA1\u{2013}0123\u{2013}456784".to_owned(),
        "your 1Z999AA1\u{ad}0123\u{200b}456784, thanks".to_owned(),
        format!("{UPS} \u{2013} 2 pieces"),
        format!("\u{feff}{UPS}\u{2014}on its way"),
    ] {
        let all = found(&text);
        assert!(all.iter().any(|detected| detected.number.as_str() == UPS && is_high(detected)), "{text}: {all:?}");
    }
}

/// Joins that are spent leave words that stand alone, and the text behind the limit is not looked at.
#[test]
fn the_joins_of_a_long_text_are_bounded_and_whole_words_are_still_found() {
    let catalog = Catalog::embedded().unwrap();
    let detector = catalog.detector();
    let grouped = "1Z 999 AA1 01 2345 6784";
    let words: Vec<Word<'_>> = grouped.split_whitespace().filter_map(Word::of).collect();
    let count = |joins: &mut usize| of_words(detector, &words, joins).len();
    let mut joins = 1_000;
    assert_eq!(count(&mut joins), 1);
    assert!((900..1_000).contains(&joins), "{joins} of 1000 are left of a number of six words");
    assert_eq!(count(&mut 0), 0, "nothing is joined any more");
    let alone = [Word::of(UPS).unwrap()];
    assert_eq!(of_words(detector, &alone, &mut 0).len(), 1, "what needs no join is found");
    let far = format!("{}\n{UPS}", "x ".repeat(MAX_DETECT_TEXT_BYTES / 2));
    assert!(detector.extract(&far).is_empty());
}
