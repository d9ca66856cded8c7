//! HTML: a table, newest first; no-break spaces, markup and line breaks inside texts; a clock and a token in the page;
//! a second table that is no history. English, local time of London.

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, markup, place};
use crate::{journey::Happening, ledger::Shown};

pub(super) struct AuroraPost;

const PLACES: &[Place] = &[
    place("Leeds", "GB", "Europe/London"),
    place("Bristol Mail Centre", "GB", "Europe/London"),
    place("Stow-on-the-Wold", "GB", "Europe/London"),
    place("Perth & Kinross", "GB", "Europe/London"),
    place("Swansea (North)", "GB", "Europe/London"),
    place("Rotterdam", "NL", "Europe/Amsterdam"),
    place("Shenzhen", "CN", "Asia/Shanghai"),
    place("São Paulo", "BR", "America/Sao_Paulo"),
];

const WORDS: Words = [
    ("", ["Sender has told us about your item", "Sender preparing item"]),
    ("", ["We have your item", "Item collected from sender"]),
    ("", ["Arrived at sorting centre", "Item received & sorted"]),
    ("", ["Left sorting centre", "On its way to the next centre"]),
    ("", ["Left the country of origin", "Departed on flight from origin"]),
    ("", ["Arrived in destination country", "Landed in the United Kingdom"]),
    ("", ["Handed to customs", "With customs for clearance"]),
    ("", ["Released by customs", "Customs clearance complete"]),
    ("", ["Customs need more details from you", "Held: invoice missing, please contact us"]),
    ("", ["Delayed by weather", "Running late – sorry"]),
    ("", ["Out for delivery", "With your postie today"]),
    ("", ["Tried to deliver, nobody in", "Sorry we missed you"]),
    ("", ["Address incomplete, could not deliver", "Wrong address on item"]),
    ("", ["Ready to collect at the post office", "Waiting for you at a shop"]),
    ("", ["Delivered", "Delivered & signed for"]),
    ("", ["Refused by recipient", "Recipient didn't want the item"]),
    ("", ["On its way back to the sender", "Being returned"]),
    ("", ["Returned to sender", "Back with the sender"]),
    ("", ["Declared lost", "Lost: we can't find your item"]),
];

static PROFILE: Profile = Profile {
    slug: "aurora-post",
    rate: 20.0,
    requests_per_look: 1,
    media: Media::Html,
    zone: "Europe/London",
    places: PLACES,
    home: 5,
    words: &WORDS,
};

impl Shape for AuroraPost {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("AP{serial:09}GB")
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%-d %b %Y, %H:%M").to_string();
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        (ask.step == "page").then(|| Answer::html(page(view), view.kind()))
    }
}

fn page(view: &View<'_>) -> String {
    let history = if view.known { table(view) } else { nobody_knows() };
    let clock = PROFILE.local(view.now_ms).strftime("%H:%M:%S %d/%m/%Y");
    let (number, noise) = (view.number, view.noise());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Track {number} | Aurora Post</title>\n\
         <script>var csrf=\"{noise}\";var labels={{\"none\":\"we have no record of this item\"}};</script></head>\n<body>\n\
         <p class=\"clock\">Local time {clock}</p>\n<div id=\"result\">\n{history}</div>\n\
         <table class=\"prices\"><tr><td>1 Jan 2026, 00:00</td><td>Prices from</td><td>£3.10</td></tr></table>\n\
         <!-- {noise} -->\n</body>\n</html>\n"
    )
}

fn nobody_knows() -> String {
    "<p class=\"notice\">Sorry, we have no record of this item yet.</p>\n".to_owned()
}

fn table(view: &View<'_>) -> String {
    let rows = view.rows.iter().rev().map(|row| {
        let time = row.shown.time_raw.replacen(' ', "&nbsp;", 2).replace(", ", ",\n      ");
        format!(
            "  <tr class=\"{}\">\n    <td>{time}</td>\n    <td class=\"what\">{}</td>\n    <td>{}</td>\n  </tr>\n",
            if row.happening.wording == 0 { "odd" } else { "even" },
            markup::dressed(&row.shown.text),
            markup::cell(row.shown.location.as_deref())
        )
    });
    let rows = rows.collect::<String>();
    format!(
        "<table id=\"history\">\n  <thead><tr><th>When</th><th>What</th><th>Where</th></tr></thead>\n  <tbody>\n{rows}  </tbody>\n</table>\n"
    )
}
