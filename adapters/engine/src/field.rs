//! Fields and conditions: what is taken out of a node, and what must hold of it.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    answer::Reading,
    error::Fault,
    node::{Direction, Ignored, Node, Path},
    pattern::Pattern,
    spec::{ConditionSpec, FieldSpec, Fill, LongField, Of, Shape},
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

/// Last values of fields that are filled down, per field of a table.
#[derive(Debug, Default)]
pub(crate) struct Carried(RefCell<BTreeMap<usize, String>>);

/// A regular expression for texts: white space and case as written.
pub(crate) fn regex(text: &str) -> Result<Pattern, Fault> {
    Pattern::new(text, false).map_err(|why| {
        Fault::new(text, format!("`{text}` is no regular expression ({why}); look-around is not understood"))
    })
}

impl Field {
    pub(crate) fn compile(shape: Shape, spec: &FieldSpec) -> Result<Self, Fault> {
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

    pub(crate) fn compile_optional(shape: Shape, spec: Option<&FieldSpec>) -> Result<Option<Self>, Fault> {
        spec.map(|spec| Self::compile(shape, spec)).transpose()
    }

    fn compile_long(shape: Shape, long: &LongField) -> Result<Self, Fault> {
        let ways = [long.join.is_some(), long.first_of.is_some(), long.constant.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(Fault::new("join", "a field has one of join, first_of and const; nest them instead"));
        }
        if long.key && shape != Shape::Json {
            return Err(Fault::new("key", "only what stands in a JSON object has a key; use attr or path"));
        }
        let what = if let Some(parts) = &long.join {
            What::Join(compile_all(shape, parts)?, long.with.clone().unwrap_or_else(|| " ".to_owned()))
        } else if let Some(parts) = &long.first_of {
            What::FirstOf(compile_all(shape, parts)?)
        } else if let Some(constant) = &long.constant {
            What::Const(constant.0.clone())
        } else {
            What::Take(Take {
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
        };
        Ok(Self {
            what,
            when: long.when.as_ref().map(|when| Condition::compile(shape, when)).transpose()?,
            pattern: long.pattern.as_deref().map(regex).transpose()?,
            blank: long.blank.iter().map(|blank| text::collapse(blank)).collect(),
            map: long.map.clone(),
            fill: long.fill,
        })
    }

    /// The field's text at a place; `None` when blank.
    pub(crate) fn read(&self, place: &Place<'_, '_>) -> Option<String> {
        if self.when.as_ref().is_some_and(|when| !when.holds(place)) {
            return None;
        }
        let mut found = match &self.what {
            What::Take(take) => take.read(place)?,
            What::Join(parts, with) => {
                let texts: Vec<String> = parts.iter().filter_map(|part| part.read(place)).collect();
                if texts.len() == 1 { texts.into_iter().next()? } else { texts.join(with) }
            }
            What::FirstOf(parts) => parts.iter().find_map(|part| part.read(place))?,
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

    /// Like [`Self::read`], filling a blank from the rows above where the adapter says so.
    pub(crate) fn read_carrying(&self, place: &Place<'_, '_>, carried: &Carried, slot: usize) -> Option<String> {
        let found = self.read(place);
        if self.fill != Some(Fill::Down) {
            return found;
        }
        match found {
            Some(found) => {
                carried.0.borrow_mut().insert(slot, found.clone());
                Some(found)
            }
            None => carried.0.borrow().get(&slot).cloned(),
        }
    }
}

fn compile_all(shape: Shape, specs: &[FieldSpec]) -> Result<Vec<Field>, Fault> {
    specs.iter().map(|spec| Field::compile(shape, spec)).collect()
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

/// A compiled condition; everything in it must hold.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    contains: Vec<String>,
    body: Option<Pattern>,
    status: Vec<u16>,
    /// By name.
    header: Vec<(String, Pattern)>,
    /// Each with its text as written.
    has: Vec<(String, Path)>,
    lacks: Vec<(String, Path)>,
    root: Option<String>,
    text: Option<Box<Field>>,
    matches: Option<Pattern>,
    equals: Option<String>,
    blank: Option<Box<Field>>,
    any: Vec<Condition>,
    all: Vec<Condition>,
    not: Option<Box<Condition>>,
}

impl Condition {
    pub(crate) fn compile(shape: Shape, spec: &ConditionSpec) -> Result<Self, Fault> {
        let paths = |items: &[String]| {
            items.iter().map(|item| Ok((item.clone(), Path::compile(shape, item)?))).collect::<Result<Vec<_>, Fault>>()
        };
        let each = |specs: &[ConditionSpec]| {
            specs.iter().map(|spec| Self::compile(shape, spec)).collect::<Result<Vec<_>, _>>()
        };
        if (spec.matches.is_some() || spec.equals.is_some()) && spec.text.is_none() {
            return Err(Fault::new(
                "matches",
                "a condition with `matches` or `equals` needs `text`: the field to look at",
            ));
        }
        Ok(Self {
            contains: spec.contains.clone(),
            body: spec.body.as_deref().map(regex).transpose()?,
            status: spec.status.clone(),
            header: spec
                .header
                .iter()
                .map(|(name, text)| Ok((name.clone(), regex(text)?)))
                .collect::<Result<_, Fault>>()?,
            has: spec.has.as_ref().map(|many| paths(many.items())).transpose()?.unwrap_or_default(),
            lacks: spec.lacks.as_ref().map(|many| paths(many.items())).transpose()?.unwrap_or_default(),
            root: spec.root.clone(),
            text: Field::compile_optional(shape, spec.text.as_ref())?.map(Box::new),
            matches: spec.matches.as_deref().map(regex).transpose()?,
            equals: spec.equals.as_ref().map(|scalar| scalar.0.clone()),
            blank: Field::compile_optional(shape, spec.blank.as_ref())?.map(Box::new),
            any: each(&spec.any)?,
            all: each(&spec.all)?,
            not: spec.not.as_ref().map(|not| Self::compile(shape, not).map(Box::new)).transpose()?,
        })
    }

    /// What can be said before the answer is parsed; false means that it cannot hold.
    pub(crate) fn possible(&self, body: &str) -> bool {
        self.contains.iter().all(|text| body.contains(text))
            && self.body.as_ref().is_none_or(|regex| regex.is_match(body))
            && self.all.iter().all(|condition| condition.possible(body))
            && (self.any.is_empty() || self.any.iter().any(|condition| condition.possible(body)))
    }

    pub(crate) fn holds(&self, place: &Place<'_, '_>) -> bool {
        self.possible(place.body)
            && (self.status.is_empty() || self.status.contains(&place.status))
            && self.header.iter().all(|(name, regex)| header_is(place, name, regex))
            && self.root.as_deref().is_none_or(|name| root_is(&place.document, name))
            && self.has.iter().all(|(_, path)| place.row.first(path).is_some())
            && self.lacks.iter().all(|(_, path)| place.row.first(path).is_none_or(|node| node.is_null()))
            && self.text.as_ref().is_none_or(|field| self.text_holds(field.read(place)))
            && self.blank.as_ref().is_none_or(|field| field.read(place).is_none())
            && self.all.iter().all(|condition| condition.holds(place))
            && (self.any.is_empty() || self.any.iter().any(|condition| condition.holds(place)))
            && self.not.as_ref().is_none_or(|condition| !condition.holds(place))
    }

    /// Which part does not hold, in words; for people who write adapters.
    pub(crate) fn failing(&self, place: &Place<'_, '_>) -> Option<String> {
        if let Some(text) = self.contains.iter().find(|text| !place.body.contains(text.as_str())) {
            return Some(format!("the answer does not contain `{text}`"));
        }
        if let Some(regex) = self.body.as_ref().filter(|regex| !regex.is_match(place.body)) {
            return Some(format!("the answer does not match `{regex}`"));
        }
        if !self.status.is_empty() && !self.status.contains(&place.status) {
            return Some(format!("the status is {}", place.status));
        }
        if let Some((name, regex)) = self.header.iter().find(|(name, regex)| !header_is(place, name, regex)) {
            return Some(format!("no header `{name}` matches `{regex}`"));
        }
        if let Some(name) = self.root.as_deref().filter(|name| !root_is(&place.document, name)) {
            return Some(format!("the root element is not `{name}`"));
        }
        if let Some((path, _)) = self.has.iter().find(|(_, path)| place.row.first(path).is_none()) {
            return Some(format!("nothing is found at `{path}`"));
        }
        if let Some((path, _)) =
            self.lacks.iter().find(|(_, path)| place.row.first(path).is_some_and(|node| !node.is_null()))
        {
            return Some(format!("something is found at `{path}`"));
        }
        if let Some(field) = &self.text {
            let found = field.read(place);
            if !self.text_holds(found.clone()) {
                let wanted = match (&self.matches, &self.equals) {
                    (Some(regex), _) => format!(" which does not match `{regex}`"),
                    (None, Some(text)) => format!(" which is not `{text}`"),
                    (None, None) => String::new(),
                };
                let found: String = found.unwrap_or_default().chars().take(60).collect();
                return Some(format!("a text is `{found}`{wanted}"));
            }
        }
        if self.blank.as_ref().is_some_and(|field| field.read(place).is_some()) {
            return Some("a field that must be blank is not".to_owned());
        }
        if let Some(why) = self.all.iter().find_map(|condition| condition.failing(place)) {
            return Some(why);
        }
        if !self.any.is_empty() && !self.any.iter().any(|condition| condition.holds(place)) {
            let whys: Vec<String> = self.any.iter().filter_map(|condition| condition.failing(place)).collect();
            return Some(whys.join(", and "));
        }
        self.not
            .as_ref()
            .filter(|condition| condition.holds(place))
            .map(|_| "what it excludes (`not`) holds".to_owned())
    }

    fn text_holds(&self, found: Option<String>) -> bool {
        let Some(found) = found else { return false };
        self.matches.as_ref().is_none_or(|regex| regex.is_match(&found))
            && self.equals.as_ref().is_none_or(|text| text::collapse(&found) == *text)
    }
}

/// Whether one of the headers of this name matches.
fn header_is(place: &Place<'_, '_>, name: &str, regex: &Pattern) -> bool {
    place.headers.iter().any(|(found, value)| found.eq_ignore_ascii_case(name) && regex.is_match(value))
}

fn root_is(document: &Node<'_>, name: &str) -> bool {
    match document {
        Node::Xml(node) => node.document().root_element().tag_name().name() == name,
        _ => false,
    }
}
