//! The files of a draft, with comments on what is to be checked.

use std::fmt::Write as _;

use waybill_schemas::CarrierSlug;

use super::{Column, Wish, guess::Part, roles::Events};
use crate::{adapter::Adapter, answer::ReadOutcome, spec::Shape};

/// What the files are written from.
pub(super) struct Parts<'a> {
    pub(super) slug: &'a CarrierSlug,
    pub(super) shape: Shape,
    pub(super) wish: Wish<'a>,
    /// The stages that lead to the document that is read, in YAML.
    pub(super) unwrap: &'a [String],
    /// What the bytes are in, and how that is known.
    pub(super) charset: Option<(String, &'static str)>,
    pub(super) languages: &'a [String],
    pub(super) root: Option<String>,
}

/// A text as YAML holds it within braces, on one line.
pub(super) fn quoted(text: &str) -> String {
    let plain = text.chars().next().is_some_and(char::is_alphabetic)
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '/'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "nan" | "inf"
        );
    if plain { text.to_owned() } else { in_quotes(text) }
}

/// A text in quotes, on one line.
fn in_quotes(text: &str) -> String {
    let line = text.replace(['\n', '\r'], " ");
    if !line.contains(is_unprintable) {
        return format!("'{}'", line.replace('\'', "''"));
    }
    let mut written = String::from('"');
    for c in line.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            c if is_unprintable(c) => drop(write!(written, "\\u{:04X}", u32::from(c))),
            c => written.push(c),
        }
    }
    written + "\""
}

/// What YAML takes only escaped (YAML 1.2, 5.1), or may take for the end of a line. None is beyond four hexadecimal digits.
fn is_unprintable(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A URL with the number replaced, its host, and its scheme made safe.
fn asked(wish: Wish<'_>) -> (String, String, bool) {
    let Some(url) = wish.url else {
        return ("https://www.carrier.example/track?number={number}".into(), "www.carrier.example".into(), false);
    };
    let mut written = url.split('#').next().unwrap_or_default().replace('{', "{{").replace('}', "}}");
    let number = wish.number.map(str::trim).unwrap_or_default();
    if !number.is_empty() {
        let compact: String = number.chars().filter(|c| !c.is_whitespace()).collect();
        let escaped = crate::template::url_escaped(number);
        for form in [number, &escaped, &compact] {
            written = written.replace(form, "{number}");
        }
    }
    let rest = written.split_once("://").map_or(written.as_str(), |(_, rest)| rest);
    let host = rest.split(['/', '?', ':']).next().unwrap_or_default().to_ascii_lowercase();
    if !written.contains("://") {
        written = format!("https://{written}");
    }
    (written.clone(), host, written.contains("{number}"))
}

/// `AB123` as a pattern: letters as they are, digits as any digit.
fn pattern(number: &str) -> String {
    let mut out = String::new();
    let mut digits = 0;
    let flush = |digits: &mut usize, out: &mut String| {
        if *digits > 0 {
            let _ = write!(out, "[0-9]{{{digits}}}");
        }
        *digits = 0;
    };
    for c in number.chars().filter(char::is_ascii_alphanumeric) {
        if c.is_ascii_digit() {
            digits += 1;
        } else {
            flush(&mut digits, &mut out);
            out.push(c.to_ascii_uppercase());
        }
    }
    flush(&mut digits, &mut out);
    out
}

/// `adapter.yaml`.
pub(super) fn adapter(parts: &Parts<'_>, events: &Events) -> String {
    let mut out = String::new();
    let (url, host, has_number) = asked(parts.wish);
    let name = parts.wish.name.unwrap_or(parts.slug.as_str());
    let shape = match parts.shape {
        Shape::Html => "html",
        Shape::Json => "json",
        Shape::Xml => "xml",
    };
    let languages: Vec<String> = parts.languages.iter().map(|language| quoted(language)).collect();
    let languages = languages.join(", ");
    let _ = write!(
        out,
        "# A draft from one answer: check every line that says so, then remove these comments.\n\
         format: 1\n\
         name: {}\n\
         basis: page                       # CHECK: api (an official interface, under its terms), page, or contact\n\
         languages: [{languages}]                   # CHECK: of the answers; the first is the one asked for\n\
         # zone: Europe/Berlin             # CHECK: the clock its times are on; leave out when they are local to each place\n\
         budget: {{rate_per_second: 0.2, burst: 1, concurrency: 1, min_interval_s: 3600, basis: assumed}}   # CHECK: its terms\n\
         hosts: [{host}]\n",
        quoted(name)
    );
    if let Some((charset, why)) = &parts.charset {
        let _ = writeln!(out, "charset: {{fallback: {charset}}}           # CHECK: {why}");
    }
    match parts.wish.number.filter(|number| number.len() <= 64).map(pattern).filter(|pattern| !pattern.is_empty()) {
        Some(pattern) => {
            let _ = write!(out, "numbers:                          # CHECK: what its numbers look like, for detection\n  - {{pattern: '{pattern}'}}\n");
        }
        None => out.push_str("# numbers:                        # what its numbers look like, for detection\n#   - {pattern: 'AB[0-9]{9}'}\n"),
    }
    let _ = write!(
        out,
        "sources:\n  - name: page\n    kind: page                    # CHECK: api when it needs secrets\n    steps:\n      - name: page\n        get: {}\n",
        quoted(&url)
    );
    if !has_number {
        out.push_str("        # CHECK: where the number stands in the URL is not known; write {number} there\n");
    }
    let _ = writeln!(out, "readers:\n  - name: first\n    shape: {shape}");
    if !parts.unwrap.is_empty() {
        out.push_str("    unwrap:                       # CHECK: these names do not change from page to page\n");
        for stage in parts.unwrap {
            let _ = writeln!(out, "      - {stage}");
        }
    }
    let _ = write!(out, "    accept: {{{}}}", accept(parts, events));
    out.push_str("   # CHECK: true of every answer of this kind, also of one without events; never of an error page\n");
    scope(&mut out, events);
    times(&mut out, events);
    table(&mut out, events);
    out.push_str(
        "    # CHECK: what stands outside the table, if anything\n\
         \x20   # facts: {status: …, eta: {from: …, formats: […]}, origin: …, destination: …, weight: …, service: …}\n\
         \x20   # CHECK: ask for a number that does not exist, and write here how that answer is known\n\
         \x20   # not_found:\n\
         \x20   #   - {when: {text: …, matches: '(?i)not found'}, text: …}\n",
    );
    out
}

fn scope(out: &mut String, events: &Events) {
    let Some(scope) = &events.candidate.scope else { return };
    let each = quoted(&scope.each);
    let _ = match &scope.number {
        Some(number) => writeln!(
            out,
            "    scope: {{each: {each}, number: {number}, pick: none}}   # CHECK: the shipment of the number asked for (parse --number)"
        ),
        None => writeln!(
            out,
            "    # CHECK: the events of all {} at {each} are read as one history; if these are parcels, see scope; if they \
             repeat each other, distinct",
            scope.count
        ),
    };
}

fn accept(parts: &Parts<'_>, events: &Events) -> String {
    let around = events.candidate.around.as_deref().map(quoted);
    match (&parts.root, around) {
        (Some(root), Some(around)) => format!("root: {}, has: {around}", quoted(root)),
        (Some(root), None) => format!("root: {}", quoted(root)),
        (None, Some(around)) => format!("has: {around}"),
        (None, None) => {
            format!("has: {}", quoted(events.candidate.each.as_ref().unwrap_or(&events.candidate.rows)))
        }
    }
}

fn times(out: &mut String, events: &Events) {
    let Some((_, times)) = &events.time else {
        out.push_str("    # CHECK: no column was understood as a time\n    # times: {formats: ['%d.%m.%Y %H:%M']}\n");
        return;
    };
    let mut notes = Vec::new();
    if times.ambiguous {
        notes.push("day and month cannot be told apart in this answer");
    }
    if times.part == Part::Date {
        notes.push("no time of day was found");
    }
    let has_year =
        |format: &String| format == "iso" || ["%Y", "%y", "%Q", "%s"].iter().any(|year| format.contains(year));
    if !times.formats.iter().any(has_year) {
        notes.push("no year is printed: see `year: inferred`");
    }
    let notes = if notes.is_empty() { String::new() } else { format!("   # CHECK: {}", notes.join("; ")) };
    let year = if notes.contains("no year") { ", year: inferred" } else { "" };
    let formats: Vec<String> = times.formats.iter().map(|format| quoted(format)).collect();
    let _ = writeln!(out, "    times: {{formats: [{}]{year}}}{notes}", formats.join(", "));
}

fn table(out: &mut String, events: &Events) {
    let candidate = &events.candidate;
    let _ = writeln!(out, "    tables:\n      - rows: {}", quoted(&candidate.rows));
    for (key, path) in [("each", &candidate.each), ("heading", &candidate.heading)] {
        if let Some(path) = path {
            let _ = writeln!(out, "        {key}: {}", quoted(path));
        }
    }
    if let Some(skip) = &candidate.skip {
        let _ = writeln!(out, "        skip: {skip}");
    }
    let column = |index: usize| &candidate.columns[index];
    let example = |index: usize| -> String {
        let text = column(index).texts.iter().find(|text| !text.trim().is_empty()).cloned().unwrap_or_default();
        // What is printed may be personal: the heading will do.
        let hint = crate::text::collapse(&column(index).hint);
        let hint: String = if hint.is_empty() { format!("{} signs", text.chars().count()) } else { hint };
        hint.chars().filter(|c| !c.is_control() && !is_unprintable(*c) && *c != '#').take(40).collect()
    };
    if let Some((columns, _)) = &events.time {
        let mut fields: Vec<String> = columns.iter().map(|index| column(*index).field.clone()).collect();
        // A day printed once is that of the rows below as well.
        if let [day, _] = columns.as_slice() {
            fields[0] = filled_down(column(*day));
        }
        let hints: Vec<String> = columns.iter().map(|index| example(*index)).collect();
        let value = if let [only] = fields.as_slice() { only.clone() } else { format!("[{}]", fields.join(", ")) };
        let _ = writeln!(out, "        time: {value}   # {}", hints.join(", "));
    }
    let named = [("text", events.text), ("code", events.code), ("location", events.place), ("country", events.country)];
    for (name, index) in named {
        if let Some(index) = index {
            // Words stay as they are; a place that is a dash is none.
            let field = if name == "location" { without_dashes(column(index)) } else { column(index).field.clone() };
            let _ = writeln!(out, "        {name}: {field}   # CHECK: {}", example(index));
        }
    }
    if events.text.is_none() && events.code.is_none() {
        let first = (0..candidate.columns.len())
            .find(|index| events.time.as_ref().is_none_or(|(columns, _)| !columns.contains(index)));
        let field = first.map_or("{const: ''}", |index| column(index).field.as_str());
        let _ = writeln!(out, "        text: {field}   # CHECK: no column looked like words");
    }
    let used = |index: &usize| {
        let time = events.time.as_ref().is_some_and(|(columns, _)| columns.contains(index));
        time || [events.text, events.code, events.place, events.country].contains(&Some(*index))
    };
    let unused: Vec<String> = (0..candidate.columns.len())
        .filter(|index| !used(index))
        .take(12)
        .map(|index| format!("{} ({})", column(index).field, example(index)))
        .collect();
    if !unused.is_empty() {
        let _ = writeln!(out, "        # not used: {}", unused.join(" · "));
    }
}

/// A column's field, blank where only a dash is printed.
fn without_dashes(column: &Column) -> String {
    let is_dash = |text: &String| !text.is_empty() && text.chars().all(|c| matches!(c, '-' | '\u{2013}' | '\u{2014}'));
    let mut dashes: Vec<String> = column.texts.iter().map(|text| text.trim().to_owned()).filter(is_dash).collect();
    dashes.sort_unstable();
    dashes.dedup();
    if dashes.is_empty() {
        return column.field.clone();
    }
    let dashes: Vec<String> = dashes.iter().map(|text| in_quotes(text)).collect();
    with_key(&column.field, &format!("blank: [{}]", dashes.join(", ")))
}

/// A column's field, filled from the rows above where only the first of several has it.
fn filled_down(column: &Column) -> String {
    let is_blank = |text: &String| text.trim().is_empty();
    let gaps = column.texts.first().is_some_and(|first| !is_blank(first)) && column.texts.iter().any(is_blank);
    if gaps { with_key(&column.field, "fill: down") } else { column.field.clone() }
}

/// A field with one key more.
fn with_key(field: &str, key: &str) -> String {
    match field.strip_prefix('{').and_then(|field| field.strip_suffix('}')) {
        Some(inside) => format!("{{{inside}, {key}}}"),
        None => format!("{{path: {field}, {key}}}"),
    }
}

/// The distinct texts of events, each with the rule that knows it.
pub(super) fn texts(adapter: &Adapter, reads: &ReadOutcome) -> Vec<(String, Option<String>)> {
    let mut seen: Vec<(String, Option<String>)> = Vec::new();
    for event in &reads.events {
        let text = crate::text::collapse(&event.text);
        if !text.is_empty() && !seen.iter().any(|(known, _)| *known == text) {
            let meaning = adapter.mapping.map(event).sub_status.map_or("none", |sub| sub.as_str());
            seen.push((text, adapter.mapping.rule(event).map(|_| meaning.to_owned())));
        }
    }
    seen
}

/// `mapping.yaml`.
pub(super) fn mapping(adapter: &Adapter, reads: &ReadOutcome) -> String {
    let mut out = String::from(
        "# What the carrier's codes and words mean. Rules: adapters/README.md; write for its whole code list.\n\
         format: 1\n",
    );
    let (known, unknown): (Vec<_>, Vec<_>) = texts(adapter, reads).into_iter().partition(|(_, rule)| rule.is_some());
    if !unknown.is_empty() {
        out.push_str("# CHECK: nothing knows these texts; say what each means, such as InTransit_Other, and remove the #\n# exact:\n");
        for (text, _) in unknown {
            let _ = writeln!(out, "#   {}: ", in_quotes(&text));
        }
    }
    if !known.is_empty() {
        out.push_str("# CHECK: the language's phrase tables say so; write a rule here where that is wrong\n");
        for (text, meaning) in known {
            let _ = writeln!(out, "#   {}: {}", in_quotes(&text), meaning.unwrap_or_default());
        }
    }
    let mut codes: Vec<&str> = reads.events.iter().filter_map(|event| event.code.as_deref()).collect();
    codes.sort_unstable();
    codes.dedup();
    if !codes.is_empty() {
        out.push_str("# codes:                          # better than words, where the carrier's list is known\n");
        for code in codes {
            let _ = writeln!(out, "#   {}: ", in_quotes(code));
        }
    }
    out
}
