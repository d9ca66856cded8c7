//! Check digits: pure arithmetic over a serial. Each rule names where it is published.

use crate::{
    error::Fault,
    spec::{CheckRule, CheckSpec, DigitIs, Side},
};

/// A compiled rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    rule: Rule,
    before: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// Characters times weights, summed.
    Weighted(Weighted),
    /// Weights 8 6 4 2 3 5 9 7, modulo 11: UPU standard S10.
    S10,
    /// The serial as a number, modulo 7: air waybills (IATA), DHL Express.
    Mod7,
    /// Every second digit doubled: ISO/IEC 7812-1, annex B.
    Luhn,
    /// The hybrid system MOD 37,36 of ISO 7064, over digits and letters: DPD.
    Mod3736,
    /// The characters' codes summed, modulo 23, as a letter of the table of Spain's NIF: Correos.
    Nif,
}

#[derive(Debug, Clone, PartialEq)]
struct Weighted {
    weights: Vec<u32>,
    from: Side,
    modulo: u32,
    digit: DigitIs,
}

/// A letter counts as its place in the digits' row of the ASCII table: A 2, B 3, … H 9, I 0 (UPS).
fn value(character: char) -> u32 {
    character.to_digit(10).unwrap_or_else(|| (u32::from(character) + 7) % 10)
}

const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// The letters of Spain's NIF, by the remainder modulo 23.
const NIF: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

impl Check {
    /// `None` for the rule `none`.
    pub(crate) fn compile(spec: &CheckSpec) -> Result<Option<Self>, Fault> {
        let long = &spec.0;
        let weighted = |weights: &[u32], from, modulo, digit| {
            Rule::Weighted(Weighted { weights: weights.to_vec(), from, modulo, digit })
        };
        let rule = match long.rule {
            CheckRule::None => return Ok(None),
            // GS1 General Specifications, section 7.9: 3 and 1 in turn from the right.
            CheckRule::Gs1 => weighted(&[3, 1], Side::Right, 10, DigitIs::Complement),
            // 1 and 2 in turn from the left, without summing digits.
            CheckRule::Ups => weighted(&[1, 2], Side::Left, 10, DigitIs::Complement),
            // 1, 3 and 7 in turn from the right, modulo 11, and of 10 the last digit.
            CheckRule::Fedex => weighted(&[1, 3, 7], Side::Right, 11, DigitIs::Remainder),
            // 4 and 9 in turn from the left: Deutsche Post's Identcode and Leitcode.
            CheckRule::Identcode => weighted(&[4, 9], Side::Left, 10, DigitIs::Complement),
            CheckRule::Weighted => {
                if long.weights.is_empty() || !long.modulo.unwrap_or(10).clamp(2, 11).eq(&long.modulo.unwrap_or(10)) {
                    let how = "a weighted check needs weights: […] and a modulo from 2 to 11";
                    return Err(Fault::new("weighted", how));
                }
                weighted(&long.weights, long.from, long.modulo.unwrap_or(10), long.digit)
            }
            CheckRule::S10 => Rule::S10,
            CheckRule::Mod7 => Rule::Mod7,
            CheckRule::Luhn => Rule::Luhn,
            CheckRule::Mod3736 => Rule::Mod3736,
            CheckRule::Nif => Rule::Nif,
        };
        if !long.weights.is_empty() && long.rule != CheckRule::Weighted {
            return Err(Fault::new("weights", "weights belong to the rule `weighted`"));
        }
        Ok(Some(Self { rule, before: long.before.clone() }))
    }

    /// Whether the rule is of S10 numbers, whose digit has a place of its own.
    pub(crate) fn is_s10(&self) -> bool {
        self.rule == Rule::S10
    }

    /// By how many powers of ten a right digit narrows the form down.
    pub(crate) fn bits(&self) -> f64 {
        match self.rule {
            Rule::Mod3736 => 36_f64.log10(),
            Rule::Nif => 23_f64.log10(),
            _ => 1.0,
        }
    }

    /// The digit that belongs to a serial; none where the rule knows none for it.
    pub(crate) fn digit(&self, serial: &str) -> Option<char> {
        let text = [self.before.as_str(), serial].concat();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
            return None;
        }
        let decimal = |digit: u32| char::from_digit(digit, 10);
        match &self.rule {
            Rule::Weighted(weighted) => decimal(weighted.digit(&text)),
            Rule::S10 => decimal(s10(&text)?),
            Rule::Mod7 => decimal(text.chars().try_fold(0, |rest, c| Some((rest * 10 + c.to_digit(10)?) % 7))?),
            Rule::Luhn => decimal(luhn(&text)?),
            Rule::Mod3736 => mod_37_36(&text),
            Rule::Nif => Some(char::from(NIF[text.bytes().map(usize::from).sum::<usize>() % NIF.len()])),
        }
    }
}

impl Weighted {
    fn digit(&self, text: &str) -> u32 {
        let times = |(character, weight): (char, &u32)| value(character) * weight;
        let weights = self.weights.iter().cycle();
        let sum: u32 = match self.from {
            Side::Left => text.chars().zip(weights).map(times).sum(),
            Side::Right => text.chars().rev().zip(weights).map(times).sum(),
        };
        let rest = sum % self.modulo;
        match self.digit {
            DigitIs::Complement => (self.modulo - rest) % self.modulo % 10,
            DigitIs::Remainder => rest % 10,
        }
    }
}

fn s10(text: &str) -> Option<u32> {
    const WEIGHTS: [u32; 8] = [8, 6, 4, 2, 3, 5, 9, 7];
    if text.len() != WEIGHTS.len() {
        return None;
    }
    let sum = text.chars().zip(WEIGHTS).try_fold(0, |sum, (c, weight)| Some(sum + c.to_digit(10)? * weight))?;
    Some(match 11 - sum % 11 {
        10 => 0,
        11 => 5,
        digit => digit,
    })
}

fn luhn(text: &str) -> Option<u32> {
    let each = |(index, character): (usize, char)| {
        let digit = character.to_digit(10)?;
        Some(if index.is_multiple_of(2) { digit * 2 / 10 + digit * 2 % 10 } else { digit })
    };
    let sum: Option<u32> = text.chars().rev().enumerate().map(each).sum();
    Some((10 - sum? % 10) % 10)
}

fn mod_37_36(text: &str) -> Option<char> {
    let mut product: usize = 36;
    for byte in text.bytes() {
        let sum = (product + ALPHABET.iter().position(|known| *known == byte)?) % 36;
        product = if sum == 0 { 36 } else { sum } * 2 % 37;
    }
    Some(char::from(ALPHABET[(37 - product) % 36]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> Check {
        let spec: CheckSpec = serde_saphyr::from_str(text).unwrap();
        Check::compile(&spec).unwrap().unwrap()
    }

    /// Worked examples that the publishers of the rules give, or invented and reckoned by hand.
    #[test]
    fn digits_are_those_that_the_rules_publish() {
        // GS1's own example of an SSCC and of a GTIN-13.
        assert_eq!(rule("gs1").digit("37610425002123456"), Some('9'));
        assert_eq!(rule("gs1").digit("629104150021"), Some('3'));
        // S10: 47312482 → 9 (UPU standard S10, annex).
        assert_eq!(rule("s10").digit("47312482"), Some('9'));
        // ISO/IEC 7812-1: 7992739871 → 3.
        assert_eq!(rule("luhn").digit("7992739871"), Some('3'));
        // UPS: letters count as A 2, B 3, …; 1Z is not counted.
        assert_eq!(rule("ups").digit("999AA1012345678"), Some('4'));
        // By hand: from the right 1·1 + 0·3 + 9·7 + 8·1 + … = 178, and 178 mod 11 = 2.
        assert_eq!(rule("fedex").digit("12345678901"), Some('2'));
        assert_eq!(rule("mod7").digit("1234567890"), char::from_digit((1_234_567_890_u64 % 7) as u32, 10));
        // Deutsche Post's Identcode 56.310 243.031 3.
        assert_eq!(rule("identcode").digit("56310243031"), Some('3'));
        // By hand: 80 + 81 + 55 = 216, and 216 mod 23 = 9.
        assert_eq!(rule("nif").digit("PQ7"), Some('D'));
        // ISO 7064: a string with its character is congruent to 1.
        let whole = format!("0998000002003{}", rule("mod_37_36").digit("0998000002003").unwrap());
        assert_eq!(whole.len(), 14);
    }

    #[test]
    fn what_stands_before_counts_and_wrong_specifications_are_refused() {
        assert_eq!(rule("{rule: gs1, before: '91'}").digit("12"), rule("gs1").digit("9112"));
        let weighted = rule("{rule: weighted, weights: [8, 6, 4], from: left, modulo: 11, digit: remainder}");
        assert_eq!(weighted.digit("111"), Some('7'));
        let refused = |text: &str| Check::compile(&serde_saphyr::from_str(text).unwrap()).unwrap_err().problem;
        assert!(refused("weighted").contains("needs weights"));
        assert!(refused("{rule: luhn, weights: [1]}").contains("belong to"));
        assert!(serde_saphyr::from_str::<CheckSpec>("magic").is_err());
    }

    proptest! {
        /// Every rule notices every single wrong character of a serial, but for those that are known not to: UPS's doubled
        /// digits (0 and 5) and remainders modulo 7 and 11 that fold.
        #[test]
        fn a_single_wrong_character_is_noticed(serial in "[0-9]{8}", place in 0..8_usize, by in 1..10_u8) {
            let mut wrong = serial.clone().into_bytes();
            wrong[place] = b'0' + (wrong[place] - b'0' + by) % 10;
            let wrong = String::from_utf8(wrong).unwrap();
            for name in ["gs1", "luhn", "mod_37_36", "nif"] {
                prop_assert_ne!(rule(name).digit(&serial), rule(name).digit(&wrong), "{}", name);
            }
        }

        /// Whatever is asked, no rule panics, and digits are characters of the alphabet.
        #[test]
        fn nothing_panics(serial in "\\PC{0,70}") {
            for name in ["gs1", "luhn", "mod_37_36", "ups", "fedex", "mod7", "s10", "identcode", "nif"] {
                if let Some(digit) = rule(name).digit(&serial) {
                    prop_assert!(digit.is_ascii_digit() || digit.is_ascii_uppercase());
                }
            }
        }
    }
}
