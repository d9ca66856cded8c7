//! Fields: what is taken out of a node.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    answer::Reading,
    condition::Condition,
    error::{Fault, Faults},
    node::{Direction, Ignored, Node, Path},
    pattern::Pattern,
    spec::{FieldSpec, Fill, LongField, Of, Shape},
    text,
};

/// Where a field is evaluated.
#[derive(Debug, Clone)]
pub(crate) struct Place<'d, 'c> {
    pub(crate) row: Node<'d>,
    pub(crate) group: Option<Node<'d>>,
    pub(crate) heading: Option<Node<'d>>,
    /// The whole document, or the shipment in it that `scope` chose.
    pub(crate) document: Node<'d>,
    /// The whole document, whatever `scope` chose.
    pub(crate) answer: Node<'d>,
    pub(crate) ignored: &'c Ignored,
    /// The decoded text of the answer, before anything was unwrapped.
    pub(crate) body: &'c str,
    pub(crate) status: u16,
    /// As they came; saved answers have none.
    pub(crate) headers: &'c [(String, String)],
    pub(crate) reading: Reading<'c>,
}

impl<'d, 'c> Place<'d, 'c> {
    /// A place for conditions and facts of the whole document.
    pub(crate) fn whole(document: Node<'d>, ignored: &'c Ignored, body: &'c str, status: u16) -> Self {
        Self {
            row: document.clone(),
            group: None,
            heading: None,
            answer: document.clone(),
            document,
            ignored,
            body,
            status,
            headers: &[],
            reading: Reading::default(),
        }
    }
}

/// A compiled field.
#[derive(Debug)]
pub(crate) struct Field {
    what: What,
    when: Option<Condition>,
    pattern: Option<Pattern>,
    blank: Vec<String>,
    map: BTreeMap<String, String>,
    fill: Option<Fill>,
}

#[derive(Debug)]
enum What {
    Take(Take),
    Join(Vec<Field>, String),
    FirstOf(Vec<Field>),
    Const(String),
}

#[derive(Debug, Default)]
struct Take {
    of: Of,
    path: Option<Path>,
    cell: Option<usize>,
    line: Option<usize>,
    attr: Option<String>,
    key: bool,
    own: bool,
    nth: Option<usize>,
    last: bool,
    all: Option<String>,
}

/// Last values of fields that are filled down, by the address of each field.
#[derive(Debug, Default)]
pub(crate) struct Carried(RefCell<BTreeMap<usize, String>>);

/// A regular expression for texts: white space and case as written.
pub(crate) fn regex(text: &str) -> Result<Pattern, Fault> {
    Pattern::new(text, false).map_err(|why| {
        Fault::new(text, format!("`{text}` is no regular expression ({why}); look-around is not understood"))
    })
}

impl Field {
    pub(crate) fn compile(shape: Shape, spec: &FieldSpec) -> Result<Self, Faults> {
        let plain =
            |what| Self { what, when: None, pattern: None, blank: Vec::new(), map: BTreeMap::new(), fill: None };
        match spec {
            FieldSpec::Path(path) => {
                let path = Some(Path::compile(shape, path)?);
                Ok(plain(What::Take(Take { path, ..Take::default() })))
            }
            FieldSpec::List(parts) => Ok(plain(What::Join(compile_all(shape, parts)?, " ".to_owned()))),
            FieldSpec::Long(long) => Self::compile_long(shape, long),
        }
    }

    pub(crate) fn compile_optional(shape: Shape, spec: Option<&FieldSpec>) -> Result<Option<Self>, Faults> {
        spec.map(|spec| Self::compile(shape, spec)).transpose()
    }

    fn compile_long(shape: Shape, long: &LongField) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let made = (
            faults.keep(What::compile(shape, long)),
            faults.keep_optional(long.when.as_ref().map(|when| Condition::compile(shape, when))),
            faults.keep_optional(long.pattern.as_deref().map(regex)),
        );
        let (Some(what), Some(when), Some(pattern)) = made else { return Err(faults) };
        Ok(Self {
            what,
            when,
            pattern,
            blank: long.blank.iter().map(|blank| text::collapse(blank)).collect(),
            map: long.map.clone(),
            fill: long.fill,
        })
    }

    /// The field's text at a place; `None` when blank.
    pub(crate) fn read(&self, place: &Place<'_, '_>) -> Option<String> {
        self.find(place, None)
    }

    /// Like [`Self::read`], filling a blank from the rows above where the adapter says so, be it of a part.
    pub(crate) fn read_carrying(&self, place: &Place<'_, '_>, carried: &Carried) -> Option<String> {
        self.find(place, Some(carried))
    }

    fn find(&self, place: &Place<'_, '_>, carried: Option<&Carried>) -> Option<String> {
        let found = self.find_here(place, carried);
        let Some(carried) = carried.filter(|_| self.fill == Some(Fill::Down)) else { return found };
        let slot = std::ptr::from_ref(self).addr();
        match found {
            Some(found) => {
                carried.0.borrow_mut().insert(slot, found.clone());
                Some(found)
            }
            None => carried.0.borrow().get(&slot).cloned(),
        }
    }

    fn find_here(&self, place: &Place<'_, '_>, carried: Option<&Carried>) -> Option<String> {
        if self.when.as_ref().is_some_and(|when| !when.holds(place)) {
            return None;
        }
        let mut found = match &self.what {
            What::Take(take) => take.read(place)?,
            What::Join(parts, with) => {
                let texts: Vec<String> = parts.iter().filter_map(|part| part.find(place, carried)).collect();
                if texts.len() == 1 { texts.into_iter().next()? } else { texts.join(with) }
            }
            What::FirstOf(parts) => parts.iter().find_map(|part| part.find(place, carried))?,
            What::Const(text) => text.clone(),
        };
        if let Some(pattern) = &self.pattern {
            let captures = pattern.captures(&found)?;
            // The first group that took part, so that alternatives may each have their own.
            let part = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?;
            found = part.as_str().to_owned();
        }
        if !self.map.is_empty()
            && let Some(mapped) = self.map.get(found.trim())
        {
            found.clone_from(mapped);
        }
        let shown = found.trim();
        let blank = shown.is_empty() || self.blank.iter().any(|blank| text::collapse(shown) == *blank);
        (!blank).then_some(found)
    }
}

fn compile_all(shape: Shape, specs: &[FieldSpec]) -> Result<Vec<Field>, Faults> {
    let mut faults = Faults::default();
    faults.keep_all(specs.iter().map(|spec| Field::compile(shape, spec))).ok_or(faults)
}

impl What {
    fn compile(shape: Shape, long: &LongField) -> Result<Self, Faults> {
        let ways = [long.join.is_some(), long.first_of.is_some(), long.constant.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(Fault::new("join", "a field has one of join, first_of and const; nest them instead").into());
        }
        let counts = [("cell", long.cell), ("line", long.line), ("nth", long.nth)];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(Fault::new(format!("{key}: 0"), format!("`{key}` counts from 1")).into());
        }
        if long.key && shape != Shape::Json {
            return Err(Fault::new("key", "only what stands in a JSON object has a key; use attr or path").into());
        }
        Ok(if let Some(parts) = &long.join {
            Self::Join(compile_all(shape, parts)?, long.with.clone().unwrap_or_else(|| " ".to_owned()))
        } else if let Some(parts) = &long.first_of {
            Self::FirstOf(compile_all(shape, parts)?)
        } else if let Some(constant) = &long.constant {
            Self::Const(constant.0.clone())
        } else {
            Self::Take(Take {
                of: long.of,
                path: long.path.as_deref().map(|path| Path::compile(shape, path)).transpose()?,
                cell: long.cell,
                line: long.line,
                attr: long.attr.clone(),
                key: long.key,
                own: long.own,
                nth: long.nth,
                last: long.last,
                all: long.all.clone(),
            })
        })
    }
}

impl Take {
    fn read(&self, place: &Place<'_, '_>) -> Option<String> {
        let start = match self.of {
            Of::Row => place.row.clone(),
            Of::Group => place.group.clone()?,
            Of::Heading => place.heading.clone()?,
            Of::Document => place.document.clone(),
            Of::Answer => place.answer.clone(),
            Of::Next => place.row.sibling(Direction::Next)?,
            Of::Previous => place.row.sibling(Direction::Previous)?,
        };
        let start = match self.cell {
            Some(n) => start.cell(n)?,
            None => start,
        };
        let Some(path) = &self.path else { return self.of_node(&start, None, place) };
        if let Some(separator) = &self.all {
            let found = start.select(path);
            let texts = found.iter().filter_map(|node| self.of_node(node, Some(path), place));
            let texts: Vec<String> = texts.filter(|text| !text.trim().is_empty()).collect();
            return Some(texts.join(separator));
        }
        let node = match (self.nth, self.last) {
            (None, false) => start.first(path)?,
            (None, true) => start.select(path).pop()?,
            (Some(n), _) => start.select(path).into_iter().nth(n.checked_sub(1)?)?,
        };
        self.of_node(&node, Some(path), place)
    }

    fn of_node(&self, node: &Node<'_>, path: Option<&Path>, place: &Place<'_, '_>) -> Option<String> {
        if let Some(name) = &self.attr {
            return node.attribute(name);
        }
        if self.key {
            return node.key();
        }
        if self.own {
            return node.own_text();
        }
        match self.line {
            Some(n) => node.line(n, place.ignored),
            None => node.text(path, place.ignored),
        }
    }
}
