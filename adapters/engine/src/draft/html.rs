//! What repeats in HTML: rows of tables, and elements of one kind beside each other.

use std::collections::BTreeMap;

use super::{Candidate, Column, write::quoted};
use crate::{
    html::{At, Document, Selector},
    node::Ignored,
    text,
};

const MOST_CANDIDATES: usize = 200;
const MOST_COLUMNS: usize = 40;

pub(super) fn of_document(document: &Document) -> Vec<Candidate> {
    let root = document.root();
    let mut candidates = Vec::new();
    let mut all = Vec::new();
    root.walk(|edge| {
        if let crate::html::Edge::Open(node) = edge
            && node.is_element()
        {
            all.push(node);
        }
        true
    });
    for element in &all {
        if candidates.len() >= MOST_CANDIDATES {
            break;
        }
        if element.name() == "table" {
            candidates.extend(table(root, *element));
        } else if !matches!(element.name(), "tbody" | "thead" | "tr" | "head" | "select" | "script" | "style") {
            candidates.extend(siblings(root, *element));
        }
    }
    candidates
}

fn read(node: At<'_>) -> String {
    text::of_node(node, &Ignored::new())
}

fn found(root: At<'_>, css: &str) -> usize {
    Selector::parse(css).map_or(0, |selector| root.select(&selector).count())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        // Numbers in names change from page to page.
        && name.chars().filter(char::is_ascii_digit).count() < 3
}

/// The shortest selector that finds an element and nothing else: by id, by class, then below its parents.
fn selector(root: At<'_>, element: At<'_>) -> Option<String> {
    let mut tail = String::new();
    let mut at = element;
    for _ in 0..6 {
        let own = simple(at);
        let css = if tail.is_empty() { own.clone() } else { format!("{own} > {tail}") };
        if found(root, &css) == 1 {
            return Some(css);
        }
        let mut place = 1;
        let mut before = at.previous();
        while let Some(sibling) = before {
            place += usize::from(sibling.is_element() && sibling.name() == at.name());
            before = sibling.previous();
        }
        let own = format!("{own}:nth-of-type({place})");
        tail = if tail.is_empty() { own } else { format!("{own} > {tail}") };
        if found(root, &tail) == 1 {
            return Some(tail);
        }
        at = at.parent().filter(At::is_element)?;
    }
    None
}

fn simple(element: At<'_>) -> String {
    if let Some(id) = element.attribute("id").filter(|id| is_plain(id)) {
        return format!("{}#{id}", element.name());
    }
    let classes = element.attribute("class").unwrap_or_default();
    match classes.split_ascii_whitespace().find(|class| is_plain(class)) {
        Some(class) => format!("{}.{class}", element.name()),
        None => element.name().to_owned(),
    }
}

/// The rows of a table that are its own.
fn rows(table: At<'_>) -> Vec<At<'_>> {
    let bodies = table.child_elements().filter(|child| matches!(child.name(), "tbody" | "thead" | "tfoot"));
    bodies.flat_map(|body| body.child_elements().filter(|row| row.name() == "tr").collect::<Vec<_>>()).collect()
}

fn table(root: At<'_>, table: At<'_>) -> Option<Candidate> {
    let all = rows(table);
    let cells = |row: &At<'_>| -> Vec<String> {
        row.child_elements().filter(|cell| matches!(cell.name(), "td" | "th")).map(read).collect()
    };
    let data = |row: &&At<'_>| row.child_elements().any(|cell| cell.name() == "td");
    let width = all.iter().filter(data).map(|row| cells(row).len()).max()?;
    if width < 2 {
        return None;
    }
    let heads: Vec<&At<'_>> = all.iter().filter(|row| !data(row)).collect();
    let mut filled: Vec<Vec<String>> = all.iter().filter(data).map(cells).filter(|row| row.len() * 2 > width).collect();
    let mut headings: Vec<String> = heads.first().map(|row| cells(row)).unwrap_or_default();
    let mut skip = (!heads.is_empty()).then(|| "{lacks: td}".to_owned());
    // A first row of plain cells without any digit is a heading as well.
    if headings.is_empty()
        && filled.len() > 1
        && filled[0].iter().all(|text| !text.contains(|c: char| c.is_ascii_digit()))
    {
        headings = filled.remove(0);
        let first = headings.iter().position(|text| !text.trim().is_empty())?;
        skip =
            Some(format!("{{text: {{cell: {}}}, equals: {}}}", first + 1, quoted(&text::collapse(&headings[first]))));
    }
    let own = selector(root, table)?;
    let columns = (0..width).take(MOST_COLUMNS).map(|index| Column {
        field: format!("{{cell: {}}}", index + 1),
        hint: headings.get(index).cloned().unwrap_or_default(),
        texts: filled.iter().map(|row| row.get(index).cloned().unwrap_or_default()).collect(),
    });
    let columns = columns.collect();
    Some(Candidate { rows: format!("{own} tr"), around: Some(own), skip, columns, count: filled.len() })
}

/// Children of one kind below an element.
fn siblings(root: At<'_>, parent: At<'_>) -> Vec<Candidate> {
    let mut kinds: BTreeMap<String, Vec<At<'_>>> = BTreeMap::new();
    for child in parent.child_elements() {
        if !matches!(child.name(), "br" | "script" | "style" | "table" | "option" | "link" | "meta" | "a" | "b" | "p") {
            kinds.entry(kind(child)).or_default().push(child);
        }
    }
    let mut out = Vec::new();
    for (kind, group) in kinds {
        let own = simple(parent);
        let mut paths = vec![kind.clone(), format!("{own} > {kind}")];
        paths.extend(selector(root, parent).map(|parent| format!("{parent} > {kind}")));
        let rows = paths.into_iter().find(|css| css.contains(['.', '#']) && found(root, css) == group.len());
        let Some(rows) = rows else { continue };
        let columns = columns(&group);
        if columns.len() > 1 && group.len() > 1 {
            out.push(Candidate { rows, around: selector(root, parent), skip: None, columns, count: group.len() });
        }
    }
    out
}

/// Name and first class that is not of the single element.
fn kind(element: At<'_>) -> String {
    let classes = element.attribute("class").unwrap_or_default();
    let states = ["active", "last", "first", "current", "odd", "even", "done", "hidden", "open"];
    let class = classes.split_ascii_whitespace().find(|class| is_plain(class) && !states.contains(class));
    class.map_or_else(|| element.name().to_owned(), |class| format!("{}.{class}", element.name()))
}

/// Elements below the rows that bear text of their own, by their path.
fn columns(group: &[At<'_>]) -> Vec<Column> {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    let mut order = Vec::new();
    for (index, row) in group.iter().enumerate() {
        let mut leaves = Vec::new();
        row.walk(|edge| {
            if let crate::html::Edge::Open(node) = edge
                && node.is_element()
                && node != *row
                && !matches!(node.name(), "script" | "style" | "svg")
                && !text::of_node(node, &Ignored::new()).is_empty()
                && (node.children().any(|child| child.text().is_some_and(|text| !text.trim().is_empty())))
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
            let key = format!("{kind} {nth}");
            let column = columns.entry(key.clone()).or_insert_with(|| {
                order.push(key.clone());
                let field = match nth {
                    1 => quoted(&kind),
                    nth => format!("{{path: {}, nth: {nth}}}", quoted(&kind)),
                };
                Column { field, hint: leaf.attribute("class").unwrap_or_default().to_owned(), texts: Vec::new() }
            });
            column.texts.resize(index, String::new());
            column.texts.push(read(leaf));
        }
        if order.len() > MOST_COLUMNS {
            break;
        }
    }
    let take = |key: String| {
        let mut column = columns.remove(&key)?;
        column.texts.resize(group.len(), String::new());
        Some(column)
    };
    order.into_iter().filter_map(take).collect()
}
