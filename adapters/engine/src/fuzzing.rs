//! What the fuzzer (`fuzz/`) asks of this crate's insides.

use crate::{
    format::Format,
    guard,
    html::compare,
    names,
    spec::{Midnight, TimesSpec, YearSpec},
    times::{Shown, Times},
};
use waybill_schemas::{UtcMs, event::RawEvent};

/// Panics when the quick HTML parser reads a page that the full one reads differently.
pub fn html_parsers_agree(page: &str) {
    if guard::refusal(crate::spec::Shape::Html, page).is_none() {
        compare::same(page);
    }
}

/// Compiles a time format and reads a text in it.
pub fn time(format: &str, text: &str) {
    let languages: Vec<String> = names::LANGUAGES.map(str::to_owned).to_vec();
    let Ok(variants) = Format::compile(format) else { return };
    for variant in variants {
        let _ = variant.parse(text, &languages);
    }
    let spec = TimesSpec {
        formats: vec![format.to_owned()],
        zone: Some("Europe/Berlin".to_owned()),
        midnight: Midnight::Date,
        year: YearSpec::Inferred,
        languages,
        ..TimesSpec::default()
    };
    let Ok(times) = Times::compile(&[&spec], None, &[]) else { return };
    let shown = Shown { time: text, offset: Some(text), year: Some(text), location: Some(text), ..Shown::default() };
    for seen_at in [None, Some(UtcMs::new(1_790_000_000_000))] {
        let _ = times.read(Shown { seen_at, ..shown });
        let _ = times.read(Shown { seen_at, ahead: true, offset: None, year: None, ..shown });
    }
}

/// An event of a text and a code.
pub fn event(text: &str, code: &str) -> RawEvent {
    RawEvent { text: text.to_owned(), code: Some(code.to_owned()), ..RawEvent::default() }
}
