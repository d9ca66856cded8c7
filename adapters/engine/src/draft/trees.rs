//! What repeats in JSON and XML.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Candidate, Column, Scope, guess, write::quoted};
use crate::{
    jsonpath::{self, Named},
    xmlpath,
};

/// Leaves below a row are looked for so deep.
const DEPTH: usize = 4;
const MOST_ROWS: usize = 1_000;
const MOST_CANDIDATES: usize = 200;
/// What React writes where there is nothing.
const NOTHING: &str = "$undefined";

/// A step of a JSONPath.
pub(super) fn step(name: &str) -> String {
    let plain = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain { format!(".{name}") } else { format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")) }
}

/// What stands several times in one list, or in one object under names that count or tell dates.
#[derive(Default)]
struct Rows<'v> {
    /// Each with the row of the list around it, where there is one.
    items: Vec<(Option<Named<'v>>, Named<'v>)>,
    /// The path of the lists around, and of the rows within one of these.
    around: Option<(String, String)>,
}

/// Where something stands.
#[derive(Clone)]
struct Place<'v> {
    path: String,
    /// The row that it is part of, with the path of such rows.
    row: Option<(String, Named<'v>)>,
}

/// Lists of objects and of lists, also those inside such lists; objects of objects likewise. `number` is the one asked for.
pub(super) fn of_json(value: &Value, number: Option<&str>) -> Vec<Candidate> {
    let mut all: BTreeMap<String, Rows<'_>> = BTreeMap::new();
    collect(value, &Place { path: "$".to_owned(), row: None }, 0, &mut all);
    let several = all.iter().take(MOST_CANDIDATES);
    let each = |(path, rows): (&String, &Rows<'_>)| {
        let mut candidate = json_rows(path, rows);
        candidate.scope = rows.around.as_ref().and_then(|(around, _)| scope(around, all.get(around)?, number));
        // Within a scope every path starts from the shipment.
        if candidate.scope.as_ref().is_some_and(|scope| scope.number.is_some())
            && let Some((_, within)) = &rows.around
        {
            candidate.rows.clone_from(within);
        }
        [Some(candidate), grouped(rows)]
    };
    several.flat_map(each).flatten().collect()
}

/// The shipments around rows, with what they are told apart by.
fn scope(around: &str, shipments: &Rows<'_>, number: Option<&str>) -> Option<Scope> {
    let bare = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_uppercase();
    let asked = number.map(bare).filter(|asked| !asked.is_empty());
    let columns = json_columns(&shipments.items.iter().map(|(_, item)| *item).collect::<Vec<_>>());
    let bears = |column: &&Column| column.texts.iter().any(|text| Some(bare(text)) == asked);
    let number = columns.iter().find(bears).map(|column| column.field.clone());
    let count = shipments.items.len();
    let each = around.trim_start_matches("$.").to_owned();
    (number.is_some() || count > 1).then_some(Scope { each, count, number })
}

fn collect<'v>(value: &'v Value, place: &Place<'v>, depth: usize, all: &mut BTreeMap<String, Rows<'v>>) {
    if depth > 12 {
        return;
    }
    let mut counted = true;
    let members: Vec<Named<'v>> = match value {
        Value::Object(fields) => {
            counted = !fields.is_empty() && fields.keys().all(|name| counts(name));
            if !counted {
                for (name, child) in fields {
                    let path = format!("{}{}", place.path, step(name));
                    collect(child, &Place { path, row: place.row.clone() }, depth + 1, all);
                }
                if !is_map(fields) {
                    return;
                }
            }
            fields.iter().map(|(name, child)| (child, Some(name.as_str()))).collect()
        }
        Value::Array(items) => items.iter().map(|item| (item, None)).collect(),
        _ => return,
    };
    let path = format!("{}[*]", place.path);
    let rows = all.entry(path.clone()).or_default();
    if let Some((around, _)) = &place.row
        && let Some(within) = path.strip_prefix(around.as_str())
    {
        rows.around = Some((around.clone(), within.trim_start_matches('.').to_owned()));
    }
    for member in members.iter().take(MOST_ROWS) {
        let is_row = match member.0 {
            Value::Object(_) => true,
            Value::Array(cells) => cells.iter().any(|cell| !cell.is_object() && !cell.is_array()),
            // Words under their times.
            Value::String(_) => member.1.is_some(),
            _ => false,
        };
        if is_row && rows.items.len() < MOST_ROWS {
            rows.items.push((place.row.as_ref().map(|(_, row)| *row), *member));
        }
    }
    if counted {
        for member in members.into_iter().take(MOST_ROWS) {
            collect(member.0, &Place { path: path.clone(), row: Some((path.clone(), member)) }, depth + 1, all);
        }
    }
}

/// Whether a name is another one in the next answer: a count, a date, a parcel's number.
fn counts(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    digits >= 4 || (digits > 0 && !name.starts_with(char::is_alphabetic))
}

/// Whether an object is a list by another name: what it holds is all of one kind.
fn is_map(fields: &serde_json::Map<String, Value>) -> bool {
    let objects: Vec<_> = fields.values().filter_map(Value::as_object).collect();
    let Some(first) = objects.first() else { return false };
    let alike = |other: &&serde_json::Map<String, Value>| first.keys().filter(|name| other.contains_key(*name)).count();
    objects.len() > 1 && objects.len() == fields.len() && objects[1..].iter().all(|other| alike(other) >= 2)
}

fn json_rows(path: &str, rows: &Rows<'_>) -> Candidate {
    let columns = json_columns(&rows.items.iter().map(|(_, item)| *item).collect::<Vec<_>>());
    let around =
        path.strip_suffix("[*]").map(|path| path.trim_start_matches("$.").to_owned()).filter(|path| path != "$");
    Candidate {
        rows: path.trim_start_matches("$.").to_owned(),
        around,
        columns,
        count: rows.items.len(),
        ..Candidate::default()
    }
}

/// Rows within rows whose dates stand in the outer ones.
fn grouped(rows: &Rows<'_>) -> Option<Candidate> {
    let (each, within) = rows.around.as_ref()?;
    let groups: Vec<Named<'_>> = rows.items.iter().map(|(group, _)| *group).collect::<Option<_>>()?;
    let mut columns = json_columns(&rows.items.iter().map(|(_, item)| *item).collect::<Vec<_>>());
    let dates = json_columns(&groups).into_iter().filter(|column| {
        let texts: Vec<&str> = column.texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        guess::times(&texts, &[]).is_some_and(|times| times.part == guess::Part::Date)
    });
    let own = columns.len();
    columns.extend(dates.map(|column| {
        let field = match column.field.as_str() {
            OWN_KEY => "{of: group, key: true}".to_owned(),
            path => format!("{{of: group, path: {path}}}"),
        };
        Column { field, ..column }
    }));
    // An expression in braces is no plain path.
    columns.retain(|column| !column.field.starts_with("{of: group, path: {"));
    let each = each.trim_start_matches("$.").to_owned();
    let around = each.strip_suffix("[*]").map(str::to_owned).filter(|path| path != "$");
    let has_dates = columns.len() > own;
    has_dates.then(|| Candidate {
        each: Some(each),
        rows: within.clone(),
        around,
        columns,
        count: rows.items.len(),
        ..Candidate::default()
    })
}

/// The field of a row's name in its object, and that of a row that is a text.
const OWN_KEY: &str = "{key: true}";
const OWN_TEXT: &str = "{of: row}";

fn json_columns(items: &[Named<'_>]) -> Vec<Column> {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    for (index, (item, name)) in items.iter().enumerate() {
        let mut see = |path: &str, field: String, text: String| {
            let column = columns.entry(path.to_owned()).or_insert_with(|| Column {
                field,
                hint: path.to_owned(),
                texts: Vec::new(),
            });
            column.texts.resize(index, String::new());
            if text == NOTHING && !column.field.starts_with('{') {
                column.field = format!("{{path: {}, blank: ['{NOTHING}']}}", column.field);
            }
            column.texts.push(if text == NOTHING { String::new() } else { text });
        };
        if let Some(name) = name {
            see("(key)", OWN_KEY.to_owned(), (*name).to_owned());
        }
        match item {
            Value::String(text) => see("(text)", OWN_TEXT.to_owned(), text.clone()),
            Value::Array(cells) => {
                for (cell, value) in cells.iter().enumerate().take(20) {
                    if let Some(text) = jsonpath::text_of(value) {
                        see(&format!("[{cell}]"), quoted(&format!("[{cell}]")), text);
                    }
                }
            }
            other => {
                leaves(other, String::new(), 0, &mut |path, text| {
                    see(path, quoted(path.trim_start_matches('.')), text)
                });
            }
        }
    }
    let count = items.len();
    let columns = columns.into_values().map(|mut column| {
        column.texts.resize(count, String::new());
        column
    });
    columns.collect()
}

fn leaves(value: &Value, path: String, depth: usize, see: &mut impl FnMut(&str, String)) {
    match value {
        Value::Object(fields) if depth < DEPTH => {
            for (name, child) in fields {
                leaves(child, format!("{path}{}", step(name)), depth + 1, see);
            }
        }
        Value::Null | Value::Object(_) | Value::Array(_) => {}
        leaf => see(&path, jsonpath::text_of(leaf).unwrap_or_default()),
    }
}

/// Elements that stand several times beside each other, or once with a structure below.
pub(super) fn of_xml(root: roxmltree::Node<'_, '_>) -> Vec<Candidate> {
    let mut groups: BTreeMap<String, Vec<roxmltree::Node<'_, '_>>> = BTreeMap::new();
    below(root, String::new(), 0, &mut groups);
    groups
        .into_iter()
        .take(MOST_CANDIDATES)
        .map(|(rows, elements)| {
            let mut columns: BTreeMap<String, Column> = BTreeMap::new();
            for (index, element) in elements.iter().enumerate() {
                xml_leaves(*element, String::new(), 0, &mut |path, text| {
                    let column = columns.entry(path.clone()).or_insert_with(|| Column {
                        field: quoted(&path),
                        hint: path.clone(),
                        texts: Vec::new(),
                    });
                    if column.texts.len() <= index {
                        column.texts.resize(index, String::new());
                        column.texts.push(text);
                    }
                });
            }
            let count = elements.len();
            let columns = columns.into_values().map(|mut column| {
                column.texts.resize(count, String::new());
                column
            });
            let around = rows.rsplit_once('/').map(|(around, _)| around.to_owned());
            Candidate { around, columns: columns.collect(), count, rows, ..Candidate::default() }
        })
        .collect()
}

fn below<'a, 'i>(
    node: roxmltree::Node<'a, 'i>,
    path: String,
    depth: usize,
    groups: &mut BTreeMap<String, Vec<roxmltree::Node<'a, 'i>>>,
) {
    if depth > 16 {
        return;
    }
    for child in node.children().filter(roxmltree::Node::is_element) {
        let name = child.tag_name().name();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let structured = child.children().any(|inner| inner.is_element())
            || child.attributes().len() > 1
            || (child.attributes().len() == 1 && child.text().is_some_and(|text| !text.trim().is_empty()));
        let rows = groups.entry(path.clone()).or_default();
        if structured && rows.len() < MOST_ROWS {
            rows.push(child);
        }
        below(child, path, depth + 1, groups);
    }
}

fn xml_leaves(node: roxmltree::Node<'_, '_>, path: String, depth: usize, see: &mut impl FnMut(String, String)) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    for attribute in node.attributes() {
        see(join(&format!("@{}", attribute.name())), attribute.value().to_owned());
    }
    let children: Vec<_> = node.children().filter(roxmltree::Node::is_element).collect();
    if children.is_empty() {
        let text = xmlpath::text_of(node);
        if !path.is_empty() {
            see(path.clone(), text);
        } else if !text.trim().is_empty() {
            // A row without elements has its words in itself.
            see(".".to_owned(), text);
        }
    }
    if depth < DEPTH {
        for child in children {
            xml_leaves(child, join(child.tag_name().name()), depth + 1, see);
        }
    }
}
