//! A value that is taken from an answer for later steps.

use crate::{
    answer::Answer,
    error::Fault,
    field::regex,
    guard,
    html::{Document, Selector},
    jsonpath::{self, JsonPath},
    node::css,
    pattern::Pattern,
    spec::TakeSpec,
    text,
    xmlpath::XmlPath,
};

#[derive(Debug)]
pub(super) struct Take {
    from: From,
    pattern: Option<Pattern>,
    pub(super) optional: bool,
}

#[derive(Debug)]
enum From {
    Css(Selector, Option<String>),
    Json(JsonPath),
    Xml(XmlPath),
    Header(String),
    Cookie(String),
    Body,
}

impl Take {
    pub(super) fn compile(name: &str, spec: &TakeSpec) -> Result<Self, Fault> {
        let ways = [&spec.css, &spec.json, &spec.xml, &spec.header, &spec.cookie];
        if ways.iter().filter(|way| way.is_some()).count() > 1 {
            return Err(Fault::new(name, format!("`{name}` is taken in one way: css, json, xml, header or cookie")));
        }
        let from = if let Some(selector) = &spec.css {
            From::Css(css(selector)?, spec.attr.clone())
        } else if let Some(path) = &spec.json {
            From::Json(JsonPath::compile(path)?)
        } else if let Some(path) = &spec.xml {
            From::Xml(XmlPath::compile(path)?)
        } else if let Some(header) = &spec.header {
            From::Header(header.to_ascii_lowercase())
        } else if let Some(cookie) = &spec.cookie {
            From::Cookie(cookie.clone())
        } else if spec.pattern.is_some() {
            From::Body
        } else {
            return Err(Fault::new(
                name,
                format!("`{name}` is taken by css, json, xml, header, cookie or match; none is given"),
            ));
        };
        Ok(Self { from, pattern: spec.pattern.as_deref().map(regex).transpose()?, optional: spec.optional })
    }

    pub(super) fn find(&self, answer: &Answer<'_>) -> Option<String> {
        let body = || String::from_utf8_lossy(answer.body);
        let whole = match &self.from {
            From::Css(selector, attribute) => {
                let html = Document::parse(&body())?;
                let element = html.root().select(selector).next()?;
                match attribute {
                    Some(name) => element.attribute(name)?.to_owned(),
                    None => text::collapse(&element.plain_text()),
                }
            }
            From::Json(path) => {
                let value = guard::json(&body())?;
                jsonpath::text_of(path.select(&value).into_iter().next()?)?
            }
            From::Xml(path) => {
                let body = body();
                let document = guard::xml_document(&body)?;
                let node = path.select(document.root_element()).into_iter().next()?;
                path.text_of(node)?
            }
            From::Header(name) => answer
                .headers
                .iter()
                .find(|(header, _)| header.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())?,
            From::Cookie(name) => {
                let cookies = answer.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case("set-cookie"));
                cookies
                    .filter_map(|(_, cookie)| cookie.split(';').next()?.split_once('='))
                    .find_map(|(key, value)| (key.trim() == name).then(|| value.trim().to_owned()))?
            }
            From::Body => body().into_owned(),
        };
        let found = match &self.pattern {
            None => whole,
            Some(pattern) => {
                let captures = pattern.captures(&whole)?;
                captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?.as_str().to_owned()
            }
        };
        // A value beyond this is a page, not a token.
        (!found.is_empty() && found.len() <= 16 * 1024).then_some(found)
    }
}
