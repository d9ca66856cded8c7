//! Texts with places for values: `{number}`, `{numbers}` (of a batch), `{lang}`, `{param.postal_code}`, `{secret.key}`, `{take.csrf}`.
//! `{param.country:US}` has a value for when the parameter is absent; `{number|without JD}` leaves `JD` out where the number
//! begins with it. `{{` and `}}` stand for braces.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Fault;

/// What a request may be filled with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The canonical number.
    pub number: &'a str,
    /// What the registrant gave beyond the number.
    pub params: &'a BTreeMap<String, String>,
    /// The operator's secrets for this carrier.
    pub secrets: &'a BTreeMap<String, String>,
    /// Values taken from the answers of earlier steps.
    pub taken: &'a BTreeMap<String, String>,
    /// The language to ask for.
    pub lang: &'a str,
}

/// What templates are filled with: a context, and the numbers of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) numbers: &'a [&'a str],
    pub(crate) batch: Option<&'a Batch>,
}

/// How the numbers of a batch are written.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) each: Template,
    /// What stands between two.
    pub(crate) join: String,
    /// Whether a query's or form's `{numbers}` is sent once for each number.
    pub(crate) repeat: bool,
}

impl<'a> Filling<'a> {
    /// The same for one number.
    pub(crate) fn of(self, number: &'a str) -> Self {
        Self { context: Context { number, ..self.context }, ..self }
    }
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value {
        value: Value,
        default: Option<String>,
        /// What is left out where the value begins with it.
        without: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Number,
    /// The numbers of a batch, joined.
    Numbers,
    Lang,
    Param(String),
    Secret(String),
    Take(String),
}

/// How values are written where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// As they are.
    None,
    /// For a URL's path or query.
    Url,
    /// For XML text.
    Xml,
    /// For a JSON string.
    Json,
}

impl Template {
    pub(crate) fn compile(text: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::new(text, format!("`{text}` {why}"));
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                literal.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let inner = brace.strip_prefix('{').ok_or_else(|| wrong("has a `}` without `{`; write }} for a brace"))?;
            let end = inner.find('}').ok_or_else(|| wrong("has a `{` without `}`; write {{ for a brace"))?;
            let (name, default) = match inner[..end].split_once(':') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (&inner[..end], None),
            };
            let (name, without) = match name.split_once('|') {
                None => (name, None),
                Some((name, asked)) => {
                    let without = asked.trim().strip_prefix("without ").map(|text| text.trim().to_owned());
                    let why = || wrong(&format!("has `|{asked}`; what may stand there is `|without JD`"));
                    (name, Some(without.ok_or_else(why)?))
                }
            };
            let value = value(name).ok_or_else(|| {
                wrong(&format!("asks for `{name}`; known are number, numbers, lang, param.…, secret.… and take.…"))
            })?;
            parts.push(Part::Text(std::mem::take(&mut literal)));
            if value == Value::Numbers && without.is_some() {
                return Err(wrong("cannot shorten several numbers at once; say each: '{number|without …}' in batch"));
            }
            parts.push(Part::Value { value, default, without });
            rest = &inner[end + 1..];
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    /// The values that it asks for, those with a default left out.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter_map(|part| match part {
            Part::Value { value, default: None, .. } => Some(value),
            _ => None,
        })
    }

    /// It is the numbers of a batch and nothing else.
    pub(crate) fn is_numbers(&self) -> bool {
        matches!(self.0.as_slice(), [Part::Value { value: Value::Numbers, .. }])
    }

    /// The text up to the first value.
    pub(crate) fn literal_start(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Fills it; names of absent values are added to `missing`.
    pub(crate) fn fill(&self, filling: &Filling<'_>, escape: Escape, missing: &mut BTreeSet<String>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { value: Value::Numbers, .. } => {
                    for (index, number) in filling.numbers.iter().enumerate() {
                        match filling.batch {
                            Some(batch) => {
                                out.push_str(if index > 0 { &batch.join } else { "" });
                                out.push_str(&batch.each.fill(&filling.of(number), escape, missing));
                            }
                            None => escape.append(number, &mut out),
                        }
                    }
                }
                Part::Value { value, default, without } => match value.of(&filling.context).or(default.as_deref()) {
                    Some(text) => {
                        let rest = without.as_deref().and_then(|beginning| text.strip_prefix(beginning));
                        escape.append(rest.unwrap_or(text), &mut out);
                    }
                    None => drop(missing.insert(value.name())),
                },
            }
        }
        out
    }
}

fn value(name: &str) -> Option<Value> {
    let named = |name: &str| {
        let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        fits.then(|| name.to_owned())
    };
    match name.split_once('.') {
        None if name == "number" => Some(Value::Number),
        None if name == "numbers" => Some(Value::Numbers),
        None if name == "lang" => Some(Value::Lang),
        Some(("param", name)) => named(name).map(Value::Param),
        Some(("secret", name)) => named(name).map(Value::Secret),
        Some(("take", name)) => named(name).map(Value::Take),
        _ => None,
    }
}

impl Value {
    fn of<'a>(&self, context: &Context<'a>) -> Option<&'a str> {
        match self {
            Self::Number => Some(context.number),
            Self::Numbers => None,
            Self::Lang => Some(context.lang),
            Self::Param(name) => context.params.get(name).map(String::as_str).filter(|text| !text.trim().is_empty()),
            Self::Secret(name) => context.secrets.get(name).map(String::as_str),
            Self::Take(name) => context.taken.get(name).map(String::as_str),
        }
    }

    /// As it stands in a template, up to a default.
    pub(crate) fn written(&self) -> String {
        format!("{{{}", self.name())
    }

    fn name(&self) -> String {
        match self {
            Self::Number => "number".to_owned(),
            Self::Numbers => "numbers".to_owned(),
            Self::Lang => "lang".to_owned(),
            Self::Param(name) => format!("param.{name}"),
            Self::Secret(name) => format!("secret.{name}"),
            Self::Take(name) => format!("take.{name}"),
        }
    }
}

impl Escape {
    fn append(self, text: &str, out: &mut String) {
        match self {
            Self::None => out.push_str(text),
            Self::Url => {
                for byte in text.bytes() {
                    match byte {
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                            out.push(char::from(byte))
                        }
                        _ => out.push_str(&format!("%{byte:02X}")),
                    }
                }
            }
            Self::Json => {
                let quoted = serde_json::Value::from(text).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Self::Xml => {
                for c in text.chars() {
                    match c {
                        '&' => out.push_str("&amp;"),
                        '<' => out.push_str("&lt;"),
                        '>' => out.push_str("&gt;"),
                        '"' => out.push_str("&quot;"),
                        '\'' => out.push_str("&apos;"),
                        c => out.push(c),
                    }
                }
            }
        }
    }
}

/// One value, escaped for a URL or a form.
pub(crate) fn url_escaped(text: &str) -> String {
    let mut out = String::new();
    Escape::Url.append(text, &mut out);
    out
}
