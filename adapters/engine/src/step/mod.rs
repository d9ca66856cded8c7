//! A step of a look-up: the request it sends and the values it takes from the answer. Nothing is sent here.

mod body;
mod take;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;

use crate::{
    answer::Answer,
    error::{Fault, Faults},
    spec::{BatchSpec, StepName, StepSpec},
    template::{self, Batch, Context, Escape, Filling, Template},
    work,
};

use self::{
    body::{Body, JsonTemplate},
    take::Take,
};

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// GET or POST.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Headers, names in lower case; the content type included.
    pub headers: Vec<(String, String)>,
    /// The body of a POST.
    pub body: Option<Vec<u8>>,
}

/// A request cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Parameters are missing; the registrant must give them.
    #[error("the carrier needs {}", .0.join(", "))]
    NeedsData(Vec<String>),
    /// Secrets are missing; the operator must give them.
    #[error("secrets are missing: {}", .0.join(", "))]
    Secrets(Vec<String>),
    /// An earlier step did not bring a value.
    #[error("an earlier answer did not bring {}", .0.join(", "))]
    NotTaken(Vec<String>),
    /// A value cannot stand in a header.
    #[error("the value for the header {0} contains characters that no header may have")]
    Header(String),
}

/// A compiled step.
#[derive(Debug)]
pub struct Step {
    /// Its name, the role of its answer.
    pub name: StepName,
    /// Values taken here may serve other look-ups for so many seconds.
    pub keep_s: Option<u32>,
    /// The value taken here that says for how many seconds.
    keep_from: Option<String>,
    batch: Option<Batch>,
    method: Method,
    url: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    body: Body,
    basic_auth: Option<(Template, Template)>,
    take: Vec<(String, Take)>,
}

fn templates(map: &BTreeMap<String, String>) -> Result<Vec<(String, Template)>, Faults> {
    let mut faults = Faults::default();
    let each = map.iter().map(|(name, text)| Ok::<_, Fault>((name.clone(), Template::compile(text)?)));
    faults.keep_all(each).ok_or(faults)
}

impl Step {
    pub(crate) fn compile(spec: &StepSpec, hosts: &[String], batch: Option<&BatchSpec>) -> Result<Self, Faults> {
        let (method, url) = match (&spec.get, &spec.post) {
            (Some(url), None) => (Method::Get, url),
            (None, Some(url)) => (Method::Post, url),
            _ => {
                let problem = format!("step `{}` has either get or post: a URL", spec.name);
                return Err(Fault::new(spec.name.as_str(), problem).into());
            }
        };
        let mut faults = Faults::default();
        if let Some(name) = spec.keep_from.as_ref().filter(|name| !spec.take.contains_key(*name)) {
            faults.add(Fault::new(name, format!("keep_from names `{name}`, which the step does not take")));
        }
        if spec.keep_from.is_some() && spec.keep_s.is_none() {
            faults.add(Fault::new("keep_from", "keep_from needs keep_s: the longest that a value is kept"));
        }
        let template = || {
            let template = Template::compile(url)?;
            host_of(&template, url, hosts)?;
            Ok::<_, Fault>(template)
        };
        let auth = spec
            .basic_auth
            .as_ref()
            .map(|auth| Ok::<_, Fault>((Template::compile(&auth.user)?, Template::compile(&auth.password)?)));
        let batched = batch.map(|batch| {
            let each = Template::compile(&batch.each)?;
            Ok::<_, Fault>(Batch { each, join: batch.join.clone(), repeat: batch.repeat })
        });
        let take = spec.take.iter().map(|(name, take)| Ok::<_, Fault>((name.clone(), Take::compile(name, take)?)));
        let made = (
            faults.keep(template()),
            faults.keep(body_of(spec, method, url, batch.is_some())),
            faults.keep_optional(auth),
            faults.keep_optional(batched),
            faults.keep(templates(&spec.query)),
            faults.keep(templates(&spec.headers)),
            faults.keep_all(take),
        );
        match made {
            (Some(url), Some(body), Some(basic_auth), Some(batch), Some(query), Some(headers), Some(take))
                if faults.is_empty() =>
            {
                let (name, keep_s, keep_from) = (spec.name, spec.keep_s, spec.keep_from.clone());
                Ok(Self { name, keep_s, keep_from, batch, method, url, query, headers, body, basic_auth, take })
            }
            _ => Err(faults),
        }
    }

    /// The request for a number.
    ///
    /// # Errors
    /// [`RequestError`] names what is missing: parameters before secrets before values of earlier steps.
    pub fn request(&self, context: &Context<'_>) -> Result<HttpRequest, RequestError> {
        self.request_of_batch(context, &[context.number])
    }

    /// One request for several numbers, of a source that takes batches; everything else is as for the first of them.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn request_of_batch(&self, context: &Context<'_>, numbers: &[&str]) -> Result<HttpRequest, RequestError> {
        let context = &Filling { context: *context, numbers, batch: self.batch.as_ref() };
        let mut missing = BTreeSet::new();
        let mut url = self.url.fill(context, Escape::Url, &mut missing);
        for pair in body::fill_pairs(&self.query, context, &mut missing) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&pair);
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push((name.to_ascii_lowercase(), value.fill(context, Escape::None, &mut missing)));
        }
        if let Some((user, password)) = &self.basic_auth {
            let user = user.fill(context, Escape::None, &mut missing);
            let password = password.fill(context, Escape::None, &mut missing);
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            headers.push(("authorization".to_owned(), format!("Basic {encoded}")));
        }
        let (body, content_type) = self.body.fill(context, &mut missing);
        if let Some(content_type) = content_type
            && !headers.iter().any(|(name, _)| name == "content-type")
        {
            headers.push(("content-type".to_owned(), content_type));
        }
        lacking(missing)?;
        // A value with a line break would start a header of its own.
        if let Some((name, _)) = headers.iter().find(|(_, value)| value.chars().any(char::is_control)) {
            return Err(RequestError::Header(name.clone()));
        }
        Ok(HttpRequest { method: self.method, url, headers, body })
    }

    /// The values that later steps use, out of this step's answer.
    ///
    /// # Errors
    /// The names of values that are not there.
    pub fn take(&self, answer: &Answer<'_>) -> Result<BTreeMap<String, String>, Vec<String>> {
        let mut taken = BTreeMap::new();
        let mut absent = Vec::new();
        for (name, take) in &self.take {
            match work::bounded(|| take.find(answer)) {
                Some(value) => drop(taken.insert(name.clone(), value)),
                None if take.optional => drop(taken.insert(name.clone(), String::new())),
                None => absent.push(name.clone()),
            }
        }
        if absent.is_empty() { Ok(taken) } else { Err(absent) }
    }

    /// For how many seconds the values taken may serve other look-ups; `None`: not at all.
    pub fn keep_for_s(&self, taken: &BTreeMap<String, String>) -> Option<u32> {
        // A token is renewed a little before it ends.
        const EARLY_S: u32 = 30;
        let most = self.keep_s?;
        let Some(name) = &self.keep_from else { return Some(most) };
        let said = taken.get(name).and_then(|text| text.trim().parse::<u32>().ok());
        said.map_or(Some(most), |said| Some(said.saturating_sub(EARLY_S).min(most)).filter(|seconds| *seconds > 0))
    }

    /// Names of the values taken here.
    pub fn takes(&self) -> impl Iterator<Item = &str> {
        self.take.iter().map(|(name, _)| name.as_str())
    }

    /// What of a batch's source fills one number in where all belong, if anything does.
    pub(crate) fn asks_for_one(&self) -> bool {
        let mut all: Vec<&Template> = vec![&self.url];
        all.extend(self.query.iter().chain(&self.headers).map(|(_, template)| template));
        match &self.body {
            Body::None => {}
            Body::Form(form) => all.extend(form.iter().map(|(_, template)| template)),
            Body::Json(json) => json.collect_outside(&mut all),
            Body::Text { text, .. } => all.push(text),
        }
        all.into_iter().flat_map(Template::values).any(|value| *value == template::Value::Number)
    }

    /// Whether a value of its query or form stands for the numbers of a batch alone, so that it can be repeated.
    pub(crate) fn can_repeat(&self) -> bool {
        let form = if let Body::Form(form) = &self.body { form.as_slice() } else { &[] };
        self.query.iter().chain(form).any(|(_, value)| value.is_numbers())
    }

    /// Every value that the request asks for.
    pub(crate) fn values(&self) -> Vec<template::Value> {
        let mut all: Vec<&Template> = vec![&self.url];
        all.extend(self.query.iter().chain(&self.headers).map(|(_, template)| template));
        if let Some((user, password)) = &self.basic_auth {
            all.extend([user, password]);
        }
        match &self.body {
            Body::None => {}
            Body::Form(form) => all.extend(form.iter().map(|(_, template)| template)),
            Body::Json(json) => json.collect(&mut all),
            Body::Text { text, .. } => all.push(text),
        }
        all.into_iter().flat_map(Template::values).cloned().collect()
    }
}

fn lacking(missing: BTreeSet<String>) -> Result<(), RequestError> {
    let of = |kind: &str| -> Vec<String> {
        missing.iter().filter_map(|name| name.strip_prefix(kind)).map(str::to_owned).collect()
    };
    let (params, secrets, taken) = (of("param."), of("secret."), of("take."));
    if !params.is_empty() {
        Err(RequestError::NeedsData(params))
    } else if !secrets.is_empty() {
        Err(RequestError::Secrets(secrets))
    } else if !taken.is_empty() {
        Err(RequestError::NotTaken(taken))
    } else {
        Ok(())
    }
}

fn body_of(spec: &StepSpec, method: Method, url: &str, batch: bool) -> Result<Body, Faults> {
    let bodies = [spec.form.is_some(), spec.json.is_some(), spec.graphql.is_some(), spec.text.is_some()];
    let bodies = bodies.iter().filter(|present| **present).count();
    if bodies > 1 || (bodies == 1 && method == Method::Get) {
        return Err(Fault::new(url, "a POST has one of form, json, graphql and text; a GET has none").into());
    }
    Ok(if let Some(form) = &spec.form {
        Body::Form(templates(form)?)
    } else if let Some(json) = &spec.json {
        Body::Json(JsonTemplate::compile(json, batch)?)
    } else if let Some(graphql) = &spec.graphql {
        Body::Json(JsonTemplate::graphql(graphql, batch)?)
    } else if let Some(text) = &spec.text {
        let of_type = [("xml", Escape::Xml), ("json", Escape::Json)];
        let named = of_type.into_iter().find(|(name, _)| text.content_type.contains(name));
        let escape = named.map_or(Escape::None, |(_, escape)| escape);
        Body::Text { content_type: text.content_type.clone(), text: Template::compile(&text.body)?, escape }
    } else {
        Body::None
    })
}

/// SEC-1: a URL's scheme and host are literal, and the host is declared.
fn host_of(template: &Template, url: &str, hosts: &[String]) -> Result<(), Fault> {
    let literal = template.literal_start();
    let rest = literal.strip_prefix("https://").or_else(|| literal.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| Fault::new(url, format!("`{url}` must begin with https:// and a literal host")))?;
    let end = rest.find(['/', '?', '#']);
    let whole = end.is_some() || literal.len() == url.len();
    let host = &rest[..end.unwrap_or(rest.len())];
    if !whole || host.contains(['@', '%']) {
        return Err(Fault::new(url, format!("the host of `{url}` must be written out, without values or user names")));
    }
    let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if hosts.iter().any(|declared| declared.eq_ignore_ascii_case(&name)) {
        Ok(())
    } else {
        Err(Fault::new(url, format!("the host `{name}` is not declared; add it to hosts")))
    }
}
