//! Conditions: what must hold of an answer or of a node in it.

use crate::{
    error::{Fault, Faults},
    field::{Field, Place, regex},
    node::{Node, Path},
    pattern::Pattern,
    spec::{ConditionSpec, Shape},
    text, work,
};

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
    pub(crate) fn compile(shape: Shape, spec: &ConditionSpec) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        if spec.is_empty() {
            let problem = "a condition that asks for nothing always holds, also of an error page; say what it asks for";
            faults.add(Fault::new("{}", problem));
        }
        if (spec.matches.is_some() || spec.equals.is_some()) && spec.text.is_none() {
            let problem = "a condition with `matches` or `equals` needs `text`: the field to look at";
            faults.add(Fault::new("matches", problem));
        }
        let path = |text: &String| Ok::<_, Fault>((text.clone(), Path::compile(shape, text)?));
        let header = |(name, text): (&String, &String)| Ok::<_, Fault>((name.clone(), regex(text)?));
        let each = |specs: &[ConditionSpec]| specs.iter().map(|spec| Self::compile(shape, spec)).collect::<Vec<_>>();
        let made = (
            faults.keep_optional(spec.body.as_deref().map(regex)),
            faults.keep_all(spec.header.iter().map(header)),
            faults.keep_all(spec.has.iter().flat_map(|many| many.items()).map(path)),
            faults.keep_all(spec.lacks.iter().flat_map(|many| many.items()).map(path)),
            faults.keep(Field::compile_optional(shape, spec.text.as_ref())),
            faults.keep_optional(spec.matches.as_deref().map(regex)),
            faults.keep(Field::compile_optional(shape, spec.blank.as_ref())),
            faults.keep_all(each(&spec.any)),
            faults.keep_all(each(&spec.all)),
            faults.keep_optional(spec.not.as_ref().map(|not| Self::compile(shape, not))),
        );
        let (
            Some(body),
            Some(header),
            Some(has),
            Some(lacks),
            Some(text),
            Some(matches),
            Some(blank),
            Some(any),
            Some(all),
            Some(not),
        ) = made
        else {
            return Err(faults);
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            contains: spec.contains.clone(),
            body,
            status: spec.status.clone(),
            header,
            has,
            lacks,
            root: spec.root.clone(),
            text: text.map(Box::new),
            matches,
            equals: spec.equals.as_ref().map(|scalar| scalar.0.clone()),
            blank: blank.map(Box::new),
            any,
            all,
            not: not.map(Box::new),
        })
    }

    /// What can be said before the answer is parsed; false means that it cannot hold.
    pub(crate) fn possible(&self, body: &str) -> bool {
        work::text(self.contains.len() * body.len(), 256);
        work::text(self.body.iter().len() * body.len(), 32);
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

    /// What of it holds, in words, where it does; for people who write adapters.
    pub(crate) fn holding(&self, place: &Place<'_, '_>) -> String {
        let short = |text: &str| -> String { text.chars().take(60).collect() };
        let mut said: Vec<String> = self.contains.iter().map(|text| format!("the answer contains `{text}`")).collect();
        said.extend(self.body.iter().map(|regex| format!("the answer matches `{regex}`")));
        if !self.status.is_empty() {
            said.push(format!("the status is {}", place.status));
        }
        said.extend(self.header.iter().map(|(name, regex)| format!("a header `{name}` matches `{regex}`")));
        said.extend(self.root.iter().map(|name| format!("the root element is `{name}`")));
        said.extend(self.has.iter().map(|(path, _)| format!("`{path}` is found")));
        said.extend(self.lacks.iter().map(|(path, _)| format!("`{path}` is not found")));
        if let Some(found) = self.text.as_ref().and_then(|field| field.read(place)) {
            let wanted = self.matches.as_ref().map(|regex| format!(", which matches `{regex}`")).unwrap_or_default();
            said.push(format!("a text is `{}`{wanted}", short(&found)));
        }
        if self.blank.is_some() {
            said.push("a field is blank".to_owned());
        }
        let inner = self.all.iter().chain(self.any.iter().find(|condition| condition.holds(place)));
        said.extend(inner.map(|condition| condition.holding(place)));
        if let Some(why) = self.not.as_ref().and_then(|condition| condition.failing(place)) {
            said.push(why);
        }
        said.retain(|part| !part.is_empty());
        said.join(", and ")
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
