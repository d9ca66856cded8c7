//! What repeats in HTML: rows of tables, elements of one kind beside each other, also in groups, and elements that take turns.

mod columns;
mod path;

use std::collections::BTreeMap;

use self::{
    columns::{Seen, columns, dates},
    path::{found, kind, selector, simple},
};
use super::{Candidate, Column, Scope, write::quoted};
use crate::{
    html::{At, Document, Edge},
    node::Ignored,
    text,
};

const MOST_CANDIDATES: usize = 300;
const MOST_COLUMNS: usize = 40;
/// Elements that are looked at over all of a draft, each search for a path looks at every one: no page of a parcel comes near.
const MOST_LOOKS: usize = 40_000_000;
/// More groups are no days of a parcel.
const MOST_GROUPS: usize = 200;

pub(super) fn of_document(document: &Document) -> Vec<Candidate> {
    let root = document.root();
    let mut candidates = Vec::new();
    let mut all = Vec::new();
    root.walk(|edge| {
        if let Edge::Open(node) = edge
            && node.is_element()
        {
            all.push(node);
        }
        true
    });
    let mut tables = Vec::new();
    let mut left = MOST_LOOKS / all.len().max(1);
    for element in &all {
        if candidates.len() >= MOST_CANDIDATES || left == 0 {
            break;
        }
        // What has one child repeats nothing, and costs no search.
        left -= usize::from(element.child_elements().nth(1).is_some() || element.name() == "table");
        if element.name() == "table" {
            let found = table(root, *element);
            candidates.extend(found.clone());
            tables.extend(found.map(|candidate| (kind(*element), candidate)));
        } else if !matches!(element.name(), "tbody" | "thead" | "tr" | "head" | "select" | "script" | "style") {
            candidates.extend(siblings(root, *element));
            candidates.extend(turns(root, *element));
        }
    }
    candidates.extend(alike(root, &tables));
    candidates
}

/// Tables of one kind with the same headings are one.
fn alike(root: At<'_>, tables: &[(String, Candidate)]) -> Vec<Candidate> {
    let hints = |table: &Candidate| table.columns.iter().map(|column| column.hint.clone()).collect::<Vec<_>>();
    let mut out: Vec<Candidate> = Vec::new();
    for (index, (kind, first)) in tables.iter().enumerate() {
        let is_same = |(other, table): &&(String, Candidate)| other == kind && hints(table) == hints(first);
        let others: Vec<&Candidate> = tables[index + 1..].iter().filter(is_same).map(|(_, table)| table).collect();
        let is_first = !tables[..index].iter().any(|table| is_same(&table));
        let is_headed = first.skip.is_some() && first.heading.is_none();
        if others.is_empty() || !is_first || !is_headed || found(root, kind) != others.len() + 1 {
            continue;
        }
        let mut all = first.clone();
        (all.rows, all.around) = (format!("{kind} tr"), Some(kind.clone()));
        all.scope = Some(Scope { each: kind.clone(), count: others.len() + 1, number: None });
        for table in others {
            all.count += table.count;
            for (column, more) in all.columns.iter_mut().zip(&table.columns) {
                column.texts.extend(more.texts.iter().cloned());
            }
        }
        out.push(all);
    }
    out
}

fn read(node: At<'_>) -> String {
    text::of_node(node, &Ignored::new())
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
    let days = days_between(&all, &all.iter().map(cells).collect::<Vec<_>>());
    let is_head = |row: &&At<'_>| !(data(row) || days.is_some() && cells(row).len() == 1);
    let heads: Vec<&At<'_>> = all.iter().filter(is_head).collect();
    let is_wide = |row: &&At<'_>| data(row) && cells(row).len() * 2 > width;
    let mut filled: Vec<Vec<String>> = all.iter().filter(is_wide).map(cells).collect();
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
    let mut columns: Vec<Column> = columns.collect();
    let mut heading = None;
    if let Some(days) = days {
        // Where a heading was among the wide rows it is none of these any more.
        let gone = all.iter().filter(is_wide).count() - filled.len();
        let below = all.iter().zip(days).filter(|(row, _)| is_wide(row)).map(|(_, day)| day);
        let texts = below.skip(gone).collect();
        columns.push(Column { field: "{of: heading}".to_owned(), hint: "date".to_owned(), texts });
        heading = Some("tr:has([colspan])".to_owned());
    }
    let rows = format!("{own} tr");
    Some(Candidate { rows, heading, around: Some(own), skip, columns, count: filled.len(), ..Candidate::default() })
}

/// The day above each row, where days stand in rows of their own, across the others.
fn days_between(rows: &[At<'_>], cells: &[Vec<String>]) -> Option<Vec<String>> {
    let (mut days, mut above) = (Vec::new(), Vec::new());
    for (row, texts) in rows.iter().zip(cells) {
        let is_across = row.child_elements().any(|cell| cell.attribute("colspan").is_some());
        match texts.as_slice() {
            [day] if is_across => days.push(day.clone()),
            [_] => return None,
            _ if is_across => return None,
            _ => {}
        }
        above.push(days.last().cloned().unwrap_or_default());
    }
    columns::is_dates(&days).then_some(above)
}

/// What is no row of its own: marks, scripts, and what other kinds are made of.
fn is_row(element: &At<'_>) -> bool {
    let name = element.name();
    let classed = element.attribute("class").is_some_and(|classes| !classes.trim().is_empty());
    match name {
        "br" | "script" | "style" | "table" | "option" | "link" | "meta" | "b" => false,
        "a" | "p" => classed,
        _ => true,
    }
}

/// Children of one kind below an element.
fn siblings(root: At<'_>, parent: At<'_>) -> Vec<Candidate> {
    let mut kinds: BTreeMap<String, Vec<At<'_>>> = BTreeMap::new();
    for child in parent.child_elements().filter(is_row) {
        kinds.entry(kind(child)).or_default().push(child);
    }
    let mut out = Vec::new();
    for (kind, group) in kinds {
        if group.len() < 2 {
            continue;
        }
        let columns = columns(&group, Seen::Row);
        if columns.is_empty() {
            continue;
        }
        let own = simple(parent);
        let around = selector(root, parent);
        // Without a class or an id only the whole way is sure.
        let short = [kind.clone(), format!("{own} > {kind}")].into_iter().filter(|css| css.contains(['.', '#']));
        let mut paths = short.chain(around.as_ref().map(|parent| format!("{parent} > {kind}")));
        let Some(rows) = paths.find(|css| found(root, css) == group.len()) else { continue };
        out.extend(grouped(root, &group, &rows, around.as_deref()));
        if columns.len() > 1 {
            out.push(Candidate { rows, around, columns, count: group.len(), ..Candidate::default() });
        }
    }
    out
}

/// Rows within groups whose dates stand in the groups, outside the rows.
fn grouped(root: At<'_>, groups: &[At<'_>], each: &str, around: Option<&str>) -> Vec<Candidate> {
    let mut out = Vec::new();
    if groups.len() > MOST_GROUPS || dates(groups, &Ignored::new()).is_empty() {
        return out;
    }
    let mut kinds: BTreeMap<String, Vec<(usize, At<'_>)>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        group.walk(|edge| {
            if let Edge::Open(node) = edge
                && node.is_element()
                && node != *group
                && is_row(&node)
            {
                kinds.entry(kind(node)).or_default().push((index, node));
            }
            true
        });
    }
    for (kind, rows) in kinds {
        let nodes: Vec<At<'_>> = rows.iter().map(|(_, node)| *node).collect();
        let inner: Ignored = nodes.iter().map(At::id).collect();
        let nested = |node: &At<'_>| node.parent().is_some_and(|parent| inner.contains(&parent.id()));
        let is_kind = groups.iter().map(|group| found(*group, &kind)).sum::<usize>() == nodes.len();
        if nodes.len() <= groups.len() || !is_kind || nodes.iter().any(nested) {
            continue;
        }
        let days = dates(groups, &inner);
        let mut columns = columns(&nodes, Seen::Row);
        if columns.is_empty() || days.is_empty() {
            continue;
        }
        columns.extend(
            days.into_iter()
                .map(|day| Column { texts: rows.iter().map(|(group, _)| day.texts[*group].clone()).collect(), ..day }),
        );
        out.push(Candidate {
            each: Some(each.to_owned()),
            rows: kind,
            around: around.map(str::to_owned).or_else(|| selector(root, groups[0])),
            columns,
            count: rows.len(),
            ..Candidate::default()
        });
    }
    out
}

/// Children that take turns: a term and what is said of it, a date and its text, a day and the rows below it.
fn turns(root: At<'_>, parent: At<'_>) -> Option<Candidate> {
    let children: Vec<At<'_>> = parent.child_elements().collect();
    let kinds: Vec<String> = children.iter().map(|child| kind(*child)).collect();
    let first = kinds.first()?;
    let heads: Vec<usize> = (0..kinds.len()).filter(|index| kinds[*index] == *first).collect();
    let ends = heads.iter().skip(1).copied().chain([kinds.len()]);
    let lengths: Vec<usize> = heads.iter().zip(ends).map(|(head, end)| end - head - 1).collect();
    let (least, most) = (*lengths.iter().min()?, *lengths.iter().max()?);
    if least == 0 || !children.iter().all(|child| is_row(child) || child.name() == "p") {
        return None;
    }
    if least == 2 && most == 2 && heads.len() > 1 {
        // A day may have as many rows as the others; what tells them from a term's two is their time.
        let is_timed = |days: &Candidate| days.columns.iter().any(|column| columns::is_clocks(&column.texts));
        let by_day = days(root, parent, &children, &kinds).filter(is_timed);
        return by_day.or_else(|| threes(root, parent, &children, &kinds));
    }
    let pairs = (most == 1 || parent.name() == "dl") && heads.len() > 1;
    let by_day = if most > 1 { days(root, parent, &children, &kinds) } else { None };
    by_day.or_else(|| {
        let (terms, behind): (Vec<_>, Vec<_>) = heads.iter().map(|head| (children[*head], children[head + 1])).unzip();
        pairs.then(|| twos(root, parent, terms, behind)).flatten()
    })
}

/// A term, and one thing that is said of it: the row is the term.
fn twos(root: At<'_>, parent: At<'_>, terms: Vec<At<'_>>, behind: Vec<At<'_>>) -> Option<Candidate> {
    let mut all = columns(&terms, Seen::Row);
    all.extend(columns(&behind, Seen::Next));
    let own = selector(root, parent)?;
    let rows = format!("{own} > {}", kind(*terms.first()?));
    let is_right = found(root, &rows) == terms.len();
    is_right.then(|| Candidate { rows, around: Some(own), columns: all, count: terms.len(), ..Candidate::default() })
}

/// A term, and two things that are said of it: the row is the first of these, whose neighbours can be asked for.
fn threes(root: At<'_>, parent: At<'_>, children: &[At<'_>], kinds: &[String]) -> Option<Candidate> {
    let every = |offset: usize| children.iter().skip(offset).step_by(3).copied().collect::<Vec<_>>();
    let mut all = columns(&every(0), Seen::Previous);
    all.extend(columns(&every(1), Seen::Row));
    all.extend(columns(&every(2), Seen::Next));
    let own = selector(root, parent)?;
    let rows = format!("{own} > {} + {}", kinds.first()?, kinds.get(1)?);
    let count = children.len() / 3;
    let is_right = found(root, &rows) == count;
    is_right.then(|| Candidate { rows, around: Some(own), columns: all, count, ..Candidate::default() })
}

/// Days, each with rows of one kind below it.
fn days(root: At<'_>, parent: At<'_>, children: &[At<'_>], kinds: &[String]) -> Option<Candidate> {
    let (day, row) = (kinds.first()?, kinds.last()?);
    let mut heading = String::new();
    let (mut rows, mut texts) = (Vec::new(), Vec::new());
    for (child, kind) in children.iter().zip(kinds) {
        if kind == day {
            heading = read(*child);
        } else if kind == row {
            rows.push(*child);
            texts.push(heading.clone());
        } else {
            return None;
        }
    }
    if !columns::is_dates(&texts) {
        return None;
    }
    let mut all = columns(&rows, Seen::Row);
    all.push(Column { field: "{of: heading}".to_owned(), hint: "date".to_owned(), texts });
    let own = selector(root, parent)?;
    let both = format!("{own} > {day}, {own} > {row}");
    let is_right = found(root, &both) == children.len();
    is_right.then(|| Candidate {
        heading: Some(day.clone()),
        rows: both,
        around: Some(own),
        columns: all,
        count: rows.len(),
        ..Candidate::default()
    })
}
