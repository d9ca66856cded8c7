//! What in an example looks as if it told of real people: examples are invented, and published with the program.
//!
//! Only hints: each says where and what, never the whole of it. Domains, numbers and names that are reserved for examples
//! are let pass, and so is what stands where a name could and is none: the carrier itself, a depot, "left with a
//! neighbour", a mailbox of its customer service.

use std::sync::LazyLock;

use regex::Regex;

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The line, from 1.
    pub line: usize,
    /// What it looks like, with its beginning.
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mail,
    Phone,
    Name,
    Address,
}

impl Kind {
    const fn words(self) -> &'static str {
        match self {
            Self::Mail => "an e-mail address",
            Self::Phone => "a telephone number",
            Self::Name => "a person's name",
            Self::Address => "an address",
        }
    }
}

struct Rule {
    kind: Kind,
    pattern: LazyLock<Option<Regex>>,
}

macro_rules! rule {
    ($kind:ident, $pattern:expr) => {
        Rule { kind: Kind::$kind, pattern: LazyLock::new(|| Regex::new($pattern).ok()) }
    };
}

/// Where the group `it` is, only that is judged.
static RULES: [Rule; 10] = [
    rule!(Mail, r"(?i)\b[a-z0-9][a-z0-9._%+-]*@([a-z0-9-]+\.)+[a-z]{2,}\b"),
    rule!(Phone, r"\+[1-9][0-9]{0,2}[ ./-]?(\(?[0-9]{1,4}\)?[ ./-]?){2,4}[0-9]{2,4}\b"),
    rule!(
        Phone,
        r#"(?i)\b(tel|telephone|telefono?|tel[eé]fono|t[eé]l[eé]phone|phone|mobile?|cell|fax|tlp|hp|whatsapp)[a-z_]{0,12}[.:"'= ]{1,4}(?<it>\+?[0-9(][0-9 ()./-]{6,}[0-9])"#
    ),
    rule!(
        Name,
        r"\b(Mr|Mrs|Ms|Miss|Dr|Herrn?|Frau|Monsieur|Madame|Mme|Sr|Sra|Señora?|Signora?|Bpk|Ibu)\.? (?<it>\p{Lu}\p{L}+( \p{Lu}\p{L}+)?)"
    ),
    // In prose a name has capitals …
    rule!(
        Name,
        r"(?i:signed(?: for)? by|received by|handed(?: over)? to|receiver|recipient|consignee|unterschrieben von|empfänger|reçu par|remis à|firmado por|recibido por|firmato da|diterima oleh|penerima)[:\s]{1,3}(?<it>\p{Lu}[\p{L}.'-]+( \p{Lu}[\p{L}.'-]+){0,2})"
    ),
    // … as the value of a field it may have none.
    rule!(
        Name,
        r#"(?i)\b(signed_?(for)?_?by|signature|signatory|received_?by|receiver|recipient|consignee|delivered_?to|addressee|empf(ä|ae)nger|penerima)(_?name)?["']?\s?[:=>]\s?["']?(?<it>\p{L}[\p{L}.'-]*[ .]\p{L}[\p{L}.'-]+( \p{L}[\p{L}.'-]+)?)"#
    ),
    rule!(
        Address,
        r"\b[0-9]{1,4}[a-zA-Z]? (\p{Lu}[\p{L}']* ){1,3}(?i:street|road|avenue|lane|drive|boulevard|blvd|close|crescent|terrace)\b"
    ),
    rule!(
        Address,
        r"\b[0-9]{1,4}( ?(bis|ter))?,? (?i:rue|avenue|boulevard|chemin|allée|impasse) (?i:de |du |des |la |le |l')*\p{Lu}\p{L}+"
    ),
    rule!(
        Address,
        r"\b(Via|Viale|Piazza|Corso|Calle|Avenida|Rua|Plaza|ul\.|Jl\.|Jalan) (\p{Lu}[\p{L}.]+ ?){1,3},? ?(No\.? ?)?[0-9]{1,4}\b"
    ),
    rule!(
        Address,
        r"\b\p{Lu}\p{L}{2,}(straße|strasse|str\.|weg|gasse|allee|platz|straat|laan|plein|gatan|vägen|vej|gata|katu|tie) [1-9][0-9]{0,3}\b"
    ),
];

/// Parts that invented things have, in lower case.
const INVENTED: [&str; 26] = [
    "example",
    "invented",
    "nobody",
    "noone",
    "anyone",
    "someone",
    "muster",
    "sample",
    "test",
    "555-",
    "555 ",
    "000000",
    "123456",
    "doe",
    "invalid",
    "localhost",
    "fictional",
    "anon",
    "xxx",
    "***",
    "redact",
    "sirname",
    "a. ",
    "name name",
    "carrier",
    "placeholder",
];

/// Words that no name has: who else receives parcels, where, and how it went.
const NO_NAMES: &str = " address addressee agent airline airport any apartment around at authorities available box branch \
    building business by cargo center centre city closed collection company consignee counter country courier customer \
    customs delivered delivery department depot desk destination distribution door doorman driver due during employee \
    express facility family flat for forwarder freight from front garage gate gmbh has hall hand handling her him his home \
    hotel house household hub import in inc incomplete is kiosk letter letterbox line linehaul local locker logistics ltd \
    mail mailbox mailroom merchant moved name neighbor neighbour network neutral new no not null of office on or origin \
    other our out outlet package parcel parcels partner person phone pick pickup place plc point port porch post postal \
    postcode provider reception receptionist receiver recipient refused relative resident retail returned roommate room \
    safe scanned schedule secretary security seller sender service services shed shipper shop sort sorting spouse staff \
    state station status store supplier terminal the their third this to transport truck true type undefined unknown us \
    van vehicle via warehouse was we will with yes you your zip true false nachbar nachbarn abholung ablageort \
    briefkasten empfänger familie filiale mitarbeiter paketshop pförtner gardien voisin boîte destinataire accueil buzón \
    conserje vecino portiere vicino satpam resepsionis keluarga tetangga rekan kantor yang bersangkutan penerima paket \
    diterima ";

/// Mailboxes that belong to nobody in particular.
const OFFICES: [&str; 22] = [
    "info",
    "support",
    "service",
    "services",
    "contact",
    "hello",
    "help",
    "noreply",
    "no-reply",
    "donotreply",
    "webmaster",
    "admin",
    "api",
    "sales",
    "press",
    "privacy",
    "postmaster",
    "customerservice",
    "customercare",
    "customer.service",
    "kundenservice",
    "kontakt",
];

/// Looks through a text, line by line; at most `most` hints. `own` are names of the carrier: they stand everywhere in its
/// answers.
pub fn hints(text: &str, own: &[&str], most: usize) -> Vec<Hint> {
    let own: Vec<String> = own.iter().flat_map(|name| words(name)).filter(|word| word.chars().count() > 2).collect();
    let mut found: Vec<Hint> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut told: Vec<(Kind, std::ops::Range<usize>)> = Vec::new();
        // Lines of minified pages are long; what stands in them is looked at nevertheless.
        for rule in &RULES {
            let Some(pattern) = rule.pattern.as_ref() else { continue };
            for captures in pattern.captures_iter(line) {
                let Some(whole) = captures.get(0) else { continue };
                let it = captures.name("it").unwrap_or(whole);
                let lower = whole.as_str().to_lowercase();
                let twice = told.iter().any(|(kind, seen)| *kind == rule.kind && seen.contains(&it.start()));
                if twice
                    || INVENTED.iter().any(|part| lower.contains(part))
                    || is_harmless(rule.kind, it.as_str(), &own)
                {
                    continue;
                }
                told.push((rule.kind, it.range()));
                let begin: String = whole.as_str().chars().take(24).collect();
                found.push(Hint { line: index + 1, what: format!("{} (`{begin}…`)", rule.kind.words()) });
                if found.len() >= most {
                    return found;
                }
            }
        }
    }
    found
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn is_harmless(kind: Kind, it: &str, own: &[String]) -> bool {
    match kind {
        Kind::Name => {
            let other = |word: &String| own.contains(word) || NO_NAMES.contains(&format!(" {word} "));
            words(it).iter().any(other)
        }
        Kind::Mail => {
            let mailbox = it.split('@').next().unwrap_or_default().to_lowercase();
            OFFICES.contains(&mailbox.as_str())
        }
        Kind::Phone => {
            let digits = it.bytes().filter(u8::is_ascii_digit).count();
            !(7..=15).contains(&digits) || is_dated(it)
        }
        Kind::Address => false,
    }
}

/// Whether it has a date in it, such as `2026-03-01`.
fn is_dated(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ["0000-00-00", "00-00-0000", "00/00/0000", "00.00.0000", "0000/00/00"].iter().any(|date| shape.contains(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(usize, String)> {
        hints(text, &["Acme Parcels", "acme"], 100).into_iter().map(|hint| (hint.line, hint.what)).collect()
    }

    #[test]
    fn what_looks_like_people_is_told_with_its_line() {
        for (line, what) in [
            ("mail: jane.rowe@gmail.com", "an e-mail address"),
            ("+44 20 7946 0958", "a telephone number"),
            ("\"phoneNumber\": \"020 7946 0958\"", "a telephone number"),
            ("Téléphone : 01 99 00 12 34", "a telephone number"),
            ("Delivered to Mrs Rowe", "a person's name"),
            ("Signed by: J. ROWE", "a person's name"),
            ("Proof of delivery, received by Jane Rowe", "a person's name"),
            ("<SignedForBy>jane rowe</SignedForBy>", "a person's name"),
            ("{\"receiverName\":\"jane rowe\"}", "a person's name"),
            ("\"signed_by\": \"Rowe J.K\"", "a person's name"),
            ("Zugestellt, unterschrieben von Röwe", "a person's name"),
            ("Diterima oleh SITI ROWENA", "a person's name"),
            ("12 Long Acre Street", "an address"),
            ("Hauptstraße 7, Berlin", "an address"),
            ("14 bis, rue de la Gare", "an address"),
            ("Via Garibaldi 12", "an address"),
            ("Jl. Sudirman No. 5", "an address"),
            ("Kerkstraat 18", "an address"),
        ] {
            let found = told(&format!("<p>\n{line}\n"));
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(found[0].0 == 2 && found[0].1.starts_with(what), "{line}: {found:?}");
            // Only its beginning is repeated.
            assert!(found[0].1.chars().count() <= what.len() + 30);
        }
    }

    #[test]
    fn what_is_invented_or_tells_of_nobody_is_not_told() {
        for line in [
            "mail@carrier.example",
            "Questions? support@acme-parcels.com",
            "+1 555-0100 555 0199",
            "Mr Nobody",
            "Signed by: A. Nobody",
            "2026-03-01 10:15 +01:00",
            "mobile: 2026-03-01 10:15",
            "RR123456785DE",
            "margin: 12px 10px",
            "Received by agent",
            "Received by Acme",
            "received by Acme Parcels in London",
            "Received by Local Post Office",
            "Receiver Not At Home",
            "CONSIGNEE NOT AROUND",
            "Recipient Available",
            "Delivered, signed for by: Recipient",
            "\"signedBy\": \"front desk\"",
            "\"recipient\": \"not home\"",
            "\"consignee\": null",
            "Handed over to Partner Carrier",
            "Empfänger nicht angetroffen",
            "2 parcels sent by road",
            "3 trucks waiting in lane",
            "5 days via London",
            "Departed via Rotterdam 12:30",
            "Sendung ist unterwegs 2 Tage",
            "Mallikatu 0",
            "\"receiver_name\": \"Paket diterima\"",
        ] {
            let found = told(line);
            assert!(found.is_empty(), "{line}: {found:?}");
        }
    }

    #[test]
    fn the_number_of_hints_is_bounded() {
        assert_eq!(hints(&"jane.rowe@gmail.com ".repeat(50), &[], 5).len(), 5);
    }
}
