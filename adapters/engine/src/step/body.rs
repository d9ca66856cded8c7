//! The body of a step's request.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    error::Fault,
    spec::GraphqlSpec,
    template::{self, Escape, Filling, Template},
};

#[derive(Debug)]
pub(super) enum Body {
    None,
    Form(Vec<(String, Template)>),
    Json(JsonTemplate),
    Text { content_type: String, text: Template, escape: Escape },
}

#[derive(Debug)]
pub(super) enum JsonTemplate {
    Text(Template),
    Array(Vec<JsonTemplate>),
    /// One element for each number of a batch.
    Each(Box<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
    Constant(Value),
}

impl Body {
    pub(super) fn fill(
        &self,
        context: &Filling<'_>,
        missing: &mut BTreeSet<String>,
    ) -> (Option<Vec<u8>>, Option<String>) {
        match self {
            Self::None => (None, None),
            Self::Form(fields) => {
                let body = fill_pairs(fields, context, missing).join("&");
                (Some(body.into_bytes()), Some("application/x-www-form-urlencoded".to_owned()))
            }
            Self::Json(json) => {
                let body = json.fill(context, missing).to_string();
                (Some(body.into_bytes()), Some("application/json".to_owned()))
            }
            Self::Text { content_type, text, escape } => {
                (Some(text.fill(context, *escape, missing).into_bytes()), Some(content_type.clone()))
            }
        }
    }
}

/// Each `name=value`, escaped; one for each number where a batch is sent so.
pub(super) fn fill_pairs(
    pairs: &[(String, Template)],
    context: &Filling<'_>,
    missing: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut filled = Vec::new();
    for (name, value) in pairs {
        let mut add = |context: &Filling<'_>| {
            let value = value.fill(context, Escape::None, missing);
            filled.push(format!("{}={}", template::url_escaped(name), template::url_escaped(&value)));
        };
        if context.batch.is_some_and(|batch| batch.repeat) && value.is_numbers() {
            context.numbers.chunks(1).for_each(|one| add(&Filling { numbers: one, ..*context }));
        } else {
            add(context);
        }
    }
    filled
}

impl JsonTemplate {
    /// With `batch`, an array of one element that bears the number has one for each number.
    pub(super) fn compile(value: &Value, batch: bool) -> Result<Self, Fault> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::compile(text)?),
            Value::Array(items) => {
                let compiled = items.iter().map(|item| Self::compile(item, batch)).collect::<Result<Vec<_>, _>>()?;
                match <[Self; 1]>::try_from(compiled) {
                    Ok([only]) if batch && only.asks(&template::Value::Number) => Self::Each(Box::new(only)),
                    Ok([only]) => Self::Array(vec![only]),
                    Err(several) => Self::Array(several),
                }
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), Self::compile(value, batch)?)));
                Self::Object(fields.collect::<Result<_, Fault>>()?)
            }
            other => Self::Constant(other.clone()),
        })
    }

    /// The query as it stands; only the variables are templates.
    pub(super) fn graphql(spec: &GraphqlSpec, batch: bool) -> Result<Self, Fault> {
        let mut fields = vec![("query".to_owned(), Self::Constant(Value::String(spec.query.clone())))];
        if let Some(operation) = &spec.operation {
            fields.push(("operationName".to_owned(), Self::Constant(Value::String(operation.clone()))));
        }
        let variables = spec.variables.iter().map(|(name, value)| Ok((name.clone(), Self::compile(value, batch)?)));
        fields.push(("variables".to_owned(), Self::Object(variables.collect::<Result<_, Fault>>()?)));
        Ok(Self::Object(fields))
    }

    pub(super) fn asks(&self, wanted: &template::Value) -> bool {
        let mut all = Vec::new();
        self.collect(&mut all);
        all.into_iter().flat_map(Template::values).any(|value| value == wanted)
    }

    /// Templates outside of what is repeated for each number.
    pub(super) fn collect_outside<'a>(&'a self, all: &mut Vec<&'a Template>) {
        match self {
            Self::Each(_) | Self::Constant(_) => {}
            Self::Text(template) => all.push(template),
            Self::Array(items) => items.iter().for_each(|item| item.collect_outside(all)),
            Self::Object(fields) => fields.iter().for_each(|(_, value)| value.collect_outside(all)),
        }
    }

    pub(super) fn collect<'a>(&'a self, all: &mut Vec<&'a Template>) {
        match self {
            Self::Text(template) => all.push(template),
            Self::Each(item) => item.collect(all),
            Self::Array(items) => items.iter().for_each(|item| item.collect(all)),
            Self::Object(fields) => fields.iter().for_each(|(_, value)| value.collect(all)),
            Self::Constant(_) => {}
        }
    }

    pub(super) fn fill(&self, context: &Filling<'_>, missing: &mut BTreeSet<String>) -> Value {
        match self {
            Self::Text(template) => Value::String(template.fill(context, Escape::None, missing)),
            Self::Array(items) => Value::Array(items.iter().map(|item| item.fill(context, missing)).collect()),
            Self::Each(item) => {
                let each = context.numbers.iter().map(|number| item.fill(&context.of(number), missing));
                Value::Array(each.collect())
            }
            Self::Object(fields) => {
                Value::Object(fields.iter().map(|(name, value)| (name.clone(), value.fill(context, missing))).collect())
            }
            Self::Constant(value) => value.clone(),
        }
    }
}
