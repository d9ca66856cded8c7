//! Columns of rows of HTML: elements below the rows that bear text, by their path; the lines, the two halves or the own text
//! of what has no elements.

use std::collections::BTreeMap;

use super::{MOST_COLUMNS, path::kind, read};
use crate::{
    draft::{
        Column,
        guess::{self, Part},
        write::quoted,
    },
    html::{At, Edge, Selector},
    node::Ignored,
    text,
};

/// What stands between two halves of a text.
const BETWEEN: [&str; 6] = [" - ", " – ", " — ", " | ", " · ", ": "];

/// Where the rows stand, seen from the row that a table selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Row,
    Next,
    Previous,
}

impl Seen {
    /// A field in YAML: parts of its long form; a lone path is written short.
    fn field(self, parts: &[(&str, String)]) -> String {
        if let (Self::Row, [("path", path)]) = (self, parts) {
            return path.clone();
        }
        let of = match self {
            Self::Row if parts.is_empty() => Some("row"),
            Self::Row => None,
            Self::Next => Some("next"),
            Self::Previous => Some("previous"),
        };
        let of = of.map(|of| format!("of: {of}")).into_iter();
        let all: Vec<String> = of.chain(parts.iter().map(|(key, value)| format!("{key}: {value}"))).collect();
        format!("{{{}}}", all.join(", "))
    }
}

/// The columns of rows of one kind.
pub(super) fn columns(group: &[At<'_>], from: Seen) -> Vec<Column> {
    let mut out = below(group, from);
    let own: Vec<String> = group.iter().map(|row| text::own(*row)).collect();
    if own.iter().all(|text| text.is_empty()) {
        return out;
    }
    let hint = group.first().and_then(|row| row.attribute("class")).unwrap_or_default().to_owned();
    if !out.is_empty() {
        out.insert(0, Column { field: from.field(&[("own", "true".to_owned())]), hint, texts: own });
        return out;
    }
    let lines: Vec<Vec<String>> = group.iter().map(|row| text::lines(&[*row], &Ignored::new())).collect();
    let most = lines.iter().map(Vec::len).max().unwrap_or_default();
    if most > 1 {
        let line = |index: usize| Column {
            field: from.field(&[("line", (index + 1).to_string())]),
            hint: hint.clone(),
            texts: lines.iter().map(|lines| lines.get(index).cloned().unwrap_or_default()).collect(),
        };
        return (0..most.min(MOST_COLUMNS))
            .map(line)
            .filter(|column| column.texts.iter().any(|text| !text.is_empty()))
            .collect();
    }
    let texts: Vec<String> = group.iter().map(|row| read(*row)).collect();
    let halves = BETWEEN.into_iter().find_map(|between| {
        let cut: Vec<(String, String)> = texts
            .iter()
            .filter_map(|text| text.split_once(between))
            .map(|(before, behind)| (before.to_owned(), behind.to_owned()))
            .collect();
        (cut.len() == texts.len() && cut.iter().all(|(before, _)| before.contains(|c: char| c.is_ascii_digit())))
            .then_some((between, cut))
    });
    let Some((between, cut)) = halves else {
        return vec![Column { field: from.field(&[]), hint, texts }];
    };
    let (before, behind): (Vec<String>, Vec<String>) = cut.into_iter().unzip();
    let between = between.replace('|', r"\|");
    [(format!("^(.*?){between}"), before), (format!("^.*?{between}(.*)$"), behind)]
        .into_iter()
        .map(|(pattern, texts)| Column {
            field: match from {
                Seen::Row => format!("{{of: row, match: {}}}", quoted(&pattern)),
                _ => from.field(&[("match", quoted(&pattern))]),
            },
            hint: hint.clone(),
            texts,
        })
        .collect()
}

/// Elements below the rows that bear text of their own, by their path.
fn below(group: &[At<'_>], from: Seen) -> Vec<Column> {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    let mut order = Vec::new();
    for (index, row) in group.iter().enumerate() {
        let mut leaves = Vec::new();
        row.walk(|edge| {
            if let Edge::Open(node) = edge
                && node.is_element()
                && node != *row
                && !matches!(node.name(), "script" | "style" | "svg")
                && (is_stamp(node)
                    || (!read(node).is_empty()
                        && node.children().any(|child| child.text().is_some_and(|text| !text.trim().is_empty()))))
            {
                leaves.push(node);
                return false;
            }
            true
        });
        for leaf in leaves {
            let kind = kind(leaf);
            // Counted as the selector will find it, containers of the same kind included.
            let Ok(selector) = Selector::parse(&kind) else { continue };
            let Some(nth) = row.select(&selector).position(|found| found == leaf).map(|at| at + 1) else { continue };
            let mut parts = vec![("path", quoted(&kind))];
            if nth > 1 {
                parts.push(("nth", nth.to_string()));
            }
            let mut see = |key: String, field: String, hint: &str, text: String| {
                let column = columns.entry(key.clone()).or_insert_with(|| {
                    order.push(key);
                    Column { field, hint: hint.to_owned(), texts: Vec::new() }
                });
                column.texts.resize(index, String::new());
                column.texts.push(text);
            };
            // What a machine is told is exact.
            if let Some(stamp) = leaf.attribute("datetime").filter(|stamp| !stamp.trim().is_empty()) {
                let mut parts = parts.clone();
                parts.push(("attr", "datetime".to_owned()));
                see(format!("{kind} {nth} datetime"), from.field(&parts), "datetime", stamp.to_owned());
            }
            let class = leaf.attribute("class").filter(|class| !class.trim().is_empty());
            let class = class.unwrap_or_else(|| leaf.name());
            see(format!("{kind} {nth}"), from.field(&parts), class, read(leaf));
        }
        if order.len() > MOST_COLUMNS {
            break;
        }
    }
    let take = |key: String| {
        let mut column = columns.remove(&key)?;
        column.texts.resize(group.len(), String::new());
        Some((key, column))
    };
    labelled(order.into_iter().filter_map(take).collect())
}

fn is_stamp(node: At<'_>) -> bool {
    node.name() == "time" && node.attribute("datetime").is_some()
}

/// Terms that are the same in all rows are what the definitions behind them are called.
fn labelled(mut all: Vec<(String, Column)>) -> Vec<Column> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (key, column) in &all {
        let same = column.texts.len() > 1 && column.texts.windows(2).all(|pair| pair[0] == pair[1]);
        if key.starts_with("dt") && same && !column.texts[0].contains(|c: char| c.is_ascii_digit()) {
            let place = key.rsplit(' ').next().unwrap_or_default();
            names.insert(place.to_owned(), column.texts[0].clone());
        }
    }
    if !names.is_empty() {
        all.retain(|(key, _)| {
            !key.starts_with("dt") || !names.contains_key(key.rsplit(' ').next().unwrap_or_default())
        });
        for (key, column) in &mut all {
            if let Some(name) = names.get(key.rsplit(' ').next().unwrap_or_default()).filter(|_| key.starts_with("dd"))
            {
                column.hint.clone_from(name);
            }
        }
    }
    all.into_iter().map(|(_, column)| column).collect()
}

/// Whether texts are days.
pub(super) fn is_dates(texts: &[String]) -> bool {
    are(texts, Part::Date)
}

/// Whether texts are times of day.
pub(super) fn is_clocks(texts: &[String]) -> bool {
    are(texts, Part::Clock)
}

fn are(texts: &[String], part: Part) -> bool {
    let texts: Vec<&str> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    guess::times(&texts, &[]).is_some_and(|times| times.part == part)
}

/// Days that stand in groups, outside their rows; a text for each group.
pub(super) fn dates(groups: &[At<'_>], rows: &Ignored) -> Vec<Column> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        group.walk(|edge| {
            let Edge::Open(node) = edge else { return true };
            if rows.contains(&node.id()) || matches!(node.name(), "script" | "style" | "svg") {
                return false;
            }
            let bears = node.children().any(|child| child.text().is_some_and(|text| !text.trim().is_empty()));
            if node.is_element() && node != *group && bears {
                let texts = kinds.entry(kind(node)).or_default();
                // The first of its kind in the group is what a path finds.
                if texts.len() <= index {
                    texts.resize(index, String::new());
                    texts.push(read(node));
                }
                return false;
            }
            true
        });
    }
    // Names of elements may be no CSS.
    let can_be_asked = |(kind, _): &(String, Vec<String>)| Selector::parse(kind).is_ok();
    let full = kinds.into_iter().filter(can_be_asked).map(|(kind, mut texts)| {
        texts.resize(groups.len(), String::new());
        Column { field: format!("{{of: group, path: {}}}", quoted(&kind)), hint: "date".to_owned(), texts }
    });
    let everywhere = |column: &Column| column.texts.iter().all(|text| !text.is_empty());
    full.filter(|column| everywhere(column) && is_dates(&column.texts)).collect()
}
