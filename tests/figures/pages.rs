//! How fast answers are read, by shape, on one thread. Every round reads whole answers: decoding, recognising, extracting,
//! times, and the digest that tells whether anything is new.

use std::hint::black_box;

use anyhow::{Result, ensure};
use waybill_adapters::{Answer, Answers};

use crate::{
    carriers::{self, EVENTS},
    report::{Name, Report},
};

/// What is measured here.
pub(crate) const FIGURES: [Name; 4] = [
    ("pages_read_html_2_kb_12_rows", "pages/s/core"),
    ("pages_read_html_44_kb_30_rows", "pages/s/core"),
    ("pages_read_json_12_rows", "pages/s/core"),
    ("pages_read_xml_12_rows", "pages/s/core"),
];

/// Measures what is wanted.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    const LARGE: usize = 44_000;
    let [small, large, json, xml] = FIGURES.map(|(name, _)| name);
    let (html, long) = (carriers::html(EVENTS, 0), carriers::html(30, LARGE));
    ensure!((2_000..3_000).contains(&html.len()), "the small page has {} bytes", html.len());
    ensure!((LARGE..46_000).contains(&long.len()), "the large page has {} bytes", long.len());
    let pages = [
        (small, "aurora-post", EVENTS, html),
        (large, "aurora-post", 30, long),
        (json, "cobalt-cargo", EVENTS, carriers::json(EVENTS)),
        (xml, "ember-messagerie", EVENTS, carriers::xml(EVENTS)),
    ];
    for (name, carrier, steps, body) in pages {
        if report.wants(name) {
            let adapter = carriers::adapter(carrier)?;
            carriers::read(&adapter, &body, steps)?;
            let answers = [Answer::saved("page", &body)];
            let answers = Answers { number: None, list: &answers };
            report.per_second(name, 1, || {
                black_box(adapter.read(black_box(&answers)));
            })?;
        }
    }
    Ok(())
}
