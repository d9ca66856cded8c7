//! CSS paths to elements that are found.

use crate::html::{At, Selector};

pub(super) fn found(root: At<'_>, css: &str) -> usize {
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
pub(super) fn selector(root: At<'_>, element: At<'_>) -> Option<String> {
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

pub(super) fn simple(element: At<'_>) -> String {
    if let Some(id) = element.attribute("id").filter(|id| is_plain(id)) {
        return format!("{}#{id}", element.name());
    }
    let classes = element.attribute("class").unwrap_or_default();
    match classes.split_ascii_whitespace().find(|class| is_plain(class)) {
        Some(class) => format!("{}.{class}", element.name()),
        None => element.name().to_owned(),
    }
}

/// Name and first class that is not of the single element.
pub(super) fn kind(element: At<'_>) -> String {
    let classes = element.attribute("class").unwrap_or_default();
    let states = ["active", "last", "first", "current", "odd", "even", "done", "hidden", "open"];
    let class = classes.split_ascii_whitespace().find(|class| is_plain(class) && !states.contains(class));
    class.map_or_else(|| element.name().to_owned(), |class| format!("{}.{class}", element.name()))
}
