//! Numbers of every kind that carriers with published forms use: each prefix, length, service and routing code, made here with
//! check digits reckoned here, so that neither the data nor the engine's arithmetic proves itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use waybill_adapters::{Catalog, CheckDigit, Confidence, Detected};

/// How a digit is reckoned; a text counts in front of the serial.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    None,
    /// 3 and 1 in turn from the right.
    Threes(&'static str),
    /// 1 and 2 in turn from the left, letters by their code less 3.
    Twos(&'static str),
    /// 1, 3 and 7 in turn from the right, modulo 11.
    Elevens,
    Sevens,
    Luhn,
    Postal,
    /// ISO 7064, MOD 37,36.
    Iso,
}
use Rule::{Elevens, Iso, Luhn, Postal, Sevens, Threes, Twos};

const DHL: &[&str] = &["dhl", "dhl-express", "dhl-germany", "dhl-global-mail", "dhl-ecommerce"];
const LASERSHIP: &[&str] = &["lasership", "ontrac"];

/// Carriers of a family, what its numbers look like, and the rule of their digit. `#` is a digit, `@` a letter, `%` either,
/// `[AB]` one of these, `{7}` behind one repeats it, `(…)` is the serial and `=` its check digit.
const KINDS: &[(&[&str], &str, Rule)] = &[
    (&["amazon"], "TB[ACM]#{12}", Rule::None),
    (&["amazon"], "[AFC]#{10}", Rule::None),
    (&["canada-post"], "(#{15})=", Threes("")),
    (&["canpar"], "[CDKLSUXZ]#{21}", Rule::None),
    (DHL, "(#{9})=", Sevens),
    (DHL, "(#{10})=", Sevens),
    (DHL, "J@@#{9}", Rule::None),
    (DHL, "J@@@#{9}", Rule::None),
    (DHL, "J@@#{10}", Rule::None),
    (DHL, "J@@@#{10}", Rule::None),
    (DHL, "GM#{10}", Rule::None),
    (DHL, "GM#{18}", Rule::None),
    (DHL, "RX#%{11}", Rule::None),
    (DHL, "UV##%{8}", Rule::None),
    (DHL, "CN#%{30}", Rule::None),
    (DHL, "MY#%{38}", Rule::None),
    (DHL, "#{14}", Rule::None),
    (&["dpd"], "(#{27})=", Iso),
    (&["dpd"], "(#{14})=", Iso),
    (&["fedex"], "(#{11})=", Elevens),
    (&["fedex"], "[012345678]#{19}(#{13})=", Elevens),
    (&["fedex"], "3#{15}(#{11})=#{4}", Elevens),
    (&["fedex"], "(#{14})=", Threes("")),
    (&["fedex"], "##(#{15})=", Threes("")),
    (&["fedex"], "96#{5}(#{14})=", Threes("")),
    (&["fedex"], "96#{18}(#{13})=", Elevens),
    (&["gofo"], "GFUS#{14}", Rule::None),
    (&["landmark-global"], "LTN#{8}N1", Rule::None),
    (LASERSHIP, "L[AIEHNX][123]#{7}", Rule::None),
    (LASERSHIP, "1LS7[12]#{10}", Rule::None),
    (LASERSHIP, "1LS7[12]##01[1234]#{6}-1", Rule::None),
    (LASERSHIP, "1LSCX%{10}", Rule::None),
    (&["old-dominion"], "(77[78]#{7})=", Luhn),
    (&["old-dominion"], "(072#{7})=", Luhn),
    (&["old-dominion"], "(780#{7})=", Luhn),
    (&["old-dominion"], "(80#{8})=", Luhn),
    // The letter counts as a digit, but not in front of a serial that begins with that digit.
    (LASERSHIP, "C([012356789]#{12})=", Twos("4")),
    (LASERSHIP, "C(4#{12})=", Twos("")),
    (LASERSHIP, "D([012346789]#{12})=", Twos("5")),
    (LASERSHIP, "D(5#{12})=", Twos("")),
    (&["purolator"], "([012345]#{10})=", Luhn),
    (&["purolator"], "K@V#{9}", Rule::None),
    (DHL, "@@(#{8})=DE", Postal),
    (&["la-poste"], "@@(#{8})=FR", Postal),
    (&["royal-mail"], "@@(#{8})=GB", Postal),
    (&["usps"], "@@(#{8})=US", Postal),
    (&["spee-dee"], "SP#{18}", Rule::None),
    (&["ups"], "1Z(%{6}##%{7})=", Twos("")),
    (&["ups"], "1Z(%{15})=", Twos("")),
    (&["ups"], "[AHJKTV](#{9})=", Twos("")),
    (&["usps"], "(#{19})=", Threes("")),
    (&["usps"], "(94###9#{23})=", Threes("")),
    (&["usps"], "(94###9#{19})=", Threes("")),
    (&["usps"], "(94###9#{15})=", Threes("")),
    (&["usps"], "(94###[012345678]#{19})=", Threes("")),
    (&["usps"], "(94###[012345678]#{15})=", Threes("")),
    (&["usps"], "420#{5}(94##[012345678]9#{19})=", Threes("")),
    (&["usps"], "420#{5}(94###[012345678]#{15})=", Threes("")),
    (&["usps"], "420#{5}[0123]###(94###9#{15})=", Threes("")),
    (&["usps"], "(91#{19})=", Threes("")),
    (&["usps"], "420#{5}(91#{19})=", Threes("")),
    (&["usps"], "420#{5}[0123]###(91#{19})=", Threes("")),
    // The identifier 91 counts where it is not printed.
    (&["usps"], "([012345678]#{18})=", Threes("91")),
    (&["usps"], "420#{5}([012345678]#{18})=", Threes("91")),
    (&["usps"], "420#{9}([012345678]#{18})=", Threes("91")),
    (&["usps"], "(92###9#{19})=", Threes("")),
    (&["usps"], "(92###9#{15})=", Threes("")),
    (&["usps"], "420#{5}(92##[012345678]9#{19})=", Threes("")),
    (&["usps"], "420#{5}[0123]###(92###9#{15})=", Threes("")),
    (&["usps"], "(93###[012345678]#{19})=", Threes("")),
    (&["usps"], "(93###[012345678]#{15})=", Threes("")),
    (&["usps"], "420#{5}(93##[012345678][012345678]#{19})=", Threes("")),
    (&["usps"], "420#{5}[0123]###(93###[012345678]#{15})=", Threes("")),
    (&["usps"], "(95#{23})=", Threes("")),
    (&["usps"], "(95#{19})=", Threes("")),
    (&["usps"], "420#{5}(95#{19})=", Threes("")),
    (&["yodel"], "JD#{16}", Rule::None),
    (&["yodel"], "JJD#{16}", Rule::None),
    (&["yunexpress"], "YT#{16}", Rule::None),
];

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn pick(&mut self, of: &str) -> char {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(of.as_bytes()[(self.0 >> 33) as usize % of.len()])
    }
}

fn digit(rule: Rule, serial: &str) -> char {
    let values = |before: &str| -> Vec<u32> {
        let text = [before, serial].concat();
        text.chars().map(|c| c.to_digit(10).unwrap_or((u32::from(c) - 3) % 10)).collect()
    };
    let missing = |sum: u32| (10 - sum % 10) % 10;
    let number = match rule {
        Rule::None => unreachable!("a kind with a check digit has a rule"),
        Threes(before) => missing(values(before).iter().rev().zip([3_u32, 1].iter().cycle()).map(|(d, w)| d * w).sum()),
        Twos(before) => missing(values(before).iter().zip([1_u32, 2].iter().cycle()).map(|(d, w)| d * w).sum()),
        Elevens => {
            let sum: u32 = values("").iter().rev().zip([1_u32, 3, 7].iter().cycle()).map(|(d, w)| d * w).sum();
            sum % 11 % 10
        }
        Sevens => values("").iter().fold(0_u32, |rest, d| (rest * 10 + d) % 7),
        Luhn => {
            let doubled = |d: u32| if d > 4 { 2 * d - 9 } else { 2 * d };
            let each = |(at, d): (usize, &u32)| if at % 2 == 0 { doubled(*d) } else { *d };
            missing(values("").iter().rev().enumerate().map(each).sum())
        }
        Postal => {
            let sum: u32 = values("").iter().zip([8_u32, 6, 4, 2, 3, 5, 9, 7]).map(|(d, w)| d * w).sum();
            match 11 - sum % 11 {
                10 => 0,
                11 => 5,
                other => other,
            }
        }
        Iso => {
            let step = |product: u32, c: char| {
                let sum = (product + c.to_digit(36).unwrap()) % 36;
                if sum == 0 { 35 } else { sum * 2 % 37 }
            };
            (37 - serial.chars().fold(36, step)) % 36
        }
    };
    char::from_digit(number, 36).unwrap().to_ascii_uppercase()
}

/// A number that looks like this, and where its check digit stands.
fn number(form: &str, rule: Rule, dice: &mut Dice) -> (String, Option<usize>) {
    let (mut number, mut from, mut serial, mut place) = (String::new(), 0, String::new(), None);
    let mut rest = form;
    while let Some(first) = rest.chars().next() {
        let (choice, behind) = match first {
            '[' => rest[1..].split_once(']').unwrap(),
            '#' => ("0123456789", &rest[1..]),
            '@' => ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", &rest[1..]),
            '%' => ("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", &rest[1..]),
            _ => rest.split_at(1),
        };
        let repeated = behind.strip_prefix('{').map(|count| count.split_once('}').unwrap());
        let (times, behind) = repeated.map_or((1, behind), |(count, behind)| (count.parse::<usize>().unwrap(), behind));
        rest = behind;
        match first {
            '(' => from = number.len(),
            ')' => serial = number[from..].to_owned(),
            '=' => {
                place = Some(number.len());
                number.push(digit(rule, &serial));
            }
            _ => number.extend((0..times).map(|_| dice.pick(choice))),
        }
    }
    (number, place)
}

/// As people type and paste it.
fn dressed(number: &str, how: usize) -> String {
    let in_groups = |between: &str| {
        let groups: Vec<&str> = number.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap()).collect();
        groups.join(between)
    };
    match how % 6 {
        0 => number.to_lowercase(),
        1 => in_groups(" "),
        2 => in_groups("-"),
        3 => in_groups("\u{2013}"),
        4 => in_groups("\u{200b}\u{a0}"),
        _ => number.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect(),
    }
}

fn shown(detected: &Detected) -> String {
    let each = detected.candidates.iter();
    let each = each.map(|c| format!("{}/{}/{}", c.carrier, c.confidence.as_str(), c.check_digit.as_str()));
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_kind_of_number_is_told_and_a_wrong_digit_noticed() {
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    let mut dice = Dice(11);
    for (family, form, rule) in KINDS {
        for how in 0..12 {
            let (number, check) = number(form, *rule, &mut dice);
            let of = |detected: &Detected| {
                let mine = detected.candidates.iter().enumerate().filter(|(_, c)| family.contains(&c.carrier.as_str()));
                mine.map(|(place, c)| (place, c.confidence, c.check_digit)).collect::<Vec<_>>()
            };
            let detected = detector.detect(&number).unwrap();
            let (place, _, verdict) = *of(&detected).first().unwrap_or_else(|| panic!("{form}: {number} is not told"));
            // Only what has a right digit as well goes before it.
            let first = place == 0 || detected.candidates[0].check_digit == CheckDigit::Valid;
            assert!(place < 3 && first, "{form}: {number}: {}", shown(&detected));
            let expected = if check.is_some() { CheckDigit::Valid } else { CheckDigit::None };
            assert_eq!(verdict, expected, "{form}: {number}: {}", shown(&detected));
            let typed = dressed(&number, how);
            assert_eq!(detector.detect(&typed).unwrap(), detected, "{form}: {typed:?}");

            if let Some(at) = check {
                let right = number[at..=at].chars().next().and_then(|c| c.to_digit(36)).unwrap();
                let base = if *rule == Iso { 36 } else { 10 };
                let wrong = char::from_digit((right + 1) % base, base).unwrap().to_ascii_uppercase();
                let mistyped = format!("{}{wrong}{}", &number[..at], &number[at + 1..]);
                let detected = detector.detect(&mistyped).unwrap();
                let noticed = of(&detected).iter().any(|(_, _, verdict)| *verdict == CheckDigit::Invalid);
                let never = of(&detected).iter().all(|(_, confidence, _)| *confidence != Confidence::High);
                assert!(noticed && never, "{form}: {mistyped}: {}", shown(&detected));
            }
            // DHL's forms stand next to each other in length.
            if *family != DHL {
                let longer = detector.detect(&format!("{number}7")).unwrap();
                let never = of(&longer).iter().all(|(_, confidence, _)| *confidence != Confidence::High);
                assert!(never, "{form}: {number} and a digit: {}", shown(&longer));
            }
        }
    }
}

/// Behind a routing code may stand a ZIP of five digits and 26 more, or ZIP+4 and 22: both begin as labels do here.
#[test]
fn a_label_that_can_be_read_two_ways_is_right_if_either_is() {
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    for (number, expected) in [
        ("4201000193059305512345678900000000", CheckDigit::Valid),
        ("4201000193059305512345678900000005", CheckDigit::Valid),
        ("4201000193059305512345678900000007", CheckDigit::Invalid),
    ] {
        let detected = detector.detect(number).unwrap();
        let first = &detected.candidates[0];
        assert_eq!((first.carrier.as_str(), first.check_digit), ("usps", expected), "{number}: {}", shown(&detected));
    }
}

/// Digits that are right for one carrier by chance and a slip in the label of another: neither is sure.
#[test]
fn what_may_be_a_slip_in_another_carriers_number_is_not_high() {
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let detector = catalog.detector();
    let mut dice = Dice(3);
    let mut met = 0;
    for _ in 0..60 {
        let (label, place) = number("420#{5}[0123]###(92###9#{15})=", Threes(""), &mut dice);
        let at = place.unwrap();
        let slip = digit(Elevens, &label[at - 13..at]);
        let detected = detector.detect(&format!("{}{slip}", &label[..at])).unwrap();
        let fedex = detected.candidates.iter().find(|c| c.carrier.as_str() == "fedex").unwrap();
        assert_eq!(fedex.check_digit, CheckDigit::Valid, "{label}: {}", shown(&detected));
        if !label.ends_with(slip) {
            met += 1;
            assert_ne!(fedex.confidence, Confidence::High, "{label}: {}", shown(&detected));
            assert!(fedex.reason.ends_with("it may be a number of usps with a slip"), "{label}: {}", fedex.reason);
        }
    }
    assert!(met > 30, "{met}");
    // A label whose beginning no other carrier's has is sure.
    let (label, _) = number("1#{19}(#{13})=", Elevens, &mut dice);
    let detected = detector.detect(&label).unwrap();
    assert_eq!(detected.candidates[0].confidence, Confidence::High, "{label}: {}", shown(&detected));
}
