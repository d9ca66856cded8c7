//! What repeats in JSON and XML.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Candidate, Column, write::quoted};
use crate::{jsonpath, xmlpath};

/// Leaves below a row are looked for so deep.
const DEPTH: usize = 4;
const MOST_ROWS: usize = 1_000;
const MOST_CANDIDATES: usize = 200;

/// A step of a JSONPath.
pub(super) fn step(name: &str) -> String {
    let plain = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain { format!(".{name}") } else { format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")) }
}

/// Arrays of objects, also those inside such arrays.
pub(super) fn of_json(value: &Value) -> Vec<Candidate> {
    let mut arrays: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    collect(value, "$", 0, &mut arrays);
    let several = arrays.into_iter().take(MOST_CANDIDATES);
    several.map(|(rows, items)| json_rows(rows, &items)).collect()
}

fn collect<'v>(value: &'v Value, path: &str, depth: usize, arrays: &mut BTreeMap<String, Vec<&'v Value>>) {
    if depth > 12 {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                collect(child, &format!("{path}{}", step(name)), depth + 1, arrays);
            }
        }
        Value::Array(items) => {
            let rows = format!("{path}[*]");
            let found = arrays.entry(rows.clone()).or_default();
            found.extend(items.iter().filter(|item| item.is_object()).take(MOST_ROWS));
            for item in items.iter().take(MOST_ROWS) {
                collect(item, &rows, depth + 1, arrays);
            }
        }
        _ => {}
    }
}

fn json_rows(rows: String, items: &[&Value]) -> Candidate {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        leaves(item, String::new(), 0, &mut |path, text| {
            let column = columns.entry(path.to_owned()).or_insert_with(|| Column {
                field: quoted(path.trim_start_matches('.')),
                hint: path.to_owned(),
                texts: Vec::new(),
            });
            column.texts.resize(index, String::new());
            column.texts.push(text);
        });
    }
    let count = items.len();
    let columns = columns.into_values().map(|mut column| {
        column.texts.resize(count, String::new());
        column
    });
    let around =
        rows.strip_suffix("[*]").map(|path| path.trim_start_matches("$.").to_owned()).filter(|path| path != "$");
    Candidate { rows: rows.trim_start_matches("$.").to_owned(), around, skip: None, columns: columns.collect(), count }
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
            Candidate { around, skip: None, columns: columns.collect(), count, rows }
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
        let structured = child.children().any(|inner| inner.is_element()) || child.attributes().len() > 1;
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
    if children.is_empty() && !path.is_empty() {
        see(path.clone(), xmlpath::text_of(node));
    }
    if depth < DEPTH {
        for child in children {
            xml_leaves(child, join(child.tag_name().name()), depth + 1, see);
        }
    }
}
